//! See `narhaul::nix::properties::base32_of_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::base32_of_text(text));
