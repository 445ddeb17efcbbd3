//! Orders what is put back: references before referrers, in waves that may go at once.
//!
//! No store has circles, but a cache into which foreign writers have put other narinfos of the same paths
//! can have them. The paths of one circle need each other, so they come at once; what needs the circle
//! comes after it, and what the circle needs before. Circles are found as Tarjan found them ("Depth-first
//! search and linear graph algorithms", 1972), but with a stack of its own, since closures may be deep.
//! Takes time in proportion to paths and references.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice::Iter,
};

use crate::nix::store_path::HashPart;

/// Orders `paths`, each given with what it refers to; what is not among them is left out of account.
///
/// Ascending within a wave.
pub(super) fn in_waves(paths: &BTreeMap<HashPart, BTreeSet<HashPart>>) -> Vec<Vec<HashPart>> {
    let numbers: BTreeMap<&HashPart, usize> = paths.keys().zip(0..).collect();
    let row = |references: &BTreeSet<HashPart>| {
        let numbers = references.iter().filter_map(|of| numbers.get(of));
        numbers.copied().collect()
    };
    let rows: Vec<Vec<usize>> = paths.values().map(row).collect();
    let mut waves = Vec::new();
    for (part, wave) in paths.keys().zip(Search::of(&rows).waves()) {
        if waves.len() <= wave {
            waves.resize_with(wave + 1, Vec::new);
        }
        waves[wave].push(*part);
    }
    waves
}

/// A search through all paths, each known by its number.
struct Search<'a> {
    /// What each refers to.
    rows: &'a [Vec<usize>],
    /// When each was met first.
    met: Vec<Option<usize>>,
    n_met: usize,
    /// The earliest that each is known to lead back to.
    back: Vec<usize>,
    /// What was met and has no wave, in the order in which it was met.
    open: Vec<usize>,
    /// The wave of each whose circle is known, which may be itself alone.
    wave: Vec<Option<usize>>,
}

impl<'a> Search<'a> {
    fn of(rows: &'a [Vec<usize>]) -> Self {
        Self {
            rows,
            met: vec![None; rows.len()],
            n_met: 0,
            back: vec![0; rows.len()],
            open: Vec::new(),
            wave: vec![None; rows.len()],
        }
    }

    /// Returns the wave of each.
    fn waves(mut self) -> impl Iterator<Item = usize> {
        for start in 0..self.rows.len() {
            if self.met[start].is_none() {
                self.follow(start);
            }
        }
        // Invariant: whatever is met gets a wave before the search that met it ends.
        assert!(self.open.is_empty(), "a search ends with nothing open");
        self.wave.into_iter().flatten()
    }

    /// Meets all that `start` needs and that was not met before.
    fn follow(&mut self, start: usize) {
        let mut trail = vec![self.meet(start)];
        while let Some((own, left)) = trail.last_mut() {
            let own = *own;
            match left.next().map(|&of| (of, self.met[of])) {
                Some((of, None)) => trail.push(self.meet(of)),
                Some((of, Some(met))) if self.wave[of].is_none() => {
                    self.back[own] = self.back[own].min(met);
                }
                Some(_done) => {}
                None => {
                    trail.pop();
                    if let Some((referrer, _)) = trail.last() {
                        self.back[*referrer] = self.back[*referrer].min(self.back[own]);
                    }
                    self.leave(own);
                }
            }
        }
    }

    fn meet(&mut self, own: usize) -> (usize, Iter<'a, usize>) {
        self.met[own] = Some(self.n_met);
        self.back[own] = self.n_met;
        self.n_met += 1;
        self.open.push(own);
        (own, self.rows[own].iter())
    }

    /// Gives a circle its wave, if `own` is that one of it which was met first.
    fn leave(&mut self, own: usize) {
        if self.met[own] != Some(self.back[own]) {
            return;
        }
        let begin = self.open.iter().rposition(|&open| open == own);
        let circle = self.open.split_off(begin.unwrap_or_default());
        let references = circle.iter().flat_map(|&one| &self.rows[one]);
        let before = references.filter_map(|&of| self.wave[of]).max();
        let wave = before.map_or(0, |before| before + 1);
        for one in circle {
            self.wave[one] = Some(wave);
        }
    }
}
