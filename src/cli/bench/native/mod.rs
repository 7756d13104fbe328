//! The generator's end of the native protocol, as thin as it goes: frames are encoded before the clock starts, and
//! consumers look at the heads of runs only.
//!
//! Rooms: `walker` (what arrives, without copying or keeping it), `connection` (login, requests, credit,
//! heartbeats), `block` (publish frames, encoded once), `publisher`, `consumer`, `setup` (what a plan needs at
//! the broker). Blocking sockets and a thread for each: nothing is cheaper with few connections.

mod block;
mod connection;
mod consumer;
mod publisher;
mod setup;
mod walker;

pub(super) use block::Block;
pub(super) use connection::{CHANNEL, login};
pub(super) use setup::connect;
