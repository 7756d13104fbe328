//! TLS over real sockets: the bundled client, openssl's, and what goes wrong on either side.

mod certificates;
mod encrypted;
mod http;
mod openssl;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;
mod swapping;
