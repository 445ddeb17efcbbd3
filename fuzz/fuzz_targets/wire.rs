//! See `narhaul::nix::properties::wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| narhaul::nix::properties::wire(data));
