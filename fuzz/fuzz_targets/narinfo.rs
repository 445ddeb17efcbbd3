//! See `narhaul::nix::properties::narinfo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::narinfo(text));
