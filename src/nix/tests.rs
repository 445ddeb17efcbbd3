//! The laws of the formats under random data, and the quirks of narinfos one by one.

use proptest::prelude::*;

use super::{
    compression::Compression,
    narinfo::{NarInfo, ParseError},
    properties,
    store_path::StoreDir,
};

/// Text that is nearly a store path.
const BASE_NAME: &str = "[0-9a-df-np-sv-z]{32}-[0-9a-zA-Z+._?=-]{1,20}";

proptest! {
    #[test]
    fn base32_is_exact(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
        properties::base32_of_bytes(&bytes);
    }

    #[test]
    fn base32_lengths_in_use_are_exact(bytes in any::<[u8; 32]>()) {
        properties::base32_of_bytes(&bytes);
        properties::base32_of_bytes(&bytes[..20]);
        properties::base32_of_bytes(&bytes[..16]);
        properties::base32_of_bytes(&[bytes, bytes].concat());
    }

    #[test]
    fn base32_texts_are_canonical(text in "[0-9a-z]{2}|[0-9a-z]{26}|[0-9a-z]{32}|[0-9a-z]{52}") {
        properties::base32_of_text(&text);
    }

    #[test]
    fn hash_parts_sort_as_text(one in any::<[u8; 20]>(), other in any::<[u8; 20]>()) {
        properties::hash_part_order(one, other);
    }

    #[test]
    fn store_paths_read_back(name in BASE_NAME, any in ".{0,60}") {
        properties::store_path(&name);
        properties::store_path(&format!("/nix/store/{name}"));
        properties::store_path(&any);
    }

    #[test]
    fn store_paths_sort_as_text(one in BASE_NAME, other in BASE_NAME) {
        properties::store_path_order(&one, &other);
    }

    #[test]
    fn narinfos_read_back(
        lines in proptest::collection::vec(
            "(URL|Compression|FileSize|NarSize|References|Deriver|Sig|CA|X|): ?.{0,20}\n?", 0..4,
        ),
        references in proptest::collection::btree_set(BASE_NAME, 0..4),
    ) {
        let references: Vec<_> = references.into_iter().collect();
        let more = format!("References: {}\n{}", references.join(" "), lines.concat());
        properties::narinfo(&minimal(&more));
        properties::narinfo(&lines.concat());
    }

    #[test]
    fn cache_infos_read_back(
        store_dir in "[/a-z. ]{0,9}",
        priority in any::<i64>(),
        lines in "((WantMassQuery|Priority|StoreDir): ?.{0,9}\n){0,2}",
    ) {
        properties::cache_info(&format!("StoreDir: {store_dir}\n{lines}Priority: {priority}\n"));
    }

    #[test]
    fn path_info_json_reads_back(
        path in BASE_NAME,
        method in "text|flat|nar|git|x",
        ca in "(sha256|sha1|md5|x)[-:][0-9a-zA-Z+/=]{0,44}",
        size in any::<i64>(),
    ) {
        let sri = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        properties::path_info_json(&format!(
            r#"{{"version": 2, "info": {{"{path}": {{"narHash": "{sri}", "narSize": {size},
                "ca": {{"method": "{method}", "hash": "{ca}"}}}}}}}}"#
        ));
    }

    #[test]
    fn records_have_their_lines(lines in proptest::collection::vec(record_line(), 0..14)) {
        properties::dump_db(&lines.join("\n"));
    }

    #[test]
    fn cache_urls_read_back(
        place in "s3://[a-z.-]{1,9}(/[a-z./ %0-9]{0,9})?|file:///.{0,9}|/.{0,9}|https?://[a-z@:/%0-9]{0,15}",
        params in proptest::collection::vec(param(), 0..4),
    ) {
        properties::cache_url(&format!("{place}?{}", params.join("&")));
    }

    #[test]
    fn keys_sign_and_read_back(seed in any::<[u8; 32]>(), text in ".{0,80}", other in ".{0,80}") {
        properties::signing(seed, &text, &other);
    }

    #[test]
    fn no_text_is_a_key_in_two_ways(text in "[a-z:.-]{0,9}:[0-9a-zA-Z+/]{86}(==)?") {
        properties::keys(&text);
    }
}

/// A line of a record of `--dump-db`, or of a plain list.
fn record_line() -> impl Strategy<Value = String> {
    prop_oneof![
        BASE_NAME.prop_map(|name| format!("/nix/store/{name}")),
        "[0-9a-f]{64}",
        "[0-3]",
        Just(String::new()),
        ".{0,5}",
    ]
}

/// A parameter of a cache's URL, often a good one.
fn param() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("profile"),
        Just("endpoint"),
        Just("scheme"),
        Just("multipart-chunk-size"),
        Just("compression"),
        Just("system-features"),
        Just("secret-keys"),
        Just("priority"),
        Just("store"),
        Just("unheard-of"),
    ];
    let value =
        "[a-z0-9.:/]{0,9}|https?(://[a-z.:0-9]{1,9})?|[5-9]M|[0-9]{1,3}|(%[2-7][0-9a-f]){0,4}";
    (name, value).prop_map(|(name, value)| format!("{name}={value}"))
}

const GLIBC: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8";
const HELLO: &str = "0c5b8vw40dy178xlpddw65q9gf1h2186-hello-2.12.1";
const DIGITS: &str = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";

/// The fields that a narinfo must have, and `more`.
fn minimal(more: &str) -> String {
    format!(
        "StorePath: /nix/store/{GLIBC}\nURL: nar/x\nNarHash: sha256:{DIGITS}\nNarSize: 120\n{more}"
    )
}

fn parse(text: &str) -> Result<NarInfo, ParseError> {
    NarInfo::parse(&StoreDir::default(), text)
}

#[test]
fn a_narinfo_without_compression_or_with_an_empty_one_is_bzip2() {
    for more in ["", "Compression: \n"] {
        assert_eq!(
            parse(&minimal(more)).unwrap().compression,
            Compression::Bzip2
        );
    }
}

#[test]
fn a_compression_that_we_do_not_know_is_kept() {
    let narinfo = parse(&minimal("Compression: lzip\n")).unwrap();
    assert_eq!(narinfo.compression, Compression::Other("lzip".into()));
    assert!(
        narinfo
            .to_text(&StoreDir::default())
            .contains("\nCompression: lzip\n")
    );
}

#[test]
fn an_unknown_deriver_is_none() {
    let narinfo = parse(&minimal("Deriver: unknown-deriver\n")).unwrap();
    assert_eq!(narinfo.path_info.deriver, None);
}

#[test]
fn an_empty_content_address_is_none() {
    assert_eq!(parse(&minimal("CA: \n")).unwrap().path_info.ca, None);
}

/// Nix would take `Sig: …` for the references.
#[test]
fn references_without_a_blank_are_an_error_and_do_not_swallow_the_next_line() {
    let error = parse(&minimal("References:\nSig: k:AA==\n")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 5: no blank after `References:`; Nix would skip a character there"
    );
}

#[test]
fn empty_references_are_written_with_their_blank() {
    let narinfo = parse(&minimal("References: \n")).unwrap();
    assert!(
        narinfo
            .to_text(&StoreDir::default())
            .ends_with("\nReferences: \n")
    );
}

#[test]
fn references_may_be_missing_repeated_unsorted_and_widely_spaced() {
    assert!(parse(&minimal("")).unwrap().path_info.references.is_empty());
    let narinfo = parse(&minimal(&format!(
        "References:  {GLIBC}  {HELLO} {HELLO} \n"
    )))
    .unwrap();
    let written = narinfo.to_text(&StoreDir::default());
    assert!(written.ends_with(&format!("\nReferences: {HELLO} {GLIBC}\n")));
}

#[test]
fn of_a_repeated_field_the_last_counts() {
    let narinfo = parse(&minimal("URL: nar/y\nNarSize: 7\n")).unwrap();
    assert_eq!(
        (narinfo.url.as_str(), narinfo.path_info.nar_size),
        ("nar/y", 7)
    );
}

#[test]
fn a_second_field_of_references_or_content_address_counts_only_after_an_empty_one() {
    let references = format!("References: {HELLO}\n");
    let ca = format!("CA: fixed:r:sha256:{DIGITS}\n");
    assert!(parse(&minimal(&format!("References: \n{references}CA: \n{ca}"))).is_ok());
    for (field, line) in [("References", &references), ("CA", &ca)] {
        let error = parse(&minimal(&format!("{line}{line}"))).unwrap_err();
        assert_eq!(error.to_string(), format!("line 6: a second `{field}`"));
    }
}

#[test]
fn the_order_of_fields_and_fields_of_others_do_not_matter() {
    let text = minimal("System: x86_64-linux\nFileSize: 9\n");
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    lines.reverse();
    assert_eq!(parse(&lines.concat()), parse(&text));
    assert_eq!(parse(&text).unwrap().file_size, Some(9));
}

#[test]
fn a_size_of_zero_is_unknown_for_the_body_and_an_error_for_the_nar() {
    let narinfo = parse(&minimal("FileSize: 0\n")).unwrap();
    assert_eq!(narinfo.file_size, None);
    assert!(parse(&minimal("NarSize: 0\n")).is_err());
    assert!(parse(&minimal("NarSize: 18446744073709551616\n")).is_err());
    assert!(parse(&minimal("NarSize: +1\n")).is_err());
}

#[test]
fn line_breaks_of_windows_are_an_error() {
    let error = parse(&minimal("").replace('\n', "\r\n")).unwrap_err();
    assert_eq!(error.to_string(), "line 1: StorePath cannot be read");
}

#[test]
fn a_file_without_its_last_line_break_is_cut_off() {
    let text = minimal("");
    let error = parse(text.trim_end()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 4: no line break at its end; the file is cut off"
    );
}

#[test]
fn hashes_in_any_base_are_read_and_written_in_base_32() {
    let sri = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    let base16 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for text in [sri, base16] {
        let narinfo = parse(&minimal(&format!("NarHash: {text}\nFileHash: {text}\n"))).unwrap();
        let written = narinfo.to_text(&StoreDir::default());
        assert!(written.contains(&format!(
            "\nFileHash: sha256:{DIGITS}\nNarHash: sha256:{DIGITS}\n"
        )));
    }
}

#[test]
fn a_path_of_another_store_is_refused() {
    let dir: StoreDir = "/home/u/store".parse().unwrap();
    let error = NarInfo::parse(&dir, &minimal("")).unwrap_err();
    assert_eq!(error.to_string(), "line 1: StorePath cannot be read");
}
