//! Makes findings of facts: pure, asks nobody, and knows no words.
//!
//! Each neighbor judges one part; here they are put in order. What was not asked has no finding; what was
//! asked in vain has one that says so.

mod access;
mod cache;
#[cfg(test)]
mod tests;
mod writes;

use std::time::SystemTime;

use super::{
    Asked, Facts,
    finding::{Finding, Topic},
};
use crate::{
    backend::Error,
    ledger::capabilities::{Capabilities, ConditionalPut},
};

/// Judges everything that was seen, in the order of topics.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = access::judge(facts);
    if let Some(bucket) = &facts.bucket {
        found.extend(cache::bucket(bucket));
    }
    if let Some(seen) = &facts.cache {
        found.extend(cache::judge(seen));
    }
    if facts.is_read_only && facts.contact.is_ok() {
        found.push(Finding::NotWritten);
    }
    if let Some(seen) = &facts.writes {
        found.extend(writes::judge(facts, seen));
    }
    if !facts.left.is_empty() {
        found.push(Finding::LeftOver(facts.left.clone()));
    }
    found.extend(change(facts));
    found.sort_by_key(Finding::topic);
    found
}

/// Returns what is worth remembering; none if no write was tried. The time is the caller's to tell.
#[must_use]
pub(super) fn capabilities(facts: &Facts, server: &str) -> Option<Capabilities> {
    let seen = facts.writes.as_ref()?;
    let told = |asked: &Asked<bool>| {
        asked
            .as_ref()
            .and_then(|asked| asked.as_ref().ok())
            .copied()
    };
    let conditional_delete = seen.conditional_delete.as_ref();
    let listings = seen.listings.as_ref().and_then(|asked| asked.as_ref().ok());
    Some(Capabilities {
        probed: SystemTime::UNIX_EPOCH,
        server: server.to_owned(),
        conditional_put: match &seen.condition {
            Some(Ok(races)) => writes::condition(races),
            _ => ConditionalPut::Unknown,
        },
        conditional_delete: conditional_delete
            .and_then(|asked| asked.as_ref().ok())
            .copied()
            .unwrap_or_default(),
        deletes_batches: told(&seen.delete_fenced),
        takes_unequal_parts: told(&seen.unequal_parts),
        lists_what_is_there: listings.map(|seen| seen.n_missing + seen.n_stale == 0),
    })
}

/// Holds what was found against what the last examination wrote down. What either does not know is no
/// change.
fn change(facts: &Facts) -> Option<Finding> {
    let before = facts.before.as_ref()?;
    let mut now = capabilities(facts, &before.server)?;
    let mut then = before.clone();
    if ConditionalPut::Unknown == now.conditional_put
        || ConditionalPut::Unknown == then.conditional_put
    {
        now.conditional_put = then.conditional_put;
    }
    for (now, then) in [
        (&mut now.deletes_batches, &mut then.deletes_batches),
        (&mut now.takes_unequal_parts, &mut then.takes_unequal_parts),
        (&mut now.lists_what_is_there, &mut then.lists_what_is_there),
    ] {
        if now.is_none() || then.is_none() {
            (*now, *then) = (None, None);
        }
    }
    now.conditional_delete = then.conditional_delete;
    (!now.says_the_same_as(&then)).then_some(Finding::Changed {
        before: before.probed,
    })
}

/// Judges an answer, if the question was asked; a failed question is a finding of its own.
fn of_answer<T>(
    topic: Topic,
    asked: Option<&Result<T, Error>>,
    judge: impl FnOnce(&T) -> Vec<Finding>,
) -> Vec<Finding> {
    match asked {
        None => Vec::new(),
        Some(Ok(answer)) => judge(answer),
        Some(Err(error)) => vec![Finding::NotKnown(topic, error.clone())],
    }
}
