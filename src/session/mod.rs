//! Connections as state machines: bytes and time in, bytes and broker operations out.
//!
//! Methods come in families: `handle_*` takes input, `poll_*` gives output, the others are questions.
//! Invariants: no IO, no clock, no task, no wait; every rule of exchanges and queues is called, never repeated.
//! Not here: sockets and timers (`server`), frames as values (`rialto_protocol`).

pub mod native;
mod options;
mod route_cache;
mod write_queue;

pub use options::SessionOptions;
pub use write_queue::WriteQueue;
