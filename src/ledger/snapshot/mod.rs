//! Snapshots: what the cache held when a sweep looked, so that the next reads only what has changed.
//!
//! Key: `narhaul/snapshot/<run>`. A cache of what narinfos say, never the truth: a lost or unreadable
//! one costs time. It also names the roots and pins that were there, so that one which is gone without a
//! word is noticed. What only a journal has is left out: the journal is there.
//!
//! Contents: the line `narhaul snapshot 1`; a line with one JSON object (run, time, roots, pins, ended,
//! and lists where there are any); then
//! [columns](super::columns), nodes being numbered by the order of their hash parts:
//!
//! ```text
//! counts     of nodes, of visible ones, of references
//! endings    of bodies' keys: count, texts        whole keys: count, texts
//! parts      20 bytes each, ascending
//! visible    one bit each; for those alone, in order, is all of what follows:
//! addressed  one bit each: whether the path is content-addressed
//! rows       number of references, then each as its distance from the one before
//! endings    1 byte each                          digests 32 bytes each
//! sizes      a number each
//! dates      4 bytes each, little endian          births  zigzag distance from the date
//! tags       16 bytes each
//! resigned   count, then part and tag each, ascending
//! orphans    count, then key and 4 bytes each, ascending
//! check      SHA-256 of everything before it
//! ```
//!
//! Rows, sizes and births, of no fixed length, stand behind theirs in bytes. About 105 bytes for a path
//! with eight references.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    RunId,
    columns::{Bits, CUT_OFF, Cursor, put_bits, put_column, put_number, put_text, to_u64},
    file::{DecodeError, Kind, json_line},
};
use crate::{
    graph::{Census, Etag, Loader, Node, Seconds, Values, index},
    nix::{hash::Sha256, object_key::ObjectKey, store_path::HashPart},
};

const KIND: Kind = Kind {
    name: "snapshot",
    version: 1,
};

/// The bytes of the check at the end.
const CHECK: usize = 32;

/// What the cache held when a sweep looked.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The sweep that looked.
    pub run: RunId,
    /// When it looked, by the server's clock; kept to the second.
    pub taken: SystemTime,
    /// The root records that were there.
    pub roots: Vec<ObjectKey>,
    /// The pins that were there.
    pub pins: Vec<ObjectKey>,
    /// The roots and pins that this sweep was about to take away, since the rules keep them no more.
    pub ended: Vec<ObjectKey>,
    /// How many paths each list of roots named that this sweep was given, by what it is called.
    pub lists: BTreeMap<String, u64>,
    /// Narinfos that were signed again, with the tags that they got. Sweeps write none and go by none: a
    /// narinfo is born when it was last written, whoever wrote it. A place in the format, no more.
    pub resigned: BTreeMap<HashPart, Etag>,
    /// Bodies that no narinfo named, with the time at which a sweep first found each of them so. Their
    /// own dates do not say it: a narinfo that named one may have been replaced a moment ago.
    pub orphans: BTreeMap<ObjectKey, Seconds>,
    /// What was there.
    pub census: Census,
}

/// The second line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    run: String,
    taken: u32,
    roots: Vec<String>,
    pins: Vec<String>,
    ended: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Returns the snapshot as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let texts = |keys: &[ObjectKey]| keys.iter().map(ToString::to_string).collect();
        let mut bytes = KIND.begin();
        bytes.extend(json_line(&Fields {
            run: self.run.as_str().to_owned(),
            taken: Seconds::from(self.taken).into(),
            roots: texts(&self.roots),
            pins: texts(&self.pins),
            ended: texts(&self.ended),
            lists: self.lists.clone(),
        }));
        put_census(&mut bytes, &self.census);
        put_number(&mut bytes, to_u64(self.resigned.len()));
        for (part, etag) in &self.resigned {
            bytes.extend_from_slice(part.as_bytes());
            bytes.extend_from_slice(etag.as_bytes());
        }
        put_number(&mut bytes, to_u64(self.orphans.len()));
        for (body, found) in &self.orphans {
            put_text(&mut bytes, body.as_str());
            bytes.extend(u32::from(*found).to_le_bytes());
        }
        let check = Sha256::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        bytes
    }

    /// Reads a snapshot back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let contents = KIND.open(bytes)?;
        let n_before = contents.len().checked_sub(CHECK).ok_or(CUT_OFF)?;
        let (before, check) = bytes.split_at(bytes.len() - CHECK);
        if Sha256::of(before).as_bytes() != check {
            return Err(DecodeError::Damaged("its check is of other contents"));
        }
        let mut cursor = Cursor::new(&contents[..n_before]);
        let fields: Fields = serde_json::from_slice(cursor.line()?)?;
        let keys = |texts: &[String]| texts.iter().map(|text| ObjectKey::parse(text)).collect();
        let (roots, pins): (Result<Vec<_>, _>, Result<Vec<_>, _>) =
            (keys(&fields.roots), keys(&fields.pins));
        let ended: Result<Vec<_>, _> = keys(&fields.ended);
        let run = fields
            .run
            .parse()
            .map_err(|_invalid| DecodeError::Damaged("its run is no name of a sweep"))?;
        let census = take_census(&mut cursor)?;
        let resigned = take_resigned(&mut cursor)?;
        let orphans = take_orphans(&mut cursor)?;
        if !cursor.is_at_end() {
            return Err(DecodeError::Damaged("something follows the last column"));
        }
        Ok(Self {
            run,
            taken: Seconds::from(fields.taken).into(),
            roots: roots?,
            pins: pins?,
            ended: ended?,
            lists: fields.lists,
            resigned,
            orphans,
            census,
        })
    }
}

/// Returns the nodes that are visible or that a visible one names, by the order of their parts.
fn in_order(census: &Census) -> Vec<Node> {
    let mut is_kept = census.visible().clone();
    for node in census.dangling() {
        is_kept.insert(node);
    }
    // The last eight bytes decide nearly always, and beside the node they need no look elsewhere.
    let mut keyed: Vec<(u64, Node)> = is_kept
        .iter()
        .map(|node| {
            let [.., a, b, c, d, e, f, g, h] = *census.part(node).as_bytes();
            (u64::from_le_bytes([a, b, c, d, e, f, g, h]), node)
        })
        .collect();
    keyed.sort_unstable_by(|(key, node), (other_key, other)| {
        let parts = || census.part(*node).cmp(&census.part(*other));
        key.cmp(other_key).then_with(parts)
    });
    keyed.into_iter().map(|(_, node)| node).collect()
}

fn put_census(bytes: &mut Vec<u8>, census: &Census) {
    let order = in_order(census);
    let mut rank = vec![0; census.len()];
    for (place, &node) in (0..).zip(&order) {
        rank[index(node)] = place;
    }
    let visible = || {
        let nodes = order.iter().copied();
        nodes.filter(|&node| census.is_visible(node))
    };
    let n_references: usize = visible()
        .map(|node| census.graph().references(node).len())
        .sum();
    // A little more than is needed, so that the bytes are never moved: 4 for a reference at most.
    bytes.reserve(order.len() * 21 + n_references * 4 + census.n_visible() * 72);
    for count in [order.len(), census.n_visible(), n_references] {
        put_number(bytes, to_u64(count));
    }
    let (endings, whole) = census.body_tables();
    put_number(bytes, to_u64(endings.len()));
    endings.for_each(|ending| put_text(bytes, ending));
    put_number(bytes, to_u64(whole.len()));
    whole.iter().for_each(|key| put_text(bytes, key.as_str()));
    for &node in &order {
        bytes.extend_from_slice(census.part(node).as_bytes());
    }
    put_bits(bytes, order.iter().map(|&node| census.is_visible(node)));
    put_bits(
        bytes,
        visible().map(|node| census.is_content_addressed(node)),
    );
    put_column(bytes, &rows(census, visible(), &rank));
    let halves = || visible().filter_map(|node| census.body_id(node));
    bytes.extend(halves().map(|id| id.halves().0));
    halves().for_each(|id| bytes.extend_from_slice(id.halves().1));
    put_numbers(bytes, visible().map(|node| census.file_size(node)));
    for node in visible() {
        bytes.extend(u32::from(census.modified(node)).to_le_bytes());
    }
    put_numbers(
        bytes,
        visible().map(|node| zigzag(census.birth(node), census.modified(node))),
    );
    for node in visible() {
        let etag = census.etag(node).unwrap_or(Etag::NONE);
        bytes.extend_from_slice(etag.as_bytes());
    }
}

fn rows(census: &Census, visible: impl Iterator<Item = Node>, rank: &[u32]) -> Vec<u8> {
    let mut column = Vec::new();
    let mut row: Vec<u32> = Vec::new();
    for node in visible {
        row.clear();
        let references = census.graph().references(node);
        row.extend(references.iter().map(|&to| rank[index(to)]));
        row.sort_unstable();
        put_number(&mut column, to_u64(row.len()));
        let mut least = 0;
        for &to in &row {
            put_number(&mut column, u64::from(to) - least);
            least = u64::from(to) + 1;
        }
    }
    column
}

fn put_numbers(bytes: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    let mut column = Vec::new();
    numbers.for_each(|number| put_number(&mut column, number));
    put_column(bytes, &column);
}

/// Writes how far a birth is from the date so that small distances either way are small numbers.
fn zigzag(birth: Seconds, modified: Seconds) -> u64 {
    let (birth, modified) = (u64::from(u32::from(birth)), u64::from(u32::from(modified)));
    if birth <= modified {
        (modified - birth) << 1
    } else {
        (birth - modified) << 1 | 1
    }
}

/// Takes [`zigzag`] back; `None` if no date is so far away.
fn unzigzag(number: u64, modified: Seconds) -> Option<Seconds> {
    let modified = u64::from(u32::from(modified));
    let birth = match (number >> 1, number & 1) {
        (distance, 0) => modified.checked_sub(distance)?,
        (0, _) => return None, // no distance has one form
        (distance, _) => modified.checked_add(distance)?,
    };
    u32::try_from(birth).ok().map(Seconds::from)
}

/// The columns of visible nodes.
struct Columns<'a> {
    addressed: Bits<'a>,
    rows: Cursor<'a>,
    endings: &'a [u8],
    digests: &'a [[u8; 32]],
    sizes: Cursor<'a>,
    dates: &'a [[u8; 4]],
    births: Cursor<'a>,
    tags: &'a [[u8; 16]],
}

impl<'a> Columns<'a> {
    fn take(cursor: &mut Cursor<'a>, n_visible: usize) -> Result<Self, DecodeError> {
        Ok(Self {
            addressed: cursor.bits(n_visible)?,
            rows: cursor.column()?,
            endings: cursor.take(n_visible)?,
            digests: cursor.arrays(n_visible)?,
            sizes: cursor.column()?,
            dates: cursor.arrays(n_visible)?,
            births: cursor.column()?,
            tags: cursor.arrays(n_visible)?,
        })
    }

    fn values(&mut self, at: usize) -> Result<Values, DecodeError> {
        let modified = Seconds::from(u32::from_le_bytes(self.dates[at]));
        let birth = unzigzag(self.births.number()?, modified);
        Ok(Values {
            file_size: self.sizes.number()?,
            modified,
            birth: birth.ok_or(DecodeError::Damaged("a birth is no date"))?,
            etag: Some(Etag::from_bytes(self.tags[at])).filter(|&etag| etag != Etag::NONE),
            is_content_addressed: self.addressed.is_set(at),
        })
    }

    /// Reads the next row into `row`.
    fn row(&mut self, own: Node, n_nodes: usize, row: &mut Vec<Node>) -> Result<(), DecodeError> {
        row.clear();
        let mut least = 0u64;
        for _ in 0..self.rows.count(1)? {
            let to = least.checked_add(self.rows.number()?);
            let to = to.and_then(|to| Node::try_from(to).ok());
            let Some(to) = to.filter(|&to| index(to) < n_nodes) else {
                return Err(DecodeError::Damaged("a reference is to no node"));
            };
            if to == own {
                return Err(DecodeError::Damaged("a path refers to itself"));
            }
            row.push(to);
            least = u64::from(to) + 1;
        }
        Ok(())
    }

    const fn is_at_end(&self) -> bool {
        self.rows.is_at_end() && self.sizes.is_at_end() && self.births.is_at_end()
    }
}

fn take_census(cursor: &mut Cursor<'_>) -> Result<Census, DecodeError> {
    let n_nodes = cursor.count(HASH_PART)?;
    let n_visible = cursor.count(MIN_VISIBLE)?;
    let n_references = cursor.count(1)?;
    let (endings, whole) = take_tables(cursor)?;
    let parts = take_parts(cursor, n_nodes)?;
    let visible = cursor.bits(n_nodes)?;
    if visible.n_set() != n_visible {
        return Err(DecodeError::Damaged("the number of visible paths is wrong"));
    }
    let mut columns = Columns::take(cursor, n_visible)?;
    // Room is made for so many, and each takes a byte at least.
    if n_references > columns.rows.len() {
        return Err(DecodeError::Damaged("a column is shorter than its paths"));
    }
    let mut loader = Loader::new(parts, endings, whole, n_references).ok_or(
        DecodeError::Damaged("its table of bodies has a key twice, or something that is no key"),
    )?;
    let (mut at, mut n_seen) = (0, 0);
    let mut row = Vec::new();
    let nodes = (0..).take(n_nodes).zip(0usize..);
    for (node, _) in nodes.filter(|&(_, place)| visible.is_set(place)) {
        columns.row(node, n_nodes, &mut row)?;
        n_seen += row.len();
        let body = (columns.endings[at], &columns.digests[at]);
        let values = columns.values(at)?;
        loader
            .fill(node, &row, body, &values)
            .ok_or(DecodeError::Damaged("a body's key is in no table"))?;
        at += 1;
    }
    if n_seen != n_references || !columns.is_at_end() {
        return Err(DecodeError::Damaged("a column is longer than its paths"));
    }
    Ok(loader.finish())
}

/// The bytes of a hash part.
const HASH_PART: usize = 20;

/// The least bytes of a visible path: part, empty row, ending, digest, size, date, birth, tag.
const MIN_VISIBLE: usize = HASH_PART + 1 + 1 + 32 + 1 + 4 + 1 + 16;

fn take_tables<'a>(cursor: &mut Cursor<'a>) -> Result<(Vec<&'a str>, Vec<ObjectKey>), DecodeError> {
    let n_endings = cursor.count(1)?;
    let endings: Result<Vec<_>, _> = (0..n_endings).map(|_| cursor.text()).collect();
    let endings = endings?;
    let n_whole = cursor.count(2)?;
    let whole: Result<Vec<_>, DecodeError> = (0..n_whole)
        .map(|_| Ok(ObjectKey::parse(cursor.text()?)?))
        .collect();
    Ok((endings, whole?))
}

fn take_parts(cursor: &mut Cursor<'_>, n_nodes: usize) -> Result<Vec<HashPart>, DecodeError> {
    let parts = cursor.arrays::<HASH_PART>(n_nodes)?.iter().copied();
    let parts: Vec<HashPart> = parts.map(HashPart::from_bytes).collect();
    // Ascending, so each is there once.
    if parts.is_sorted_by(|one, next| one < next) {
        Ok(parts)
    } else {
        Err(DecodeError::Damaged("its paths are out of order"))
    }
}

fn take_resigned(cursor: &mut Cursor<'_>) -> Result<BTreeMap<HashPart, Etag>, DecodeError> {
    let mut resigned = BTreeMap::new();
    for _ in 0..cursor.count(HASH_PART + 16)? {
        let part = HashPart::from_bytes(cursor.array()?);
        let is_next = resigned
            .last_key_value()
            .is_none_or(|(last, _)| *last < part);
        if !is_next {
            return Err(DecodeError::Damaged("its paths are out of order"));
        }
        resigned.insert(part, Etag::from_bytes(cursor.array()?));
    }
    Ok(resigned)
}

fn take_orphans(cursor: &mut Cursor<'_>) -> Result<BTreeMap<ObjectKey, Seconds>, DecodeError> {
    let mut orphans = BTreeMap::new();
    for _ in 0..cursor.count(MIN_ORPHAN)? {
        let body = ObjectKey::parse(cursor.text()?)?;
        let is_next = orphans
            .last_key_value()
            .is_none_or(|(last, _)| *last < body);
        if !is_next {
            return Err(DecodeError::Damaged("its orphans are out of order"));
        }
        let found = u32::from_le_bytes(cursor.array()?);
        orphans.insert(body, Seconds::from(found));
    }
    Ok(orphans)
}

/// The least bytes of an orphan: a key of one character behind its length, and a time.
const MIN_ORPHAN: usize = 1 + 1 + 4;

#[cfg(test)]
mod tests;
