//! The generator's end of AMQP 0-9-1, as thin as the native one: messages are encoded before the clock starts, and
//! consumers look at frame headers and delivery tags only.
//!
//! Rooms: `walker` (what arrives, without copying or keeping it), `connection` (login, requests), `block` (publishes,
//! encoded once), `unconfirmed` (the window of a publisher), `publisher`, `consumer`, `setup` (what a plan
//! needs at the broker). Not here: heartbeats, which the generator declines, and the content of what it did not ask
//! for (`basic.return`, `basic.get`).

mod block;
mod connection;
mod consumer;
mod publisher;
mod setup;
mod unconfirmed;
mod walker;

pub(super) use block::Block;
pub(super) use connection::{CHANNEL, start_ok};
pub(super) use setup::{connect, unsupported};
