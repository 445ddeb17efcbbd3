//! A sweep that did not begin, in words: what was refused, why, and what to do.
//!
//! A refusal says what would have been lost and names the rule, the root or the share that it is about;
//! each hint is one command or one flag.

use crate::{
    cli::{
        error::{CLOCKS_HINT, Exit, Failure, backend_hint},
        site::Site,
        units::{Count, Size},
    },
    plan::sweep::{Refusal, Totals},
    sweep::Error,
    tomb,
};

/// Tells why a sweep did not begin, or not come to its end before it had changed anything.
#[must_use]
pub fn of_sweep(site: &Site, error: &Error) -> Failure {
    let failure = Failure::from_error(error);
    let url = &site.typed;
    match error {
        Error::Cache { source, .. } => with_hint(failure, backend_hint(url, source)),
        Error::Books(books) => of_books(site, books),
        Error::Refused(refusal) => of_refusal(site, refusal),
        Error::Ledger { .. } | Error::Foreign(_) => refused(failure).hint(
            "it may be what keeps paths alive: sweep with the newest narhaul, or see who has written it",
        ),
        Error::NoConfig(_) => refused(failure).hint(
            "give window, grace and rules as they were, and add `--change-settings`; they are kept from then on",
        ),
        Error::CacheInfo { .. } => failure.hint(
            "clients cannot read it either: remove or mend that object, then run `narhaul init`",
        ),
        Error::Busy(_) => refused(failure).hint(
            "wait for its end, or sweep beside it by `--ignore-lease`; one that was killed counts as dead a quarter of an hour later",
        ),
        Error::NoSuchRun(_) => {
            failure.hint(format!(
                "a sweep can be taken back until its grace is over and another has deleted the bodies; \
                 see which there are: `narhaul runs '{url}'`"
            ))
        }
        Error::Plan(_) => Failure {
            causes: failure.causes,
            ..Failure::bug(failure.message)
        },
        Error::Census(_) | Error::NotKept(_) => failure,
        Error::Lapsed => failure.hint(
            "this machine slept or its network was away; run the same command again",
        ),
        Error::Stopped => Failure {
            exit: Exit::Interrupted,
            ..Failure::new(format!("interrupted: nothing of `{}` was taken away", site.place))
        },
    }
}

/// Tells why the ledger cannot be read.
#[must_use]
pub fn of_books(site: &Site, error: &tomb::Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        tomb::Error::Cache { source, .. } => {
            with_hint(failure, backend_hint(&site.typed, source))
        }
        tomb::Error::Clocks { .. } => refused(failure).hint(CLOCKS_HINT),
        tomb::Error::File { .. } | tomb::Error::Vanished { .. } => refused(failure).hint(
            "it may be what keeps paths alive: sweep with the newest narhaul, or see who has written it",
        ),
        tomb::Error::Plan(_) => Failure {
            causes: failure.causes,
            ..Failure::bug(failure.message)
        },
    }
}

fn of_refusal(site: &Site, refusal: &Refusal) -> Failure {
    let (place, url) = (&site.place, &site.typed);
    match refusal {
        Refusal::NoRoots => Failure::refused(format!(
            "refusing to sweep `{place}`: nothing in it says what is in use"
        ))
        .cause("there is no root record and no pin, and no list of roots was given: whatever is older than the window would go, in use or not")
        .hint("copy with `narhaul copy`, which leaves a root, or name what is in use: `--roots-from FILE`, `narhaul pin`")
        .hint("if age alone is to decide: `--age-only`"),
        Refusal::Absent { label, n_paths } => Failure::refused(format!(
            "refusing to sweep `{place}`: it has nothing of what `{label}` names"
        ))
        .cause(format!(
            "the list names {}, and none of that is there: what is in use may be named nowhere",
            Count::of(*n_paths, "path")
        ))
        .hint("see whether it is the right list for this cache, and copy what it names")
        .hint("if it may name nothing here: `--allow-absent-roots`"),
        Refusal::Vanished { n_gone, first } => Failure::refused(format!(
            "refusing to sweep `{place}`: {} gone, and nothing says why",
            match n_gone {
                1 => "1 root or pin of the last sweep is".to_owned(),
                n => format!("{n} roots or pins of the last sweep are"),
            }
        ))
        .cause(format!("`{first}` was there; an expiry rule or somebody's hand has removed it, and what it kept would go"))
        .hint("copy those paths again, or pin them; narhaul's own records belong into no expiry rule")
        .hint(format!("if they may go: remove `narhaul/snapshot/` of `{url}`, and sweep again")),
        Refusal::Expiry { id, prefix } => {
            let all = if prefix.is_empty() {
                "every object".to_owned()
            } else {
                format!("what begins with `{prefix}`")
            };
            Failure::refused(format!(
                "refusing to sweep `{place}` beside the bucket's expiry rule `{id}`"
            ))
            .cause(format!(
                "the rule deletes {all} by its age alone, in use or not: it breaks closures, and eats the ledger that says what is in use"
            ))
            .hint(format!("remove the rule `{id}` from the bucket, and let `narhaul sweep --window` take its place"))
        }
        // Settings are compared before a sweep begins, in their own words; here another sweep has changed
        // them meanwhile.
        Refusal::Settings { .. } => Failure::refused(refusal.to_string())
            .hint("leave the flag away to go by the cache's own, or change them for good: `--change-settings`"),
        Refusal::Guard { percent, plan } => {
            let totals = plan.totals;
            Failure::refused(format!(
                "refusing to bury {} of {} ({} of {}): the guard is {percent} %",
                totals.n_condemned,
                Count::of(totals.n_narinfos, "path"),
                Size(totals.bytes_condemned),
                Size(totals.bytes),
            ))
            .hint("see what would go: the same command with `--dry-run`")
            .hint(format!("if it is right, let it pass this once: `--guard {}%`", share(totals)))
        }
    }
}

/// The share, rounded up, that a plan takes.
#[must_use]
pub fn share(totals: Totals) -> u128 {
    let of = |part: u128, whole: u128| (part * 100).div_ceil(whole.max(1)).min(100);
    let paths = of(totals.n_condemned as u128, totals.n_narinfos as u128);
    paths.max(of(
        u128::from(totals.bytes_condemned),
        u128::from(totals.bytes),
    ))
}

fn refused(failure: Failure) -> Failure {
    Failure {
        exit: Exit::Refused,
        ..failure
    }
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
