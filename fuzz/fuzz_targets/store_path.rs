//! See `narhaul::nix::properties::store_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::store_path(text));
