//! The end of a play: nobody copies any more, time passes, and sweeps find nothing in their way.
//!
//! I10 and G6: what stays unreachable is gone after a window, a grace and two runs, no journal stays half
//! way, and nothing leaks. What is left is what a fresh bucket would hold into which the living closures
//! were copied, and a little of the ledger.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use narhaul::{
    ledger::{IntentFile, Name},
    nix::{object_key::ObjectKey, store_path::HashPart},
};

use super::{
    actors::{self, SweepPart},
    judge::{GRACE, WINDOW},
    play::Director,
    stage::{Who, lock},
    weather::{Way, Weather},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What must pass before the runs of the finale: window and grace with their margins, then what is left
/// to the next run after a crash, then doom lists.
const WAITS: [Duration; 6] = [
    WINDOW.saturating_add(DAY),
    GRACE.saturating_add(DAY),
    GRACE.saturating_add(DAY),
    GRACE.saturating_add(DAY),
    DAY.saturating_mul(9),
    DAY.saturating_mul(9),
];

impl Director {
    /// Lets time pass, and quiet sweeps do their work; says what is left that should not be.
    pub(super) async fn let_garbage_go(&mut self) -> Result<(), String> {
        self.mend_wrecks();
        let mut left = Err("nothing was looked at".to_owned());
        for (run, wait) in WAITS.into_iter().enumerate() {
            self.stage.pause(wait).await;
            self.sweep_quietly().await;
            if let Some(what) = self.stage.violation() {
                return Err(what);
            }
            left = self.look_at_the_rest();
            if left.is_ok() {
                self.stage.count(|coverage| {
                    coverage.finales_of_two_runs += u64::from(run < 2);
                });
                break;
            }
        }
        left
    }

    /// Takes away by hand what no sweep may take away.
    fn mend_wrecks(&self) {
        let names = self.stage.memory.names().into_iter();
        let wrecks = names.filter(|name| {
            let stored = self.stage.memory.stored(name).unwrap();
            name.ends_with(".narinfo") && stored.body.starts_with(b"wreck")
        });
        for wreck in wrecks {
            self.stage.memory.remove(&wreck);
        }
        lock(&self.stage.judge).wrecks_are_gone();
    }

    /// A sweep that meets no trouble.
    pub(super) async fn sweep_quietly(&mut self) {
        self.n_actors += 1;
        let number = self.n_actors;
        let who = Who::Sweep(number);
        let way = Arc::new(Way::new(&self.stage, who, Weather::fair(), 0));
        let part = SweepPart {
            number,
            repair: false,
            ignore_lease: true,
            seed: 0,
            bug: self.bug,
        };
        lock(&self.stage.judge).begins(self.stage.elapsed(), who, &self.stage.coverage);
        actors::sweep(Arc::clone(&self.stage), way, part).await;
        lock(&self.stage.judge).ends(self.stage.elapsed(), who);
    }

    /// Compares what is there with what should be.
    fn look_at_the_rest(&self) -> Result<(), String> {
        let judge = lock(&self.stage.judge);
        let now = self.stage.elapsed();
        let visible = judge.visible();
        let expected = judge.expected();
        if let Some(part) = expected.iter().find(|part| !visible.contains_key(part)) {
            return Err(format!("I1: `{part}` is missing at the end"));
        }
        let kept = self.store.closure_of_parts(&judge.kept_roots(now));
        let allowed: BTreeSet<HashPart> = expected.union(&kept).copied().collect();
        let bodies: BTreeSet<&String> = visible.values().collect();
        for name in self.stage.memory.names() {
            let key = ObjectKey::parse(&name).unwrap();
            let is_garbage = if let Some(part) = key.narinfo_hash_part() {
                !allowed.contains(&part)
            } else if let Some(part) = name.strip_suffix(".ls") {
                !visible.contains_key(&part.parse::<HashPart>().unwrap())
            } else if name.starts_with("nar/") {
                !bodies.contains(&name)
            } else {
                match Name::parse(&key) {
                    Some(Name::Intent {
                        file: IntentFile::Closure | IntentFile::Beat | IntentFile::Ended,
                        ..
                    }) => true,
                    Some(Name::Journal { .. }) => true,
                    Some(Name::Root { .. }) => judge.must_be_expired(now, &key),
                    _ => false,
                }
            };
            if is_garbage {
                return Err(format!("I10: `{name}` is still there at the end"));
            }
        }
        Ok(())
    }
}
