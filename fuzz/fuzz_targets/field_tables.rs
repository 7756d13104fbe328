//! See `rialto_fuzz::field_tables`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rialto_fuzz::field_tables(data));
