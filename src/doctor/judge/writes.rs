//! Judges what the server made of writes.

use std::time::Duration;

use super::{
    super::{
        facts::{Facts, Listings, Races, Writes},
        finding::{Finding, Topic},
    },
    of_answer,
};
use crate::{
    backend::{Error, Kind},
    ledger::capabilities::ConditionalPut,
};

/// Dates are in whole seconds, and a request takes a while.
const SAME: Duration = Duration::from_secs(5);

pub(super) fn judge(facts: &Facts, seen: &Writes) -> Vec<Finding> {
    let mut found = match &seen.put {
        None => return Vec::new(),
        Some(Err(error)) if is_refusal(error) => return vec![Finding::ReadOnlyKey],
        Some(Err(error)) => return vec![Finding::NotKnown(Topic::Writes, error.clone())],
        Some(Ok(true)) => vec![Finding::Writes],
        Some(Ok(false)) => vec![Finding::WritesDiffer],
    };
    if seen.is_public == Some(true) {
        found.push(Finding::PublicLedger);
    }
    found.extend(of_answer(
        Topic::ConditionalWrites,
        seen.condition.as_ref(),
        |races| {
            let found = condition(races);
            let relied_on = facts
                .login
                .as_ref()
                .is_some_and(|login| login.provider.limits().has_conditional_put);
            vec![Finding::ConditionalPut {
                found,
                is_surprise: relied_on && found != ConditionalPut::Atomic,
            }]
        },
    ));
    found.extend(deletions(seen));
    found.extend(of_answer(
        Topic::Parts,
        seen.unequal_parts.as_ref(),
        |takes| {
            vec![if *takes {
                Finding::UnequalParts
            } else {
                Finding::EqualParts
            }]
        },
    ));
    found.extend(of_answer(Topic::Listings, seen.listings.as_ref(), |seen| {
        vec![listings(seen)]
    }));
    if let Some(Ok(stamps)) = &seen.stamps
        && stamps.largest > SAME
    {
        found.push(Finding::StampsOff(stamps.largest));
    }
    found
}

/// Returns whether we may not. Whoever has no credentials is told that those are missing.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind, Kind::Denied | Kind::Credentials)
}

/// Says what kind of server this is.
pub(super) fn condition(races: &Races) -> ConditionalPut {
    if races.is_unsupported {
        return ConditionalPut::Refused;
    }
    if !races.refuses_later {
        return ConditionalPut::Ignored;
    }
    let has_one = |n: &usize| *n == 1;
    if races.winners.is_empty() || races.winners.contains(&0) {
        // Nobody won: what that means nobody can say.
        ConditionalPut::Unknown
    } else if races.winners.iter().all(has_one) {
        ConditionalPut::Atomic
    } else {
        ConditionalPut::Racy
    }
}

fn deletions(seen: &Writes) -> Vec<Finding> {
    let mut found = match &seen.delete_one {
        None => return Vec::new(),
        Some(Err(error)) if is_refusal(error) => return vec![Finding::MayNotDelete],
        Some(Err(error)) => return vec![Finding::NotKnown(Topic::Deletions, error.clone())],
        Some(Ok(false)) => return vec![Finding::DeletesNothing],
        Some(Ok(true)) => vec![Finding::Deletes],
    };
    found.extend(batches(seen));
    found.extend(of_answer(
        Topic::ConditionalDeletions,
        seen.conditional_delete.as_ref(),
        |found| vec![Finding::ConditionalDelete(*found)],
    ));
    found
}

fn batches(seen: &Writes) -> Option<Finding> {
    let refused = |error: &Error| {
        if error.kind.has_no_answer() || error.kind == Kind::Throttled {
            Finding::NotKnown(Topic::BatchDeletions, error.clone())
        } else {
            Finding::NoBatchDeletes(error.clone())
        }
    };
    Some(match (seen.delete_md5.as_ref()?, &seen.delete_fenced) {
        (Err(error), _) => refused(error),
        (Ok(false), _) | (_, Some(Ok(false))) => Finding::DeletesNothing,
        (Ok(true), Some(Err(error))) => Finding::NoFencedDeletes(error.clone()),
        (Ok(true), _) => Finding::BatchDeletes {
            is_crc32_enough: matches!(seen.delete_crc32, Some(Ok(true))),
        },
    })
}

fn listings(seen: &Listings) -> Finding {
    if seen.n_missing + seen.n_stale == 0 {
        return Finding::Listings(seen.n_asked);
    }
    Finding::StaleListings {
        n_missing: seen.n_missing,
        n_stale: seen.n_stale,
        of: seen.n_asked,
    }
}
