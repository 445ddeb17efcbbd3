//! Pins: paths that a person keeps alive by name, whatever the rules say.
//!
//! Key: `narhaul/pins/<name>`. Contents: the line `narhaul pin 1`, then one JSON object; the end, if
//! there is one, is in whole seconds since 1970. An end of 0 is a pin that was taken off: the object stays
//! until a sweep has seen that somebody meant it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::file::{DecodeError, Kind};
use crate::nix::store_path::{StoreDir, StorePath};

const KIND: Kind = Kind {
    name: "pin",
    version: 1,
};

/// What a person keeps alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The store dir that the paths belong to.
    pub store_dir: StoreDir,
    /// The paths, sorted.
    pub paths: Vec<StorePath>,
    /// When it ends; never if none. To the second, not before 1970.
    pub until: Option<SystemTime>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    store_dir: String,
    paths: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

impl Pin {
    /// Returns the pin as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        };
        KIND.write_json(&Fields {
            store_dir: self.store_dir.to_string(),
            paths: self.paths.iter().map(ToString::to_string).collect(),
            until: self.until.map(seconds),
        })
    }

    /// Reads a pin back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields: Fields = KIND.read_json(bytes)?;
        let paths: Result<Vec<StorePath>, _> =
            fields.paths.iter().map(|path| path.parse()).collect();
        let time = |seconds| {
            SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds))
                .ok_or(DecodeError::Damaged("it ends at no time that there is"))
        };
        Ok(Self {
            store_dir: fields.store_dir.parse()?,
            paths: paths?,
            until: fields.until.map(time).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_was_written() {
        let mut pin = Pin {
            store_dir: StoreDir::default(),
            paths: vec![
                "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8"
                    .parse()
                    .unwrap(),
            ],
            until: None,
        };
        assert_eq!(Pin::decode(&pin.encode()).unwrap(), pin);
        pin.until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900));
        let bytes = pin.encode();
        assert_eq!(
            str::from_utf8(&bytes).unwrap(),
            "narhaul pin 1\n{\"storeDir\":\"/nix/store\",\"paths\":[\"3n58xw4373jp0ljirf06d8077j15pc4j-\
             glibc-2.37-8\"],\"until\":1795383900}\n"
        );
        assert_eq!(Pin::decode(&bytes).unwrap(), pin);
    }

    #[test]
    fn an_end_beyond_all_time_is_refused() {
        let text = "narhaul pin 1\n{\"storeDir\":\"/nix/store\",\"paths\":[],\"until\":18446744073709551615}";
        assert!(matches!(
            Pin::decode(text.as_bytes()),
            Err(DecodeError::Damaged(_))
        ));
    }
}
