//! RabbitMQ's figures of the whole broker: as many lines however much there is.

use super::exposition::{Exposition, Kind};
use super::objects::churn;
use super::own;
use crate::access::Protocol;
use crate::admin::AdminState;
use crate::admin::process::{Process, disk_space};
use crate::broker::{ChannelTotals, Counts, Publishing, Purpose};

/// What stands where RabbitMQ names the type of queue: one engine serves all types.
const QUEUE_TYPE: &str = "rialto";

/// `summed`: the figures of queues, connections and channels are wanted as sums, under the names that they have one by
/// one in a scrape of each.
pub(super) fn render(state: &AdminState, summed: bool, text: &mut Exposition) {
    let counts = state.broker.counts();
    identity(state, text);
    process(state, text);
    alarms(state, text);
    let channels = Protocol::ALL.map(|protocol| state.broker.counters().channels.read(protocol));
    global(&counts, &channels, text);
    dead_letters(&counts, text);
    if summed {
        churn(state, text);
        sums(state, &counts, text);
    }
    levels(state, &counts, &channels, text);
    own::render(state, &counts, text);
}

fn identity(state: &AdminState, text: &mut Exposition) {
    let (node, cluster) = (state.node.name(), state.cluster_name());
    let version = &state.settings.management.announce_version;
    text.metric("identity_info", Kind::Gauge, "RabbitMQ node & cluster identity info").line(
        &[
            ("rabbitmq_node", node),
            ("rabbitmq_cluster", &cluster),
            ("rabbitmq_cluster_permanent_id", ""),
            ("rabbitmq_endpoint", ""),
        ],
        1u64,
    );
    text.metric("build_info", Kind::Gauge, "RabbitMQ & Erlang/OTP version info").line(
        &[
            ("rabbitmq_version", version),
            ("prometheus_plugin_version", version),
            ("product_name", "Rialto"),
            ("product_version", env!("CARGO_PKG_VERSION")),
            ("erlang_version", ""),
        ],
        1u64,
    );
    text.gauge("erlang_uptime_seconds", "Node uptime", state.node.uptime().as_secs_f64());
    text.gauge(
        "unreachable_cluster_peers_count",
        "Number of peers in the cluster the current node cannot reach.",
        0u64,
    );
}

fn process(state: &AdminState, text: &mut Exposition) {
    let Process { resident, open_files, open_files_max, sockets } = Process::now();
    let figures = [
        ("process_resident_memory_bytes", "Memory used in bytes", resident),
        ("process_open_fds", "Open file descriptors", open_files),
        ("process_max_fds", "Open file descriptors limit", open_files_max),
        ("process_open_tcp_sockets", "Open TCP sockets", sockets),
        ("process_max_tcp_sockets", "Open TCP sockets limit", open_files_max),
    ];
    for (name, help, figure) in figures {
        figure.into_iter().for_each(|figure| text.gauge(name, help, figure));
    }
    if let Some(limit) = state.memory_limit() {
        text.gauge("resident_memory_limit_bytes", "Memory high watermark in bytes", limit);
    }
    let store = &state.settings.store;
    if !store.in_memory {
        if let Some(space) = disk_space(&store.data_dir) {
            text.gauge("disk_space_available_bytes", "Disk space available in bytes", space);
        }
        let help = "Free disk space low watermark in bytes";
        text.gauge("disk_space_available_limit_bytes", help, store.free_space_min.bytes());
    }
}

fn alarms(state: &AdminState, text: &mut Exposition) {
    let alarms = state.alarms();
    let kinds = [
        ("memory_used", "VM memory watermark alarm", "memory"),
        ("free_disk_space", "free disk space watermark alarm", "disk"),
    ];
    for (name, what, resource) in kinds {
        let help = format!("is 1 if {what} is in effect");
        text.gauge(&format!("alarms_{name}_watermark"), &help, alarms.contains(&resource));
    }
    text.gauge("alarms_file_descriptor_limit", "is 1 if file descriptor limit alarm is in effect", false);
}

/// Figures of each protocol, in the order of [`Protocol::ALL`].
type ByProtocol<T> = [T; Protocol::ALL.len()];

fn global(counts: &Counts, channels: &ByProtocol<ChannelTotals>, text: &mut Exposition) {
    type OfPublishers = fn(&Publishing) -> u64;
    let of_publishers: [(&str, &str, OfPublishers); 6] = [
        ("received", "received from clients", |of| of.received),
        ("received_confirm", "received from publishers using confirms", |of| of.received_confirm),
        ("confirmed", "confirmed to publishers", |of| of.confirmed),
        ("routed", "routed to queues or streams", |of| of.routed),
        ("unroutable_dropped", "dropped as unroutable", |of| of.unroutable_dropped),
        ("unroutable_returned", "returned to the publisher as unroutable", |of| of.unroutable_returned),
    ];
    for (name, what, count) in of_publishers {
        let help = format!("Total number of messages {what}");
        let mut metric = text.metric(&format!("global_messages_{name}_total"), Kind::Counter, &help);
        for (protocol, of) in Protocol::ALL.iter().zip(&counts.publishing_by) {
            metric.line(&[("protocol", protocol.name())], count(of));
        }
    }
    type OfConsumers = fn(&ChannelTotals) -> u64;
    let of_consumers: [(&str, &str, OfConsumers); 8] = [
        ("delivered", "Total number of messages delivered to consumers", ChannelTotals::delivered_or_got),
        (
            "delivered_consume_manual_ack",
            "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
            |of| of.delivered_manual_ack,
        ),
        (
            "delivered_consume_auto_ack",
            "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
            |of| of.delivered_auto_ack,
        ),
        (
            "delivered_get_manual_ack",
            "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
            |of| of.got_manual_ack,
        ),
        (
            "delivered_get_auto_ack",
            "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
            |of| of.got_auto_ack,
        ),
        ("get_empty", "Total number of times basic.get operations fetched no message", |of| of.get_empty),
        ("redelivered", "Total number of messages redelivered to consumers", |of| of.redelivered),
        ("acknowledged", "Total number of message acknowledgements received from consumers", |of| of.acked),
    ];
    for (name, help, count) in of_consumers {
        let mut metric = text.metric(&format!("global_messages_{name}_total"), Kind::Counter, help);
        for (protocol, of) in Protocol::ALL.iter().zip(channels) {
            metric.line(&[("protocol", protocol.name()), ("queue_type", QUEUE_TYPE)], count(of));
        }
    }
    let levels: [(&str, &str, OfConsumers); 2] = [
        ("publishers", "Publishers currently connected", |of| of.publishers),
        ("consumers", "Consumers currently connected", |of| of.consumers),
    ];
    for (name, help, count) in levels {
        let mut metric = text.metric(&format!("global_{name}"), Kind::Gauge, help);
        for (protocol, of) in Protocol::ALL.iter().zip(channels) {
            metric.line(&[("protocol", protocol.name())], count(of));
        }
    }
}

fn dead_letters(counts: &Counts, text: &mut Exposition) {
    let (totals, wanted) = (&counts.totals, &counts.totals.dead_lettered);
    let reasons = [
        ("expired", "due to message TTL exceeded", totals.expired, wanted.expired),
        ("rejected", "due to basic.reject or basic.nack", totals.rejected, wanted.rejected),
        ("maxlen", "due to overflow drop-head or reject-publish-dlx", totals.max_length, wanted.max_length),
        ("delivery_limit", "due to delivery-limit exceeded", totals.delivery_limit, wanted.delivery_limit),
    ];
    for (name, why, died, dead_lettered) in reasons {
        let help = format!("Total number of messages dead-lettered {why}");
        let mut metric =
            text.metric(&format!("global_messages_dead_lettered_{name}_total"), Kind::Counter, &help);
        let labels = |strategy| [("queue_type", QUEUE_TYPE), ("dead_letter_strategy", strategy)];
        metric.line(&labels("at_most_once"), dead_lettered);
        metric.line(&labels("disabled"), died.saturating_sub(dead_lettered));
    }
    // Those that left their queues for others did so in one step: that is confirmed at once.
    let help = "Total number of messages dead-lettered and confirmed by target queues";
    let mut metric = text.metric("global_messages_dead_lettered_confirmed_total", Kind::Counter, help);
    metric.line(&[("queue_type", QUEUE_TYPE), ("dead_letter_strategy", "at_least_once")], 0u64);
}

/// How many there are.
fn levels(state: &AdminState, counts: &Counts, channels: &ByProtocol<ChannelTotals>, text: &mut Exposition) {
    let channels: u64 = channels.iter().map(|of| of.channels).sum();
    text.gauge("connections", "Connections currently open", state.broker.connection_count());
    text.gauge("channels", "Channels currently open", channels);
    text.gauge("consumers", "Consumers currently connected", counts.in_queues.consumers);
    let queues = state.broker.vhosts();
    let queues = queues.iter().flat_map(|vhost| vhost.queues());
    text.gauge(
        "queues",
        "Queues available",
        queues.filter(|queue| queue.purpose() == Purpose::Ordinary).count(),
    );
}

fn sums(state: &AdminState, counts: &Counts, text: &mut Exposition) {
    let (in_queues, totals) = (&counts.in_queues, &counts.totals);
    let ready = in_queues.ready + in_queues.delayed;
    let gauges = [
        ("queue_messages_ready", "Messages ready to be delivered to consumers", ready),
        (
            "queue_messages_unacked",
            "Messages delivered to consumers but not yet acknowledged",
            in_queues.unacked,
        ),
        (
            "queue_messages",
            "Sum of ready and unacknowledged messages - total queue depth",
            ready + in_queues.unacked,
        ),
        ("queue_messages_ready_bytes", "Size in bytes of ready messages", in_queues.ready_body_bytes),
        ("queue_messages_paged_out", "Messages paged out to disk", in_queues.paged),
        (
            "queue_messages_ram",
            "Ready and unacknowledged messages stored in memory",
            (ready + in_queues.unacked).saturating_sub(in_queues.paged),
        ),
        ("queue_process_memory_bytes", "Memory in bytes used by the messages of queues", in_queues.memory),
        ("queue_consumers", "Consumers on a queue", in_queues.consumers),
    ];
    for (name, help, number) in gauges {
        text.gauge(name, help, number);
    }
    let publishing = &counts.publishing;
    let counters = [
        ("queue_messages_published_total", "Total number of messages published to queues", totals.published),
        (
            "channel_messages_published_total",
            "Total number of messages published into an exchange on a channel",
            publishing.received,
        ),
        (
            "channel_messages_confirmed_total",
            "Total number of messages published into an exchange and confirmed on the channel",
            publishing.confirmed,
        ),
        (
            "channel_messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
            publishing.unroutable_returned,
        ),
        (
            "channel_messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
            publishing.unroutable_dropped,
        ),
        (
            "channel_get_ack_total",
            "Total number of messages fetched with basic.get in manual acknowledgement mode",
            totals.got_manual_ack(),
        ),
        (
            "channel_get_total",
            "Total number of messages fetched with basic.get in automatic acknowledgement mode",
            totals.got_auto_acked,
        ),
        (
            "channel_get_empty_total",
            "Total number of times basic.get operations fetched no message",
            totals.get_empty,
        ),
        (
            "channel_messages_delivered_ack_total",
            "Total number of messages delivered to consumers in manual acknowledgement mode",
            totals.delivered_manual_ack(),
        ),
        (
            "channel_messages_delivered_total",
            "Total number of messages delivered to consumers in automatic acknowledgement mode",
            totals.delivered_auto_ack(),
        ),
        (
            "channel_messages_redelivered_total",
            "Total number of messages redelivered to consumers",
            totals.redelivered,
        ),
        ("channel_messages_acked_total", "Total number of messages acknowledged by consumers", totals.acked),
    ];
    for (name, help, number) in counters {
        text.counter(name, help, number);
    }
    let connections = state.broker.connections();
    let (mut incoming, mut outgoing) = (0, 0);
    let (mut unacked, mut unconfirmed, mut uncommitted) = (0, 0, 0);
    for connection in &connections {
        incoming += connection.link.traffic.received.get();
        outgoing += connection.link.traffic.sent.get();
        for channel in connection.channels.all() {
            unacked += channel.unacked.get();
            unconfirmed += channel.unconfirmed.get();
            uncommitted += channel.uncommitted.get();
        }
    }
    // Of those that are connected: gauges, unlike RabbitMQ's, since they fall when a connection ends.
    text.gauge("connection_incoming_bytes", "Bytes received on the connections that are open", incoming);
    text.gauge("connection_outgoing_bytes", "Bytes sent on the connections that are open", outgoing);
    text.gauge("channel_messages_unacked", "Delivered but not yet acknowledged messages", unacked);
    text.gauge("channel_messages_unconfirmed", "Published but not yet confirmed messages", unconfirmed);
    text.gauge(
        "channel_messages_uncommitted",
        "Messages received in a transaction but not yet committed",
        uncommitted,
    );
}
