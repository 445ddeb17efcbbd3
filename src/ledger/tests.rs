//! The laws of the ledger's files under random data, and how large they are.

use std::ops::Range;

use proptest::{collection::vec, option, prelude::*};

use super::{
    doom::{DoomList, Doomed},
    file::DecodeError,
    intent::{Intent, Relied},
    journal::{Entry, Index, Reason},
    properties,
};
use crate::{
    graph::Seconds,
    nix::{
        base32,
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir},
    },
};

fn part() -> impl Strategy<Value = HashPart> {
    any::<[u8; 20]>().prop_map(HashPart::from_bytes)
}

/// Keys as Nix and narhaul make them, and a few that nobody would.
fn body() -> impl Strategy<Value = ObjectKey> {
    let usual = (
        any::<[u8; 32]>(),
        prop::sample::select(vec![".nar.xz", "-z3.nar.zst", ".nar", ""]),
    )
        .prop_map(|(digest, suffix)| format!("nar/{}{suffix}", base32::encode(&digest)));
    prop_oneof![9 => usual, 1 => "[a-z]{1,60}(/[a-z]{1,60})?"]
        .prop_map(|key| ObjectKey::parse(&key).unwrap())
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (any::<u64>(), any::<u16>())
        .prop_map(|(start, length)| start..start.saturating_add(u64::from(length)))
}

fn entry() -> impl Strategy<Value = Entry> {
    let reason = prop::sample::select(vec![Reason::Dead, Reason::Dangling, Reason::Broken]);
    (part(), body(), any::<u32>(), reason, range()).prop_map(|(part, body, birth, reason, text)| {
        Entry {
            part,
            body,
            birth: Seconds::from(birth),
            reason,
            text,
        }
    })
}

fn relied() -> impl Strategy<Value = Relied> {
    (part(), body()).prop_map(|(part, body)| Relied { part, body })
}

fn intent(relies: Vec<Relied>) -> Intent {
    Intent {
        store_dir: StoreDir::default(),
        roots: vec![
            "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8"
                .parse()
                .unwrap(),
        ],
        relies,
    }
}

proptest! {
    #[test]
    fn journals_read_as_they_were_written(entries in vec(entry(), 0..40)) {
        let index = Index { entries };
        prop_assert_eq!(Index::decode(&index.encode()).unwrap(), index);
    }

    #[test]
    fn intents_read_as_they_were_written(relies in vec(relied(), 0..40)) {
        let intent = intent(relies);
        prop_assert_eq!(Intent::decode(&intent.encode()).unwrap(), intent);
    }

    #[test]
    fn doom_lists_read_as_they_were_written(
        bodies in vec((body(), option::of(part())), 0..40)
    ) {
        let bodies = bodies.into_iter().map(|(body, part)| Doomed { body, part }).collect();
        let list = DoomList { bodies };
        prop_assert_eq!(DoomList::decode(&list.encode()).unwrap(), list);
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_is_refused(
        entries in vec(entry(), 1..10),
        place in any::<prop::sample::Index>(),
        change in 1u8..,
    ) {
        let bytes = Index { entries }.encode();
        let place = place.index(bytes.len());
        prop_assert!(Index::decode(&bytes[..place]).is_err());
        let mut changed = bytes;
        changed[place] ^= change;
        prop_assert!(Index::decode(&changed).is_err());
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        kind in prop::sample::select(vec!["journal", "intent", "doom"]),
        rest in vec(any::<u8>(), 0..120),
    ) {
        let json = if kind == "intent" { "{\"storeDir\":\"/nix/store\",\"roots\":[]}\n" } else { "" };
        let mut bytes = format!("narhaul {kind} 1\n{json}").into_bytes();
        bytes.extend_from_slice(&rest);
        properties::journal(&bytes);
        properties::intent(&bytes);
        properties::doom(&bytes);
    }

    #[test]
    fn names_have_one_key(
        text in "narhaul/(journal|intents|roots|pins|snapshot)/(20261122T214500Z-[a-z0-9]{1,4}(-[a-z])?|[a-z0-9]{1,4})(/(20261122T214500Z-x|beat|index|doom-[0-9]{1,11}))?"
    ) {
        properties::name(&text);
    }
}

#[test]
fn an_intent_of_a_hundred_thousand_paths_is_five_megabytes() {
    let relies = (0..100_000u32).map(|number| {
        let digest = crate::nix::hash::Sha256::of(&number.to_le_bytes());
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&digest.as_bytes()[..20]);
        let key = format!("nar/{}-z3.nar.zst", digest.to_base32());
        Relied {
            part: HashPart::from_bytes(bytes),
            body: ObjectKey::parse(&key).unwrap(),
        }
    });
    let intent = intent(relies.collect());
    let bytes = intent.encode();
    assert!(bytes.len() < 5_300_300, "{}", bytes.len());
    assert_eq!(Intent::decode(&bytes).unwrap(), intent);
}

#[test]
fn an_entry_of_a_journal_takes_sixty_bytes() {
    let entries = (0..1000u32).map(|number| {
        let digest = crate::nix::hash::Sha256::of(&number.to_le_bytes());
        let start = u64::from(number) * 700;
        Entry {
            part: HashPart::from_bytes([7; 20]),
            body: ObjectKey::parse(&format!("nar/{}.nar.xz", digest.to_base32())).unwrap(),
            birth: Seconds::from(number),
            reason: Reason::Dead,
            text: start..start + 700,
        }
    });
    let index = Index {
        entries: entries.collect(),
    };
    assert!(index.encode().len() <= 61 * 1000 + 100);
}

#[test]
fn the_seeds_of_the_fuzzers_are_files_of_the_ledger() {
    for (seed, n_paths) in [
        (
            &include_bytes!("../../fuzz/seeds/ledger_journal/two_entries")[..],
            2,
        ),
        (
            &include_bytes!("../../fuzz/seeds/ledger_intent/two_paths")[..],
            2,
        ),
    ] {
        let mut bytes = seed.to_vec();
        bytes.extend_from_slice(crate::nix::hash::Sha256::of(seed).as_bytes());
        let n_found = Index::decode(&bytes)
            .map(|index| index.entries.len())
            .or_else(|_other| Intent::decode(&bytes).map(|intent| intent.relies.len()));
        assert_eq!(n_found.unwrap(), n_paths);
    }
}

#[test]
fn a_count_that_cannot_be_is_refused_before_room_is_made_for_it() {
    let mut bytes = b"narhaul journal 1\n".to_vec();
    // No suffixes, and as many entries as a number can say.
    bytes.push(0);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    let check = crate::nix::hash::Sha256::of(&bytes);
    bytes.extend_from_slice(check.as_bytes());
    assert!(matches!(
        Index::decode(&bytes),
        Err(DecodeError::Damaged("it ends too early"))
    ));
}
