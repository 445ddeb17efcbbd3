//! See `narhaul::nix::properties::path_info_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::path_info_json(text));
