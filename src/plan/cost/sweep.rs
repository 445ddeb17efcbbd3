//! What a sweep costs that does what a dry run has found.
//!
//! A dry run asks for all that a sweep asks for up to its plan, so what it asked is counted, not reckoned.
//! What comes on top follows from the plan, step by step in the protocol's order, and is exact as long as
//! nothing fails and nobody else is at work. What cannot be known is left out: a sweep that works for long
//! writes a beat each minute, and the listing of many thousand keys may be cut into other pages next time.
//!
//! Bytes are reckoned by usual sizes of narinfos and of lines of a listing.

use super::{Cost, NARINFO_BYTES, PER_REQUEST};

/// A narinfo's or a body's line in a page of a listing: 236 to 260 bytes in S3's XML, as AWS writes it.
const LISTED_BYTES: u64 = 250;

/// The texts of a journal are sent and read back in pieces of this size (`sweep::condemn`).
const PIECE: u64 = 8 << 20;

/// What a dry run asked for, and what it found that is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// What it asked for itself: the sweep asks for it too.
    pub asked: Cost,
    /// Pages of the listing of narinfos, and keys on them.
    pub n_narinfo_pages: u64,
    /// See [`Self::n_narinfo_pages`].
    pub n_narinfo_keys: u64,
    /// Pages of the listings of bodies and of what lies beside them, and keys on them.
    pub n_bulk_pages: u64,
    /// See [`Self::n_bulk_pages`].
    pub n_bulk_keys: u64,
    /// Root records.
    pub n_roots: u64,
    /// Pins.
    pub n_pins: u64,
    /// Narinfos that are put back from journals.
    pub n_healed: u64,
    /// Those of them that are asked for before they are written.
    pub n_asked_first: u64,
    /// Journals that are not done with, and kept doom lists: files that are read with them.
    pub n_journal_files: u64,
    /// Whether the cache's settings are written.
    pub has_new_settings: bool,
    /// Narinfos that are condemned, and the batches in which they are deleted.
    pub n_condemned: u64,
    /// See [`Self::n_condemned`].
    pub n_batches: u64,
    /// Beats of the sweep while it lingers between burying and healing.
    pub n_beats: u64,
    /// Whether journals are due, or bodies to be deleted.
    pub has_due: bool,
    /// Bodies that are deleted, and the doom lists that name them.
    pub n_bodies: u64,
    /// See [`Self::n_bodies`].
    pub n_doom_lists: u64,
    /// Journals that come to their end.
    pub n_finished: u64,
    /// Visible narinfos that go since they have lost their bodies, and their levels.
    pub n_dangling: u64,
    /// See [`Self::n_dangling`].
    pub n_dangling_levels: u64,
    /// What outlived its path or body, those of it that are read first, and further doom lists for it.
    pub n_companions: u64,
    /// See [`Self::n_companions`].
    pub n_read_companions: u64,
    /// See [`Self::n_companions`].
    pub n_later_doom_lists: u64,
    /// Journals of dead sweeps that are dropped, taken over or closed.
    pub n_adopted: u64,
    /// Unfinished uploads that are aborted.
    pub n_aborted: u64,
    /// Requests that drop files of the ledger.
    pub n_drops: u64,
    /// Bytes that are no longer kept in the end.
    pub bytes_freed: u64,
}

/// Returns what a sweep costs that does what `rehearsal` has found.
#[must_use]
pub fn sweep(rehearsal: &Rehearsal) -> Cost {
    let steps = [
        begin_and_finish(rehearsal),
        heal(rehearsal),
        bury(rehearsal),
        delete(rehearsal),
        dangling(rehearsal),
        companions(rehearsal),
    ];
    let cost = steps.into_iter().fold(rehearsal.asked, Cost::add_up);
    let asked_keys = rehearsal.n_narinfo_keys + rehearsal.n_bulk_keys;
    Cost {
        // The dry run's own listings; those of the steps count their own.
        bytes_out: cost.bytes_out + asked_keys * LISTED_BYTES,
        bytes_freed: rehearsal.bytes_freed,
        ..cost
    }
}

impl Rehearsal {
    /// A look at all narinfos.
    const fn narinfos(&self) -> Cost {
        Cost {
            n_lists: self.n_narinfo_pages,
            bytes_out: self.n_narinfo_keys * LISTED_BYTES,
            ..NOTHING
        }
    }

    /// A look at the narinfos that are left after burying.
    fn narinfos_left(&self) -> Cost {
        if self.n_condemned == 0 {
            return self.narinfos();
        }
        let n_left = self.n_narinfo_keys.saturating_sub(self.n_condemned);
        Cost {
            n_lists: pages(n_left).min(self.n_narinfo_pages),
            bytes_out: n_left * LISTED_BYTES,
            ..NOTHING
        }
    }

    /// A look at all bodies and what lies beside them.
    const fn bulk(&self) -> Cost {
        Cost {
            n_lists: self.n_bulk_pages,
            bytes_out: self.n_bulk_keys * LISTED_BYTES,
            ..NOTHING
        }
    }

    /// A look at intents, roots and pins, and at the journals.
    const fn ledger(&self) -> Cost {
        lists(INTENTS + pages(self.n_roots) + pages(self.n_pins) + JOURNALS)
    }
}

/// Running copies are few, and journals a handful of files for each night of a grace: one page each.
const INTENTS: u64 = 1;

/// See [`INTENTS`].
const JOURNALS: u64 = 1;

/// The pages of a listing of so many keys: one at least, which says that there are none.
const fn pages(n_keys: u64) -> u64 {
    if n_keys == 0 {
        1
    } else {
        n_keys.div_ceil(PER_REQUEST)
    }
}

const NOTHING: Cost = Cost {
    n_puts: 0,
    n_lists: 0,
    n_gets: 0,
    n_deletes: 0,
    bytes_in: 0,
    bytes_out: 0,
    bytes_freed: 0,
};

const fn lists(n_lists: u64) -> Cost {
    Cost { n_lists, ..NOTHING }
}

/// S0, S1b, S10.
fn begin_and_finish(of: &Rehearsal) -> Cost {
    Cost {
        // Beat and lease; the snapshot.
        n_puts: 2 + u64::from(of.has_new_settings) + 1 + of.n_adopted,
        // The date of the beat, and in the end whose the lease is.
        n_gets: 2,
        // Lease and beat.
        n_deletes: 2 + of.n_drops + of.n_aborted,
        ..NOTHING
    }
}

/// S1: an intent and its date, the journals once more; for each narinfo a question for its body and its
/// text. Then everything is looked at again.
fn heal(of: &Rehearsal) -> Cost {
    let n = of.n_healed;
    if n == 0 {
        return NOTHING;
    }
    let own = Cost {
        n_puts: 1 + n,
        n_lists: JOURNALS,
        n_gets: 1 + of.n_journal_files + 3 * n + of.n_asked_first,
        n_deletes: 1,
        bytes_in: n * NARINFO_BYTES,
        bytes_out: 2 * n * NARINFO_BYTES,
        ..NOTHING
    };
    own + of.bulk() + of.narinfos()
}

/// S5 to S7.
fn bury(of: &Rehearsal) -> Cost {
    if of.n_condemned == 0 {
        return NOTHING;
    }
    let before_and_after = of.narinfos() + of.narinfos_left() + of.ledger();
    let batches = Cost {
        n_puts: of.n_beats,
        // The intents are listed before each.
        n_lists: of.n_batches,
        n_deletes: of.n_batches,
        ..NOTHING
    };
    condemn(of.n_condemned) + before_and_after + batches
}

/// The journal of so many narinfos: each is read, texts and index are written and read back, and two
/// markers are written. The index is read once more with the other journals.
const fn condemn(n: u64) -> Cost {
    let bytes = n * NARINFO_BYTES;
    let n_pieces = bytes.div_ceil(PIECE);
    // More than one piece is sent in parts, between a beginning and an end.
    let n_texts = if n_pieces > 1 { n_pieces + 2 } else { 1 };
    Cost {
        n_puts: n_texts + 1 + 2,
        n_gets: n + n_pieces + 2,
        bytes_in: bytes,
        bytes_out: 2 * bytes,
        ..NOTHING
    }
}

/// S8.
fn delete(of: &Rehearsal) -> Cost {
    let mut cost = NOTHING;
    if of.has_due {
        cost = cost + of.bulk() + of.narinfos_left() + of.ledger();
    }
    if of.n_bodies > 0 {
        let own = Cost {
            n_deletes: of.n_bodies.div_ceil(PER_REQUEST),
            ..doom(of, of.n_doom_lists)
        };
        // The list is closed in the end; what is gone is looked at once more.
        cost = cost + own + of.narinfos_left();
    }
    if of.n_doom_lists + of.n_later_doom_lists > 0 {
        cost.n_puts += 1;
    }
    cost.n_puts += of.n_finished;
    cost
}

/// Doom lists, which are read back and read with the other journals, and the look after them.
fn doom(of: &Rehearsal, n_lists: u64) -> Cost {
    let own = Cost {
        n_puts: n_lists,
        n_gets: 2 * n_lists,
        ..NOTHING
    };
    own + of.ledger() + of.narinfos_left()
}

/// S8f: a journal of its own, and each narinfo once more before it goes.
fn dangling(of: &Rehearsal) -> Cost {
    if of.n_dangling == 0 {
        return NOTHING;
    }
    let own = Cost {
        n_lists: 1,
        n_gets: of.n_dangling,
        n_deletes: of.n_dangling_levels,
        bytes_out: of.n_dangling * NARINFO_BYTES,
        ..NOTHING
    };
    let again = of.ledger().without_journals();
    own + condemn(of.n_dangling) + again
}

/// The rest of S9.
fn companions(of: &Rehearsal) -> Cost {
    let mut cost = Cost {
        n_gets: of.n_read_companions,
        n_deletes: of.n_companions.div_ceil(PER_REQUEST),
        ..NOTHING
    };
    if of.n_later_doom_lists > 0 {
        cost = cost + doom(of, of.n_later_doom_lists);
    }
    cost
}

impl Cost {
    fn add_up(self, other: Self) -> Self {
        self + other
    }

    const fn without_journals(self) -> Self {
        lists(self.n_lists - JOURNALS)
    }
}
