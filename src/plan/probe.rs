//! How to learn which paths a cache has: one HEAD for each, or a LIST of everything.
//!
//! A LIST page answers for a thousand keys and costs what twelve and a half HEADs cost (AWS's prices:
//! $5 and $0.40 per million); so it pays where the cache is small next to the closure. How large the
//! cache is, one page tells: hash parts are spread evenly, so a page that ends at fraction *f* of their
//! range was 1 ∕ *f* of all.
//!
//! Not here: asking (`copy::presence`).

use crate::nix::store_path::HashPart;

/// What one LIST page costs, in HEADs.
const HEADS_PER_PAGE: f64 = 12.5;

/// Keys in one LIST page: S3's largest.
const KEYS_PER_PAGE: f64 = 1000.0;

/// From this many pages on, one listing for each of the 32 letters that a hash part can begin with
/// takes hardly more requests than one listing of all, and a 32nd of its time.
const MANY_PAGES: f64 = 64.0;

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

    /// Decides by the first page of a listing of all narinfos.
    ///
    /// `last` is the last hash part on the page, and `is_whole` whether there is no second page.
    #[must_use]
    pub fn after_first_page(
        n_paths: usize,
        n_on_page: usize,
        last: Option<HashPart>,
        is_whole: bool,
    ) -> Self {
        if is_whole {
            return Self::ListAll(Reason::OnePage);
        }
        let n_narinfos = estimate(n_on_page, last);
        let n_pages = (n_narinfos / KEYS_PER_PAGE).ceil();
        let cost_of_listing = n_pages * HEADS_PER_PAGE;
        // A closure of more than 2⁵² paths would be needed for this to be inexact.
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let cost_of_heads = n_paths as f64;
        if cost_of_heads <= cost_of_listing {
            Self::HeadEach(Reason::Cheaper)
        } else if n_pages >= MANY_PAGES {
            Self::ListByLetter(Reason::Cheaper)
        } else {
            Self::ListAll(Reason::Cheaper)
        }
    }
}

/// Estimates how many narinfos there are, from a first page that is not the last.
fn estimate(n_on_page: usize, last: Option<HashPart>) -> f64 {
    let Some(last) = last else {
        // A page without any narinfo: other keys stand in front, and nothing can be said.
        return 0.0;
    };
    // The last two bytes are the most significant ones.
    let bytes = last.as_bytes();
    let place = f64::from(bytes[19]) * 256.0 + f64::from(bytes[18]) + 1.0;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let n_on_page = n_on_page as f64;
    n_on_page * 65536.0 / place
}
