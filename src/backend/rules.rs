//! What a bucket does to its objects by itself: expiry rules, versions, locks.
//!
//! [`Backend::rules`](super::Backend::rules) asks three questions, and servers answer some of them and
//! refuse others, so each answer is a [`Known`]: a refusal to tell is not "none".

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// The server says so.
    Told(T),
    /// These credentials may not know.
    Denied,
    /// The server has nothing of the kind, or does not tell.
    Unsupported,
}

impl<T> Known<T> {
    /// Returns whether it is a matter of rights.
    #[must_use]
    pub const fn is_denied(&self) -> bool {
        matches!(self, Self::Denied)
    }

    /// Returns what was told.
    #[must_use]
    pub fn told(&self) -> Option<&T> {
        match self {
            Self::Told(value) => Some(value),
            Self::Denied | Self::Unsupported => None,
        }
    }
}

/// What a bucket does to its objects by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What it removes by age.
    pub lifecycle: Known<Lifecycle>,
    /// Whether it keeps what is deleted or overwritten.
    pub versioning: Known<Versioning>,
    /// Whether objects can be protected against deletion.
    pub has_object_lock: Known<bool>,
}

impl Rules {
    /// A place that does nothing by itself.
    #[must_use]
    pub fn none() -> Self {
        Self {
            lifecycle: Known::Told(Lifecycle::default()),
            versioning: Known::Told(Versioning::Off),
            has_object_lock: Known::Told(false),
        }
    }
}

/// The rules by which a bucket removes things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// Rules that remove objects.
    pub expiries: Vec<Expiry>,
    /// Rules that remove what was deleted or overwritten in a versioned bucket.
    pub noncurrent: Vec<Noncurrent>,
    /// After how many days an unfinished upload is dropped, by the shortest enabled rule that is for
    /// all keys.
    pub abort_uploads_after: Option<u32>,
}

/// A rule that removes objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Its name; empty if it has none.
    pub id: String,
    /// What the keys that it is about begin with, as the cache sees them: a rule for a folder that the
    /// cache lies in is one for all its keys, with an empty prefix.
    pub prefix: String,
    /// After how many days; none if it names a date.
    pub days: Option<u32>,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// Whether it is only about objects with certain tags, which narhaul never sets.
    pub wants_tags: bool,
}

/// A rule that removes what was deleted or overwritten in a versioned bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noncurrent {
    /// Its name; empty if it has none.
    pub id: String,
    /// What the keys that it is about begin with, as for [`Expiry::prefix`].
    pub prefix: String,
    /// How many days after they were deleted or overwritten; none if it only limits their number.
    pub days: Option<u32>,
    /// Whether it is in force.
    pub is_enabled: bool,
}

/// Whether a bucket keeps what is deleted or overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does.
    On,
    /// It did, and no longer does; what it kept is still there.
    Suspended,
}
