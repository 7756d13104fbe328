//! The generator's end of the NATS protocol, as thin as the native one: lines are encoded before the clock starts, and
//! of what arrives only heads are looked at.
//!
//! Rooms: `walker` (what arrives), `connection` (greeting, `PING`), `subject` (names), `block` (what is sent),
//! `publisher`, `consumer`, `jetstream` (streams, which confirm and want acknowledgements).
//! This file connects the ends of NATS core, which does neither.

mod block;
mod connection;
mod consumer;
pub(super) mod jetstream;
mod publisher;
mod subject;
mod walker;

use super::error::{BenchError, BenchResult};
use super::plan::{Acks, Plan};
use super::traffic::Ends;

pub(super) use connection::CONNECT;
use connection::Connection;
use consumer::Consumer;
use publisher::Publisher;

/// Connects publishers and subscribers.
pub(super) fn connect(endpoint: &str, plan: &Plan) -> BenchResult<Ends> {
    if let Some(what) = unsupported(plan) {
        return Err(BenchError::Options(format!("NATS core has no {what}")));
    }
    let subject = |queue| subject::of_queue(if plan.fanout { 0 } else { queue });
    let mut ends = Ends { publishers: Vec::new(), consumers: Vec::new(), clean_up: Box::new(|| Ok(())) };
    for number in 0..plan.consumers {
        let mut connection = Connection::open(endpoint)?;
        for queue in plan.queues_of(number) {
            // Consumers of one queue share its messages, as the members of a queue group do.
            let group = if plan.consumers > plan.queues { " group" } else { "" };
            connection.write(format!("SUB {}{group} {}\r\n", subject(queue), queue + 1).as_bytes())?;
        }
        connection.flush()?;
        connection.begin_traffic()?;
        ends.consumers.push(Box::new(Consumer::new(connection, plan.stamps, None)));
    }
    for number in 0..plan.publishers {
        let mut connection = Connection::open(endpoint)?;
        connection.begin_traffic()?;
        ends.publishers.push(Box::new(Publisher::new(connection, plan, &subject(0), None, number)?));
    }
    Ok(ends)
}

/// What a plan asks for that NATS core does not have.
pub(super) fn unsupported(plan: &Plan) -> Option<&'static str> {
    if plan.confirms.is_some() {
        return Some("confirms: measure with --confirms 0, or measure jetstream");
    }
    if plan.acks != Acks::Auto {
        return Some("acknowledgements: measure with --auto-ack, or measure jetstream");
    }
    if plan.persistent {
        return Some("persistence: measure jetstream");
    }
    None
}
