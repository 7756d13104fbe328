//! The generator's end of the NATS core protocol, as thin as the native one: lines are encoded before the clock
//! starts, and consumers look at the heads of messages only.
//!
//! Rooms: `walker` (what arrives), `connection` (greeting, `PING`), `publisher`, `consumer`.
//! Not here: confirms and acknowledgements, which NATS core does not have.

mod connection;
mod consumer;
mod publisher;
mod walker;

use super::error::{BenchError, BenchResult};
use super::plan::{Acks, Plan};
use super::topic::{Dialect, Topic};
use super::traffic::Ends;

use connection::Connection;
use consumer::Consumer;
use publisher::Publisher;

/// Connects publishers and subscribers.
pub(super) fn connect(endpoint: &str, plan: &Plan) -> BenchResult<Ends> {
    if let Some(what) = unsupported(plan) {
        return Err(BenchError::Options(format!("NATS core has no {what}")));
    }
    let mut ends = Ends { publishers: Vec::new(), consumers: Vec::new(), clean_up: Box::new(|| Ok(())) };
    for number in 0..plan.consumers {
        let mut connection = Connection::open(endpoint, plan.stamps)?;
        for queue in plan.queues_of(number) {
            if let Some(topic) = plan.topic {
                connection.write(subscriptions(plan, topic, queue).as_bytes())?;
                continue;
            }
            // Consumers of one queue share its messages, as the members of a queue group do.
            let group = if plan.consumers > plan.queues { " group" } else { "" };
            connection.write(format!("SUB {}{group} {}\r\n", subject(plan, queue), queue + 1).as_bytes())?;
        }
        connection.flush()?;
        ends.consumers.push(Box::new(Consumer::new(connection)));
    }
    let subjects: Vec<String> = match plan.fanout {
        true => vec![subject(plan, 0)],
        false => (0..plan.queues).map(|queue| subject(plan, queue)).collect(),
    };
    for number in 0..plan.publishers {
        let connection = Connection::open(endpoint, false)?;
        if let Some(topic) = plan.topic {
            let keys = topic.keys().begin_as(number, plan.publishers);
            ends.publishers.push(Box::new(Publisher::with_keys(connection, plan, &prefix(), keys)));
            continue;
        }
        ends.publishers.push(Box::new(Publisher::new(connection, plan, &subjects, number)));
    }
    Ok(ends)
}

/// What a plan asks for that NATS core does not have.
pub(super) fn unsupported(plan: &Plan) -> Option<&'static str> {
    if plan.confirms.is_some() {
        return Some("confirms: measure with --confirms 0");
    }
    if plan.acks != Acks::Auto {
        return Some("acknowledgements: measure with --auto-ack");
    }
    if plan.persistent {
        return Some("persistence");
    }
    if plan.topic.is_some() && plan.consumers == 0 {
        return Some("queues: what nobody has subscribed to is not routed, so measure with consumers");
    }
    None
}

/// The patterns of a queue's bindings: here its consumer has them.
fn subscriptions(plan: &Plan, topic: Topic, queue: u32) -> String {
    let of_queue = (0..topic.bindings).filter(|&binding| topic.queue(binding, plan) == queue);
    of_queue
        .map(|binding| {
            format!("SUB {}{} {}\r\n", prefix(), topic.pattern(binding, Dialect::Nats), binding + 1)
        })
        .collect()
}

/// What subjects of this measurement begin with.
fn prefix() -> String {
    format!("rialto-bench-{}.", std::process::id())
}

fn subject(plan: &Plan, queue: u32) -> String {
    let number = if plan.fanout { 0 } else { queue };
    format!("rialto-bench.{}.{number}", std::process::id())
}
