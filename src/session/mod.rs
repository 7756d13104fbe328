//! Connections as state machines: bytes and time in, bytes and broker operations out.
//!
//! Both protocols are a [`Session`]: `native` speaks `protocol/SPEC.md`, `amqp` AMQP 0-9-1 in RabbitMQ's dialect.
//! Invariants: no IO, no clock, no task, no wait; every rule of exchanges and queues is called, never repeated.
//! Not here: sockets and timers (`server`), frames as values (`rialto_protocol`).

pub mod amqp;
mod consumer_arguments;
mod departure;
mod held_answers;
pub mod native;
mod options;
mod publish_rules;
mod refused_login;
mod route_cache;
mod settles;
mod speaker;
#[cfg(test)]
mod testing;
mod turn_box;
mod write_queue;

use bytes::BytesMut;

pub use options::{AmqpOptions, SessionOptions};
pub use write_queue::WriteQueue;

use crate::access::{Step, Verification};
use crate::model::Timestamp;

/// Output from which on nothing more is carried out or read until the peer has read some of it. A request of
/// twenty bytes can ask for an answer of a million times that.
const UNREAD_ANSWERS_MAX: usize = 4 << 20;

/// Bytes that may wait for the socket before no more deliveries are encoded: a session whose output is shorter has
/// nothing more to say for now.
pub(crate) const OUTPUT_HIGH: usize = 512 << 10;

/// From this length on, a stretch of bytes is sent from where it is instead of being copied: then the copy costs more
/// than one slice more of a write does.
const SLICE_LEAST: usize = 2 << 10;

/// A connection, from its first frame to its end. Methods come in families: `handle_*` takes input, `poll_*` gives
/// output, the others are questions. A driver writes what [`Session::poll_output`] gives after every call.
pub trait Session: Send {
    /// Takes what was read, as far as it makes whole frames, and does what it says. Stops early when the output
    /// has become too long: see [`Session::has_stalled_input`].
    fn handle_input(&mut self, input: &mut BytesMut, now: Timestamp);

    /// Hears what others put into the outbox besides deliveries. Call it when the outbox wakes.
    fn handle_outbox(&mut self, now: Timestamp);

    /// Looks at the time: heartbeats due, a peer that is silent, a login or a close that takes too long.
    fn handle_time(&mut self, now: Timestamp);

    /// The broker stops: says so to the client and ends.
    fn handle_shutdown(&mut self, reason: &str, now: Timestamp);

    /// The peer is gone: gives everything back.
    fn handle_disconnect(&mut self, now: Timestamp);

    /// What to write next: answers, then deliveries, as many as fit. Call it again after each write.
    fn poll_output(&mut self, now: Timestamp) -> &mut WriteQueue;

    /// Whether the last [`Session::handle_input`] has woken other connections, mostly to write what was published.
    fn has_woken_others(&self) -> bool;

    /// When [`Session::handle_time`] has something to do next.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Whether to read on. Not while the peer leaves too many answers unread, nor while it must not publish and
    /// its protocol has no other way to say so.
    fn wants_input(&self) -> bool;

    /// Whether to call [`Session::handle_input`] again without having read more: the output was too long to go on,
    /// and some of it has been written since.
    fn has_stalled_input(&self) -> bool;

    /// Work that a login waits for and that takes long: run it where it holds up nobody, and give what comes of it to
    /// [`Session::handle_verified`]. Ask after each `handle_*`; it is given once.
    fn take_work(&mut self) -> Option<Verification>;

    /// The work of a login is done.
    fn handle_verified(&mut self, next: Step, now: Timestamp);

    /// Whether it has ended: write what is left of the output, then close the socket.
    fn is_finished(&self) -> bool;
}
