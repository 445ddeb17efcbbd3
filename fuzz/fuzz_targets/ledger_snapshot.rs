//! See `narhaul::ledger::properties::snapshot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narhaul::ledger::properties::snapshot(bytes));
