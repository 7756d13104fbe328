//! See `rialto_fuzz::journal_damage`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rialto_fuzz::journal_damage(data));
