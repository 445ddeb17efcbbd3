//! The names of the ledger's files: the one place that makes and reads them.
//!
//! | key below `narhaul/` | name |
//! |---|---|
//! | `config`, `capabilities`, `lease` | [`Name::Config`], [`Name::Capabilities`], [`Name::Lease`] |
//! | `intents/<id>/{closure,beat,ended}` | [`Name::Intent`] |
//! | `roots/<group>/<time>-<id>` | [`Name::Root`] |
//! | `pins/<name>` | [`Name::Pin`] |
//! | `journal/<run>/{index,text,condemned,buried,deleted,closed,beat,doom-<n>}` | [`Name::Journal`] |
//! | `snapshot/<run>` | [`Name::Snapshot`] |
//! | `doctor/<id>/<name>` | [`Name::Scratch`] |
//!
//! A name has one key, and a key that is not written exactly so has no name: it is somebody else's, or
//! of a newer version, and is never touched. Times are the server's, to the second, in UTC.

use std::{fmt, str::FromStr, time::SystemTime};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::root::Group;
use crate::nix::object_key::{LEDGER_PREFIX, ObjectKey};

/// How times are written, so that they sort as text.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The length of a time that is written so.
const TIME_LEN: usize = "20261123T003000Z".len();

/// The longest id: what fits beside a time in every file system's names.
const MAX_ID: usize = 64;

/// What a file of the ledger is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// What the sweeps of this cache go by.
    Config,
    /// What the server was found to do.
    Capabilities,
    /// Which sweep runs.
    Lease,
    /// What one sweep has read, for the next.
    Snapshot(RunId),
    /// What a finished copy keeps alive.
    Root {
        /// The group that the record belongs to.
        group: Group,
        /// When it was written, to the second.
        time: SystemTime,
        /// The copy that wrote it.
        id: IntentId,
    },
    /// What a person keeps alive.
    Pin(PinName),
    /// A file of a running copy.
    Intent {
        /// The copy's intent.
        id: IntentId,
        /// Which of its files.
        file: IntentFile,
    },
    /// A file of a sweep.
    Journal {
        /// The sweep, or one part of it.
        run: RunId,
        /// Which of its files.
        file: JournalFile,
    },
    /// What an examination of the server has written, and removes again.
    Scratch {
        /// The examination.
        id: IntentId,
        /// Which of its files.
        file: ScratchFile,
    },
}

/// The files of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntentFile {
    /// What the copy relies on.
    Closure,
    /// Written again and again: its date says that the copy lives.
    Beat,
    /// The copy has ended, where it may not delete.
    Ended,
}

/// The files of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JournalFile {
    /// What is condemned.
    Index,
    /// The narinfos of what is condemned.
    Text,
    /// The index and the texts are complete.
    Condemned,
    /// The narinfos are deleted.
    Buried,
    /// The bodies are deleted: nothing is left to be done.
    Deleted,
    /// The doom lists are done with.
    Closed,
    /// Written again and again: its date says that the sweep lives.
    Beat,
    /// Bodies that are about to be deleted.
    Doom(u32),
}

/// A name of letters, digits and dashes that no other copy has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(Box<str>);

/// A sweep, or one part of it: `20261123T003000Z-k3f9`, or `20261123T003000Z-k3f9-f`.
///
/// Sorts by the server's time at which the sweep began. Journals that a sweep keeps beside its first one
/// are *parts* of it: they have names of their own, and its beat speaks for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Box<str>);

/// The name of a pin: 1 to 64 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinName(Box<str>);

/// A file of an examination: 1 to 64 lower-case letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScratchFile(Box<str>);

/// A text that cannot stand in the name of a file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {what}", .text.escape_debug())]
pub struct InvalidName {
    text: String,
    what: &'static str,
}

impl Name {
    /// Returns the key of the file.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match ObjectKey::ledger(&self.to_string()) {
            Ok(key) => key,
            Err(_) => unreachable!("names are made of what a key may have, and are short"),
        }
    }

    /// Returns what a file is, or none if it is not the ledger's.
    #[must_use]
    pub fn parse(key: &ObjectKey) -> Option<Self> {
        let rest = key.as_str().strip_prefix(LEDGER_PREFIX)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let name = match parts.as_slice() {
            ["config"] => Self::Config,
            ["capabilities"] => Self::Capabilities,
            ["lease"] => Self::Lease,
            ["snapshot", run] => Self::Snapshot(run.parse().ok()?),
            ["pins", name] => Self::Pin(name.parse().ok()?),
            ["roots", group, last] => {
                let (time, id) = last.split_at_checked(TIME_LEN)?;
                Self::Root {
                    group: group.parse().ok()?,
                    time: parse_time(time)?,
                    id: id.strip_prefix('-')?.parse().ok()?,
                }
            }
            ["intents", id, file] => Self::Intent {
                id: id.parse().ok()?,
                file: IntentFile::parse(file)?,
            },
            ["journal", run, file] => Self::Journal {
                run: run.parse().ok()?,
                file: JournalFile::parse(file)?,
            },
            ["doctor", id, file] => Self::Scratch {
                id: id.parse().ok()?,
                file: file.parse().ok()?,
            },
            _ => return None,
        };
        (name.key() == *key).then_some(name)
    }

    /// The file of an intent.
    #[must_use]
    pub fn intent(id: &IntentId, file: IntentFile) -> Self {
        let id = id.clone();
        Self::Intent { id, file }
    }

    /// The file of a sweep.
    #[must_use]
    pub fn journal(run: &RunId, file: JournalFile) -> Self {
        let run = run.clone();
        Self::Journal { run, file }
    }
}

/// The key below `narhaul/`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Capabilities => f.write_str("capabilities"),
            Self::Lease => f.write_str("lease"),
            Self::Snapshot(run) => write!(f, "snapshot/{run}"),
            Self::Root { group, time, id } => {
                write!(f, "roots/{group}/{}-{id}", show_time(*time))
            }
            Self::Pin(name) => write!(f, "pins/{name}"),
            Self::Intent { id, file } => write!(f, "intents/{id}/{}", file.as_str()),
            Self::Scratch { id, file } => write!(f, "doctor/{id}/{}", file.0),
            Self::Journal { run, file } => match file {
                JournalFile::Doom(number) => write!(f, "journal/{run}/doom-{number}"),
                JournalFile::Index
                | JournalFile::Text
                | JournalFile::Condemned
                | JournalFile::Buried
                | JournalFile::Deleted
                | JournalFile::Closed
                | JournalFile::Beat => write!(f, "journal/{run}/{}", file.plain()),
            },
        }
    }
}

impl IntentFile {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Closure => "closure",
            Self::Beat => "beat",
            Self::Ended => "ended",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Closure, Self::Beat, Self::Ended];
        all.into_iter().find(|file| file.as_str() == text)
    }
}

impl JournalFile {
    /// All but doom lists, which have numbers.
    const PLAIN: [Self; 7] = [
        Self::Index,
        Self::Text,
        Self::Condemned,
        Self::Buried,
        Self::Deleted,
        Self::Closed,
        Self::Beat,
    ];

    /// Returns the text, without the number of a doom list.
    const fn plain(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Text => "text",
            Self::Condemned => "condemned",
            Self::Buried => "buried",
            Self::Deleted => "deleted",
            Self::Closed => "closed",
            Self::Beat => "beat",
            Self::Doom(_) => "doom-",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_prefix("doom-") {
            return number.parse().ok().map(Self::Doom);
        }
        Self::PLAIN.into_iter().find(|file| file.plain() == text)
    }
}

impl FromStr for IntentId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName {
            text: text.to_owned(),
            what: "id of a copy, which has 1 to 64 letters, digits and dashes",
        })
    }
}

impl IntentId {
    /// Returns the id of the `n`th intent of the same copy: an intent is never revived, so a copy whose
    /// beat has lapsed takes the next one.
    #[must_use]
    pub fn nth(&self, n: u32) -> Self {
        let suffix = format!("-{n}");
        let stem = &self.0[..self.0.len().min(MAX_ID - suffix.len())];
        Self(format!("{stem}{suffix}").into())
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RunId {
    /// Names the sweep that begins at the server's `time`; `id` has 1 to 40 letters and digits.
    pub fn new(time: SystemTime, id: &str) -> Result<Self, InvalidName> {
        format!("{}-{id}", show_time(time)).parse()
    }

    /// Returns when the sweep began, by the server's clock, to the second.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        // It was checked when the name was made.
        parse_time(&self.0[..TIME_LEN]).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Returns the name of a part of this sweep: a journal of its own under the same beat.
    ///
    /// `letter` is from `a` to `z`; anything else is taken for `z`.
    #[must_use]
    pub fn part(&self, letter: char) -> Self {
        let letter = if letter.is_ascii_lowercase() {
            letter
        } else {
            'z'
        };
        Self(format!("{}-{letter}", self.owner().0).into())
    }

    /// Returns the sweep that this is, or is a part of: the one whose beat speaks for it.
    #[must_use]
    pub fn owner(&self) -> Self {
        let id_and_part = &self.0[TIME_LEN + 1..];
        let id = id_and_part
            .split_once('-')
            .map_or(id_and_part, |(id, _)| id);
        Self(self.0[..TIME_LEN + 1 + id.len()].into())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_run = || {
            let (time, rest) = text.split_at_checked(TIME_LEN)?;
            parse_time(time)?;
            let rest = rest.strip_prefix('-')?;
            let (id, part) = rest.split_once('-').unwrap_or((rest, "f"));
            let is_id =
                (1..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
            let is_part = matches!(part.as_bytes(), [b'a'..=b'z']);
            (is_id && is_part).then_some(())
        };
        match is_run() {
            Some(()) => Ok(Self(text.into())),
            None => Err(InvalidName {
                text: text.to_owned(),
                what: "sweep, which is named like `20261123T003000Z-k3f9`",
            }),
        }
    }
}

impl FromStr for PinName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // What a group may be called, a pin may.
        match text.parse::<Group>() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidName {
                text: text.to_owned(),
                what: "pin's name, which has 1 to 64 letters, digits, `.`, `_` and `-`",
            }),
        }
    }
}

impl FromStr for ScratchFile {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName {
            text: text.to_owned(),
            what: "file of an examination, which has 1 to 64 lower-case letters, digits and dashes",
        })
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PinName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a time to the second.
fn show_time(time: SystemTime) -> String {
    // A time outside the years -9999 to 9999 has no text form; it sorts first, as the oldest.
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).strftime(TIME).to_string()
}

fn parse_time(text: &str) -> Option<SystemTime> {
    let time = DateTime::strptime(TIME, text).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let time = SystemTime::from(time);
    // Only what is written so itself: `2026112T…` and leap seconds have other texts.
    (show_time(time) == text).then_some(time)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900)
    }

    #[test]
    fn every_name_has_one_key() {
        let run = RunId::new(time(), "k3f9").unwrap();
        let id: IntentId = "00c0ffee".parse().unwrap();
        let mut names = vec![
            (Name::Config, "config"),
            (Name::Capabilities, "capabilities"),
            (Name::Lease, "lease"),
            (
                Name::Snapshot(run.clone()),
                "snapshot/20261122T214500Z-k3f9",
            ),
            (Name::Pin("web_1.old".parse().unwrap()), "pins/web_1.old"),
            (
                Name::Root {
                    group: "web-1".parse().unwrap(),
                    time: time(),
                    id: id.nth(2),
                },
                "roots/web-1/20261122T214500Z-00c0ffee-2",
            ),
        ];
        let intents = [
            (IntentFile::Closure, "intents/00c0ffee/closure"),
            (IntentFile::Beat, "intents/00c0ffee/beat"),
            (IntentFile::Ended, "intents/00c0ffee/ended"),
        ];
        names.extend(intents.map(|(file, key)| (Name::intent(&id, file), key)));
        let run = run.part('f');
        let journals = [
            (JournalFile::Index, "journal/20261122T214500Z-k3f9-f/index"),
            (
                JournalFile::Doom(12),
                "journal/20261122T214500Z-k3f9-f/doom-12",
            ),
            (JournalFile::Beat, "journal/20261122T214500Z-k3f9-f/beat"),
        ];
        names.extend(journals.map(|(file, key)| (Name::journal(&run, file), key)));
        let (id, file) = (id.clone(), "race-3".parse().unwrap());
        names.push((Name::Scratch { id, file }, "doctor/00c0ffee/race-3"));
        for (name, key) in names {
            assert_eq!(name.key().as_str(), format!("narhaul/{key}"));
            assert_eq!(Name::parse(&name.key()), Some(name));
        }
    }

    #[test]
    fn a_key_that_is_written_otherwise_has_no_name() {
        for other in [
            "narhaul/confi",
            "narhaul/config/x",
            "nar/config",
            "narhaul/roots/web/20261122T214500-x",
            "narhaul/roots/web/20261322T214500Z-x",
            "narhaul/roots/web/20261122T214560Z-x",
            "narhaul/roots/web/20261122T214500Z-",
            "narhaul/journal/20261122T214500Z-k3f9/doom-01",
            "narhaul/journal/20261122T214500Z-k3f9/doom-+1",
            "narhaul/journal/20261122T214500Z-k3f9/doom-",
            "narhaul/journal/20261122T214500Z-k3f9-ff/index",
            "narhaul/journal/k3f9/index",
            "narhaul/intents/a_b/beat",
            "narhaul/doctor/00c0ffee",
            "narhaul/doctor/00c0ffee/Race",
            "narhaul/doctor/00c0ffee/race/3",
        ] {
            let key = ObjectKey::parse(other).unwrap();
            assert_eq!(Name::parse(&key), None, "{other}");
        }
    }

    #[test]
    fn a_part_belongs_to_its_sweep_and_sorts_beside_it() {
        let run = RunId::new(time(), "k3f9").unwrap();
        let later = RunId::new(time() + Duration::from_secs(1), "a").unwrap();
        assert_eq!(run.part('f').owner(), run);
        assert_eq!(run.part('f').part('r'), run.part('r'));
        assert!(run < run.part('f') && run.part('f') < later);
        assert_eq!(run.part('f').time(), time());
    }

    #[test]
    fn a_time_is_kept_to_the_second() {
        let name = Name::Root {
            group: "g".parse().unwrap(),
            time: time() + Duration::from_millis(999),
            id: "x".parse().unwrap(),
        };
        assert_eq!(name.to_string(), "roots/g/20261122T214500Z-x");
    }

    #[test]
    fn a_long_id_has_room_for_its_number() {
        let id: IntentId = "x".repeat(64).parse().unwrap();
        let next = id.nth(2);
        assert_eq!(next.as_str().len(), 64);
        assert_eq!(next.as_str().parse(), Ok(next.clone()));
        assert_ne!(next, id);
    }
}
