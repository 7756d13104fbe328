//! Lists for people and tools: pages of rows, sorted by name, each a table of facts.
//!
//! A page starts behind the cursor of the page before, so what is declared or deleted meanwhile neither
//! repeats nor hides other rows. Nothing is locked for longer than one row takes.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use rialto_protocol::types::{FieldTable, FieldValue};

use super::{Broker, QueueCell, Vhost};
use crate::model::ConnectionId;
use crate::queue::{PauseReason, Readiness};
use crate::routing::Exchange;

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Queues of a vhost.
    Queues,
    /// Exchanges of a vhost.
    Exchanges,
    /// Bindings of a vhost.
    Bindings,
    /// Connections, of every vhost.
    Connections,
    /// Consumers of a vhost.
    Consumers,
}

/// Rows, and where the next page starts.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// The rows.
    pub rows: Vec<FieldTable>,
    /// The cursor of the last row, or nothing if there are no more rows.
    pub next: Option<String>,
}

impl Vhost {
    /// One page of a list: at most `limit` rows behind the cursor `after`.
    pub fn list(&self, what: Listed, after: &str, limit: usize) -> ListPage {
        match what {
            Listed::Queues => page(
                self.queues(),
                |queue| queue.name().to_string(),
                after,
                limit,
                |queue, rows| {
                    rows.push(queue_row(queue));
                },
            ),
            Listed::Exchanges => {
                let topology = self.topology.read();
                let exchanges: Vec<_> = topology.routing.exchanges().collect();
                page(
                    exchanges,
                    |exchange| exchange.name().to_string(),
                    after,
                    limit,
                    |exchange, rows| {
                        rows.push(exchange_row(exchange));
                    },
                )
            }
            Listed::Bindings => self.list_bindings(after, limit),
            Listed::Connections => self.broker().list_connections(after, limit),
            Listed::Consumers => {
                let mut rows: Vec<(String, FieldTable)> = Vec::new();
                for queue in self.queues() {
                    for (local, info) in queue.consumers() {
                        let key = format!("{}\0{:020}", queue.name(), info.id.0);
                        let row = FieldTable::new()
                            .with("queue", queue.name().as_str())
                            .with("consumer_tag", info.tag.as_str())
                            .with("channel", i64::from(local.channel.0))
                            .with("ack_required", !info.auto_ack)
                            .with("exclusive", info.exclusive)
                            .with("priority", info.priority)
                            .with("prefetch_count", i64::from(info.prefetch))
                            .with("unacked", info.unacked as i64)
                            .with("state", readiness(&info.readiness));
                        rows.push((key, row));
                    }
                }
                page(rows, |(key, _)| key.clone(), after, limit, |(_, row), rows| rows.push(row.clone()))
            }
        }
    }

    /// Facts about one queue.
    ///
    /// # Errors
    /// There is none with this name for this connection.
    pub fn queue_info(&self, name: &str, by: ConnectionId) -> Result<FieldTable, super::BrokerError> {
        Ok(queue_row(&self.queue(name, by)?))
    }

    /// Facts about one exchange.
    ///
    /// # Errors
    /// There is none with this name.
    pub fn exchange_info(&self, name: &str) -> Result<FieldTable, super::BrokerError> {
        let topology = self.topology.read();
        topology.routing.exchange(name).map(exchange_row).ok_or_else(|| self.no_exchange(name))
    }

    fn list_bindings(&self, after: &str, limit: usize) -> ListPage {
        let topology = self.topology.read();
        let mut found = Vec::new();
        for binding in topology.routing.bindings() {
            let (kind, destination) = (binding.destination.kind(), binding.destination.name());
            let mut key = String::new();
            let (source, routing_key) = (&binding.source, &binding.routing_key);
            // Writing to a string does not fail.
            let _ = write!(key, "{source}\0{kind}\0{destination}\0{routing_key}\0{}", binding.arguments);
            let row = FieldTable::new()
                .with("source", source.as_str())
                .with("destination", destination.as_str())
                .with("destination_type", kind)
                .with("routing_key", routing_key.as_str())
                .with("arguments", binding.arguments.clone());
            found.push((key, row));
        }
        page(found, |(key, _)| key.clone(), after, limit, |(_, row), rows| rows.push(row.clone()))
    }
}

impl Broker {
    fn list_connections(&self, after: &str, limit: usize) -> ListPage {
        page(
            self.connections(),
            |info| format!("{:020}", info.id.0),
            after,
            limit,
            |info, rows| {
                rows.push(
                    FieldTable::new()
                        .with("id", info.id.0 as i64)
                        .with("name", info.name.as_str())
                        .with("peer", info.peer.to_string())
                        .with("user", info.user.as_str())
                        .with("vhost", info.vhost.as_str())
                        .with("protocol", info.protocol)
                        .with("client", info.client.as_str())
                        .with("channels", i64::from(info.channels.load(Ordering::Relaxed)))
                        .with("connected_at", FieldValue::Timestamp(info.connected_at.as_secs())),
                );
            },
        )
    }
}

fn queue_row(queue: &std::sync::Arc<QueueCell>) -> FieldTable {
    let (stats, options) = (queue.stats(), queue.options());
    FieldTable::new()
        .with("name", queue.name().as_str())
        .with("messages", (stats.ready + stats.unacked) as i64)
        .with("messages_ready", stats.ready as i64)
        .with("messages_unacknowledged", stats.unacked as i64)
        .with("message_bytes", (stats.ready_bytes + stats.unacked_bytes) as i64)
        .with("consumers", stats.consumers as i64)
        .with("durable", options.durable)
        .with("exclusive", options.exclusive)
        .with("auto_delete", options.auto_delete)
        .with("arguments", options.arguments.clone())
}

fn exchange_row(exchange: &Exchange) -> FieldTable {
    let options = exchange.options();
    FieldTable::new()
        .with("name", exchange.name().as_str())
        .with("type", options.kind.name())
        .with("durable", options.durable)
        .with("auto_delete", options.auto_delete)
        .with("internal", options.internal)
        .with("arguments", options.arguments.clone())
}

fn readiness(readiness: &Readiness) -> String {
    match readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::Paused(reason) => {
            let reason = match reason {
                PauseReason::NotActive => "another consumer is the active one",
                PauseReason::Prefetch => "prefetch is used up",
                PauseReason::Credit => "credit is used up",
                PauseReason::OutboxFull => "its connection does not read",
                PauseReason::ChannelPrefetch => "the channel's prefetch is used up",
            };
            format!("paused: {reason}")
        }
    }
}

/// Sorts by key, starts behind `after`, stops at `limit`.
fn page<T>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
    after: &str,
    limit: usize,
    mut row: impl FnMut(&T, &mut Vec<FieldTable>),
) -> ListPage {
    // The cursor carries a mark in front, so that the empty name (the default exchange) has one too.
    if let Some(after) = after.strip_prefix('>') {
        items.retain(|item| key(item).as_str() > after);
    }
    items.sort_by_cached_key(&key);
    let mut page = ListPage::default();
    for item in items.iter().take(limit) {
        row(item, &mut page.rows);
    }
    if items.len() > limit && limit > 0 {
        page.next = Some(format!(">{}", key(&items[limit - 1])));
    }
    page
}
