//! See `narhaul::ledger::properties::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| narhaul::ledger::properties::journal(bytes));
