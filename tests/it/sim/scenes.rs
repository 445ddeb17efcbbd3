//! Scenes: races in which one step of the protocol decides, brought about by cues.
//!
//! Each is a short play for the same actors before the same judge. The shipped code must come through it
//! whatever the seed; with the bug planted that the scene is for it must not ([`Bug::scene`]).
//!
//! Chance alone finds some of these bugs, within some thousands of plays; the others want more than one
//! rare thing at a time.

use std::{sync::Arc, time::Duration};

use narhaul::{
    backend::wrap::count::Verb::{Delete, Get, Head, List, Put},
    ledger::{Name, pin::Pin},
    nix::{compression::Compression, object_key::ObjectKey},
};
use rand::Rng as _;

use super::{
    actors::{self, Beliefs, CopyPart, SweepPart},
    bugs::Bug,
    cues::{Cue, Deed, Wait},
    play::Director,
    stage::{Who, lock},
    weather::{Way, Weather},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// More than a window, and more than a grace.
const LONG: Duration = DAY.saturating_mul(33);

/// An intent is dead when its beat is so old.
const INTENT_DEAD: Duration = HOUR.saturating_mul(2);

/// A sweep is dead when its beat is so old.
const RUN_DEAD: Duration = MINUTE.saturating_mul(13);

// Files by which actors wait for each other.
const INFOS: &str = "*.narinfo";
const BODIES: &str = "nar/*";
const DOOM: &str = "narhaul/journal/*/doom-*";
const CONDEMNED: &str = "narhaul/journal/*/condemned";
const BURIED: &str = "narhaul/journal/*/buried";
const JOURNALS: &str = "narhaul/journal/";
const BEAT: &str = "narhaul/journal/*/beat";
const ROOTS: &str = "narhaul/roots/*";
const INTENT: &str = "narhaul/intents/*/closure";
const INTENTS: &str = "narhaul/intents/";

/// A race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// A sweep buries what is old, and later deletes it.
    SweepAlone,
    /// A sweep meets a narinfo that it cannot read.
    Wreck,
    /// A copy comes and goes between a sweep's first look and its second.
    CopyBesideCondemning,
    /// A copy comes when a sweep is about to delete narinfos of its closure.
    CopyBesideBurial,
    /// A copy begins after S8's first look, and before the doom list.
    CopyBeforeDoom,
    /// A copy begins after S8d, and before the deletion.
    CopyAfterDoom,
    /// A copy asks what is there before the doom list, and publishes after S8d.
    CopyAroundDoom,
    /// A copy stands still until its intent is dead and what it wants is deleted.
    CopyStandsStill,
    /// A copy's intent is dead; a sweep drops it when the copy has begun anew.
    IntentDiesAndIsRenewed,
    /// A path is buried again, by a sweep that dies, before its first journal is carried out.
    SecondBurial,
    /// Something is published that needs a buried path, after a sweep's S1 and before its S8.
    NeededDuringSweep,
    /// A sweep is done while another one is about to delete what a copy wants.
    TwoDeleters,
    /// A sweep is about to delete, and another one has taken the lease.
    LeaseTaken,
    /// A sweep dies before it is done with burying.
    SweepDies,
    /// A sweep dies with a DELETE of narinfos on its way.
    SweepDiesBurying,
    /// A DELETE of narinfos is not answered, done again, and arrives.
    BurialUnanswered,
    /// A DELETE of narinfos is carried out twice.
    BurialRepeated,
    /// A sweep stands still before its deletion until it is dead.
    SweepStandsStill,
    /// A narinfo is long on its way.
    NarinfoLate,
    /// An undoing comes and goes between two looks of S8.
    UndoBetweenLooks,
    /// An undoing reads the ledger before the doom list, and writes after S8d.
    UndoBesideDeleter,
    /// An undoing stands still until its intent is dead.
    UndoStandsStill,
    /// An undoing of what was half deleted.
    UndoOfHalf,
    /// A sweep heals what a pin names that has ended for the next sweep, which deletes it.
    PinEnds,
    /// A foreign writer overtakes a deletion; a sweep comes.
    Dangling,
    /// The same, and a copy comes a week later.
    CopyOfDangling,
    /// The same with a body that was an orphan.
    CopyOfDanglingOrphan,
    /// A copy comes when a sweep is about to delete a dangling narinfo.
    CopyBesideDangling,
    /// A sweep spares a dangling narinfo because of a copy, which then looks.
    DanglingSpared,
    /// A foreign writer takes a path from a root, and leaves an orphan.
    RootLosesPath,
    /// A foreign writer replaces a narinfo of ours.
    Replaced,
    /// The same with one that a copy has rescued.
    RescuedAndReplaced,
}

impl Scene {
    /// All of them.
    pub(super) const ALL: [Self; 32] = [
        Self::SweepAlone,
        Self::Wreck,
        Self::CopyBesideCondemning,
        Self::CopyBesideBurial,
        Self::CopyBeforeDoom,
        Self::CopyAfterDoom,
        Self::CopyAroundDoom,
        Self::CopyStandsStill,
        Self::IntentDiesAndIsRenewed,
        Self::SecondBurial,
        Self::NeededDuringSweep,
        Self::TwoDeleters,
        Self::LeaseTaken,
        Self::SweepDies,
        Self::SweepDiesBurying,
        Self::BurialUnanswered,
        Self::BurialRepeated,
        Self::SweepStandsStill,
        Self::NarinfoLate,
        Self::UndoBetweenLooks,
        Self::UndoBesideDeleter,
        Self::UndoStandsStill,
        Self::UndoOfHalf,
        Self::PinEnds,
        Self::Dangling,
        Self::CopyOfDangling,
        Self::CopyOfDanglingOrphan,
        Self::CopyBesideDangling,
        Self::DanglingSpared,
        Self::RootLosesPath,
        Self::Replaced,
        Self::RescuedAndReplaced,
    ];
}

impl Director {
    /// Plays a scene.
    pub(super) async fn enact(&mut self, scene: Scene) -> Result<(), String> {
        self.begin_scene(scene).await?;
        // What is still on its way arrives.
        self.stage.pause(4 * HOUR).await;
        Ok(())
    }

    async fn begin_scene(&mut self, scene: Scene) -> Result<(), String> {
        match scene {
            Scene::SweepAlone | Scene::Wreck | Scene::SweepDies => self.alone(scene).await,
            Scene::CopyBesideCondemning | Scene::CopyBesideBurial => {
                self.beside_burial(scene).await
            }
            Scene::CopyBeforeDoom
            | Scene::CopyAfterDoom
            | Scene::CopyAroundDoom
            | Scene::TwoDeleters
            | Scene::LeaseTaken
            | Scene::SweepStandsStill => self.beside_deletion(scene).await,
            Scene::CopyStandsStill
            | Scene::IntentDiesAndIsRenewed
            | Scene::NarinfoLate
            | Scene::UndoStandsStill => self.lapse(scene).await,
            Scene::SecondBurial => self.second_burial().await,
            Scene::NeededDuringSweep => self.needed_during_sweep().await,
            Scene::SweepDiesBurying | Scene::BurialUnanswered | Scene::BurialRepeated => {
                self.late_burial(scene).await
            }
            Scene::UndoBetweenLooks | Scene::UndoBesideDeleter => self.undo(scene).await,
            Scene::UndoOfHalf => self.undo_of_half().await,
            Scene::PinEnds => self.pin_ends().await,
            Scene::Dangling
            | Scene::CopyOfDangling
            | Scene::CopyBesideDangling
            | Scene::DanglingSpared => self.dangling(scene).await,
            Scene::CopyOfDanglingOrphan => self.dangling_orphan().await,
            Scene::RootLosesPath => self.root_loses_path().await,
            Scene::Replaced => self.replaced().await,
            Scene::RescuedAndReplaced => self.rescued_and_replaced().await,
        }
    }

    /// Returns the path with the largest closure.
    fn top(&self) -> usize {
        let size = |&number: &usize| self.store.closure_of(&[number]).len();
        (0..self.store.len()).max_by_key(size).unwrap_or_default()
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_secs(), most.as_secs());
        Duration::from_secs(self.rng.random_range(least..=most))
    }

    /// A way on which nothing goes wrong but what cues say.
    fn cued(&mut self, who: fn(u32) -> Who, cues: Vec<Cue>) -> (u32, Arc<Way>) {
        self.n_actors += 1;
        let number = self.n_actors;
        let pace = [20, 20, 200, 1000][self.rng.random_range(0..4)];
        let weather = Weather {
            pace: Duration::from_millis(pace),
            ..Weather::fair()
        };
        let seed = self.rng.random();
        let way = Way::new(&self.stage, who(number), weather, seed).with_cues(cues);
        (number, Arc::new(way))
    }

    fn cast_sweep(&mut self, cues: Vec<Cue>) {
        let (number, way) = self.cued(Who::Sweep, cues);
        let part = SweepPart {
            number,
            repair: false,
            ignore_lease: true,
            seed: self.rng.random(),
            bug: self.bug,
        };
        let act = actors::sweep(Arc::clone(&self.stage), way, part);
        self.spawn(Who::Sweep(number), Duration::ZERO, act);
    }

    fn cast_copy(&mut self, root: usize, group: &'static str, cues: Vec<Cue>) {
        let (number, way) = self.cued(Who::Copy, cues);
        let part = CopyPart {
            number,
            group,
            compression: Compression::None,
            check_bodies: false,
            write_listing: self.rng.random_bool(0.2),
            seed: self.rng.random(),
            bug: self.bug,
            roots: vec![root],
        };
        let act = actors::copy(Arc::clone(&self.stage), Arc::clone(&self.store), way, part);
        self.spawn(Who::Copy(number), Duration::ZERO, act);
    }

    fn cast_foreign(&mut self, root: usize, beliefs: Beliefs, cues: Vec<Cue>) {
        let (number, way) = self.cued(Who::Foreign, cues);
        let (stage, store) = (Arc::clone(&self.stage), Arc::clone(&self.store));
        let act = actors::foreign(stage, store, way, number, vec![root], beliefs);
        self.spawn(Who::Foreign(number), Duration::ZERO, act);
    }

    /// Undoes the last sweep that has buried anything.
    fn cast_undo(&mut self, cues: Vec<Cue>) {
        let Some(run) = lock(&self.stage.judge).last_run() else {
            return;
        };
        let (number, way) = self.cued(Who::Sweep, cues);
        let by = (self.rng.random(), self.bug);
        let act = actors::undo(Arc::clone(&self.stage), way, number, run, by);
        self.spawn(Who::Sweep(number), Duration::ZERO, act);
    }

    /// A sweep that meets no trouble and has no bug, before the race begins.
    async fn sweep_before(&mut self) {
        let bug = self.bug.take();
        self.sweep_quietly().await;
        self.bug = bug;
        self.stage.new_act();
    }

    /// The closure of `root` was published, is old, and has been buried; its bodies are there.
    async fn bury(&mut self, root: usize) {
        self.plant_closure(root).await;
        self.stage.pause(LONG).await;
        self.believe_all(root);
        self.sweep_before().await;
    }

    /// Lets the machine of a foreign writer know that a closure is there.
    fn believe_all(&self, root: usize) {
        for number in self.store.closure_of(&[root]) {
            lock(&self.beliefs).insert(number, self.stage.elapsed());
        }
    }

    async fn alone(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        self.plant_closure(root).await;
        if scene == Scene::Wreck {
            let wreck = ObjectKey::parse("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.narinfo").unwrap();
            self.plant(wreck, "wreck".into()).await;
        }
        self.stage.pause(LONG).await;
        if scene == Scene::SweepDies {
            self.cast_sweep(vec![Cue::at(Put, BURIED).wait(Wait::Dies)]);
            self.until_all_are_done().await?;
            return self.let_garbage_go().await;
        }
        self.sweep_quietly().await;
        self.stage.pause(LONG).await;
        self.sweep_quietly().await;
        Ok(())
    }

    async fn beside_burial(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        self.plant_closure(root).await;
        self.stage.pause(LONG).await;
        let at = match scene {
            Scene::CopyBesideCondemning => (Put, CONDEMNED),
            _ => (Delete, INFOS),
        };
        let long = self.between(MINUTE, 4 * MINUTE);
        self.cast_sweep(vec![Cue::at(at.0, at.1).done(Put, ROOTS).within(long)]);
        self.cast_copy(root, "alpha", vec![Cue::at(Get, "*").reached(at.0, at.1)]);
        self.until_all_are_done().await
    }

    async fn beside_deletion(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        self.stage.pause(LONG).await;
        let long = self.between(MINUTE, 4 * MINUTE);
        let after_doom = Cue::at(Get, "*").reached(Delete, BODIES);
        let until_published = Cue::at(Delete, BODIES).done(Put, INFOS).within(long);
        match scene {
            Scene::CopyBeforeDoom => {
                self.cast_sweep(vec![Cue::at(Put, DOOM).done(Put, INFOS).within(long)]);
                self.cast_copy(root, "alpha", vec![Cue::at(Get, "*").reached(Put, DOOM)]);
            }
            Scene::CopyAroundDoom => {
                self.cast_sweep(vec![
                    Cue::at(Put, DOOM).done(Head, BODIES).within(long),
                    until_published,
                ]);
                self.cast_copy(
                    root,
                    "alpha",
                    vec![
                        Cue::at(Get, "*").reached(Put, DOOM),
                        Cue::at(Put, INTENT).reached(Delete, BODIES).within(long),
                    ],
                );
            }
            Scene::TwoDeleters => {
                self.cast_sweep(vec![until_published]);
                self.cast_sweep(vec![
                    Cue::at(Get, "*").reached(Delete, BODIES),
                    Cue::at(Put, DOOM).held(SECOND),
                    Cue::at(List, INTENTS).done(Put, INTENT).within(long),
                ]);
                self.cast_copy(
                    root,
                    "alpha",
                    vec![
                        Cue::at(Get, "*")
                            .done(Put, DOOM)
                            .reached(Put, DOOM)
                            .done(Get, DOOM),
                    ],
                );
            }
            Scene::LeaseTaken => {
                self.cast_sweep(vec![until_published]);
                let other = Cue::at(Get, "*").reached(Delete, BODIES);
                self.cast_sweep(vec![other, Cue::at(List, "narhaul/snapshot/").held(long)]);
                let copy = Cue::at(Get, "*").reached(List, "narhaul/snapshot/");
                self.cast_copy(root, "alpha", vec![copy]);
            }
            Scene::SweepStandsStill => {
                let still = RUN_DEAD + self.between(2 * MINUTE, 20 * MINUTE);
                self.cast_sweep(vec![Cue::at(Delete, BODIES).still(still)]);
                self.cast_copy(root, "alpha", vec![after_doom.held(RUN_DEAD + 30 * SECOND)]);
            }
            _ => {
                self.cast_sweep(vec![until_published]);
                self.cast_copy(root, "alpha", vec![after_doom]);
            }
        }
        self.until_all_are_done().await
    }

    async fn lapse(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        if scene != Scene::IntentDiesAndIsRenewed {
            self.bury(root).await;
            self.stage.pause(LONG).await;
        }
        let later = INTENT_DEAD + self.between(5 * MINUTE, 10 * MINUTE);
        let still = later + self.between(10 * MINUTE, 90 * MINUTE);
        let sweep = Cue::at(Get, "*")
            .reached(Put, INFOS)
            .held(later)
            .within(DAY);
        match scene {
            Scene::IntentDiesAndIsRenewed => {
                let anew = Wait::DoneAnew(Deed(Put, INTENT));
                let drop = Cue::at(Delete, INTENT).wait(anew).within(2 * HOUR);
                self.cast_sweep(vec![sweep, drop]);
                self.cast_copy(root, "alpha", vec![Cue::at(Put, INFOS).still(still)]);
            }
            Scene::NarinfoLate => {
                // As late as it may be, and later than that.
                let late = match self.bug {
                    Some(Bug::PutAfterDeath) => still,
                    _ => self.between(MINUTE, 177 * SECOND),
                };
                let dies = Cue::at(Put, INFOS).late(late).wait(Wait::DiesSending);
                self.cast_sweep(vec![sweep]);
                self.cast_copy(root, "alpha", vec![dies]);
            }
            Scene::UndoStandsStill => {
                self.cast_sweep(vec![sweep]);
                self.cast_undo(vec![Cue::at(Put, INFOS).still(still)]);
            }
            _ => {
                self.cast_sweep(vec![sweep]);
                self.cast_copy(root, "alpha", vec![Cue::at(Put, INFOS).still(still)]);
            }
        }
        self.until_all_are_done().await
    }

    async fn second_burial(&mut self) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        // Rescued by a copy whose root no rule keeps for longer than the window.
        self.cast_copy(root, "hook", Vec::new());
        self.until_all_are_done().await?;
        self.stage.pause(LONG).await;
        self.cast_sweep(vec![Cue::at(Put, BURIED).wait(Wait::Dies)]);
        self.until_all_are_done().await?;
        self.stage.pause(HOUR).await;
        self.sweep_quietly().await;
        Ok(())
    }

    async fn needed_during_sweep(&mut self) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        // What the foreign writer does not know to be there is its root alone.
        lock(&self.beliefs).remove(&root);
        self.stage.pause(29 * DAY).await;
        let hold = Cue::at(Put, INFOS).done(List, "").within(3 * DAY);
        self.cast_foreign(root, Arc::clone(&self.beliefs), vec![hold]);
        self.stage.pause(2 * DAY - 20 * MINUTE).await;
        let long = self.between(2 * HOUR, 5 * HOUR);
        self.cast_sweep(vec![
            Cue::at(List, "").held(SECOND),
            Cue::at(List, INTENTS).held(long),
        ]);
        self.until_all_are_done().await
    }

    async fn late_burial(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        self.plant_closure(root).await;
        self.stage.pause(LONG).await;
        let delete = Cue::at(Delete, INFOS);
        let copy = Cue::at(Get, "*").reached(Delete, INFOS);
        if scene == Scene::BurialRepeated {
            // Only before the answer, if the assumption holds; that is the weather's.
            let late = self.between(30 * SECOND, 177 * SECOND);
            let is_broken = self.bug == Some(Bug::DeleteRepeated);
            let cues = is_broken.then(|| delete.wait(Wait::Doubled(late)));
            self.cast_sweep(cues.into_iter().collect());
            self.cast_copy(root, "alpha", vec![Cue::at(Get, "*").done(Put, CONDEMNED)]);
        } else if scene == Scene::BurialUnanswered {
            let late = self.between(130 * SECOND, 177 * SECOND);
            self.cast_sweep(vec![delete.late(late)]);
            self.cast_copy(root, "alpha", vec![copy]);
        } else {
            let late = match self.bug {
                Some(Bug::DeleteAfterDeath) => RUN_DEAD + self.between(5 * MINUTE, HOUR),
                _ => self.between(MINUTE, 177 * SECOND),
            };
            self.cast_sweep(vec![delete.late(late).wait(Wait::DiesSending)]);
            self.cast_copy(root, "alpha", vec![copy.held(RUN_DEAD + MINUTE)]);
        }
        self.until_all_are_done().await
    }

    async fn undo(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        self.stage.pause(LONG).await;
        // By then it has read the ledger.
        let doom = Cue::at(Put, DOOM).done(Head, BODIES);
        let begin = Cue::at(Get, "*").reached(Put, DOOM);
        let until_put = Cue::at(Delete, BODIES).done(Put, INFOS);
        if scene == Scene::UndoBetweenLooks {
            let intents = Cue::at(List, INTENTS).done(Delete, INTENT);
            self.cast_sweep(vec![doom, intents]);
            self.cast_undo(vec![begin, Cue::at(Put, INFOS).done(Put, DOOM)]);
        } else {
            let long = self.between(MINUTE, 10 * MINUTE);
            self.cast_sweep(vec![doom, until_put]);
            let put = Cue::at(Put, INFOS).reached(Delete, BODIES).within(long);
            self.cast_undo(vec![begin, put]);
        }
        self.until_all_are_done().await
    }

    async fn undo_of_half(&mut self) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        self.stage.pause(LONG).await;
        // As often as it is tried again.
        let partly = Cue::at(Delete, BODIES).wait(Wait::Partly);
        self.cast_sweep(vec![partly]);
        self.until_all_are_done().await?;
        self.stage.pause(HOUR).await;
        self.cast_undo(Vec::new());
        self.until_all_are_done().await
    }

    async fn pin_ends(&mut self) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        self.stage.pause(LONG).await;
        let ends = self.between(30 * SECOND, 5 * MINUTE);
        let now = self.stage.clock.now();
        let pin = Pin {
            store_dir: self.store.dir_ref().clone(),
            paths: vec![self.store.path(root).clone()],
            // Another one counts an hour more, for clocks that disagree.
            until: Some(now + ends - HOUR),
        };
        let key = Name::Pin("release".parse().unwrap()).key();
        self.plant(key, pin.encode().into()).await;
        let long = ends + self.between(5 * MINUTE, 20 * MINUTE);
        let put = Cue::at(Put, INFOS).done(Delete, BODIES).within(long);
        self.cast_sweep(vec![put]);
        let later = Cue::at(Put, BEAT).done(Head, BODIES).held(ends + MINUTE);
        self.cast_sweep(vec![later]);
        self.until_all_are_done().await
    }

    /// A foreign writer publishes a narinfo when the body that it has found is deleted: it dangles.
    async fn overtake(&mut self, root: usize) -> Result<(), String> {
        self.stage.pause(LONG).await;
        self.stage.new_act();
        self.cast_sweep(vec![Cue::at(Delete, BODIES).done(Head, BODIES)]);
        self.cast_foreign(
            root,
            Beliefs::default(),
            vec![
                Cue::at(Get, "*").reached(Delete, BODIES),
                Cue::at(Put, INFOS).done(Delete, BEAT),
            ],
        );
        let bug = self.bug.take();
        let done = self.until_all_are_done().await;
        self.bug = bug;
        self.stage.new_act();
        done
    }

    async fn dangling(&mut self, scene: Scene) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        self.overtake(root).await?;
        match scene {
            Scene::CopyOfDangling => {
                let wait = self.between(HOUR, 25 * DAY);
                self.stage.pause(wait.max(8 * DAY)).await;
                self.cast_copy(root, "alpha", Vec::new());
            }
            Scene::CopyBesideDangling => {
                let long = self.between(MINUTE, 4 * MINUTE);
                let delete = Cue::at(Delete, INFOS).done(Put, INFOS).within(long);
                self.cast_sweep(vec![delete]);
                self.cast_copy(
                    root,
                    "alpha",
                    vec![Cue::at(Get, "*").reached(Delete, INFOS)],
                );
            }
            Scene::DanglingSpared => {
                self.stage.pause(9 * DAY).await;
                self.cast_copy(
                    root,
                    "alpha",
                    vec![Cue::at(List, JOURNALS).done(Delete, BEAT)],
                );
                self.cast_sweep(vec![Cue::at(Get, "*").done(Put, INTENT)]);
            }
            _ => {
                self.stage.pause(HOUR).await;
                self.sweep_quietly().await;
            }
        }
        self.until_all_are_done().await
    }

    async fn dangling_orphan(&mut self) -> Result<(), String> {
        let root = self.top();
        for number in self.store.closure_of(&[root]) {
            let narinfo = self.store.foreign_narinfo(number);
            let body = self.store.foreign_body(number);
            self.plant(narinfo.body_key().unwrap(), body.into()).await;
        }
        self.stage.pause(9 * DAY).await;
        self.sweep_before().await;
        self.overtake(root).await?;
        self.stage.pause(HOUR).await;
        self.cast_copy(root, "alpha", Vec::new());
        self.until_all_are_done().await
    }

    async fn root_loses_path(&mut self) -> Result<(), String> {
        let root = self.top();
        self.bury(root).await;
        self.stage.pause(LONG).await;
        self.cast_sweep(vec![Cue::at(Delete, BODIES).done(Head, BODIES)]);
        self.cast_foreign(
            root,
            Beliefs::default(),
            vec![
                Cue::at(Get, "*").reached(Delete, BODIES),
                Cue::at(Put, INFOS).done(Put, ROOTS),
            ],
        );
        self.cast_copy(root, "alpha", vec![Cue::at(Get, "*").done(Delete, BEAT)]);
        self.until_all_are_done().await?;
        self.let_garbage_go().await
    }

    async fn replaced(&mut self) -> Result<(), String> {
        let root = self.top();
        let cues = vec![Cue::at(Head, BODIES).done(Put, ROOTS).within(DAY)];
        self.cast_foreign(root, Beliefs::default(), cues);
        self.cast_copy(root, "alpha", vec![Cue::at(Get, "*").reached(Head, BODIES)]);
        self.until_all_are_done().await?;
        for wait in [9 * DAY, DAY] {
            self.stage.pause(wait).await;
            self.sweep_quietly().await;
        }
        Ok(())
    }

    async fn rescued_and_replaced(&mut self) -> Result<(), String> {
        let root = self.top();
        self.cast_copy(root, "hook", Vec::new());
        self.until_all_are_done().await?;
        self.stage.pause(LONG).await;
        self.sweep_before().await;
        self.stage.pause(LONG).await;
        // The copy rescues, and dies before its root is written.
        self.cast_copy(
            root,
            "alpha",
            vec![
                Cue::at(Get, "*").reached(Head, BODIES),
                Cue::at(Put, ROOTS).wait(Wait::Dies),
            ],
        );
        let cues = vec![Cue::at(Head, BODIES).reached(Put, ROOTS).within(DAY)];
        self.cast_foreign(root, Beliefs::default(), cues);
        self.until_all_are_done().await?;
        self.stage.pause(3 * HOUR).await;
        self.sweep_quietly().await;
        Ok(())
    }
}
