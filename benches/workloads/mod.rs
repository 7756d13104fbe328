//! Small pieces of the broker's work, each by itself: for `micro`, which times them, and `instructions`, which counts.
//!
//! Rooms: `end` (a session without its socket), `amqp`, `native` (sessions and codecs), `routes`, `queue`, `journal`.
//! Invariants: everything that is not the piece itself happens in `prepare`; each piece does the same work each time.
//! Not here: whole brokers with sockets (`rialto bench`).

mod amqp;
mod end;
mod journal;
mod native;
mod queue;
mod routes;

use rialto::model::Timestamp;

/// A piece of work that can be done again and again.
pub(crate) trait Workload {
    /// Makes ready what the next piece takes.
    fn prepare(&mut self);

    /// Does it.
    fn work(&mut self);

    /// Messages (or whatever it is done to) of a piece.
    fn operations(&self) -> usize;
}

/// A workload by its name, made anew.
pub(crate) type Entry = (&'static str, fn() -> Box<dyn Workload>);

/// All of them.
pub(crate) const WORKLOADS: [Entry; 28] = [
    ("amqp_decode", || Box::new(amqp::Decode::new())),
    ("amqp_encode", || Box::new(amqp::Encode::new())),
    ("amqp_publish_16B", || Box::new(amqp::publish(16))),
    ("amqp_publish_128B", || Box::new(amqp::publish(128))),
    ("amqp_publish_1KiB", || Box::new(amqp::publish(1 << 10))),
    ("amqp_publish_16KiB", || Box::new(amqp::publish(16 << 10))),
    ("amqp_publish_confirmed", || Box::new(amqp::publish_confirmed())),
    ("amqp_publish_topic", || Box::new(amqp::publish_topic())),
    ("amqp_deliver_16B", || Box::new(amqp::deliver(16))),
    ("amqp_deliver_128B", || Box::new(amqp::deliver(128))),
    ("amqp_deliver_1KiB", || Box::new(amqp::deliver(1 << 10))),
    ("amqp_deliver_16KiB", || Box::new(amqp::deliver(16 << 10))),
    ("amqp_deliver_acked", || Box::new(amqp::deliver_acked())),
    ("native_decode", || Box::new(native::Decode::new())),
    ("native_encode", || Box::new(native::Encode::new())),
    ("native_publish", || Box::new(native::publish())),
    ("native_publish_confirmed", || Box::new(native::publish_confirmed())),
    ("native_deliver", || Box::new(native::deliver())),
    ("route_direct", || Box::new(routes::direct())),
    ("route_topic", || Box::new(routes::topic())),
    ("queue_cycle", || Box::new(queue::Cycle::new(queue::Case::default()))),
    ("queue_single_acks", || Box::new(queue::Cycle::new(queue::SINGLE_ACKS))),
    ("queue_auto_ack", || Box::new(queue::Cycle::new(queue::AUTO_ACK))),
    ("queue_10_consumers", || Box::new(queue::Cycle::new(queue::TEN_CONSUMERS))),
    ("queue_1000_consumers", || Box::new(queue::Cycle::new(queue::THOUSAND_CONSUMERS))),
    ("queue_ttl", || Box::new(queue::Cycle::new(queue::TTL))),
    ("queue_backlog", || Box::new(queue::Cycle::new(queue::BACKLOG))),
    ("journal_append", || Box::new(journal::Append::new())),
];

/// Bytes of one read from a socket: what sessions are given at a time.
const READ: usize = 64 << 10;

/// Body of most messages.
const BODY: usize = 128;

const NOW: Timestamp = Timestamp::from_millis(1000);
