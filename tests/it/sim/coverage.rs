//! What a play is worth: counts of the interesting things that happened in it.
//!
//! A simulation in which nothing goes wrong proves nothing; a test looks at the sums.

use std::fmt;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts of what happened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(super) struct Coverage {
            $($(#[$doc])* pub(super) $name: u64,)*
        }

        impl Coverage {
            /// Returns what never happened.
            pub(super) fn never(&self) -> Vec<&'static str> {
                let all = [$((stringify!($name), self.$name)),*];
                let never = all.into_iter().filter(|(_, n)| *n == 0);
                never.map(|(name, _)| name).collect()
            }

            /// Adds another play's counts.
            pub(super) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Coverage {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(
                    write!(f, "{separator}{} {}", stringify!($name).replace('_', " "), self.$name)?;
                    separator = ", ";
                )*
                Ok(())
            }
        }
    };
}

counts! {
    /// Plays.
    plays,
    /// Those on a server like AWS.
    on_aws,
    /// In a bucket that keeps versions.
    on_versioned,
    /// On one that knows no conditional requests.
    on_garage,
    /// On one like MinIO.
    on_minio,
    /// On one like R2.
    on_r2,
    /// On one that ignores conditions.
    on_deaf,
    /// On one whose clocks lie apart.
    clocks_apart,
    /// Requests that came to the bucket.
    requests,
    /// Requests that failed, were lost, or whose answer was.
    faults,
    /// Effects that came after their sender had stopped waiting.
    late_effects,
    /// PUTs that were answered and delivered once more afterwards.
    doubled_puts,
    /// Deletions that were carried out twice before they were answered.
    doubled_deletions,
    /// Objects that were made visible again in a bucket that keeps versions.
    undeleted,
    /// Batches of deletions of which the server dealt with some keys only.
    partial,
    /// Requests that were not sent since their fence had passed.
    too_late,
    /// Actors that stood still for minutes to weeks.
    suspensions,
    /// Actors that died at some request.
    crashes,
    /// Copies begun.
    copies,
    /// Copies that reported success.
    copies_done,
    /// Foreign copies that came to their end.
    foreign_done,
    /// Sweeps begun.
    sweeps,
    /// Sweeps that came to their end.
    sweeps_done,
    /// Sweeps that did nothing, for a reason.
    sweeps_refused,
    /// Sweeps that ended in the middle of something.
    sweeps_stopped,
    /// Narinfos that sweeps buried.
    buried,
    /// Bodies that sweeps deleted.
    deleted,
    /// Narinfos of buried paths that a copy put back.
    rescued,
    /// Narinfos of buried paths that a sweep put back.
    healed,
    /// Narinfos that an undoing put back.
    undone,
    /// Condemned paths that a sweep spared.
    spared,
    /// Bodies that a sweep had an eye on and kept.
    bodies_kept,
    /// Narinfos without bodies that sweeps buried.
    dangling,
    /// Journals of dead sweeps that were brought to an end.
    adopted,
    /// Times that a copy waited for a sweep.
    waits,
    /// Copies that took a new intent after a lapse.
    renewals,
    /// Pairs of sweeps that were at work at the same time.
    overlaps,
    /// Reported roots that a foreign writer broke (G3's exception).
    broken_by_foreign,
    /// Readers that found their bodies.
    readers_served,
    /// Plays after which garbage was gone after two runs.
    finales_of_two_runs,
    /// Roots that fell out of their rules.
    expired,
}
