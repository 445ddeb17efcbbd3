//! Which settings suit a bucket and this machine best: requests at once, the size of parts, the level.
//!
//! The planner is pure: [`search`] looks at what was tried, and says what is best so far and what is to be
//! tried next. It begins with the settings as they are. Then, at the lightest level, where the bucket is
//! most likely the bound, it doubles the requests and then the size of parts while that makes copies
//! faster, or else halves them while that does. With what it has found it goes through the levels, lighter
//! ones first, until one is less than half as fast as the fastest. Last it tries whether the requests and
//! parts of the beginning do as well.
//!
//! Faster means beyond the noise of repeated copies ([`stats::exceeds`]). Where speeds cannot be told apart, smaller
//! bodies are better, and after them what was there before. What looks best is compared with the settings
//! of the beginning once more, by turns: among so many trials one looks good by chance, and servers change
//! with the hour.
//!
//! Not here: the size of frames, which is no setting. It is part of the recipe in every body's key, and
//! one that is the same for all lets two machines make the same body.

use serde::{Deserialize, Serialize};

use super::{
    Bench, Error, Request, Walked, copies,
    ground::Ground,
    report::{Run, Trial, Tuned, float},
    spend,
    stats::{self, Sample},
};
use crate::{copy::budget, plan::recipe::Recipe};

/// A copy that takes this much longer is as fast, where its bodies are smaller: repeated copies to one
/// server scatter as far.
const NOISE: f64 = 0.05;

/// Bodies that are smaller by less than this are not worth another setting.
const WORTH: f64 = 0.01;

/// The levels that are tried. Heavier ones than 9 take more than ten times the time of 3 for a few percent.
const LEVELS: [i32; 7] = [0, 1, 2, 3, 5, 7, 9];

/// The numbers of requests. With fewer than 8 a line stands idle for most of each round trip; no server
/// that we have measured was faster with more than 256.
const REQUESTS: [u32; 6] = [8, 16, 32, 64, 128, 256];

/// The sizes of parts. S3 takes 5 MiB at least; two parts are in memory for each body that is sent.
const PARTS: [usize; 4] = [8 << 20, 16 << 20, 32 << 20, 64 << 20];

/// How often the comparison at the end costs as much as a trial: each side once.
const N_LAST: u32 = 2;

/// What can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// Requests at once, at most.
    pub requests: u32,
    /// Bytes in a part of a large body.
    pub part_size: usize,
    /// The compression level.
    pub level: i32,
}

/// What there is to choose from; each in ascending order, with what is set already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    start: Choice,
    requests: Vec<u32>,
    parts: Vec<usize>,
    levels: Vec<i32>,
}

impl Space {
    /// Returns what can be tried of a copy whose largest NAR has so many bytes.
    #[must_use]
    pub fn of(request: &Request, largest: u64, max_parts: u32) -> Self {
        let start = Choice {
            requests: request.n_requests,
            part_size: request.part_size,
            level: request.recipe.level(),
        };
        let fits = |level: i32, part_size: usize| {
            let recipe = Recipe::new(request.recipe.compression().clone(), Some(level));
            let part_size = budget::part_size(largest, max_parts, part_size);
            recipe.is_ok_and(|recipe| {
                let (memory, n_threads) = (request.memory, request.n_threads);
                budget::Shares::of(memory, n_threads, &recipe, part_size).is_ok()
            })
        };
        let levels = with(start.level, LEVELS, |level| fits(level, start.part_size));
        let heaviest = levels.last().copied().unwrap_or(start.level);
        // Bodies of small NARs are never sent in parts.
        let has_parts = super::is_large(largest);
        Self {
            start,
            requests: with(start.requests, REQUESTS, |_| true),
            parts: with(start.part_size, PARTS, |part_size| {
                has_parts && fits(heaviest, part_size)
            }),
            levels,
        }
    }

    /// Returns the most copies that a search makes, of so many for each trial.
    #[must_use]
    pub fn most_copies(&self, n_repetitions: u32) -> u64 {
        // The beginning, each axis, and the way back.
        let n_trials = 2 + self.requests.len() + self.parts.len() + self.levels.len();
        let n_trials = u64::try_from(n_trials).unwrap_or(u64::MAX) + u64::from(N_LAST);
        n_trials.saturating_mul(n_repetitions.into())
    }
}

/// Returns what is set, and those of `others` that are possible, in ascending order.
fn with<T: Copy + Ord, const N: usize>(
    set: T,
    others: [T; N],
    is_possible: impl Fn(T) -> bool,
) -> Vec<T> {
    let mut all: Vec<T> = others.into_iter().filter(|one| is_possible(*one)).collect();
    all.push(set);
    all.sort_unstable();
    all.dedup();
    all
}

/// What a trial showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// What was tried.
    pub choice: Choice,
    /// Bytes of NAR in a second, each time.
    pub speeds: Sample,
    /// Bytes of the bodies.
    pub size: u64,
}

/// In what one setting is better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Copies are faster beyond their noise.
    Faster,
    /// Copies are as fast, and their bodies smaller.
    Smaller,
    /// Nothing that could be told.
    Same,
}

/// Compares two settings.
#[must_use]
pub fn compare(old: &Shown, new: &Shown) -> Outcome {
    if is_faster(new, old) {
        return Outcome::Faster;
    }
    let is_worth = float(new.size) <= float(old.size) * (1.0 - WORTH);
    if is_worth && is_as_fast(new, old) {
        return Outcome::Smaller;
    }
    Outcome::Same
}

fn is_faster(one: &Shown, other: &Shown) -> bool {
    stats::exceeds(&one.speeds, &other.speeds)
}

fn is_as_fast(one: &Shown, other: &Shown) -> bool {
    speed(one) >= speed(other) * (1.0 - NOISE) && !is_faster(other, one)
}

fn speed(shown: &Shown) -> f64 {
    shown.speeds.median().unwrap_or_default()
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// What is best so far.
    pub best: Choice,
    /// What is to be tried next; nothing at the end.
    pub wanted: Option<Choice>,
}

/// Says what is best so far, and what is to be tried next.
#[must_use]
pub fn search(space: &Space, shown: &[Shown]) -> Search {
    let tried = Tried(shown);
    match tried.whole(space) {
        Ok(best) => Search { best, wanted: None },
        Err(wanted) => Search {
            best: tried.pick(space.start, shown),
            wanted: Some(wanted),
        },
    }
}

/// What was tried. A step that needs more than that fails with what must be tried first.
struct Tried<'a>(&'a [Shown]);

impl Tried<'_> {
    fn at(&self, choice: Choice) -> Result<&Shown, Choice> {
        let mut shown = self.0.iter();
        shown.find(|shown| shown.choice == choice).ok_or(choice)
    }

    fn whole(&self, space: &Space) -> Result<Choice, Choice> {
        let start = space.start;
        self.at(start)?;
        let level = space.levels.first().copied().unwrap_or(start.level);
        let light = Choice { level, ..start };
        let make = |requests| Choice { requests, ..light };
        let light = self.climb(light, &space.requests, make)?;
        let make = |part_size| Choice { part_size, ..light };
        let light = self.climb(light, &space.parts, make)?;
        let best = self.levels(space, light)?;
        self.way_back(start, best)
    }

    /// Goes up along an axis while that makes copies faster, or else down.
    fn climb<T: Copy>(
        &self,
        from: Choice,
        axis: &[T],
        make: impl Fn(T) -> Choice,
    ) -> Result<Choice, Choice> {
        let mut best = self.at(from)?;
        let axis: Vec<Choice> = axis.iter().map(|one| make(*one)).collect();
        let (below, above): (Vec<_>, Vec<_>) = axis.into_iter().partition(|one| *one < from);
        let ways = [above, below.into_iter().rev().collect()];
        for way in ways {
            for choice in way.into_iter().filter(|choice| *choice != from) {
                let found = self.at(choice)?;
                if !is_faster(found, best) {
                    break;
                }
                best = found;
            }
            if best.choice != from {
                break;
            }
        }
        Ok(best.choice)
    }

    /// Goes through the levels, until one is too slow to matter.
    fn levels(&self, space: &Space, light: Choice) -> Result<Choice, Choice> {
        let mut seen = Vec::new();
        let mut fastest = 0.0_f64;
        for &level in &space.levels {
            let found = self.at(Choice { level, ..light })?;
            seen.push(found.clone());
            fastest = fastest.max(speed(found));
            if speed(found) < fastest / 2.0 && level > space.start.level {
                break;
            }
        }
        Ok(self.pick(space.start, &seen))
    }

    /// Returns the best of what was seen, beside what was set at the beginning: of equals what is nearer to
    /// that.
    fn pick(&self, start: Choice, seen: &[Shown]) -> Choice {
        let Ok(mut best) = self.at(start) else {
            return start;
        };
        let mut near: Vec<&Shown> = seen.iter().collect();
        near.sort_by_key(|shown| shown.choice.level.abs_diff(start.level));
        for shown in &near {
            if is_faster(shown, best) {
                best = shown;
            }
        }
        let fastest = best;
        for shown in &near {
            if compare(best, shown) == Outcome::Smaller && is_as_fast(shown, fastest) {
                best = shown;
            }
        }
        best.choice
    }

    /// Returns to the requests and parts of the beginning where they do as well.
    fn way_back(&self, start: Choice, best: Choice) -> Result<Choice, Choice> {
        let back = Choice {
            level: best.level,
            ..start
        };
        let is_needed = is_faster(self.at(best)?, self.at(back)?);
        Ok(if is_needed { best } else { back })
    }
}

/// What may be spent, or was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Seconds.
    pub seconds: f64,
    /// Requests.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Spent {
    fn and(self, more: Self) -> Self {
        Self {
            seconds: self.seconds + more.seconds,
            requests: self.requests.saturating_add(more.requests),
            bytes: self.bytes.saturating_add(more.bytes),
        }
    }

    fn times(self, n: u32) -> Self {
        (0..n).fold(Self::default(), |sum, _| sum.and(self))
    }

    fn max(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.max(other.seconds),
            requests: self.requests.max(other.requests),
            bytes: self.bytes.max(other.bytes),
        }
    }

    fn is_within(self, budget: Self) -> bool {
        self.seconds <= budget.seconds
            && self.requests <= budget.requests
            && self.bytes <= budget.bytes
    }
}

/// Returns whether one more trial, and the comparison at the end, are within the budget, were they as dear
/// as the dearest trial so far.
#[must_use]
pub fn may_go_on(budget: Spent, spent: Spent, dearest: Spent) -> bool {
    spent.and(dearest.times(1 + N_LAST)).is_within(budget)
}

/// Searches, and remembers what it tried. The first trial is always made.
pub(super) async fn run(
    bench: &Bench,
    ground: &Ground,
    walked: &Walked,
    allowed: Spent,
) -> Result<Tuned, Error> {
    let space = Space::of(
        &bench.request,
        walked.largest(),
        bench.base.limits().max_parts,
    );
    let mut trials = Trials {
        bench,
        ground,
        walked,
        n_corners: 0,
    };
    let (mut tried, mut shown) = (Vec::new(), Vec::new());
    let (mut spent, mut dearest) = (Spent::default(), Spent::default());
    let mut is_whole = true;
    while let Some(choice) = search(&space, &shown).wanted {
        if !may_go_on(allowed, spent, dearest) {
            is_whole = false;
            break;
        }
        let start = bench.request.clock.elapsed();
        let trial = trials.one(choice).await?;
        let took = bench.request.clock.elapsed().saturating_sub(start);
        let cost = Spent {
            seconds: took.as_secs_f64(),
            ..trial.cost()
        };
        (spent, dearest) = (spent.and(cost), dearest.max(cost));
        shown.push(trial.shown());
        tried.push(trial);
    }
    let best = search(&space, &shown).best;
    let best = tried.iter().position(|trial| trial.choice() == best);
    let best = best.unwrap_or_default();
    let last = match best {
        0 => None,
        _ => Some(trials.by_turns(space.start, tried[best].choice()).await?),
    };
    let outcome = last.as_ref().map_or(Outcome::Same, |[usual, best]| {
        compare(&usual.shown(), &best.shown())
    });
    Ok(Tuned {
        trials: tried,
        best,
        last,
        outcome,
        is_whole,
    })
}

/// Makes trials.
struct Trials<'a> {
    bench: &'a Bench,
    ground: &'a Ground,
    walked: &'a Walked,
    n_corners: u32,
}

impl Trials<'_> {
    /// Tries one choice as often as everything is repeated.
    async fn one(&mut self, choice: Choice) -> Result<Trial, Error> {
        let bench = self.bench_with(choice);
        let mut trial = Trial::of(choice);
        for _ in 0..bench.request.n_repetitions {
            trial.runs.push(self.copy(&bench).await?);
        }
        Ok(trial)
    }

    /// Tries two choices by turns.
    async fn by_turns(&mut self, usual: Choice, best: Choice) -> Result<[Trial; 2], Error> {
        let benches = [self.bench_with(usual), self.bench_with(best)];
        let mut trials = [Trial::of(usual), Trial::of(best)];
        for _ in 0..self.bench.request.n_repetitions {
            for (bench, trial) in benches.iter().zip(&mut trials) {
                trial.runs.push(self.copy(bench).await?);
            }
        }
        Ok(trials)
    }

    /// Copies into an empty corner.
    async fn copy(&mut self, bench: &Bench) -> Result<Run, Error> {
        bench.go_on()?;
        self.ground.check().await?;
        self.n_corners += 1;
        let corner = format!("t{}", self.n_corners);
        let large = self.walked.large(&bench.request.recipe);
        self.ground.announce(&corner, &large).await?;
        copies::cold(bench, self.ground, &corner).await
    }

    fn bench_with(&self, choice: Choice) -> Bench {
        let request = &self.bench.request;
        let recipe = Recipe::new(request.recipe.compression().clone(), Some(choice.level));
        Bench {
            request: Request {
                // The space holds only levels that the codec has.
                recipe: recipe.unwrap_or_else(|_| request.recipe.clone()),
                n_requests: choice.requests,
                part_size: choice.part_size,
                ..request.clone()
            },
            ..self.bench.clone()
        }
    }
}

impl Trial {
    fn of(choice: Choice) -> Self {
        Self {
            requests: choice.requests,
            part_size: choice.part_size,
            level: choice.level,
            runs: Vec::new(),
        }
    }

    /// Returns what was tried.
    #[must_use]
    pub const fn choice(&self) -> Choice {
        Choice {
            requests: self.requests,
            part_size: self.part_size,
            level: self.level,
        }
    }

    /// Returns the bytes of NAR in a second, of each run.
    #[must_use]
    pub fn speeds(&self) -> Sample {
        Sample::new(self.runs.iter().map(|run| float(run.bytes) / run.seconds))
    }

    /// Returns the bytes of the bodies, which are the same in every run.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.runs.first().map_or(0, |run| run.wire_bytes)
    }

    /// Returns the bodies' bytes as a share of the NARs'.
    #[must_use]
    pub fn share(&self) -> f64 {
        let nars = self.runs.first().map_or(0, |run| run.bytes);
        float(self.size()) / float(nars.max(1))
    }

    /// Returns the seconds of processors that each run used.
    #[must_use]
    pub fn cpu(&self) -> Sample {
        Sample::new(self.runs.iter().map(|run| run.cpu_seconds))
    }

    fn shown(&self) -> Shown {
        Shown {
            choice: self.choice(),
            speeds: self.speeds(),
            size: self.size(),
        }
    }

    /// Returns what it took, but for the time: with what it took to empty the corner again, the looks for
    /// unfinished parts of a few large bodies left out.
    fn cost(&self) -> Spent {
        let requests = |run: &Run| run.requests + spend::clearing(run.items, 0).n_requests();
        Spent {
            seconds: 0.0,
            requests: self.runs.iter().map(requests).sum(),
            bytes: self.runs.iter().map(|run| run.wire_bytes).sum(),
        }
    }
}

impl Tuned {
    /// Returns the trial whose settings are to be taken: what was set before, where nothing was better.
    #[must_use]
    pub fn chosen(&self) -> Option<&Trial> {
        self.trials.get(match self.outcome {
            Outcome::Same => 0,
            Outcome::Faster | Outcome::Smaller => self.best,
        })
    }
}

#[cfg(test)]
mod tests;
