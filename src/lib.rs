//! Rialto: a message broker in one binary, and a library to embed it.
//!
//! Exchanges route, queues hold, and consumers get each message once, fairly and in order.
//! `ARCHITECTURE.md` has the map, the invariants and the life of a message.

pub mod access;
pub mod admin;
pub mod broker;
pub mod cli;
pub mod config;
pub mod log;
pub mod model;
pub mod queue;
pub mod routing;
pub mod server;
pub mod session;
pub mod store;
pub mod tls;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
