//! What a server was found to do, kept beside the cache: `narhaul/capabilities`.
//!
//! An examination writes it over the one before, and holds the two against each other. It is a memory,
//! not an authority: a server changes with its next version, and other credentials see other things. So
//! it is used only where a wrong entry is harmless (`docs/design/` says where), and nothing that keeps a
//! cache closed is left out or done because of it. One that cannot be read is as good as none.
//!
//! Contents: the line `narhaul capabilities 1`, then one JSON object; the time is in whole seconds since
//! 1970. What was not found out is `null`, or `unknown`.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::file::{DecodeError, Kind};

const KIND: Kind = Kind {
    name: "capabilities",
    version: 1,
};

/// A server that tells a longer name is not quoted.
const MAX_NAME: usize = 100;

/// What becomes of writes that are only to happen where nothing is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConditionalPut {
    /// Of many at once exactly one happens.
    Atomic,
    /// One that comes later is refused, but of many at once several happen.
    Racy,
    /// They all happen, and nobody is told.
    Ignored,
    /// They are all refused.
    Refused,
    /// Nobody knows.
    #[default]
    Unknown,
}

/// What becomes of deletions that are only to happen to exactly this object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConditionalDelete {
    /// One that names another object's entity tag is refused.
    Honored,
    /// It happens all the same.
    Ignored,
    /// They are all refused.
    Refused,
    /// Nobody knows.
    #[default]
    Unknown,
}

/// What a server was found to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// When it was looked at, by its own clock, to the second.
    pub probed: SystemTime,
    /// What it calls itself.
    pub server: String,
    /// Conditional writes.
    pub conditional_put: ConditionalPut,
    /// Conditional deletions.
    pub conditional_delete: ConditionalDelete,
    /// Whether many objects are deleted in one request as a sweep sends it.
    pub deletes_batches: Option<bool>,
    /// Whether the parts of an object may have different lengths.
    pub takes_unequal_parts: Option<bool>,
    /// Whether a listing shows at once what was written, and no longer what was deleted.
    pub lists_what_is_there: Option<bool>,
}

/// The JSON object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    probed: u64,
    server: String,
    conditional_put: ConditionalPut,
    conditional_delete: ConditionalDelete,
    deletes_batches: Option<bool>,
    takes_unequal_parts: Option<bool>,
    lists_what_is_there: Option<bool>,
}

impl Capabilities {
    /// Returns what is kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let since = self.probed.duration_since(SystemTime::UNIX_EPOCH);
        KIND.write_json(&Fields {
            probed: since.unwrap_or_default().as_secs(),
            server: self.server.clone(),
            conditional_put: self.conditional_put,
            conditional_delete: self.conditional_delete,
            deletes_batches: self.deletes_batches,
            takes_unequal_parts: self.takes_unequal_parts,
            lists_what_is_there: self.lists_what_is_there,
        })
    }

    /// Reads it back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields: Fields = KIND.read_json(bytes)?;
        let probed = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(fields.probed))
            .ok_or(DecodeError::Damaged("its time is out of reach"))?;
        if fields.server.len() > MAX_NAME {
            return Err(DecodeError::Damaged("its server's name is too long"));
        }
        Ok(Self {
            probed,
            server: fields.server,
            conditional_put: fields.conditional_put,
            conditional_delete: fields.conditional_delete,
            deletes_batches: fields.deletes_batches,
            takes_unequal_parts: fields.takes_unequal_parts,
            lists_what_is_there: fields.lists_what_is_there,
        })
    }

    /// Returns whether both say the same, whenever they were written.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let other = Self {
            probed: self.probed,
            ..other.clone()
        };
        *self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Capabilities {
        Capabilities {
            probed: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900),
            server: "Garage".to_owned(),
            conditional_put: ConditionalPut::Ignored,
            conditional_delete: ConditionalDelete::Ignored,
            deletes_batches: Some(true),
            takes_unequal_parts: Some(true),
            lists_what_is_there: None,
        }
    }

    #[test]
    fn it_reads_as_it_was_written() {
        let bytes = some().encode();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "narhaul capabilities 1\n\
             {\"probed\":1795383900,\"server\":\"Garage\",\"conditionalPut\":\"ignored\",\
             \"conditionalDelete\":\"ignored\",\"deletesBatches\":true,\"takesUnequalParts\":true,\
             \"listsWhatIsThere\":null}\n"
        );
        assert_eq!(Capabilities::decode(&bytes).unwrap(), some());
    }

    #[test]
    fn what_is_not_written_so_is_refused() {
        let text = String::from_utf8(some().encode()).unwrap();
        for (from, to) in [
            ("capabilities 1", "capabilities 2"),
            ("\"ignored\"", "\"sometimes\""),
            ("\"server\"", "\"servers\""),
            ("1795383900", "18446744073709551615"),
            ("Garage", &"x".repeat(101)),
        ] {
            let changed = text.replacen(from, to, 1);
            assert!(Capabilities::decode(changed.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn the_time_is_not_part_of_what_it_says() {
        let later = Capabilities {
            probed: SystemTime::UNIX_EPOCH,
            ..some()
        };
        assert!(some().says_the_same_as(&later));
        let other = Capabilities {
            conditional_put: ConditionalPut::Atomic,
            ..some()
        };
        assert!(!some().says_the_same_as(&other));
    }
}
