//! TLS over real sockets: the bundled client, openssl's, and what goes wrong on either side.

#[path = "../support/amqp/mod.rs"]
mod amqp;
mod certificates;
mod encrypted;
mod http;
mod logins;
mod openssl;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod support;
mod swapping;
