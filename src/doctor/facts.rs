//! What an examination has seen, before anybody judges it.
//!
//! Plain values: a test writes down what a server would have done. `None` says that something was not
//! asked, an error that the question failed; neither is ever read as "no".

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::Asked;
use crate::{
    backend::{
        self, Known, Rules,
        s3::{CredentialSource, Handshake, Provider},
    },
    ledger::capabilities::{Capabilities, ConditionalDelete},
    nix::{cache_info::CacheInfo, cache_url::Scheme, store_path::StoreDir},
};

/// Everything that an examination has seen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the bucket's address says; none of a folder.
    pub address: Option<Address>,
    /// Whether the first request went well.
    pub contact: Result<(), backend::Error>,
    /// What answers by the other scheme, if the first request failed.
    pub other_scheme: bool,
    /// How TLS is set up, where it is used or was tried.
    pub handshake: Option<Handshake>,
    /// Who we are to the server.
    pub login: Option<Login>,
    /// The two clocks.
    pub clock: Option<Clocks>,
    /// Whether nothing was to be written.
    pub is_read_only: bool,
    /// What the bucket does by itself.
    pub bucket: Option<Bucket>,
    /// What the cache holds.
    pub cache: Option<Cache>,
    /// What became of writes.
    pub writes: Option<Writes>,
    /// The names of what could not be removed again.
    pub left: Vec<String>,
    /// What the last examination wrote down.
    pub before: Option<Capabilities>,
}

/// What the bucket's address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The endpoint as it was typed; none means AWS, or the environment.
    pub typed_endpoint: Option<String>,
    /// By which scheme requests go.
    pub scheme: Scheme,
    /// The host, with its port.
    pub authority: String,
    /// Whether the bucket's name is in the path and not in the host's name.
    pub is_path_style: bool,
    /// Whether the cache lies below a prefix in its bucket.
    pub has_prefix: bool,
}

/// Who we are to the server, and where it says that the bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Where the credentials came from.
    pub source: CredentialSource,
    /// The region of the URL, if that names one.
    pub typed_region: Option<String>,
    /// The region that the first request was signed for.
    pub first_region: String,
    /// The region that the server wants.
    pub region: String,
    /// Whose server it is.
    pub provider: Provider,
}

/// The two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Our time of day when the server told its own.
    pub ours: SystemTime,
    /// The server's, to the second.
    pub theirs: SystemTime,
}

/// What the bucket does by itself.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its rules.
    pub rules: Asked<Rules>,
    /// Its policy, if it has one.
    pub policy: Asked<Known<Option<String>>>,
    /// What was answered to a key that cannot exist.
    pub missing: Missing,
}

/// What is answered to a key that cannot exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// That it is not there.
    NotFound,
    /// That we may not know.
    Denied,
    /// That it is there.
    Found,
    /// Something else.
    Failed(backend::Error),
}

/// What the cache holds.
#[derive(Clone, Debug)]
pub struct Cache {
    /// `nix-cache-info`: none if it is not there, an error in words if nobody can understand it.
    pub info: Asked<Option<Result<CacheInfo, String>>>,
    /// The store dir of its clients.
    pub store_dir: StoreDir,
    /// The top level.
    pub top: Asked<Top>,
    /// Some narinfos.
    pub sample: Asked<Sample>,
    /// What is read without credentials; none where nobody says how.
    pub anonymous: Option<Anonymous>,
}

/// The top level of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Narinfos that were listed.
    pub n_narinfos: u64,
    /// Names that belong to no cache.
    pub n_others: u64,
    /// The first of those.
    pub first_others: Vec<String>,
    /// Whether only a part of it was listed.
    pub is_cut: bool,
}

/// Some narinfos, read and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// How many were read.
    pub n_read: u64,
    /// How many are no narinfos.
    pub n_unreadable: u64,
    /// How many have no signature and need one.
    pub n_unsigned: u64,
    /// How many are content-addressed and need no signature.
    pub n_content_addressed: u64,
    /// How many are signed by each key.
    pub key_names: BTreeMap<String, u64>,
    /// How many no trusted key has signed, though some key has; counted where keys are trusted.
    pub n_not_trusted: u64,
    /// How many have a signature that bears a trusted key's name and is not that key's.
    pub n_forged: u64,
    /// The names of the keys that are trusted.
    pub trusted: Vec<String>,
    /// How many name a body that is not there.
    pub n_without_body: u64,
    /// How many bodies were asked for.
    pub n_bodies: u64,
}

/// What is read without credentials.
#[derive(Clone, Debug)]
pub struct Anonymous {
    /// Where it was asked for.
    pub place: String,
    /// `nix-cache-info`.
    pub info: Result<(), backend::Error>,
    /// A narinfo that is there.
    pub narinfo: Asked<()>,
}

/// What became of writes. Each is of its own keys.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// A plain write, read back.
    pub put: Asked<bool>,
    /// Whether everybody can read it; none if that was not found out.
    pub is_public: Option<bool>,
    /// Conditional writes.
    pub condition: Asked<Races>,
    /// Conditional deletions.
    pub conditional_delete: Asked<ConditionalDelete>,
    /// Deletion of one object.
    pub delete_one: Asked<bool>,
    /// Deletions of many, with `Content-MD5`.
    pub delete_md5: Asked<bool>,
    /// Deletions of many, with only a newer checksum.
    pub delete_crc32: Asked<bool>,
    /// Deletions as a sweep sends them: signed in the query, for a short life.
    pub delete_fenced: Asked<bool>,
    /// Whether an object may have parts of different lengths.
    pub unequal_parts: Asked<bool>,
    /// Listings right after writes and deletions.
    pub listings: Asked<Listings>,
    /// The dates of fresh objects.
    pub stamps: Asked<Stamps>,
}

/// What became of conditional writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Races {
    /// Whether one that came later, alone, was refused.
    pub refuses_later: bool,
    /// How many writers there were in each round.
    pub n_writers: usize,
    /// How many of them won, round by round.
    pub winners: Vec<usize>,
    /// Whether the server refuses conditional writes altogether.
    pub is_unsupported: bool,
}

/// Listings right after writes and deletions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listings {
    /// How many were asked for.
    pub n_asked: u32,
    /// How many lacked what had just been written.
    pub n_missing: u32,
    /// How many had what had just been deleted.
    pub n_stale: u32,
}

/// The dates of fresh objects against the server's clock at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The largest distance.
    pub largest: Duration,
}
