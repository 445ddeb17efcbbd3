//! See `narhaul::nix::properties::nar_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| narhaul::nix::properties::nar_decode(data));
