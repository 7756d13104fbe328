//! See `rialto_fuzz::queue_ops`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rialto_fuzz::queue_ops(data));
