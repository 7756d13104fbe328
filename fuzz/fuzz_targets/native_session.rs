//! See `rialto_fuzz::native_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rialto_fuzz::native_session(data));
