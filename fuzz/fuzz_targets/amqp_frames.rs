//! See `rialto_fuzz::amqp_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rialto_fuzz::amqp_frames(data));
