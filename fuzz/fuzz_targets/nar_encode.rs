//! See `narhaul::nix::properties::nar_encode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| narhaul::nix::properties::nar_encode(data));
