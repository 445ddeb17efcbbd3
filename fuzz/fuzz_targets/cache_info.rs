//! See `narhaul::nix::properties::cache_info`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::cache_info(text));
