//! Snapshots of random censuses read back; damaged ones are refused in words.

use std::collections::BTreeSet;

use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
};

use super::*;
use crate::{
    graph::{CensusBuilder, Row},
    ledger::properties,
    nix::base32,
};

/// Parts that differ in their first or in their last bytes.
fn part(number: u16) -> HashPart {
    let mut bytes = [5; 20];
    let [low, high] = number.to_le_bytes();
    (bytes[0], bytes[19]) = (low, high);
    HashPart::from_bytes(bytes)
}

fn numbers() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..40, any::<u16>()]
}

fn body() -> impl Strategy<Value = ObjectKey> {
    let digest = prop_oneof![Just([0; 32]), any::<[u8; 32]>()];
    let usual = (digest, "[.][a-z]{1,2}").prop_map(|(digest, ending)| {
        let digits = base32::encode(&digest);
        format!("nar/{digits}{ending}")
    });
    prop_oneof![4 => usual, 1 => "[a-z]{1,3}/[a-z]{1,3}"]
        .prop_map(|key| ObjectKey::parse(&key).unwrap())
}

fn row(number: u16) -> impl Strategy<Value = Row> {
    let values = (body(), any::<u64>(), any::<u32>(), any::<[u8; 16]>());
    let changes = (any::<bool>(), any::<bool>(), any::<u32>());
    (btree_set(numbers(), 0..9), values, changes).prop_map(
        move |(references, (body, size, modified, tag), (is_addressed, is_plain, birth))| Row {
            part: part(number),
            references: references.into_iter().map(part).collect(),
            body,
            file_size: if is_plain { size >> 40 } else { size },
            modified: modified.into(),
            birth: if is_plain { modified } else { birth }.into(),
            etag: Some(Etag::from_bytes(tag)).filter(|_| is_plain),
            is_content_addressed: is_addressed,
        },
    )
}

fn censuses() -> impl Strategy<Value = (Vec<Row>, Vec<Row>)> {
    let rows = btree_set(numbers(), 0..60)
        .prop_flat_map(|numbers| numbers.into_iter().map(row).collect::<Vec<_>>())
        .prop_shuffle();
    (rows, any::<prop::sample::Index>()).prop_map(|(mut rows, at)| {
        let buried = rows.split_off(if rows.is_empty() {
            0
        } else {
            at.index(rows.len())
        });
        (rows, buried)
    })
}

fn snapshot(visible: &[Row], buried: &[Row]) -> Snapshot {
    let mut builder = CensusBuilder::new();
    for row in buried {
        builder.push_buried(row.clone()).unwrap();
    }
    for row in visible {
        builder.push(row.clone()).unwrap();
    }
    Snapshot {
        run: "20261123T003000Z-k3f9".parse().unwrap(),
        taken: Seconds::from(1_795_383_900).into(),
        roots: vec![ObjectKey::parse("narhaul/roots/web/20261122T214500Z-a").unwrap()],
        pins: Vec::new(),
        ended: vec![ObjectKey::parse("narhaul/pins/a").unwrap()],
        lists: BTreeMap::from([("gcroots".to_owned(), 12)]),
        resigned: BTreeMap::new(),
        orphans: ["nar/a", "nar/b"]
            .map(|key| (ObjectKey::parse(key).unwrap(), Seconds::from(1_795_000_000)))
            .into(),
        census: builder.build(),
    }
}

/// The visible rows of a census, by part, references sorted.
fn rows_of(census: &Census) -> BTreeMap<HashPart, (BTreeSet<HashPart>, Row)> {
    let rows = census.visible().iter().map(|node| {
        let mut row = census.row(node).unwrap();
        let references = std::mem::take(&mut row.references);
        (row.part, (references.into_iter().collect(), row))
    });
    rows.collect()
}

/// Replaces the check by that of the other contents.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - CHECK);
    let check = Sha256::of(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    bytes
}

fn two_paths() -> Snapshot {
    let row = |number: u16, references: &[u16]| Row {
        part: part(number),
        references: references.iter().copied().map(part).collect(),
        body: ObjectKey::parse(&format!("bodies/{number}")).unwrap(),
        file_size: 1000,
        modified: Seconds::from(1_795_000_000),
        birth: Seconds::from(1_795_000_000),
        etag: None,
        is_content_addressed: false,
    };
    snapshot(&[row(2, &[1]), row(1, &[])], &[])
}

fn message(bytes: &[u8]) -> String {
    let error = Snapshot::decode(bytes).unwrap_err();
    error.to_string()
}

/// Returns where `needle` stands, which it does once.
fn place(bytes: &[u8], needle: &[u8]) -> usize {
    let mut places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(needle));
    let place = places.next().unwrap();
    assert_eq!(places.next(), None);
    place
}

#[test]
fn a_snapshot_that_is_cut_off_anywhere_is_refused() {
    let bytes = two_paths().encode();
    for length in 0..bytes.len() {
        assert!(Snapshot::decode(&bytes[..length]).is_err(), "{length}");
        if (60..bytes.len() - CHECK).contains(&length) {
            let checked = checked([&bytes[..length], &[0; CHECK]].concat());
            assert!(Snapshot::decode(&checked).is_err(), "{length}, checked");
        }
    }
}

#[test]
fn a_snapshot_with_one_other_bit_is_refused() {
    let mut bytes = two_paths().encode();
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        assert!(Snapshot::decode(&bytes).is_err(), "{at}");
        bytes[at] ^= 1;
    }
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = two_paths().encode();
    let at = place(&bytes, b"snapshot 1\n");
    bytes[at + 9] = b'2';
    assert_eq!(
        message(&bytes),
        "it is a `snapshot` of version 2, and version 1 is the newest known here"
    );
}

#[test]
fn damage_that_has_a_right_check_is_named() {
    let bytes = two_paths().encode();
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        message(&checked(bytes))
    };
    let parts = place(&bytes, part(1).as_bytes());
    // Two nodes, both visible; bits, then 3 bytes of rows: none, one, the first.
    let (counts, rows) = (place(&bytes, b"\n\x02\x02\x01\x00\x02") + 1, parts + 42);
    assert_eq!(bytes[rows..rows + 4], [3, 0, 1, 0]);
    let begins = |message: String, wanted: &str| {
        assert_eq!(message, format!("its contents are damaged: {wanted}"));
    };
    begins(
        damage(&|bytes| bytes[parts..parts + 40].rotate_left(20)),
        "its paths are out of order",
    );
    begins(
        damage(&|bytes| bytes[rows + 3] = 7),
        "a reference is to no node",
    );
    begins(
        damage(&|bytes| bytes[rows + 3] = 1),
        "a path refers to itself",
    );
    begins(
        damage(&|bytes| bytes[counts + 2] = 2),
        "a column is longer than its paths",
    );
    begins(
        damage(&|bytes| bytes[counts + 2] = 100),
        "a column is shorter than its paths",
    );
    begins(
        damage(&|bytes| bytes[counts + 1] = 1),
        "the number of visible paths is wrong",
    );
    begins(damage(&|bytes| bytes[counts] = 0x7f), "it ends too early");
    begins(
        damage(&|bytes| bytes[parts + 40] = 7),
        "a bit is set beyond the last",
    );
    let keys = place(&bytes, b"bodies/1");
    begins(
        damage(&|bytes| bytes[keys + 7] = b'2'),
        "its table of bodies has a key twice, or something that is no key",
    );
    begins(
        damage(&|bytes| bytes.insert(bytes.len() - CHECK, 0)),
        "something follows the last column",
    );
}

#[test]
fn a_key_cannot_have_two_numbers() {
    let digits = base32::encode(&[3; 32]);
    let key = ObjectKey::parse(&format!("nar/{digits}.x")).unwrap();
    let loaded = |endings: &[&str], whole: &[&ObjectKey]| {
        let whole = whole.iter().map(|&key| key.clone()).collect();
        Loader::new(Vec::new(), endings.iter().copied(), whole, 0).is_some()
    };
    let strange = ObjectKey::parse("strange").unwrap();
    assert!(loaded(&[".x", ".y"], &[&strange]));
    assert!(!loaded(&[".x", ".x"], &[]));
    assert!(!loaded(&[".x"], &[&key]), "it has an ending");
    assert!(!loaded(&[], &[&key]), "it could have one");
    assert!(!loaded(&[], &[&strange, &strange]));
    assert!(!loaded(&["/../x"], &[]), "it makes no key");
    let endings: Vec<String> = (0..255).map(|n| format!(".{n}")).collect();
    let endings: Vec<&str> = endings.iter().map(String::as_str).collect();
    assert!(!loaded(&endings, &[]), "one too many");
    assert!(loaded(&endings[..254], &[&key]), "there was no room");
}

#[test]
fn a_snapshot_of_nothing_reads_back() {
    let bytes = snapshot(&[], &[]).encode();
    let read = Snapshot::decode(&bytes).unwrap();
    assert!(read.census.is_empty());
    assert_eq!(read.census.node(&part(1)), None);
}

proptest! {
    #[test]
    fn a_snapshot_reads_as_it_was_written(
        (visible, buried) in censuses(),
        resigned in btree_map(any::<[u8; 20]>(), any::<[u8; 16]>(), 0..3),
    ) {
        let mut written = snapshot(&visible, &buried);
        let resigned = resigned.into_iter();
        written.resigned = resigned
            .map(|(part, tag)| (HashPart::from_bytes(part), Etag::from_bytes(tag)))
            .collect();
        let read = Snapshot::decode(&written.encode()).unwrap();
        prop_assert_eq!(&read.run, &written.run);
        prop_assert_eq!(read.taken, written.taken);
        prop_assert_eq!(&read.roots, &written.roots);
        prop_assert_eq!(&read.pins, &written.pins);
        prop_assert_eq!(&read.resigned, &written.resigned);
        prop_assert_eq!(rows_of(&read.census), rows_of(&written.census));
        prop_assert!(read.census.buried().is_empty(), "journals are kept elsewhere");
        let dangling = |census: &Census| -> BTreeSet<HashPart> {
            census.dangling().map(|node| census.part(node)).collect()
        };
        prop_assert_eq!(dangling(&read.census), dangling(&written.census));
        prop_assert_eq!(read.census.len(), read.census.n_visible() + read.census.dangling().count());
        for node in read.census.nodes() {
            prop_assert_eq!(read.census.node(&read.census.part(node)), Some(node));
            let id = read.census.body(node).and_then(|key| read.census.find_body(&key));
            prop_assert_eq!(id, read.census.body_id(node));
        }
    }

    #[test]
    fn a_census_that_was_read_can_be_amended(
        (visible, later) in censuses(),
        n_gone in 0usize..9,
    ) {
        let read = Snapshot::decode(&snapshot(&visible, &[]).encode()).unwrap();
        let mut builder = read.census.amend();
        for row in visible.iter().take(n_gone) {
            prop_assert!(builder.remove(&row.part));
        }
        for row in &later {
            builder.push(row.clone()).unwrap();
        }
        let wanted: Vec<Row> = visible.iter().skip(n_gone).chain(&later).cloned().collect();
        prop_assert_eq!(rows_of(&builder.build()), rows_of(&snapshot(&wanted, &[]).census));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        properties::snapshot(&bytes);
        properties::snapshot(&[&b"narhaul snapshot 1\n"[..], &bytes].concat());
    }

    #[test]
    fn no_change_of_a_snapshot_makes_the_reader_panic(
        (visible, _) in censuses(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = snapshot(&visible, &[]).encode();
        bytes.truncate(bytes.len() - CHECK);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        properties::snapshot(&bytes);
    }
}
