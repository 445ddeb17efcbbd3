//! See `narhaul::ledger::properties::intent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narhaul::ledger::properties::intent(bytes));
