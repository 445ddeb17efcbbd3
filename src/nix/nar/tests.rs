//! The laws of NARs under random data.

use proptest::{collection::vec, prelude::*};

use super::{encode::Encoder, event::Event};
use crate::nix::properties;

/// A small NAR with every kind of node.
fn example() -> Vec<u8> {
    let mut nar = Encoder::new(Vec::new());
    let file = |executable, size| Event::Regular { executable, size };
    for event in [
        Event::Directory,
        Event::Entry(b"a"),
        file(true, 9),
        Event::Contents(b"123456789"),
        Event::Entry(b"b"),
        Event::Symlink(b"a"),
        Event::Entry(b"c"),
        Event::Directory,
        Event::Entry(b"d"),
        file(false, 0),
        Event::EndDirectory,
        Event::EndDirectory,
    ] {
        nar.event(event).unwrap();
    }
    nar.finish().unwrap()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        properties::nar_decode(&bytes);
        properties::nar_listing(&bytes);
    }

    #[test]
    fn a_damaged_nar_is_read_or_refused(at in 0_usize..900, byte in any::<u8>(), cut in 0_usize..2000) {
        let mut nar = example();
        let at = at % nar.len();
        nar[at] = byte;
        nar.truncate(cut);
        properties::nar_decode(&nar);
        properties::nar_listing(&nar);
    }

    #[test]
    fn what_is_written_is_read(script in vec(any::<u8>(), 0..600)) {
        properties::nar_encode(&script);
    }

    #[test]
    fn trees_of_short_names_are_read(script in vec(prop_oneof![
        Just(0_u8), Just(4), Just(5 + 24), Just(6 + 32), Just(7 + 8), Just(2 + 8), b'a'..=b'z',
    ], 0..600)) {
        properties::nar_encode(&script);
    }
}

#[test]
fn the_example_is_whole() {
    properties::nar_decode(&example());
    properties::nar_listing(&example());
}
