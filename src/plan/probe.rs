//! How to learn which paths a cache has: one HEAD for each, or a LIST of everything.
//!
//! A LIST page answers for a thousand keys and costs what twelve and a half HEADs cost (AWS's prices:
//! $5 and $0.40 per million); so it pays where the cache is small next to the closure. How large the
//! cache is, one page tells: hash parts are spread evenly, so a page that ends at fraction *f* of their
//! range was 1 ∕ *f* of all. How far away it is, the same page tells. Waiting is weighed as money, too:
//! of two ways that cost nearly nothing, the faster is the better.
//!
//! Not here: asking (`copy::presence`).

use std::time::Duration;

use crate::nix::{base32, store_path::HashPart};

/// What one LIST page costs, in HEADs.
const HEADS_PER_PAGE: f64 = 12.5;

/// Keys in one LIST page: S3's largest.
const KEYS_PER_PAGE: f64 = 1000.0;

/// What a second of waiting is worth, in HEADs: $0.0001, which is what a machine of eight cores costs.
const HEADS_PER_SECOND: f64 = 250.0;

/// The letters that a hash part can begin with: so many listings can go on at once.
const N_LETTERS: f64 = exact(base32::ALPHABET.len());

/// Up to this many paths, HEADs need no LIST page to be compared with: a page costs nearly as much.
pub const FEW_PATHS: usize = 12;

/// How to ask for the presence of narinfos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePlan {
    /// Asks for each path.
    HeadEach(Reason),
    /// Lists all narinfos, one page after the other.
    ListAll(Reason),
    /// Lists all narinfos by their first letters, many pages at once.
    ListByLetter(Reason),
}

/// Why that is the better way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are too few paths for the question to matter.
    FewPaths,
    /// The first page was the whole cache.
    OnePage,
    /// It costs less.
    Cheaper,
    /// The credentials may not list.
    MayNotList,
}

impl ProbePlan {
    /// Decides before anything was asked; `None` means that a first page should be looked at.
    #[must_use]
    pub fn before_listing(n_paths: usize) -> Option<Self> {
        (n_paths <= FEW_PATHS).then_some(Self::HeadEach(Reason::FewPaths))
    }

    /// Decides by the first page of a listing of all narinfos, with `n_requests` under way at once.
    #[must_use]
    pub fn after_first_page(n_paths: usize, n_requests: usize, page: &FirstPage) -> Self {
        if page.is_whole {
            return Self::ListAll(Reason::OnePage);
        }
        let n_pages = (page.n_cached() / KEYS_PER_PAGE).ceil();
        let n_heads = exact(n_paths);
        let at_once = exact(n_requests.max(1));
        let turn = page.took.as_secs_f64() * HEADS_PER_SECOND;
        let head_each = n_heads + (n_heads / at_once).ceil() * turn;
        let list_all = n_pages * (HEADS_PER_PAGE + turn);
        // The last page of each letter is half empty.
        let n_letter_pages = n_pages + N_LETTERS / 2.0;
        let by_letter = n_letter_pages * HEADS_PER_PAGE
            + (n_letter_pages / N_LETTERS.min(at_once)).ceil() * turn;
        if head_each <= list_all.min(by_letter) {
            Self::HeadEach(Reason::Cheaper)
        } else if by_letter < list_all {
            Self::ListByLetter(Reason::Cheaper)
        } else {
            Self::ListAll(Reason::Cheaper)
        }
    }
}

/// What the first page of a listing of all narinfos has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPage {
    /// How many narinfos are on it.
    pub n_narinfos: usize,
    /// The last hash part on it.
    pub last: Option<HashPart>,
    /// Whether there is no second page.
    pub is_whole: bool,
    /// How long its answer took: a HEAD takes no longer.
    pub took: Duration,
}

impl FirstPage {
    /// Estimates how many narinfos the cache has, where this is not the last page.
    fn n_cached(&self) -> f64 {
        let Some(last) = self.last else {
            // A page without any narinfo: other keys stand in front, and nothing can be said.
            return 0.0;
        };
        // The last two bytes are the most significant ones.
        let bytes = last.as_bytes();
        let place = f64::from(bytes[19]) * 256.0 + f64::from(bytes[18]) + 1.0;
        exact(self.n_narinfos) * 65536.0 / place
    }
}

/// A count as a factor. One of more than 2⁵² would be needed for it to be inexact.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
const fn exact(count: usize) -> f64 {
    count as f64
}
