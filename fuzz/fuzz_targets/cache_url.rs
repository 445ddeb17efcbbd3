//! See `narhaul::nix::properties::cache_url`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| narhaul::nix::properties::cache_url(text));
