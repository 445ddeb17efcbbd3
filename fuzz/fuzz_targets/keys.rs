//! See `narhaul::nix::properties::keys`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::keys(text));
