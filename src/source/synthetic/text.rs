//! The notation in which tests write closures: `curl -> openssl glibc; glibc (40 MiB) -> glibc`.
//!
//! Items are separated by semicolons or line ends. An item is a name, perhaps a size in brackets,
//! perhaps an arrow and the names that it refers to. A name that occurs only behind an arrow is an item
//! of its own; one that is written twice is an error.

use std::collections::{BTreeMap, BTreeSet};

use crate::nix::store_path::{self, StoreName};

/// Why a text describes no closure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A name that no store path may have.
    #[error("`{0}` is no name of a store path")]
    Name(String, #[source] store_path::ParseError),
    /// A size that is none.
    #[error("`{0}` is not a size such as `(40 MiB)`")]
    Size(String),
    /// A name that is described twice.
    #[error("`{0}` is described twice")]
    Twice(StoreName),
}

/// What a text says about a name.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) size: Option<u64>,
    pub(super) references: BTreeSet<StoreName>,
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<BTreeMap<StoreName, Item>, TextError> {
    let parse_name = |name: &str| {
        let parsed = name.parse();
        parsed.map_err(|source| TextError::Name(name.to_owned(), source))
    };
    let mut items = BTreeMap::new();
    let mut mentioned = BTreeSet::new();
    for text in text
        .split([';', '\n'])
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        let (head, references) = text.split_once("->").unwrap_or((text, ""));
        let (name, size) = match head.split_once('(') {
            None => (head, None),
            Some((name, size)) => (name, Some(parse_size(size)?)),
        };
        let name: StoreName = parse_name(name.trim())?;
        let references = references.split_whitespace().map(parse_name);
        let references: BTreeSet<StoreName> = references.collect::<Result<_, _>>()?;
        mentioned.extend(references.iter().cloned());
        if items
            .insert(name.clone(), Item { size, references })
            .is_some()
        {
            return Err(TextError::Twice(name));
        }
    }
    for name in mentioned {
        items.entry(name).or_default();
    }
    Ok(items)
}

/// Reads what follows the opening bracket.
fn parse_size(text: &str) -> Result<u64, TextError> {
    let wrong = || TextError::Size(format!("({text}"));
    let size = text.trim().strip_suffix(')').ok_or_else(wrong)?;
    let (number, unit) = size.trim().split_once(' ').ok_or_else(wrong)?;
    let unit: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_number| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}
