//! Sets of paths and bodies: a path, a body, and a bit for each in one byte.
//!
//! Paths are a ← b ← c and a ← d. Each has two possible bodies: the one that narhaul would write (its own
//! number) and the one of a foreign writer (four higher), because their keys differ in real caches.

/// A path: 0 is a, 3 is d.
pub(super) type Path = u8;
/// A set of paths, one bit for each.
pub(super) type Paths = u8;
/// A body: a path's number for narhaul's own key, four more for a foreign writer's.
pub(super) type Body = u8;
/// A set of bodies, one bit for each.
pub(super) type Bodies = u8;

/// How many paths there are.
pub(super) const N_PATHS: u8 = 4;
/// Each path with all that it needs, itself included.
pub(super) const CLOSURES: [Paths; 4] = [0b0001, 0b0011, 0b0111, 0b1001];
/// The order of burial: referrers before references.
pub(super) const LEVELS: [Paths; 3] = [0b1100, 0b0010, 0b0001];

/// The members of a set, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Members(u8);

impl Iterator for Members {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let lowest = lowest(self.0)?;
        self.0 &= self.0 - 1;
        Some(lowest)
    }
}

/// Returns the members of a set, lowest first.
pub(super) fn members(set: u8) -> Members {
    Members(set)
}

/// Returns the lowest member of a set.
pub(super) fn lowest(set: u8) -> Option<u8> {
    if set == 0 {
        return None;
    }
    u8::try_from(set.trailing_zeros()).ok()
}

/// Tells whether a set has a member.
pub(super) fn has(set: u8, member: u8) -> bool {
    set >> member & 1 == 1
}

/// Returns what a set of paths needs, itself included.
pub(super) fn closure(paths: Paths) -> Paths {
    members(paths).fold(0, |all, path| all | CLOSURES[usize::from(path)])
}

/// Returns the bodies that paths name, where `foreign` tells which of them name a foreign writer's.
pub(super) fn bodies_of(paths: Paths, foreign: Paths) -> Bodies {
    (paths & !foreign) | (paths & foreign) << N_PATHS
}

/// Returns every body that might be a path's.
pub(super) fn both_bodies(paths: Paths) -> Bodies {
    paths | paths << N_PATHS
}

/// Returns the paths whose bodies these are.
pub(super) fn paths_of(bodies: Bodies) -> Paths {
    (bodies | bodies >> N_PATHS) & 0b1111
}
