//! See `narhaul::nix::properties::dump_db`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::dump_db(text));
