//! Lists for people and tools: pages of rows, sorted by name, each a table of facts.
//!
//! A page starts behind the cursor of the page before, so what is declared or deleted meanwhile neither
//! repeats nor hides other rows. Making a page looks at everything there is, but holds one page of it.

use std::collections::BinaryHeap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, FieldValue};

use super::purpose::Purpose;
use super::reply_queues::is_reply_queue;
use super::vhost::Topology;
use super::{BrokerError, ConnectionInfo, HoldingPolicies, LocalConsumer, QueueCell, Vhost};
use crate::model::{ConnectionId, QueueName};
use crate::queue::{ConsumerInfo, PauseReason, Readiness};
use crate::routing::{Binding, Exchange};

/// Bytes of rows after which a page ends: far below every frame limit, and quickly written.
const PAGE_BYTES: usize = 1 << 20;

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
    /// Connections to the vhost.
    OwnConnections,
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
    ///
    /// # Errors
    /// The cursor is not from such a page.
    pub fn list(&self, what: Listed, after: &str, limit: usize) -> Result<ListPage, BrokerError> {
        let selection = Selection::new(after, limit)?;
        Ok(match what {
            Listed::Queues => {
                let queues = self.queues().into_iter().filter(|queue| !queue.is_closed() && is_listed(queue));
                let topology = self.topology.read();
                selection.page(
                    queues,
                    |queue, key| key.push_str(queue.name()),
                    |queue| queue_row(queue, &topology),
                )
            }
            Listed::Exchanges => {
                let topology = self.topology.read();
                let exchanges = topology.routing.exchanges();
                selection.page(
                    exchanges,
                    |exchange, key| key.push_str(exchange.name()),
                    |row| exchange_row(row, &topology),
                )
            }
            Listed::Bindings => {
                let topology = self.topology.read();
                let bindings = topology.routing.bindings();
                let bindings = bindings.filter(|binding| !is_reply_queue(binding.destination.name()));
                selection.page(bindings, binding_key, binding_row)
            }
            Listed::Connections | Listed::OwnConnections => selection.page(
                self.core()
                    .connections
                    .all()
                    .into_iter()
                    .filter(|info| what == Listed::Connections || info.vhost == *self.name()),
                |info, key| write_key(key, format_args!("{:020}", info.id.0)),
                connection_row,
            ),
            Listed::Consumers => {
                let of_queue = |queue: Arc<QueueCell>| {
                    let name = queue.name().clone();
                    queue.consumers().into_iter().map(move |(local, info)| (name.clone(), local, info))
                };
                selection.page(
                    self.queues().into_iter().filter(is_listed).flat_map(of_queue),
                    |(queue, _, info), key| write_key(key, format_args!("{queue}\0{:020}", info.id.0)),
                    |(queue, local, info)| consumer_row(queue, *local, info),
                )
            }
        })
    }

    /// Facts about one queue.
    ///
    /// # Errors
    /// There is none with this name for this connection.
    pub fn queue_info(&self, name: &str, by: ConnectionId) -> Result<FieldTable, BrokerError> {
        let queue = self.passive_queue(name, by)?;
        Ok(queue_row(&queue, &self.topology.read()))
    }

    /// Facts about one exchange.
    ///
    /// # Errors
    /// There is none with this name.
    pub fn exchange_info(&self, name: &str) -> Result<FieldTable, BrokerError> {
        let topology = self.topology.read();
        let found = topology.routing.exchange(name).ok_or_else(|| self.no_exchange(name))?;
        Ok(exchange_row(found, &topology))
    }
}

/// The names of reply queues are secrets of those who are sent them.
fn is_listed(queue: &Arc<QueueCell>) -> bool {
    queue.purpose() != Purpose::Replies
}

/// Sorts by both ends and the routing key. Arguments can be longer than a cursor may be, so their hash stands
/// for them; two bindings that differ in nothing else and share it could hide each other between two pages.
fn binding_key(binding: &Binding, key: &mut String) {
    let Binding { source, destination, routing_key, arguments, .. } = binding;
    let mut hasher = DefaultHasher::new();
    if !arguments.is_empty() {
        arguments.to_string().hash(&mut hasher);
    }
    let (kind, name, hash) = (destination.kind(), destination.name(), hasher.finish());
    write_key(key, format_args!("{source}\0{kind}\0{name}\0{routing_key}\0{hash:016x}"));
}

fn write_key(key: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = key.write_fmt(text);
}

fn binding_row(binding: &Binding) -> FieldTable {
    FieldTable::new()
        .with("source", binding.source.as_str())
        .with("destination", binding.destination.name().as_str())
        .with("destination_type", binding.destination.kind())
        .with("routing_key", binding.routing_key.as_str())
        .with("arguments", binding.arguments.clone())
}

fn consumer_row(queue: &QueueName, local: LocalConsumer, info: &ConsumerInfo) -> FieldTable {
    FieldTable::new()
        .with("queue", queue.as_str())
        .with("consumer_tag", info.tag.as_str())
        .with("channel", i64::from(local.channel.0))
        .with("ack_required", !info.auto_ack)
        .with("exclusive", info.exclusive)
        .with("priority", info.priority)
        .with("prefetch_count", i64::from(info.prefetch))
        .with("unacked", info.unacked as i64)
        .with("state", readiness(&info.readiness))
}

fn connection_row(info: &Arc<ConnectionInfo>) -> FieldTable {
    FieldTable::new()
        .with("id", info.id.0 as i64)
        .with("name", info.name.as_str())
        .with("peer", info.link.peer().to_string())
        .with("user", info.user.as_str())
        .with("vhost", info.vhost.as_str())
        .with("protocol", info.protocol.title())
        .with("client", info.client.as_str())
        .with("channels", info.channels.len() as i64)
        .with("connected_at", FieldValue::Timestamp(info.connected_at.as_secs()))
}

fn queue_row(queue: &Arc<QueueCell>, topology: &Topology) -> FieldTable {
    let (stats, options) = (queue.stats(), queue.options());
    let row = FieldTable::new()
        .with("name", queue.name().as_str())
        .with("messages", (stats.ready + stats.delayed + stats.unacked) as i64)
        .with("messages_ready", stats.ready as i64)
        .with("messages_delayed", stats.delayed as i64)
        .with("messages_unacknowledged", stats.unacked as i64)
        .with("message_bytes", stats.body_bytes() as i64)
        .with("consumers", stats.consumers as i64)
        .with("durable", options.durable)
        .with("exclusive", options.exclusive)
        .with("auto_delete", options.auto_delete)
        .with("arguments", options.arguments.clone());
    with_policies(row, &topology.policies_of(queue))
}

fn with_policies(mut row: FieldTable, holding: &HoldingPolicies) -> FieldTable {
    for (key, policy) in [("policy", &holding.policy), ("operator_policy", &holding.operator)] {
        if let Some(policy) = policy {
            row = row.with(key, policy.name());
        }
    }
    row
}

fn exchange_row(exchange: &Exchange, topology: &Topology) -> FieldTable {
    let options = exchange.options();
    let mut row = FieldTable::new()
        .with("name", exchange.name().as_str())
        .with("type", options.kind.name())
        .with("durable", options.durable)
        .with("auto_delete", options.auto_delete)
        .with("internal", options.internal)
        .with("arguments", options.arguments.clone());
    row = with_policies(row, &topology.policies.of_exchange(exchange.name()));
    if let Some(delayed) = topology.messages_delayed(exchange.name()) {
        row = row.with("messages_delayed", delayed as i64);
    }
    row
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

/// Which rows make a page. However many there are, no more than a page of them is held.
struct Selection<'a> {
    after: Option<&'a str>,
    limit: usize,
}

struct Candidate<T> {
    key: String,
    item: T,
}

impl<'a> Selection<'a> {
    fn new(cursor: &'a str, limit: usize) -> Result<Self, BrokerError> {
        // The cursor carries a mark in front, so that the empty name (the default exchange) has one too.
        let after = match cursor.strip_prefix('>') {
            Some(after) => Some(after),
            None if cursor.is_empty() => None,
            None => {
                let text = "the place in the list is not from a page of this broker";
                return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
            }
        };
        Ok(Selection { after, limit: limit.max(1) })
    }

    /// The first rows by key behind the cursor: as many as the limit and [`PAGE_BYTES`] allow, and at least one.
    fn page<T>(
        &self,
        items: impl Iterator<Item = T>,
        write_key: impl Fn(&T, &mut String),
        row: impl Fn(&T) -> FieldTable,
    ) -> ListPage {
        let mut first: BinaryHeap<Candidate<T>> = BinaryHeap::new();
        let mut more = false;
        let mut key = String::new();
        for item in items {
            key.clear();
            write_key(&item, &mut key);
            if self.after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            if first.len() >= self.limit {
                more = true;
                if first.peek().is_some_and(|last| last.key <= key) {
                    continue;
                }
                first.pop();
            }
            first.push(Candidate { key: key.clone(), item });
        }
        let first = first.into_sorted_vec();
        let mut page = ListPage::default();
        let mut bytes = 0;
        for candidate in &first {
            let row = row(&candidate.item);
            bytes += row.encoded().len();
            if bytes > PAGE_BYTES && !page.rows.is_empty() {
                more = true;
                break;
            }
            page.rows.push(row);
        }
        page.next = match page.rows.len().checked_sub(1) {
            Some(last) if more => Some(format!(">{}", first[last].key)),
            _ => None,
        };
        page
    }
}

impl<T> PartialEq for Candidate<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Candidate<T> {}

impl<T> PartialOrd for Candidate<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Candidate<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], after: &str, limit: usize) -> ListPage {
        let selection = Selection::new(after, limit).unwrap();
        selection.page(
            names.iter(),
            |name, key| key.push_str(name),
            |name| FieldTable::new().with("name", **name),
        )
    }

    fn all(names: &[&str], limit: usize) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = page(names, &after, limit);
            assert!(page.rows.len() <= limit);
            all.extend(page.rows.iter().map(|row| row.get("name").unwrap().as_str().unwrap().to_owned()));
            match page.next {
                Some(next) => after = next,
                None => return all,
            }
        }
    }

    #[test]
    fn pages_give_every_row_once_in_order_whatever_their_size() {
        let names = ["d", "", "b", "a", "e", "c"];
        for limit in 1..8 {
            assert_eq!(all(&names, limit), ["", "a", "b", "c", "d", "e"], "limit {limit}");
        }
        assert_eq!(page(&[], "", 3).next, None);
    }

    #[test]
    fn a_page_ends_before_its_rows_become_too_many_bytes() {
        let long: Vec<String> = (0..40).map(|n| format!("{n:02}{}", "x".repeat(PAGE_BYTES / 8))).collect();
        let names: Vec<&str> = long.iter().map(String::as_str).collect();
        assert!(page(&names, "", 1000).rows.len() < 8);
        assert_eq!(all(&names, 1000), long);
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let Err(error) = Selection::new("elsewhere", 1) else { panic!("accepted") };
        assert_eq!(error.reply_code(), ReplyCode::PreconditionFailed);
    }
}
