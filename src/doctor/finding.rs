//! What an examination comes to: what was looked at, what was seen, how grave it is.
//!
//! A [`Finding`] holds no words: what it means for narhaul and for Nix, and what to do, is said by the
//! face. The verdict follows from the finding alone.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    backend::{
        self, Expiry,
        s3::{CredentialSource, Distrust, Secure},
    },
    ledger::capabilities::{ConditionalDelete, ConditionalPut},
    nix::cache_url::Scheme,
};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing suffers.
    Note,
    /// Something does not work or will not stay well.
    Warning,
    /// narhaul or Nix cannot use the cache, or it will break.
    Failure,
}

impl Verdict {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Whether the server answers.
    Server,
    /// TLS and the version of HTTP.
    Tls,
    /// The address and its form.
    Address,
    /// Who we are.
    Credentials,
    /// Where the bucket is.
    Region,
    /// The clocks.
    Clock,
    /// What is answered for what is not there.
    MissingKeys,
    /// Rules that remove objects by age.
    Lifecycle,
    /// What happens to unfinished uploads.
    UnfinishedUploads,
    /// Versions and locks.
    Versioning,
    /// The bucket's policy.
    Policy,
    /// `nix-cache-info`.
    CacheInfo,
    /// What else lies at the top.
    TopLevel,
    /// Who has signed.
    Signatures,
    /// Whether what narinfos name is there.
    Bodies,
    /// Reading without credentials.
    AnonymousReads,
    /// Plain writes.
    Writes,
    /// Writes where nothing may be.
    ConditionalWrites,
    /// Deleting one object.
    Deletions,
    /// Deleting many in one request.
    BatchDeletions,
    /// Deleting only this very object.
    ConditionalDeletions,
    /// Objects in parts.
    Parts,
    /// Listings right after writes.
    Listings,
    /// What the examination has left.
    LeftOver,
    /// What has changed since the last examination.
    Change,
}

impl Topic {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Tls => "TLS",
            Self::Address => "address",
            Self::Credentials => "credentials",
            Self::Region => "region",
            Self::Clock => "clock",
            Self::MissingKeys => "missing keys",
            Self::Lifecycle => "lifecycle",
            Self::UnfinishedUploads => "unfinished uploads",
            Self::Versioning => "versioning",
            Self::Policy => "policy",
            Self::CacheInfo => "nix-cache-info",
            Self::TopLevel => "top level",
            Self::Signatures => "signatures",
            Self::Bodies => "bodies",
            Self::AnonymousReads => "anonymous reads",
            Self::Writes => "writes",
            Self::ConditionalWrites => "conditional writes",
            Self::Deletions => "deletions",
            Self::BatchDeletions => "batch deletions",
            Self::ConditionalDeletions => "conditional deletions",
            Self::Parts => "parts",
            Self::Listings => "listings",
            Self::LeftOver => "left over",
            Self::Change => "since last time",
        }
    }
}

/// What one look has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was to be asked, and the question failed.
    NotKnown(Topic, backend::Error),
    /// It was not asked, since nothing was to be written.
    NotWritten,

    /// The server answers.
    Answers {
        /// Its name.
        server: &'static str,
    },
    /// The server does not answer.
    Unreachable(backend::Error),
    /// The server answers by the other scheme only.
    WrongScheme {
        /// The one that it speaks.
        speaks: Scheme,
    },
    /// The bucket does not exist.
    NoBucket,
    /// The bucket is there, and these credentials may do nothing with it.
    NotYours(backend::Error),

    /// The certificate is trusted.
    Secure(Secure),
    /// It is, but not for long any more.
    EndsSoon {
        /// When it ends.
        ends: SystemTime,
        /// How long from now.
        left: Duration,
    },
    /// The certificate is not trusted.
    Distrusted(Distrust),
    /// There is no TLS.
    Plain,
    /// Requests go by a proxy, so nobody looked.
    BehindProxy,

    /// The address is as every Nix understands it.
    Address {
        /// Whether the bucket's name is in the path.
        is_path_style: bool,
    },
    /// The endpoint is no full URL, and Nix will want one.
    BareEndpoint {
        /// How it would be written in full.
        full: String,
    },
    /// It has a port too, which some versions of Nix take for something else.
    BareHostAndPort {
        /// How it would be written in full.
        full: String,
    },
    /// The cache lies below a prefix.
    Prefix,

    /// The server knows us.
    Known(CredentialSource),
    /// Nobody gave credentials.
    NoCredentials {
        /// Whether the server refuses to serve somebody without.
        is_refused: bool,
    },
    /// The server does not know the key, or not its secret.
    BadKey {
        /// Where it came from.
        source: CredentialSource,
        /// What the server says.
        error: backend::Error,
    },

    /// The bucket is where requests say.
    Region(String),
    /// The bucket is elsewhere; the server said so.
    RegionElsewhere {
        /// What requests said.
        said: String,
        /// Where it is.
        region: String,
    },
    /// The region is right, but the URL does not say it, and Nix goes by nothing else.
    RegionUnsaid(String),

    /// The clocks agree well enough.
    Clock {
        /// By how much they differ.
        skew: Skew,
    },
    /// They differ.
    ClockOff {
        /// By how much.
        skew: Skew,
        /// Whether servers refuse such requests.
        is_refused: bool,
    },
    /// The dates of objects are not those of answers.
    StampsOff(Duration),

    /// A key that cannot exist is told to be missing.
    MissingIs404,
    /// It is denied.
    MissingIs403,
    /// It is said to exist.
    MissingIsFound,

    /// No rule removes what a cache needs.
    NoExpiry,
    /// A rule removes what a cache needs, by age alone.
    Expiry(Expiry),
    /// A rule removes something that no cache needs.
    ExpiryElsewhere(Expiry),
    /// The server has no such rules, or does not tell.
    LifecycleUnknown {
        /// Whether it may be known to others.
        is_denied: bool,
    },
    /// Unfinished uploads go by themselves.
    UploadsGo {
        /// After so many days.
        days: u32,
    },
    /// They stay, and are paid for.
    UploadsStay,
    /// Nothing deleted or overwritten is kept.
    NoVersions,
    /// What is deleted is kept.
    Versions {
        /// Whether a rule frees it some day.
        is_freed: bool,
    },
    /// Objects can be protected from deletion.
    ObjectLock,
    /// The server has no versions, or does not tell.
    VersionsUnknown {
        /// Whether it may be known to others.
        is_denied: bool,
    },

    /// The bucket has a policy of its own, or none.
    Policy {
        /// Whether it has one.
        is_there: bool,
    },
    /// The server has no policies.
    NoPolicies,
    /// These credentials may not know.
    PolicyDenied,

    /// The cache's description is as it should be.
    CacheInfo {
        /// Its priority.
        priority: i32,
    },
    /// There is none.
    NoCacheInfo,
    /// Nobody can understand it.
    BadCacheInfo(String),
    /// It is for another store.
    OtherStore {
        /// The one that it names.
        found: String,
        /// The one that clients have.
        wanted: String,
    },
    /// It has no priority, which is the highest of the usual ones.
    NoPriority,
    /// It does not want mass queries.
    NoMassQuery,

    /// Nothing but a cache lies there.
    TopLevel {
        /// How many narinfos were seen.
        n_narinfos: u64,
        /// Whether there are more.
        is_cut: bool,
    },
    /// Something else lies there too.
    Junk {
        /// How much of it was seen.
        n: u64,
        /// Some of it.
        first: Vec<String>,
    },

    /// There are no narinfos yet.
    NoNarinfos,
    /// Some are none, or cannot be read.
    BadNarinfos {
        /// How many.
        n: u64,
        /// Of how many.
        of: u64,
    },
    /// All that were looked at are signed.
    Signed {
        /// By which keys, and how many each.
        key_names: BTreeMap<String, u64>,
        /// Whether a trusted key has signed each.
        is_checked: bool,
        /// How many need none.
        n_content_addressed: u64,
    },
    /// Some are not signed.
    Unsigned {
        /// How many.
        n: u64,
        /// Of how many.
        of: u64,
    },
    /// Some are signed, but by nobody who is trusted.
    NotTrusted {
        /// How many.
        n: u64,
        /// Of how many.
        of: u64,
        /// By which keys, and how many each.
        key_names: BTreeMap<String, u64>,
        /// Who is trusted.
        trusted: Vec<String>,
    },
    /// Some bear a trusted key's name, and are not its signatures.
    Forged {
        /// How many.
        n: u64,
        /// Of how many.
        of: u64,
    },
    /// The bodies that were asked for are there.
    Bodies(u64),
    /// Some are not.
    NoBodies {
        /// How many.
        n: u64,
        /// Of how many.
        of: u64,
    },

    /// Everybody can read the cache.
    Anonymous(String),
    /// Nobody can without credentials.
    NotAnonymous {
        /// Where it was tried.
        place: String,
        /// What was answered.
        error: backend::Error,
    },
    /// The description can be read, narinfos cannot.
    HalfAnonymous {
        /// Where it was tried.
        place: String,
        /// What was answered.
        error: backend::Error,
    },

    /// Everybody can read narhaul's own files too.
    PublicLedger,

    /// What is written is read back.
    Writes,
    /// It is read back differently.
    WritesDiffer,
    /// These credentials may not write where an examination does.
    ReadOnlyKey,
    /// What becomes of conditional writes.
    ConditionalPut {
        /// That.
        found: ConditionalPut,
        /// Whether narhaul goes by something else.
        is_surprise: bool,
    },
    /// What becomes of conditional deletions.
    ConditionalDelete(ConditionalDelete),
    /// What is deleted is gone.
    Deletes,
    /// These credentials may not delete.
    MayNotDelete,
    /// What was deleted is still there.
    DeletesNothing,
    /// Many are deleted in one request.
    BatchDeletes {
        /// Whether a newer checksum is enough.
        is_crc32_enough: bool,
    },
    /// They are not.
    NoBatchDeletes(backend::Error),
    /// They are, but not as a sweep asks for it.
    NoFencedDeletes(backend::Error),
    /// Parts may have any length.
    UnequalParts,
    /// All but the last must be equally long.
    EqualParts,
    /// Listings show what is there.
    Listings(u32),
    /// Listings lag behind.
    StaleListings {
        /// How many lacked something.
        n_missing: u32,
        /// How many had something too much.
        n_stale: u32,
        /// Of how many.
        of: u32,
    },
    /// Some of what was written stays.
    LeftOver(Vec<String>),
    /// The server does something else than last time.
    Changed {
        /// When that was.
        before: SystemTime,
    },
}

/// How far the server's clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// Theirs is later.
    Ahead(Duration),
    /// Theirs is earlier.
    Behind(Duration),
}

impl Skew {
    /// Returns how much it is.
    #[must_use]
    pub const fn amount(self) -> Duration {
        match self {
            Self::Ahead(amount) | Self::Behind(amount) => amount,
        }
    }
}

impl Finding {
    /// Returns what was looked at.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::NotKnown(topic, _) => *topic,
            Self::Answers { .. }
            | Self::Unreachable(_)
            | Self::WrongScheme { .. }
            | Self::NoBucket => Topic::Server,
            Self::Secure(_)
            | Self::EndsSoon { .. }
            | Self::Distrusted(_)
            | Self::Plain
            | Self::BehindProxy => Topic::Tls,
            Self::Address { .. }
            | Self::BareEndpoint { .. }
            | Self::BareHostAndPort { .. }
            | Self::Prefix => Topic::Address,
            Self::NotYours(_)
            | Self::Known(_)
            | Self::NoCredentials { .. }
            | Self::BadKey { .. } => Topic::Credentials,
            Self::Region(_) | Self::RegionElsewhere { .. } | Self::RegionUnsaid(_) => Topic::Region,
            Self::Clock { .. } | Self::ClockOff { .. } | Self::StampsOff(_) => Topic::Clock,
            Self::MissingIs404 | Self::MissingIs403 | Self::MissingIsFound => Topic::MissingKeys,
            Self::NoExpiry
            | Self::Expiry(_)
            | Self::ExpiryElsewhere(_)
            | Self::LifecycleUnknown { .. } => Topic::Lifecycle,
            Self::UploadsGo { .. } | Self::UploadsStay => Topic::UnfinishedUploads,
            Self::NoVersions
            | Self::Versions { .. }
            | Self::ObjectLock
            | Self::VersionsUnknown { .. } => Topic::Versioning,
            Self::Policy { .. } | Self::NoPolicies | Self::PolicyDenied => Topic::Policy,
            Self::CacheInfo { .. }
            | Self::NoCacheInfo
            | Self::BadCacheInfo(_)
            | Self::OtherStore { .. }
            | Self::NoPriority
            | Self::NoMassQuery => Topic::CacheInfo,
            Self::TopLevel { .. } | Self::Junk { .. } => Topic::TopLevel,
            Self::NoNarinfos
            | Self::BadNarinfos { .. }
            | Self::Signed { .. }
            | Self::Unsigned { .. }
            | Self::NotTrusted { .. }
            | Self::Forged { .. } => Topic::Signatures,
            Self::Bodies(_) | Self::NoBodies { .. } => Topic::Bodies,
            Self::Anonymous(_)
            | Self::NotAnonymous { .. }
            | Self::HalfAnonymous { .. }
            | Self::PublicLedger => Topic::AnonymousReads,
            Self::NotWritten | Self::Writes | Self::WritesDiffer | Self::ReadOnlyKey => {
                Topic::Writes
            }
            Self::ConditionalPut { .. } => Topic::ConditionalWrites,
            Self::ConditionalDelete(_) => Topic::ConditionalDeletions,
            Self::Deletes | Self::MayNotDelete | Self::DeletesNothing => Topic::Deletions,
            Self::BatchDeletes { .. } | Self::NoBatchDeletes(_) | Self::NoFencedDeletes(_) => {
                Topic::BatchDeletions
            }
            Self::UnequalParts | Self::EqualParts => Topic::Parts,
            Self::Listings(_) | Self::StaleListings { .. } => Topic::Listings,
            Self::LeftOver(_) => Topic::LeftOver,
            Self::Changed { .. } => Topic::Change,
        }
    }

    /// Returns how grave it is. What nobody has said to be harmless is a failure.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        if self.is_fine() {
            Verdict::Ok
        } else if self.is_note() {
            Verdict::Note
        } else if self.is_warning() {
            Verdict::Warning
        } else {
            Verdict::Failure
        }
    }

    const fn is_fine(&self) -> bool {
        matches!(
            self,
            Self::Answers { .. }
                | Self::Secure(_)
                | Self::Address { .. }
                | Self::Known(_)
                | Self::Region(_)
                | Self::Clock { .. }
                | Self::MissingIs404
                | Self::NoExpiry
                | Self::UploadsGo { .. }
                | Self::NoVersions
                | Self::Policy { .. }
                | Self::CacheInfo { .. }
                | Self::TopLevel { .. }
                | Self::Signed { .. }
                | Self::Bodies(_)
                | Self::Anonymous(_)
                | Self::Writes
                | Self::ConditionalDelete(ConditionalDelete::Honored)
                | Self::Deletes
                | Self::BatchDeletes { .. }
                | Self::UnequalParts
                | Self::Listings(_)
                | Self::ConditionalPut {
                    found: ConditionalPut::Atomic,
                    ..
                }
        )
    }

    const fn is_note(&self) -> bool {
        matches!(
            self,
            Self::NotWritten
                | Self::BehindProxy
                | Self::Plain
                | Self::BareEndpoint { .. }
                | Self::Prefix
                | Self::ExpiryElsewhere(_)
                | Self::UploadsStay
                | Self::Versions { is_freed: true }
                | Self::VersionsUnknown { .. }
                | Self::NoPolicies
                | Self::PolicyDenied
                | Self::PublicLedger
                | Self::NoMassQuery
                | Self::Junk { .. }
                | Self::NoNarinfos
                | Self::NotAnonymous { .. }
                | Self::ReadOnlyKey
                | Self::ConditionalDelete(_)
                | Self::EqualParts
                | Self::LifecycleUnknown { is_denied: false }
                | Self::ConditionalPut {
                    is_surprise: false,
                    ..
                }
        )
    }

    const fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::NotKnown(..)
                | Self::EndsSoon { .. }
                | Self::BareHostAndPort { .. }
                | Self::NoCredentials { is_refused: false }
                | Self::RegionElsewhere { .. }
                | Self::RegionUnsaid(_)
                | Self::ClockOff {
                    is_refused: false,
                    ..
                }
                | Self::StampsOff(_)
                | Self::MissingIs403
                | Self::LifecycleUnknown { is_denied: true }
                | Self::Versions { is_freed: false }
                | Self::ObjectLock
                | Self::NoCacheInfo
                | Self::NoPriority
                | Self::Unsigned { .. }
                | Self::NotTrusted { .. }
                | Self::HalfAnonymous { .. }
                | Self::MayNotDelete
                | Self::LeftOver(_)
                | Self::Changed { .. }
        )
    }
}
