//! The laws of the formats, one function each.
//!
//! Plain data comes in; a law that does not hold panics with a sentence. The same functions are called
//! by proptest (`nix/tests.rs`), by the fuzz targets (`fuzz/`) and over the seeds that are checked in
//! (`tests/it/seeds.rs`), so that a crash found by one becomes a test for all.
//!
//! What every text format promises: no text makes its reader panic, and what was read and is written
//! reads as the same value again. Not here: agreement with Nix, which needs Nix's own files
//! (`tests/it/vectors.rs`).

use std::{
    fmt,
    io::{self, Write as _},
    str::FromStr,
};

use crate::nix::{
    base32,
    cache_info::CacheInfo,
    cache_url::{CacheUrl, Location},
    content_address::ContentAddress,
    hash::Sha256,
    nar::{
        decode::{self, Decoder},
        encode::Encoder,
        event::Event,
        listing::{Listing, Recorder},
    },
    narinfo::{Fields, NarInfo},
    object_key::ObjectKey,
    path_info::{JsonEntry, parse_dump_db, parse_json, parse_path_list},
    signature::{PublicKey, SecretKey, Signature},
    store_path::{HashPart, StoreDir, StoreName, StorePath},
    wire::{
        frame::{read_frame, write_frame},
        greeting::{self, Version},
        record::Record,
    },
};

/// What is read and written reads as the same value again.
fn reads_back<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let written = value.to_string();
    assert_eq!(
        written.parse().ok().as_ref(),
        Some(&value),
        "`{written}` reads differently"
    );
    Some(value)
}

/// What is read is written as the same text: every value has one text.
fn has_one_text<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    assert_eq!(value.to_string(), text, "a value has two texts");
    Some(value)
}

/// Base-32 of any bytes decodes to the same bytes, and both ways of writing agree.
pub fn base32_of_bytes(bytes: &[u8]) {
    let text = base32::encode(bytes);
    assert_eq!(
        text.len(),
        base32::encoded_len(bytes.len()),
        "the length is foretold"
    );
    assert_eq!(
        text,
        base32::Base32(bytes).to_string(),
        "both writers agree"
    );
    fn decodes<const N: usize>(bytes: &[u8], text: &str) {
        if let Ok(bytes) = <[u8; N]>::try_from(bytes) {
            assert_eq!(
                base32::decode(text),
                Ok(bytes),
                "`{text}` decodes to what it was made of"
            );
        }
    }
    decodes::<0>(bytes, &text);
    decodes::<1>(bytes, &text);
    decodes::<16>(bytes, &text);
    decodes::<20>(bytes, &text);
    decodes::<32>(bytes, &text);
    decodes::<64>(bytes, &text);
}

/// A text that decodes is the only text of its value: the spill of the first digit is refused.
pub fn base32_of_text(text: &str) {
    fn is_canonical<const N: usize>(text: &str) {
        if let Ok(bytes) = base32::decode::<N>(text) {
            assert_eq!(base32::encode(&bytes), text, "a value has two texts");
        }
    }
    is_canonical::<0>(text);
    is_canonical::<1>(text);
    is_canonical::<16>(text);
    is_canonical::<20>(text);
    is_canonical::<32>(text);
    is_canonical::<64>(text);
}

/// Hash parts sort as their texts do.
pub fn hash_part_order(one: [u8; 20], other: [u8; 20]) {
    let (one, other) = (HashPart::from_bytes(one), HashPart::from_bytes(other));
    let by_text = one.to_string().cmp(&other.to_string());
    assert_eq!(
        one.cmp(&other),
        by_text,
        "{one} and {other} sort as their texts do"
    );
}

/// Store paths, names, store dirs, hash parts, keys of objects and content addresses have one text.
pub fn store_path(text: &str) {
    let dir = StoreDir::default();
    if let Some(path) = has_one_text::<StorePath>(text) {
        let full = dir.show(&path).to_string();
        assert_eq!(
            dir.parse_path(&full),
            Ok(path),
            "`{full}` reads as it was written"
        );
    }
    if let Ok(path) = dir.parse_path(text) {
        assert_eq!(dir.show(&path).to_string(), text, "a path has two texts");
    }
    let _name: Option<StoreName> = has_one_text(text);
    let _dir: Option<StoreDir> = has_one_text(text);
    let _part: Option<HashPart> = has_one_text(text);
    let _address: Option<ContentAddress> = has_one_text(text);
    let _hash: Option<Sha256> = reads_back(text);
    if let Ok(key) = ObjectKey::parse(text) {
        assert_eq!(key.as_str(), text, "a key has two texts");
        if let Some(part) = key.narinfo_hash_part() {
            assert_eq!(ObjectKey::narinfo(part), key, "a narinfo has one key");
        }
    }
}

/// Store paths sort as their base names do.
pub fn store_path_order(one: &str, other: &str) {
    if let (Ok(one), Ok(other)) = (one.parse::<StorePath>(), other.parse::<StorePath>()) {
        let by_text = one.to_string().cmp(&other.to_string());
        assert_eq!(
            one.cmp(&other),
            by_text,
            "{one} and {other} sort as their texts do"
        );
    }
}

/// A narinfo that is read and written reads as the same narinfo, and is written in one way.
pub fn narinfo(text: &str) {
    let dir = StoreDir::default();
    let split = Fields::split(text);
    let Ok(narinfo) = NarInfo::parse(&dir, text) else {
        return;
    };
    assert!(split.is_ok(), "what can be parsed can be split");
    let written = narinfo.to_text(&dir);
    let again = NarInfo::parse(&dir, &written);
    assert_eq!(
        again.as_ref(),
        Ok(&narinfo),
        "{written:?} reads differently"
    );
    if let Ok(key) = narinfo.body_key() {
        assert!(
            !key.as_str().starts_with('/'),
            "the body of {text:?} is in the cache"
        );
    }
}

/// A `nix-cache-info` that is read and written reads as the same value.
pub fn cache_info(text: &str) {
    if let Ok(info) = CacheInfo::parse(text) {
        let written = info.to_string();
        assert_eq!(
            CacheInfo::parse(&written),
            Ok(info),
            "{written:?} reads differently"
        );
    }
}

/// No JSON makes the reader panic, and what it yields can stand in a narinfo.
pub fn path_info_json(text: &str) {
    for entry in parse_json(&StoreDir::default(), text).unwrap_or_default() {
        if let JsonEntry::Valid { info, .. } = entry {
            if let Some(ca) = &info.ca {
                assert_eq!(
                    ca.to_string().parse().as_ref(),
                    Ok(ca),
                    "`{ca}` reads differently"
                );
            }
            let path = info.path.to_string();
            assert_eq!(path.parse(), Ok(info.path), "`{path}` reads differently");
        }
    }
}

/// No text makes the readers of records and lists panic, and records name no more than their lines do.
pub fn dump_db(text: &str) {
    let dir = StoreDir::default();
    let n_lines = text.lines().count();
    if let Ok(infos) = parse_dump_db(&dir, text) {
        let n_references: usize = infos.iter().map(|info| info.references.len()).sum();
        assert!(
            5 * infos.len() + n_references <= n_lines,
            "every value has its line"
        );
    }
    if let Ok(paths) = parse_path_list(&dir, text) {
        assert!(paths.len() <= n_lines, "every path has its line");
    }
}

/// A URL that is read and shown reads as the same place and parameters, but for its secrets.
pub fn cache_url(text: &str) {
    let Ok(mut url) = text.parse::<CacheUrl>() else {
        return;
    };
    let shown = url.to_string();
    url.params.secret_key = None;
    url.params.secret_keys.clear();
    url.unknown.clear();
    if let Location::Http(_) = url.location {
        // Without the user's name and password.
        url.location = Location::Http(url.show_place());
    }
    assert_eq!(
        shown.parse().as_ref(),
        Ok(&url),
        "`{shown}` reads differently"
    );
    if let Some(endpoint) = &url.params.endpoint {
        assert!(
            url.params.endpoint().is_some(),
            "endpoint `{endpoint}` was checked"
        );
    }
}

/// Keys and signatures that are read are written as the same value, and a key is its own key's.
pub fn keys(text: &str) {
    let _public: Option<PublicKey> = reads_back(text);
    let _signature: Option<Signature> = reads_back(text);
    if let Ok(key) = text.parse::<SecretKey>() {
        let written = key.to_secret_text();
        let again: Option<SecretKey> = written.parse().ok();
        let public = again.map(|key| key.to_public());
        assert_eq!(
            public,
            Some(key.to_public()),
            "a secret key reads as it was written"
        );
    }
}

/// What a key has signed, its public half confirms; of another text it does not.
pub fn signing(seed: [u8; 32], text: &str, other: &str) {
    let Ok(name) = "law-1".parse() else {
        return;
    };
    let key = SecretKey::from_seed(name, seed);
    let signature = key.sign(text);
    let public = key.to_public();
    assert!(
        public.has_signed(text, &signature),
        "a key confirms what it has signed"
    );
    assert_eq!(
        public.has_signed(other, &signature),
        text == other,
        "and nothing else"
    );
    keys(&key.to_secret_text());
    keys(&public.to_string());
    keys(&signature.to_string());
}

/// No bytes make the readers of the worker protocol panic, and what they read and is written reads as the
/// same frame or record again, in every version.
pub fn wire(data: &[u8]) {
    for minor in Version::OLDEST.minor..=Version::NEWEST.minor {
        let version = Version::new(minor);
        let mut rest = data;
        while let Ok(frame) = read_frame(&mut rest, version) {
            let mut written = Vec::new();
            let result = write_frame(&mut written, version, &frame);
            assert!(result.is_ok(), "{frame:?} cannot be written");
            let again = read_frame(&mut written.as_slice(), version).ok();
            assert_eq!(again.as_ref(), Some(&frame), "a frame reads differently");
        }
        let mut stream = Exchange { input: data };
        if let Ok(greeting) = greeting::greet(&mut stream, version) {
            assert!(greeting.version <= version, "the lower version holds");
        }
    }
    if let Ok(record) = Record::read(&mut &*data) {
        let mut written = Vec::new();
        let result = record.write(&mut written);
        assert!(result.is_ok(), "{record:?} cannot be written");
        let again = Record::read(&mut written.as_slice()).ok();
        assert_eq!(again, Some(record), "a record reads differently");
    }
}

/// A server that says what it says, whatever it hears.
struct Exchange<'a> {
    input: &'a [u8],
}

impl io::Read for Exchange<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl io::Write for Exchange<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A step through a tree that owns its bytes; pieces of contents are joined.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Directory,
    Entry(Vec<u8>),
    EndDirectory,
    Regular(bool, u64),
    Contents(Vec<u8>),
    Symlink(Vec<u8>),
}

fn add_step(steps: &mut Vec<Step>, event: Event<'_>) {
    let step = match event {
        Event::Directory => Step::Directory,
        Event::Entry(name) => Step::Entry(name.to_vec()),
        Event::EndDirectory => Step::EndDirectory,
        Event::Regular { executable, size } => Step::Regular(executable, size),
        Event::Contents(piece) => {
            if let Some(Step::Contents(contents)) = steps.last_mut() {
                contents.extend_from_slice(piece);
                return;
            }
            Step::Contents(piece.to_vec())
        }
        Event::Symlink(target) => Step::Symlink(target.to_vec()),
    };
    steps.push(step);
}

/// Decodes pieces; returns the steps, up to an error if there is one, and the length of the NAR.
fn decode_nar<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Step>, Result<u64, decode::Error>) {
    let mut decoder = Decoder::new();
    let mut steps = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(event)) => add_step(&mut steps, event),
                Ok(None) => break,
                Err(error) => return (steps, Err(error)),
            }
        }
    }
    let result = decoder.finish().map(|()| decoder.offset());
    (steps, result)
}

/// A NAR reads the same however it is cut, and what is accepted is written again byte for byte.
pub fn nar_decode(data: &[u8]) {
    let (steps, result) = decode_nar(std::iter::once(data));
    for len in [1, 5, 8, 64] {
        let (cut_steps, cut_result) = decode_nar(data.chunks(len));
        assert_eq!(result, cut_result, "pieces of {len} bytes read differently");
        assert_eq!(steps, cut_steps, "pieces of {len} bytes read differently");
    }
    let Ok(len) = result else { return };
    let mut encoder = Encoder::new(Vec::new());
    for step in &steps {
        let written = encoder.event(match step {
            Step::Directory => Event::Directory,
            Step::Entry(name) => Event::Entry(name),
            Step::EndDirectory => Event::EndDirectory,
            &Step::Regular(executable, size) => Event::Regular { executable, size },
            Step::Contents(contents) => Event::Contents(contents),
            Step::Symlink(target) => Event::Symlink(target),
        });
        assert!(written.is_ok(), "{step:?} was read and is not written");
    }
    let again = encoder.finish();
    let again = again.as_deref().unwrap_or_default();
    let taken = usize::try_from(len).ok().and_then(|len| data.get(..len));
    assert!(taken == Some(again), "a tree has two NARs");
}

/// Whatever is asked of the encoder, what it writes is a NAR, and reads as what it agreed to.
///
/// Every byte of `script` is a request, with the bytes behind it as names and contents; requests that
/// are refused change nothing.
pub fn nar_encode(script: &[u8]) {
    let mut encoder = Encoder::new(Vec::new());
    let mut steps = Vec::new();
    let mut ask = |event: Event<'_>| {
        let is_done = encoder.event(event).is_ok();
        let is_nothing = event == Event::Contents(b"");
        if is_done && !is_nothing {
            add_step(&mut steps, event);
        }
        is_done
    };
    let mut rest = script;
    while let Some((&request, behind)) = rest.split_first() {
        let len = usize::from(request >> 3).min(behind.len());
        let (text, behind) = behind.split_at(len);
        rest = behind;
        ask(match request & 7 {
            0 | 1 => Event::Directory,
            2 | 3 => Event::Entry(text),
            4 => Event::EndDirectory,
            5 => Event::Regular {
                executable: len % 2 == 1,
                size: u64::from(request),
            },
            6 => Event::Contents(text),
            _ => Event::Symlink(text),
        });
    }
    // Whatever is open is brought to its end.
    while ask(Event::Contents(b"x")) || ask(Event::EndDirectory) || ask(Event::Symlink(b"x")) {}
    let nar = encoder.finish();
    assert!(nar.is_ok(), "a tree can always be brought to its end");
    let nar = nar.unwrap_or_default();
    let (read, result) = decode_nar(std::iter::once(nar.as_slice()));
    assert_eq!(result, Ok(nar.len() as u64), "what is written is read");
    assert_eq!(read, steps, "what was written reads differently");
}

/// A recorder accepts what the decoder accepts; a listing that is written reads as the same.
pub fn nar_listing(data: &[u8]) {
    let mut recorder = Recorder::new();
    let is_taken = recorder.write_all(data).is_ok();
    let recorded = recorder.finish();
    let (_steps, result) = decode_nar(std::iter::once(data));
    let is_nar = result == Ok(data.len() as u64);
    assert_eq!(is_taken && recorded.is_ok(), is_nar, "the two disagree");
    let parsed = str::from_utf8(data).ok().map(Listing::parse);
    let listings = recorded.into_iter().chain(parsed.into_iter().flatten());
    for listing in listings {
        let Ok(json) = listing.to_json() else {
            continue; // Some name is not UTF-8.
        };
        if let Ok(again) = Listing::parse(&json) {
            assert_eq!(again, listing, "`{json}` reads differently");
        } else {
            let depth = json.matches("{\"entries\":").count();
            assert!(depth > 50, "`{json}` cannot be read");
        }
    }
}
