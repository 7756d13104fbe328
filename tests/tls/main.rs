//! TLS over real sockets: the bundled client, openssl's, and what goes wrong on either side.

mod certificates;
mod encrypted;
mod openssl;
#[path = "../support/mod.rs"]
mod support;
mod swapping;
