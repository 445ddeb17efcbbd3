//! Tells the kinds of keys in a cache apart, and decides about those that belong to a path (S9).
//!
//! | key | belongs to |
//! |---|---|
//! | `<hash part>.ls` | the path with that hash part |
//! | `debuginfo/<build id>.debug` | the body that its JSON names as `archive` |
//! | `realisations/<id>.doi`, `build-trace-v2/<derivation>/<output>.doi` | the path that its JSON names |
//! | `log/<derivation>` | the derivation's own path, and whatever else the reader knows was built by it |
//!
//! They follow what they belong to: gone with it, and with its journal, since a path that is put back
//! wants them back. What nobody knows is reported and never touched.

use std::{collections::HashSet, time::SystemTime};

use super::Look;
use crate::nix::{
    base32,
    object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
    store_path::HashPart,
};

/// What a key names, as far as the key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A narinfo.
    Narinfo(HashPart),
    /// The listing of a path's files.
    Listing(HashPart),
    /// A body.
    Body,
    /// `nix-cache-info`: never touched.
    CacheInfo,
    /// Something of narhaul's own.
    Ledger,
    /// Where the debugging symbols for a build id lie.
    Debug,
    /// A build's log; the hash part is its derivation's.
    Log(HashPart),
    /// What an output of a content-addressed derivation is, as Nix up to 2.34 writes it.
    Realisation,
    /// The same as Nix from 2.35 on writes it; the hash part is the derivation's.
    BuildTrace(HashPart),
    /// Nobody knows.
    Unknown,
}

/// Returns what a key names.
#[must_use]
pub fn kind(key: &ObjectKey) -> Kind {
    let text = key.as_str();
    if let Some(part) = key.narinfo_hash_part() {
        Kind::Narinfo(part)
    } else if text == "nix-cache-info" {
        Kind::CacheInfo
    } else if text.starts_with(LEDGER_PREFIX) {
        Kind::Ledger
    } else if let Some(rest) = text.strip_prefix(BODY_PREFIX) {
        if is_body_name(rest) {
            Kind::Body
        } else {
            Kind::Unknown
        }
    } else if let Some(part) = text.strip_suffix(".ls").and_then(|part| part.parse().ok()) {
        Kind::Listing(part)
    } else if let Some(name) = text.strip_prefix("debuginfo/") {
        if is_build_id(name) {
            Kind::Debug
        } else {
            Kind::Unknown
        }
    } else if let Some(name) = text.strip_prefix("log/") {
        derivation(name).map_or(Kind::Unknown, Kind::Log)
    } else if let Some(name) = text.strip_prefix("realisations/") {
        let is_one = name.starts_with("sha256:") && name.ends_with(".doi") && !name.contains('/');
        if is_one {
            Kind::Realisation
        } else {
            Kind::Unknown
        }
    } else if let Some(rest) = text.strip_prefix("build-trace-v2/") {
        let parts = rest
            .split_once('/')
            .filter(|(_, output)| output.ends_with(".doi"));
        let part = parts.and_then(|(name, _)| derivation(name));
        part.map_or(Kind::Unknown, Kind::BuildTrace)
    } else {
        Kind::Unknown
    }
}

/// Returns whether a name below `nar/` is a body's: 52 digits, a recipe perhaps, `.nar` and an ending.
fn is_body_name(name: &str) -> bool {
    let Some((digits, rest)) = name.split_at_checked(base32::encoded_len(32)) else {
        return false;
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._+".contains(&b);
    let is_ending = rest.starts_with(".nar") || (rest.starts_with('-') && rest.contains(".nar"));
    is_ending && rest.bytes().all(is_plain) && digits.bytes().all(base32::is_digit)
}

fn is_build_id(name: &str) -> bool {
    let stem = name.strip_suffix(".debug").unwrap_or(name);
    stem.len() == 40 && stem.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns the hash part of a derivation's base name.
fn derivation(name: &str) -> Option<HashPart> {
    let (part, name) = name.split_once('-')?;
    let part = part.parse().ok()?;
    (name.contains(".drv") && !name.contains('/')).then_some(part)
}

/// An object beside narinfos and bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Its key.
    pub key: ObjectKey,
    /// When it was written.
    pub modified: SystemTime,
    /// What it belongs to; nothing if that is not known, for whatever reason.
    pub belongs: Vec<Belongs>,
}

/// What a companion belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// A path.
    Path(HashPart),
    /// A body.
    Body(ObjectKey),
}

/// What is decided for a companion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanionVerdict {
    /// It is to be deleted.
    Delete,
    /// What it belongs to is there, in a journal, or being copied.
    Belongs,
    /// What it belongs to may be about to come.
    Young,
    /// A narinfo could not be read.
    Doubt,
    /// Nobody knows what it belongs to: never touched.
    Unknown,
}

/// Decides about companions, in their order.
#[must_use]
pub fn companions(look: &Look<'_>, companions: &[Companion]) -> Vec<CompanionVerdict> {
    let census = look.census;
    let mut parts: HashSet<HashPart> = HashSet::new();
    let mut bodies: HashSet<&ObjectKey> = HashSet::new();
    for intent in look.intents {
        parts.extend(&intent.parts);
        bodies.extend(&intent.bodies);
    }
    for entry in look
        .journals
        .iter()
        .flat_map(|journal| &journal.index.entries)
    {
        parts.insert(entry.part);
        bodies.insert(&entry.body);
    }
    let visible_bodies = asked_bodies(look, companions);
    let is_there = |owner: &Belongs| match owner {
        Belongs::Path(part) => {
            let node = census.node(part);
            parts.contains(part) || node.is_some_and(|node| census.is_visible(node))
        }
        Belongs::Body(body) => bodies.contains(body) || visible_bodies.contains(body),
    };
    let decide = |companion: &Companion| {
        let age = look
            .now
            .duration_since(companion.modified)
            .unwrap_or_default();
        if companion.belongs.is_empty() {
            CompanionVerdict::Unknown
        } else if companion.belongs.iter().any(is_there) {
            CompanionVerdict::Belongs
        } else if !look.is_readable {
            CompanionVerdict::Doubt
        } else if age < look.ages.orphans + look.ages.margin {
            CompanionVerdict::Young
        } else {
            CompanionVerdict::Delete
        }
    };
    companions.iter().map(decide).collect()
}

/// Returns which of the companions' bodies a visible narinfo names.
fn asked_bodies<'a>(look: &Look<'_>, companions: &'a [Companion]) -> HashSet<&'a ObjectKey> {
    let owners = companions.iter().flat_map(|companion| &companion.belongs);
    let asked: std::collections::HashMap<_, _> = owners
        .filter_map(|owner| match owner {
            Belongs::Body(body) => Some((look.census.find_body(body)?, body)),
            Belongs::Path(_) => None,
        })
        .collect();
    if asked.is_empty() {
        return HashSet::new();
    }
    let visible = look.census.visible().iter();
    visible
        .filter_map(|node| asked.get(&look.census.body_id(node)?).copied())
        .collect()
}
