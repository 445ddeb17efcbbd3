//! What a bucket removes by itself: unfinished uploads, which it should, and objects by their age,
//! which breaks closures.

use crate::{
    backend::{self, Backend, Change, Expiry, Known},
    plan::sweep::touches_cache,
};

/// After how many days an unfinished upload may go. No upload of ours lasts a day; a week leaves time
/// to notice that copies do not come to their end.
pub const UPLOAD_DAYS: u32 = 7;

/// What became of the rule for unfinished uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploads {
    /// There is a rule now, or would be.
    Set,
    /// There was one.
    AlreadySo,
    /// These credentials may not; in the server's words.
    Denied(String),
    /// The server has no such rule, or it cannot be added to its others; in its words.
    Unsupported(String),
}

/// Which rules remove what belongs to the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiries {
    /// Those that are in force and would break closures; none is what it should be.
    Told(Vec<Expiry>),
    /// These credentials may not know.
    Denied,
    /// The server does not tell, or has no rules.
    Unsupported,
}

impl Expiries {
    /// Returns the rules that break closures.
    #[must_use]
    pub fn harmful(&self) -> &[Expiry] {
        match self {
            Self::Told(rules) => rules,
            Self::Denied | Self::Unsupported => &[],
        }
    }
}

/// Has the server drop unfinished uploads, and looks for rules that break closures.
pub(super) async fn settle(
    dest: &dyn Backend,
    is_dry_run: bool,
) -> Result<(Uploads, Expiries), backend::Error> {
    let lifecycle = dest.rules().await?.lifecycle;
    let after = lifecycle.told().map(|told| told.abort_uploads_after);
    let uploads = match (&lifecycle, after) {
        (_, Some(Some(days))) if days <= UPLOAD_DAYS => Uploads::AlreadySo,
        // Rules that cannot be read cannot be added to.
        (Known::Denied, _) => Uploads::Denied("its rules may not be read".to_owned()),
        (Known::Unsupported, _) => Uploads::Unsupported("it tells no rules".to_owned()),
        (Known::Told(_), _) if is_dry_run => Uploads::Set,
        (Known::Told(_), _) => match dest.set_upload_rule(UPLOAD_DAYS).await? {
            Change::Made => Uploads::Set,
            Change::AlreadySo => Uploads::AlreadySo,
            Change::Denied(why) => Uploads::Denied(why),
            Change::Unsupported(why) => Uploads::Unsupported(why),
        },
    };
    let expiries = match lifecycle {
        Known::Told(told) => Expiries::Told(told.expiries.into_iter().filter(breaks).collect()),
        Known::Denied => Expiries::Denied,
        Known::Unsupported => Expiries::Unsupported,
    };
    Ok((uploads, expiries))
}

/// Returns whether a rule removes what belongs to the cache. A rule for tagged objects never meets one
/// of ours.
fn breaks(rule: &Expiry) -> bool {
    rule.is_enabled && !rule.wants_tags && touches_cache(&rule.prefix)
}
