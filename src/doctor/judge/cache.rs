//! Judges what the bucket does by itself, and what the cache holds.

use super::{
    super::{
        facts::{Anonymous, Bucket, Cache, Missing, Sample, Top},
        finding::{Finding, Topic},
    },
    of_answer,
};
use crate::{
    backend::{Known, Lifecycle, Rules, Versioning},
    nix::{cache_info::CacheInfo, store_path::StoreDir},
    plan::sweep::touches_cache,
};

pub(super) fn bucket(seen: &Bucket) -> Vec<Finding> {
    let mut found = vec![match &seen.missing {
        Missing::NotFound => Finding::MissingIs404,
        Missing::Denied => Finding::MissingIs403,
        Missing::Found => Finding::MissingIsFound,
        Missing::Failed(error) => Finding::NotKnown(Topic::MissingKeys, error.clone()),
    }];
    found.extend(of_answer(Topic::Lifecycle, seen.rules.as_ref(), rules));
    found.extend(of_answer(Topic::Policy, seen.policy.as_ref(), |policy| {
        vec![match policy {
            Known::Told(policy) => Finding::Policy {
                is_there: policy.is_some(),
            },
            Known::Unsupported => Finding::NoPolicies,
            Known::Denied => Finding::PolicyDenied,
        }]
    }));
    found
}

fn rules(rules: &Rules) -> Vec<Finding> {
    let mut found = match &rules.lifecycle {
        Known::Told(told) => lifecycle(told),
        Known::Denied => vec![Finding::LifecycleUnknown { is_denied: true }],
        Known::Unsupported => vec![Finding::LifecycleUnknown { is_denied: false }],
    };
    let frees = rules
        .lifecycle
        .told()
        .is_some_and(|told| told.noncurrent.iter().any(|rule| rule.is_enabled));
    found.push(match rules.versioning {
        Known::Told(Versioning::Off) => Finding::NoVersions,
        Known::Told(Versioning::On | Versioning::Suspended) => {
            Finding::Versions { is_freed: frees }
        }
        Known::Denied => Finding::VersionsUnknown { is_denied: true },
        Known::Unsupported => Finding::VersionsUnknown { is_denied: false },
    });
    if rules.has_object_lock == Known::Told(true) {
        found.push(Finding::ObjectLock);
    }
    found
}

fn lifecycle(lifecycle: &Lifecycle) -> Vec<Finding> {
    let mut found = Vec::new();
    // A rule for tagged objects never meets one of a cache. What is left is judged as a sweep does it.
    let in_force = lifecycle
        .expiries
        .iter()
        .filter(|rule| rule.is_enabled && !rule.wants_tags);
    for rule in in_force {
        found.push(if breaks_a_cache(&rule.prefix) {
            Finding::Expiry(rule.clone())
        } else {
            Finding::ExpiryElsewhere(rule.clone())
        });
    }
    if !found.iter().any(|one| matches!(one, Finding::Expiry(_))) {
        found.insert(0, Finding::NoExpiry);
    }
    found.push(match lifecycle.abort_uploads_after {
        Some(days) => Finding::UploadsGo { days },
        None => Finding::UploadsStay,
    });
    found
}

/// A sweep does without `nix-cache-info`; clients do not.
fn breaks_a_cache(prefix: &str) -> bool {
    touches_cache(prefix) || "nix-cache-info".starts_with(prefix)
}

pub(super) fn judge(seen: &Cache) -> Vec<Finding> {
    let mut found = of_answer(Topic::CacheInfo, seen.info.as_ref(), |info| match info {
        None => vec![Finding::NoCacheInfo],
        Some(Err(words)) => vec![Finding::BadCacheInfo(words.clone())],
        Some(Ok(info)) => cache_info(info, &seen.store_dir),
    });
    found.extend(of_answer(Topic::TopLevel, seen.top.as_ref(), top));
    found.extend(of_answer(Topic::Signatures, seen.sample.as_ref(), sample));
    found.extend(seen.anonymous.as_ref().map(anonymous));
    found
}

fn cache_info(info: &CacheInfo, wanted: &StoreDir) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(store_dir) = info.store_dir.as_ref().filter(|dir| *dir != wanted) {
        found.push(Finding::OtherStore {
            found: store_dir.to_string(),
            wanted: wanted.to_string(),
        });
    }
    match info.priority {
        Some(priority) => found.push(Finding::CacheInfo { priority }),
        None => found.push(Finding::NoPriority),
    }
    if !info.want_mass_query {
        found.push(Finding::NoMassQuery);
    }
    found
}

fn top(top: &Top) -> Vec<Finding> {
    if top.n_others > 0 {
        return vec![Finding::Junk {
            n: top.n_others,
            first: top.first_others.clone(),
        }];
    }
    vec![Finding::TopLevel {
        n_narinfos: top.n_narinfos,
        is_cut: top.is_cut,
    }]
}

fn sample(sample: &Sample) -> Vec<Finding> {
    let of = sample.n_read;
    if of == 0 {
        return vec![Finding::NoNarinfos];
    }
    let mut found = Vec::new();
    let mut note = |n: u64, finding: Finding| {
        if n > 0 {
            found.push(finding);
        }
    };
    let bad = sample.n_unreadable;
    note(bad, Finding::BadNarinfos { n: bad, of });
    let forged = sample.n_forged;
    note(forged, Finding::Forged { n: forged, of });
    let unsigned = sample.n_unsigned;
    note(unsigned, Finding::Unsigned { n: unsigned, of });
    let untrusted = Finding::NotTrusted {
        n: sample.n_not_trusted,
        of,
        key_names: sample.key_names.clone(),
        trusted: sample.trusted.clone(),
    };
    note(sample.n_not_trusted, untrusted);
    if found.is_empty() {
        found.push(Finding::Signed {
            key_names: sample.key_names.clone(),
            is_checked: !sample.trusted.is_empty(),
            n_content_addressed: sample.n_content_addressed,
        });
    }
    found.push(match sample.n_without_body {
        0 => Finding::Bodies(sample.n_bodies),
        n => Finding::NoBodies {
            n,
            of: sample.n_bodies,
        },
    });
    found
}

fn anonymous(seen: &Anonymous) -> Finding {
    let place = seen.place.clone();
    match (&seen.info, &seen.narinfo) {
        (Err(error), _) => Finding::NotAnonymous {
            place,
            error: error.clone(),
        },
        (Ok(()), Some(Err(error))) => Finding::HalfAnonymous {
            place,
            error: error.clone(),
        },
        (Ok(()), _) => Finding::Anonymous(place),
    }
}
