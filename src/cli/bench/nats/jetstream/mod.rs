//! JetStream: the streams of a NATS server, which keep messages, confirm them and want acknowledgements.
//!
//! Rooms: `api` (questions to the server), `server` (one for a round, its folder, how it syncs), `settling`
//! (acknowledgements, flow control). This file makes what a plan needs: a stream for each queue; for a fan-out one
//! stream with a consumer for each queue.
//!
//! What was chosen: retention by interest, so that messages are gone once acknowledged, as those of a queue are; push
//! consumers, which nothing has to be asked for; acknowledgements of all messages up to one, which spare one for each.
//! Consumers that share a queue are a deliver group, whose members acknowledge one by one: all up to one would settle
//! what the others hold.

mod api;
mod server;
mod settling;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::super::error::BenchResult;
use super::super::plan::{Acks, Plan};
use super::super::traffic::Ends;
use super::connection::Connection;
use super::consumer::Consumer;
use super::publisher::Publisher;
use super::subject;

pub(super) use api::refusal;
pub(in super::super) use server::Server;
pub(super) use settling::Settling;

/// How long a message may be unacknowledged: longer than any measurement, so that none comes twice.
const ACK_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How often the server tells an idle consumer that it is there: flow control needs it.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Unacknowledged bytes of a connection above which flow control is needed: half of what a server lets wait for a
/// connection before it ends it.
const UNACKNOWLEDGED_MAX: u64 = 32 << 20;

/// Makes streams and consumers, and connects publishers and subscribers. No publishing has begun yet.
///
/// `unsynced`: where a server that does not sync by itself keeps its messages.
pub(in super::super) fn connect(endpoint: &str, plan: &Plan, unsynced: Option<&Path>) -> BenchResult<Ends> {
    let mut control = api::Control::open(endpoint)?;
    let streams: Vec<String> = (0..if plan.fanout { 1 } else { plan.queues }).map(stream_name).collect();
    for (stream, queue) in streams.iter().zip(0..) {
        control.create_stream(stream, &stream_settings(plan, stream, queue))?;
    }
    let mut ends = Ends { publishers: Vec::new(), consumers: Vec::new(), clean_up: Box::new(|| Ok(())) };
    let shared = plan.consumers > plan.queues;
    for number in 0..plan.consumers {
        let mut connection = Connection::open(endpoint)?;
        let mut subscriptions = 0;
        for queue in plan.queues_of(number) {
            subscriptions += 1;
            let group = if shared { " group" } else { "" };
            let subscribe = format!("SUB {}{group} {subscriptions}\r\n", deliver_subject(queue));
            connection.write(subscribe.as_bytes())?;
        }
        // The server has to know of them before it may deliver.
        connection.flush()?;
        // The first connections have all queues among them.
        for queue in plan.queues_of(number).filter(|_| number < plan.queues) {
            let stream = &streams[if plan.fanout { 0 } else { queue as usize }];
            control.create_consumer(stream, &consumer_settings(plan, queue, shared))?;
        }
        connection.begin_traffic()?;
        let settling = Settling::new(plan.acks, shared, subscriptions);
        ends.consumers.push(Box::new(Consumer::new(connection, plan.stamps, Some(settling))));
    }
    for number in 0..plan.publishers {
        let mut connection = Connection::open(endpoint)?;
        let inbox = format!("_INBOX.{}.{number}", subject::prefix());
        if plan.confirms.is_some() {
            connection.write(format!("SUB {inbox}.* 1\r\n").as_bytes())?;
            connection.flush()?;
        }
        connection.begin_traffic()?;
        let reply = subject::numbered(&inbox, 0);
        let answered = plan.confirms.map(|max| (&*reply, max));
        let publisher = Publisher::new(connection, plan, &subject::of_queue(0), answered, number)?;
        ends.publishers.push(Box::new(publisher));
    }
    if let Some(folder) = unsynced {
        server::sync_messages(folder)?;
    }
    ends.clean_up = Box::new(move || streams.iter().try_for_each(|stream| control.delete_stream(stream)));
    Ok(ends)
}

fn stream_name(queue: u32) -> String {
    format!("{}-{queue}", subject::prefix())
}

/// Where the messages of a queue go out.
fn deliver_subject(queue: u32) -> String {
    subject::numbered(&format!("{}.out", subject::prefix()), queue)
}

fn stream_settings(plan: &Plan, name: &str, queue: u32) -> serde_json::Value {
    json!({
        "name": name,
        "subjects": [subject::of_queue(queue)],
        // By interest, messages that nobody consumes would not be kept.
        "retention": if plan.consumers > 0 { "interest" } else { "limits" },
        "storage": if plan.persistent { "file" } else { "memory" },
        "num_replicas": 1,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
    })
}

fn consumer_settings(plan: &Plan, queue: u32, shared: bool) -> serde_json::Value {
    let policy = match plan.acks {
        Acks::Auto => "none",
        Acks::Manual { .. } if shared => "explicit",
        Acks::Manual { .. } => "all",
    };
    let mut settings = json!({
        // Short: every delivery carries it.
        "durable_name": queue.to_string(),
        "deliver_subject": deliver_subject(queue),
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": policy,
    });
    let mut bounded = false;
    if let Acks::Manual { prefetch, .. } = plan.acks {
        settings["ack_wait"] = nanos(ACK_WAIT);
        settings["max_ack_pending"] = if prefetch == 0 { -1 } else { i64::from(prefetch) }.into();
        let unacknowledged = u64::from(prefetch) * plan.size as u64 * u64::from(plan.queues);
        bounded = prefetch > 0 && unacknowledged <= UNACKNOWLEDGED_MAX;
    }
    if shared {
        // Without flow control, whose questions any one of the group would get.
        settings["deliver_group"] = "group".into();
    } else if !bounded {
        settings["flow_control"] = true.into();
        settings["idle_heartbeat"] = nanos(HEARTBEAT);
    }
    settings
}

fn nanos(duration: Duration) -> serde_json::Value {
    (duration.as_nanos() as u64).into()
}
