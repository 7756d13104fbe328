//! Figures of each queue, exchange, connection and channel.
//!
//! Invariant: of each kind at most `metrics.objects_max` are told, the first by name, so that a scrape tells of the same
//! ones as the one before; how many were left out is told, too.

use std::sync::Arc;

use super::exposition::{Exposition, Kind, Number};
use super::families::Family;
use crate::admin::AdminState;
use crate::broker::{ChannelInfo, ConnectionInfo, ExchangeFigures, Purpose, Vhost};
use crate::model::Timestamp;
use crate::queue::QueueStats;

/// Families about these vhosts, or about all if there are none.
pub(super) fn render(state: &AdminState, families: &[Family], vhosts: &[String], text: &mut Exposition) {
    let chosen = |vhost: &Vhost| vhosts.is_empty() || vhosts.iter().any(|name| **name == **vhost.name());
    let mut all = state.broker.vhosts();
    all.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
    all.retain(|vhost| chosen(vhost));
    let mut objects = Objects { state, vhosts: all, left_out: Vec::new() };
    let has = |wanted: &[Family]| families.iter().any(|family| wanted.contains(family));
    if has(&[Family::QueueCoarse, Family::Queue, Family::QueueConsumers, Family::QueueDelivery]) {
        objects.queues(families, text);
    }
    if has(&[Family::Exchange, Family::ExchangeNames, Family::ExchangeBindings]) {
        objects.exchanges(families, text);
    }
    if has(&[Family::Channel, Family::ConnectionCoarse, Family::Connection]) {
        objects.connections(families, text);
    }
    if has(&[Family::Vhosts]) {
        let name = "rabbitmq_cluster_vhost_status".to_owned();
        let mut metric = text.begin(name, Kind::Gauge, "Whether a given vhost is running");
        objects.vhosts.iter().for_each(|vhost| metric.line(&[("vhost", vhost.name())], 1u64));
    }
    if has(&[Family::Churn]) {
        churn(state, text);
    }
    let name = "rialto_metrics_objects_left_out".to_owned();
    let help = "Objects without lines of their own, since there are more than metrics.objects_max";
    let mut metric = text.begin(name, Kind::Gauge, help);
    objects.left_out.iter().for_each(|(kind, count)| metric.line(&[("kind", kind)], *count));
}

/// What has come and gone.
pub(super) fn churn(state: &AdminState, text: &mut Exposition) {
    let churn = state.broker.counters().churn();
    let counters = [
        ("connections_opened_total", "Total number of connections opened", churn.connections_opened),
        (
            "connections_closed_total",
            "Total number of connections closed or terminated",
            churn.connections_closed,
        ),
        ("channels_opened_total", "Total number of channels opened", churn.channels_opened),
        ("channels_closed_total", "Total number of channels closed", churn.channels_closed),
        ("queues_declared_total", "Total number of queues declared", churn.queues_declared),
        ("queues_created_total", "Total number of queues created", churn.queues_created),
        ("queues_deleted_total", "Total number of queues deleted", churn.queues_deleted),
    ];
    for (name, help, count) in counters {
        text.counter(name, help, count);
    }
}

struct Objects<'a> {
    state: &'a AdminState,
    vhosts: Vec<Arc<Vhost>>,
    left_out: Vec<(&'static str, usize)>,
}

/// A metric of each object: its name, what it is, and where it comes from.
type Column<T> = (&'static str, Kind, &'static str, fn(&T) -> Number);

struct QueueRow {
    vhost: Arc<Vhost>,
    name: String,
    figures: QueueStats,
    now: Timestamp,
}

impl Objects<'_> {
    /// Keeps as many as may be told.
    fn bound<T>(&mut self, kind: &'static str, rows: &mut Vec<T>) {
        let max = self.state.settings.metrics.objects_max as usize;
        self.left_out.push((kind, rows.len().saturating_sub(max)));
        rows.truncate(max);
    }

    fn queues(&mut self, families: &[Family], text: &mut Exposition) {
        let now = self.state.broker.now();
        let mut queues: Vec<_> = self
            .vhosts
            .iter()
            .flat_map(|vhost| vhost.queues().into_iter().map(move |queue| (vhost, queue)))
            .filter(|(_, queue)| queue.purpose() != Purpose::Replies)
            .collect();
        queues.sort_by(|(a, one), (b, other)| {
            (a.name().as_str(), one.name().as_str()).cmp(&(b.name().as_str(), other.name().as_str()))
        });
        let mut rows: Vec<_> = queues.into_iter().map(|(vhost, queue)| (vhost.clone(), queue)).collect();
        self.bound("queue", &mut rows);
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(vhost, queue)| QueueRow {
                vhost,
                name: queue.name().to_string(),
                figures: queue.figures(),
                now,
            })
            .collect();
        for family in families {
            let columns = match family {
                Family::QueueCoarse => QUEUE_COARSE,
                Family::Queue => QUEUE,
                Family::QueueConsumers => QUEUE_CONSUMERS,
                Family::QueueDelivery => QUEUE_DELIVERY,
                _ => continue,
            };
            for (name, kind, help, figure) in columns {
                let mut metric = text.metric(name, *kind, help);
                for row in &rows {
                    metric.line(&[("vhost", row.vhost.name()), ("queue", &row.name)], figure(row));
                }
            }
            if *family == Family::Queue {
                let name = "rialto_queue_oldest_message_age_seconds".to_owned();
                let help = "Age of the message at the head of the queue; 0 if it is empty";
                let mut metric = text.begin(name, Kind::Gauge, help);
                for row in &rows {
                    let age =
                        row.figures.head_enqueued.map_or(0.0, |since| row.now.since(since).as_secs_f64());
                    metric.line(&[("vhost", row.vhost.name()), ("queue", &row.name)], age);
                }
            }
        }
    }

    fn exchanges(&mut self, families: &[Family], text: &mut Exposition) {
        let figures = |vhost: &Arc<Vhost>| {
            vhost.exchange_figures().into_iter().map({
                let vhost = vhost.clone();
                move |figures| (vhost.clone(), figures)
            })
        };
        let mut rows: Vec<(Arc<Vhost>, ExchangeFigures)> = self.vhosts.iter().flat_map(figures).collect();
        rows.sort_by(|(a, one), (b, other)| {
            (a.name().as_str(), one.name.as_str()).cmp(&(b.name().as_str(), other.name.as_str()))
        });
        self.bound("exchange", &mut rows);
        for family in families {
            match family {
                Family::Exchange => {
                    for (name, kind, help, figure) in EXCHANGE {
                        let mut metric = text.metric(name, *kind, help);
                        for (vhost, row) in &rows {
                            metric.line(&[("vhost", vhost.name()), ("exchange", &row.name)], figure(row));
                        }
                    }
                }
                Family::ExchangeNames => {
                    let name = "rabbitmq_cluster_exchange_name".to_owned();
                    let mut metric =
                        text.begin(name, Kind::Gauge, "Enumerates exchanges without any additional info");
                    for (vhost, row) in &rows {
                        metric.line(&labels_of(vhost, row), 1u64);
                    }
                }
                Family::ExchangeBindings => {
                    let name = "rabbitmq_cluster_exchange_bindings".to_owned();
                    let mut metric = text.begin(name, Kind::Gauge, "Number of bindings for an exchange");
                    for (vhost, row) in &rows {
                        metric.line(&labels_of(vhost, row), row.bindings);
                    }
                }
                _ => {}
            }
        }
    }

    fn connections(&mut self, families: &[Family], text: &mut Exposition) {
        let mut connections = self.state.broker.connections();
        connections.retain(|connection| self.vhosts.iter().any(|vhost| *vhost.name() == connection.vhost));
        connections.sort_by_key(|connection| connection.id);
        let mut channels: Vec<(Arc<ConnectionInfo>, Arc<ChannelInfo>)> =
            match families.contains(&Family::Channel) {
                false => Vec::new(),
                true => connections
                    .iter()
                    .flat_map(|connection| {
                        connection.channels.all().into_iter().map(|channel| (connection.clone(), channel))
                    })
                    .collect(),
            };
        self.bound("connection", &mut connections);
        self.bound("channel", &mut channels);
        for family in families {
            match family {
                Family::Channel => {
                    for (name, kind, help, figure) in CHANNEL {
                        let mut metric = text.metric(name, *kind, help);
                        for (connection, channel) in &channels {
                            let label = format!("{} ({})", connection.link.name(), channel.number);
                            metric.line(&[("channel", &label)], figure(channel));
                        }
                    }
                }
                Family::ConnectionCoarse | Family::Connection => {
                    let columns = if *family == Family::Connection { CONNECTION } else { CONNECTION_COARSE };
                    for (name, kind, help, figure) in columns {
                        let mut metric = text.metric(name, *kind, help);
                        for connection in &connections {
                            metric.line(&[("connection", &connection.link.name())], figure(connection));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn labels_of<'a>(vhost: &'a Vhost, row: &'a ExchangeFigures) -> [(&'static str, &'a str); 3] {
    [("vhost", vhost.name()), ("exchange", &row.name), ("type", row.kind)]
}

const QUEUE_COARSE: &[Column<QueueRow>] = &[
    ("queue_messages_ready", Kind::Gauge, "Messages ready to be delivered to consumers", |row| {
        (row.figures.ready + row.figures.delayed).into()
    }),
    (
        "queue_messages_unacked",
        Kind::Gauge,
        "Messages delivered to consumers but not yet acknowledged",
        |row| row.figures.unacked.into(),
    ),
    (
        "queue_messages",
        Kind::Gauge,
        "Sum of ready and unacknowledged messages - total queue depth",
        |QueueRow { figures, .. }| (figures.ready + figures.delayed + figures.unacked).into(),
    ),
];

const QUEUE: &[Column<QueueRow>] = &[
    ("queue_messages_ready_bytes", Kind::Gauge, "Size in bytes of ready messages", |row| {
        row.figures.ready_body_bytes.into()
    }),
    ("queue_messages_paged_out", Kind::Gauge, "Messages paged out to disk", |row| row.figures.paged.into()),
    (
        "queue_messages_ram",
        Kind::Gauge,
        "Ready and unacknowledged messages stored in memory",
        |QueueRow { figures, .. }| {
            (figures.ready + figures.delayed + figures.unacked).saturating_sub(figures.paged).into()
        },
    ),
    (
        "queue_process_memory_bytes",
        Kind::Gauge,
        "Memory in bytes used by the messages of a queue",
        |QueueRow { figures, .. }| figures.memory().into(),
    ),
    (
        "queue_head_message_timestamp",
        Kind::Gauge,
        "When the first message in the queue came, in seconds since 1970",
        |row| row.figures.head_enqueued.map_or(0, Timestamp::as_secs).into(),
    ),
    (
        "queue_messages_published_total",
        Kind::Counter,
        "Total number of messages published to queues",
        |row| row.figures.totals.published.into(),
    ),
];

const QUEUE_CONSUMERS: &[Column<QueueRow>] =
    &[("queue_consumers", Kind::Gauge, "Consumers on a queue", |row| row.figures.consumers.into())];

const QUEUE_DELIVERY: &[Column<QueueRow>] = &[
    (
        "queue_get_ack_total",
        Kind::Counter,
        "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        |row| row.figures.totals.got_manual_ack().into(),
    ),
    (
        "queue_get_total",
        Kind::Counter,
        "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
        |row| row.figures.totals.got_auto_acked.into(),
    ),
    (
        "queue_messages_delivered_ack_total",
        Kind::Counter,
        "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        |row| row.figures.totals.delivered_manual_ack().into(),
    ),
    (
        "queue_messages_delivered_total",
        Kind::Counter,
        "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
        |row| row.figures.totals.delivered_auto_ack().into(),
    ),
    (
        "queue_messages_redelivered_total",
        Kind::Counter,
        "Total number of messages from a queue redelivered to consumers",
        |row| row.figures.totals.redelivered.into(),
    ),
    (
        "queue_messages_acked_total",
        Kind::Counter,
        "Total number of messages acknowledged by consumers on a queue",
        |row| row.figures.totals.acked.into(),
    ),
    (
        "queue_get_empty_total",
        Kind::Counter,
        "Total number of times basic.get operations fetched no message on a queue",
        |row| row.figures.totals.get_empty.into(),
    ),
];

const EXCHANGE: &[Column<ExchangeFigures>] = &[
    (
        "exchange_messages_published_total",
        Kind::Counter,
        "Total number of messages published into an exchange",
        |row| row.counts.published_in().into(),
    ),
    (
        "exchange_messages_routed_total",
        Kind::Counter,
        "Total number of copies of these that were given to queues",
        |row| row.counts.published_out().into(),
    ),
    (
        "exchange_messages_unroutable_returned_total",
        Kind::Counter,
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |row| row.counts.unroutable_returned().into(),
    ),
    (
        "exchange_messages_unroutable_dropped_total",
        Kind::Counter,
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |row| row.counts.unroutable_dropped().into(),
    ),
];

const CHANNEL: &[Column<Arc<ChannelInfo>>] = &[
    ("channel_consumers", Kind::Gauge, "Consumers on a channel", |channel| channel.consumers.get().into()),
    ("channel_messages_unacked", Kind::Gauge, "Delivered but not yet acknowledged messages", |channel| {
        channel.unacked.get().into()
    }),
    ("channel_messages_unconfirmed", Kind::Gauge, "Published but not yet confirmed messages", |channel| {
        channel.unconfirmed.get().into()
    }),
    (
        "channel_messages_uncommitted",
        Kind::Gauge,
        "Messages received in a transaction but not yet committed",
        |channel| channel.uncommitted.get().into(),
    ),
    (
        "channel_acks_uncommitted",
        Kind::Gauge,
        "Message acknowledgements in a transaction not yet committed",
        |channel| channel.acks_uncommitted.get().into(),
    ),
    ("channel_prefetch", Kind::Gauge, "Limit of unacknowledged messages for each new consumer", |channel| {
        channel.prefetch.get().into()
    }),
    (
        "channel_prefetch_global",
        Kind::Gauge,
        "Total limit of unacknowledged messages for all consumers on a channel",
        |channel| channel.global_prefetch.get().into(),
    ),
    (
        "channel_messages_published_total",
        Kind::Counter,
        "Total number of messages published into an exchange on a channel",
        |channel| channel.messages.published.get().into(),
    ),
    (
        "channel_messages_confirmed_total",
        Kind::Counter,
        "Total number of messages published into an exchange and confirmed on the channel",
        |channel| channel.messages.confirmed.get().into(),
    ),
    (
        "channel_messages_acked_total",
        Kind::Counter,
        "Total number of messages acknowledged by consumers",
        |channel| channel.messages.acked.get().into(),
    ),
];

const CONNECTION_COARSE: &[Column<Arc<ConnectionInfo>>] = &[
    (
        "connection_incoming_bytes_total",
        Kind::Counter,
        "Total number of bytes received on a connection",
        |connection| connection.link.traffic.received.get().into(),
    ),
    (
        "connection_outgoing_bytes_total",
        Kind::Counter,
        "Total number of bytes sent on a connection",
        |connection| connection.link.traffic.sent.get().into(),
    ),
];

const CONNECTION: &[Column<Arc<ConnectionInfo>>] = &[
    (
        "connection_incoming_packets_total",
        Kind::Counter,
        "Total number of packets received on a connection",
        |connection| connection.link.traffic.reads.get().into(),
    ),
    (
        "connection_outgoing_packets_total",
        Kind::Counter,
        "Total number of packets sent on a connection",
        |connection| connection.link.traffic.writes.get().into(),
    ),
    ("connection_channels", Kind::Gauge, "Channels on a connection", |connection| {
        connection.channels.len().into()
    }),
];
