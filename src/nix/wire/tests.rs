//! The worker protocol: there and back, versions, and bytes that are refused.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    thread,
};

use proptest::prelude::*;

use super::{
    Error,
    frame::{Field, Frame, Refusal, read_frame, read_until_last, write_frame},
    greeting::{CLIENT_MAGIC, Greeting, SERVER_MAGIC, Version, greet, welcome},
    record::Record,
    token::{
        MAX_WORD_LEN, read_bytes, read_number, read_word, read_words, write_bytes, write_list,
        write_number,
    },
};
use crate::nix::{path_info::PathInfo, properties, store_path::StoreDir};

fn version() -> impl Strategy<Value = Version> {
    (Version::OLDEST.minor..=Version::NEWEST.minor).prop_map(Version::new)
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let number = any::<u64>().prop_map(Field::Number);
    let text = "[ -~é\n]{0,20}".prop_map(Field::Text);
    proptest::collection::vec(prop_oneof![number, text], 0..4)
}

/// Frames of every kind; traces only where the version has them.
fn frame(version: Version) -> impl Strategy<Value = Frame> {
    let n_traces = if version >= Version::ERRORS_WITH_TRACES {
        3
    } else {
        1
    };
    let text = "[ -~é\n]{0,40}";
    let traces = proptest::collection::vec(text, 0..n_traces);
    prop_oneof![
        text.prop_map(Frame::Next),
        any::<u64>().prop_map(Frame::Read),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Frame::Write),
        Just(Frame::Last),
        (text, traces, any::<u64>()).prop_map(|(message, traces, level)| Frame::Error(Refusal {
            message,
            traces,
            level,
        })),
        (any::<[u64; 4]>(), text, fields()).prop_map(
            |([id, level, kind, parent], text, fields)| {
                Frame::Start {
                    id,
                    level,
                    kind,
                    text,
                    fields,
                    parent,
                }
            }
        ),
        any::<u64>().prop_map(Frame::Stop),
        (any::<u64>(), any::<u64>(), fields()).prop_map(|(id, kind, fields)| Frame::Result {
            id,
            kind,
            fields
        }),
    ]
}

proptest! {
    #[test]
    fn tokens_read_back(number in any::<u64>(), words in proptest::collection::vec(".{0,30}", 0..5)) {
        let mut bytes = Vec::new();
        write_number(&mut bytes, number).unwrap();
        write_list(&mut bytes, &words).unwrap();
        prop_assert_eq!(bytes.len() % 8, 0);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(read_number(&mut rest).unwrap(), number);
        prop_assert_eq!(read_words(&mut rest, "a word").unwrap(), words);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn frames_read_back(
        (version, frames) in version().prop_flat_map(|version| {
            (Just(version), proptest::collection::vec(frame(version), 0..6))
        }),
    ) {
        let mut bytes = Vec::new();
        for frame in &frames {
            write_frame(&mut bytes, version, frame).unwrap();
        }
        // Only the oldest form of an error loses its traces, which it was made without.
        let mut rest = bytes.as_slice();
        for wanted in &frames {
            let mut wanted = wanted.clone();
            if let Frame::Error(refusal) = &mut wanted
                && version < Version::ERRORS_WITH_TRACES
            {
                refusal.traces.clear();
            }
            prop_assert_eq!(read_frame(&mut rest, version).unwrap(), wanted);
        }
        prop_assert!(rest.is_empty());
        properties::wire(&bytes);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        start in prop_oneof![
            Just(Vec::new()),
            any::<bool>().prop_map(|_| 0x6378_7470_u64.to_le_bytes().to_vec()),
            Just(0x5354_5254_u64.to_le_bytes().to_vec()),
        ],
        rest in proptest::collection::vec(prop_oneof![Just(0_u8), 0..9_u8, any::<u8>()], 0..200),
    ) {
        properties::wire(&[start, rest].concat());
    }
}

/// A path with everything that a record may hold.
fn info() -> PathInfo {
    let signature = format!("k-1:{}==", "A".repeat(86));
    PathInfo {
        path: "0c5b8vw40dy178xlpddw65q9gf1h2186-hello-2.12.1"
            .parse()
            .unwrap(),
        nar_hash: "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
            .parse()
            .unwrap(),
        nar_size: 120,
        references: ["3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8"
            .parse()
            .unwrap()]
        .into(),
        deriver: Some(
            "3n58xw4373jp0ljirf06d8077j15pc4j-hello.drv"
                .parse()
                .unwrap(),
        ),
        signatures: [signature.parse().unwrap()].into(),
        ca: Some(
            "text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
                .parse()
                .unwrap(),
        ),
    }
}

#[test]
fn a_record_is_a_path_info_and_back() {
    let dir = StoreDir::default();
    let info = info();
    let mut record = Record::of(&info, &dir);
    record.signatures.push("no signature".to_owned());
    let mut bytes = Vec::new();
    record.write(&mut bytes).unwrap();
    let mut rest = bytes.as_slice();
    let read = Record::read(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(
        read.understand(&dir, info.path.clone()).unwrap(),
        (info.clone(), 1)
    );
    let bare = PathInfo {
        references: [].into(),
        deriver: None,
        signatures: [].into(),
        ca: None,
        ..info
    };
    let record = Record::of(&bare, &dir);
    assert_eq!(
        record.understand(&dir, bare.path.clone()).unwrap(),
        (bare, 0)
    );
}

#[test]
fn a_length_is_not_believed() {
    let huge = u64::MAX.to_le_bytes();
    let error = |result: Result<_, Error>| result.map(drop).unwrap_err().to_string();
    assert_eq!(
        error(read_word(&mut huge.as_slice(), "a path").map(drop)),
        format!("a path of length {}, {MAX_WORD_LEN} is the most", u64::MAX)
    );
    assert!(error(read_words(&mut huge.as_slice(), "a path").map(drop)).contains("is the most"));
    // Within the limit, but not there: it ends, and no such memory was taken.
    let cut = 0x0fff_ffff_u64.to_le_bytes();
    let cut = read_bytes(&mut cut.as_slice(), "data", 1 << 40);
    assert!(matches!(cut, Err(Error::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof));
}

#[test]
fn padding_and_text_are_looked_at() {
    let mut bytes = Vec::new();
    write_bytes(&mut bytes, b"abc").unwrap();
    bytes[15] = 1;
    let padded = read_word(&mut bytes.as_slice(), "a path").unwrap_err();
    assert_eq!(padded.to_string(), "a path with padding that is not zero");
    let mut bytes = Vec::new();
    write_bytes(&mut bytes, b"\xff").unwrap();
    let binary = read_word(&mut bytes.as_slice(), "a path").unwrap_err();
    assert_eq!(binary.to_string(), "a path that is not UTF-8");
}

#[test]
fn an_error_ends_an_answer_and_is_told_without_colors() {
    let version = Version::NEWEST;
    let mut bytes = Vec::new();
    let next = Frame::Next("one line".to_owned());
    write_frame(&mut bytes, version, &next).unwrap();
    let refusal = Refusal {
        message: "path '\x1b[35;1m/nix/store/x\x1b[0m' is not valid\x07".to_owned(),
        traces: vec!["while asking".to_owned(), String::new()],
        level: 0,
    };
    write_frame(&mut bytes, version, &Frame::Error(refusal)).unwrap();
    write_number(&mut bytes, 7).unwrap();
    let mut rest = bytes.as_slice();
    let mut seen = Vec::new();
    let ended = read_until_last(&mut rest, version, |frame| seen.push(frame)).unwrap();
    assert_eq!(
        ended.unwrap_err().to_string(),
        "while asking: path '/nix/store/x' is not valid"
    );
    assert_eq!(seen, [next]);
    assert_eq!(rest.len(), 8);
}

#[test]
fn data_that_nobody_asked_for_is_refused() {
    let version = Version::NEWEST;
    let mut bytes = Vec::new();
    write_frame(&mut bytes, version, &Frame::Read(9)).unwrap();
    let ended = read_until_last(&mut bytes.as_slice(), version, |_| ());
    assert!(matches!(ended, Err(Error::Data)));
}

/// Lets a client and a server greet each other.
fn meet(client: Version, says: &Greeting) -> (Result<Greeting, Error>, Result<Greeting, Error>) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(move || welcome(&mut theirs, says));
        let greeting = greet(&mut ours, client);
        drop(ours);
        (greeting, server.join().unwrap())
    })
}

#[test]
fn every_pair_of_versions_settles_for_the_lower_one() {
    for server in Version::OLDEST.minor..=50 {
        for client in [21, 26, 32, 33, 34, 35, 37, 38] {
            let says = Greeting {
                version: Version::new(server),
                features: vec!["one".to_owned()],
                nix_version: Some("2.99".to_owned()),
                is_trusted: Some(false),
            };
            let (heard, said) = meet(Version::new(client), &says);
            let heard = heard.unwrap();
            assert_eq!(heard, said.unwrap(), "1.{client} to 1.{server}");
            assert_eq!(heard.version.minor, server.min(client));
            assert_eq!(heard.is_trusted.is_some(), server.min(client) >= 35);
            assert_eq!(heard.nix_version.is_some(), server.min(client) >= 33);
            assert_eq!(heard.features.is_empty(), server.min(client) < 38);
        }
    }
}

/// What a client makes of a server that begins with these numbers.
fn begins_with(numbers: &[u64]) -> String {
    struct Server(io::Cursor<Vec<u8>>);
    impl Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Server {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let greeting = greet(&mut Server(io::Cursor::new(bytes)), Version::NEWEST);
    greeting.unwrap_err().to_string()
}

#[test]
fn a_server_that_is_none_is_recognized() {
    assert_eq!(
        begins_with(&[CLIENT_MAGIC]),
        "it does not speak Nix's worker protocol, but begins with `0x6e697863`"
    );
    assert_eq!(
        begins_with(&[SERVER_MAGIC, 0x114]),
        "it speaks version 1.20 of the worker protocol; 1.21 to 1.38 are known"
    );
    assert_eq!(
        begins_with(&[SERVER_MAGIC, 0x200]),
        "it speaks version 2.0 of the worker protocol; 1.21 to 1.38 are known"
    );
    assert_eq!(
        begins_with(&[SERVER_MAGIC, 0x12_3456]),
        "a version of `0x123456`, which means nothing"
    );
    assert_eq!(
        begins_with(&[SERVER_MAGIC, 0x123, 0, 3]),
        "a trust of `0x3`, which means nothing"
    );
    assert_eq!(begins_with(&[SERVER_MAGIC]), "the connection broke");
}
