//! What RabbitMQ's API calls `message_stats`: counts by name, each with its rate beside it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{AdditionalProperties, Schema, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::broker::{ChannelMessages, Counts, ExchangeCounts, Traffic};
use crate::queue::{QueueStats, Totals};

/// Counts of a vhost or of all of them.
pub(super) const MESSAGES: [&str; 12] = [
    "publish",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver_get",
    "redeliver",
    "ack",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
];

/// Those that a queue has, too: what becomes of a message before it is in a queue is not the queue's.
pub(super) const OF_QUEUES: [&str; 9] = {
    let [a, b, c, d, e, f, g, h, i, ..] = MESSAGES;
    [a, b, c, d, e, f, g, h, i]
};

/// Where the lengths of queues stand behind the counts: all messages, ready ones, unacknowledged ones.
pub(super) const LENGTHS: usize = MESSAGES.len();

/// Numbers of a sample.
pub(super) const ROW: usize = LENGTHS + 3;

/// Counts of an exchange.
pub(super) const EXCHANGE: [&str; 2] = ["publish_in", "publish_out"];

/// Counts of a connection's socket.
pub(super) const TRAFFIC: [&str; 4] = ["recv_oct", "recv_cnt", "send_oct", "send_cnt"];

/// Numbers of a channel's sample.
pub(super) const CHANNEL_ROW: usize = MESSAGES.len();

/// How fast something grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Rate {
    /// By how many each second, over the last interval.
    pub rate: f32,
}

/// Counts by name; serialized, each has `<name>_details` with its rate beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageStats(Vec<(&'static str, u64, Rate)>);

impl MessageStats {
    pub(super) fn new(names: &[&'static str], numbers: &[u64], rates: &[f32]) -> Self {
        let rates = rates.iter().copied().chain(std::iter::repeat(0.0));
        let rows = names.iter().zip(numbers).zip(rates);
        MessageStats(rows.map(|((name, number), rate)| (*name, *number, Rate { rate })).collect())
    }

    /// A count and its rate.
    pub fn get(&self, name: &str) -> Option<(u64, Rate)> {
        self.0.iter().find(|(other, ..)| *other == name).map(|(_, number, rate)| (*number, *rate))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, Rate)> + '_ {
        self.0.iter().copied()
    }
}

impl Serialize for MessageStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len() * 2))?;
        for (name, number, rate) in &self.0 {
            map.serialize_entry(name, number)?;
            map.serialize_entry(&format_args!("{name}_details").to_string(), rate)?;
        }
        map.end()
    }
}

impl PartialSchema for MessageStats {
    fn schema() -> RefOr<Schema> {
        let about =
            "Counts since the start, like `publish`, and how fast each grows, like `publish_details.rate`.";
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(about))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for MessageStats {}

/// How fast queues grow; negative while they shrink. RabbitMQ's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct LengthRates {
    /// All messages.
    pub messages_details: Rate,
    /// Those that wait.
    pub messages_ready_details: Rate,
    /// Those delivered and not settled.
    pub messages_unacknowledged_details: Rate,
}

impl LengthRates {
    pub(super) fn new([all, ready, unacked]: [f32; 3]) -> Self {
        LengthRates {
            messages_details: Rate { rate: all },
            messages_ready_details: Rate { rate: ready },
            messages_unacknowledged_details: Rate { rate: unacked },
        }
    }
}

pub(super) fn message_row(counts: &Counts) -> [u64; ROW] {
    let in_queues = counts.in_queues;
    let published = counts.publishing.received;
    let mut row = row(published, &counts.totals, in_queues.ready + in_queues.delayed, in_queues.unacked);
    let publishing = &counts.publishing;
    let own = [publishing.confirmed, publishing.unroutable_returned, publishing.unroutable_dropped];
    row[OF_QUEUES.len()..LENGTHS].copy_from_slice(&own);
    row
}

pub(super) fn queue_row(figures: &QueueStats) -> [u64; ROW] {
    row(figures.totals.published, &figures.totals, figures.ready + figures.delayed, figures.unacked)
}

pub(super) fn exchange_row(counts: &ExchangeCounts) -> [u64; 2] {
    [counts.published_in(), counts.published_out()]
}

pub(super) fn traffic_row(traffic: &Traffic) -> [u64; 4] {
    [traffic.received.get(), traffic.reads.get(), traffic.sent.get(), traffic.writes.get()]
}

pub(super) fn channel_row(messages: &ChannelMessages) -> [u64; CHANNEL_ROW] {
    let (manual, auto) = (messages.delivered_manual_ack.get(), messages.delivered_auto_ack.get());
    let (got_manual, got_auto) = (messages.got_manual_ack.get(), messages.got_auto_ack.get());
    [
        messages.published.get(),
        manual,
        auto,
        got_manual,
        got_auto,
        messages.get_empty.get(),
        manual + auto + got_manual + got_auto,
        messages.redelivered.get(),
        messages.acked.get(),
        messages.confirmed.get(),
        messages.unroutable_returned.get(),
        messages.unroutable_dropped.get(),
    ]
}

fn row(published: u64, totals: &Totals, ready: u64, unacked: u64) -> [u64; ROW] {
    [
        published,
        totals.delivered_manual_ack(),
        totals.delivered_auto_ack(),
        totals.got_manual_ack(),
        totals.got_auto_acked,
        totals.get_empty,
        totals.delivered_or_got(),
        totals.redelivered,
        totals.acked,
        0,
        0,
        0,
        ready + unacked,
        ready,
        unacked,
    ]
}
