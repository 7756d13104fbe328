//! What has happened, counted: the figures behind metrics.
//!
//! Invariants: counting is a few additions for each batch, and reading holds nobody up. Not here: what one queue has
//! ([`super::QueueCell::figures`]), rates (`admin::stats`).

mod channel_counts;
mod exchange_counts;
mod histogram;
mod message_counts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use channel_counts::OpenChannel;
pub use channel_counts::{ChannelCounts, ChannelTotals};
pub use exchange_counts::ExchangeCounts;
pub(super) use exchange_counts::PublishTally;
pub use histogram::Distribution;
use histogram::Histogram;
pub(super) use message_counts::{AllCounts, Membership, MessageCounts};
pub use message_counts::{Counts, InQueues, Publishing};

use super::{Broker, Vhost};
use crate::access::Protocol;
use crate::model::ExchangeName;

/// Counters of the whole broker, since its start.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) all: AllCounts,
    /// What passes through channels.
    pub channels: ChannelCounts,
    /// How long messages waited for their first delivery.
    pub(super) waited: Histogram,
    /// How long consumers held messages that they acknowledged.
    pub(super) held: Histogram,
    churn: ChurnCounters,
    dead_letters_ended: AtomicU64,
    dead_letters_unroutable: AtomicU64,
    delayed_unroutable: AtomicU64,
}

#[derive(Debug, Default)]
struct ChurnCounters {
    connections_opened: AtomicU64,
    connections_closed: AtomicU64,
    channels_opened: AtomicU64,
    channels_closed: AtomicU64,
    queues_declared: AtomicU64,
    queues_created: AtomicU64,
    queues_deleted: AtomicU64,
}

/// What has come and gone since the broker's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// Connections that have logged in.
    pub connections_opened: u64,
    /// Of these, those that have ended.
    pub connections_closed: u64,
    /// Channels that were opened.
    pub channels_opened: u64,
    /// Of these, those that were closed, or ended with their connections.
    pub channels_closed: u64,
    /// Declares of queues, those of queues that were there included.
    pub queues_declared: u64,
    /// Queues that were made.
    pub queues_created: u64,
    /// Queues that were deleted, expired ones included.
    pub queues_deleted: u64,
}

/// An exchange for metrics.
#[derive(Clone, Debug)]
pub struct ExchangeFigures {
    /// Its name.
    pub name: ExchangeName,
    /// Its type, as clients name it.
    pub kind: &'static str,
    /// Bindings from it.
    pub bindings: u64,
    /// What it has taken and given.
    pub counts: Arc<ExchangeCounts>,
}

/// Something that comes or goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    ConnectionOpened,
    ConnectionClosed,
    ChannelsOpened,
    ChannelsClosed,
    QueueDeclared,
    QueueCreated,
    QueueDeleted,
}

impl Counters {
    /// Connections, channels and queues that have come and gone.
    pub fn churn(&self) -> Churn {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let churn = &self.churn;
        Churn {
            connections_opened: read(&churn.connections_opened),
            connections_closed: read(&churn.connections_closed),
            channels_opened: read(&churn.channels_opened),
            channels_closed: read(&churn.channels_closed),
            queues_declared: read(&churn.queues_declared),
            queues_created: read(&churn.queues_created),
            queues_deleted: read(&churn.queues_deleted),
        }
    }

    pub(super) fn count(&self, event: Event, count: u64) {
        let churn = &self.churn;
        let counter = match event {
            Event::ConnectionOpened => &churn.connections_opened,
            Event::ConnectionClosed => &churn.connections_closed,
            Event::ChannelsOpened => &churn.channels_opened,
            Event::ChannelsClosed => &churn.channels_closed,
            Event::QueueDeclared => &churn.queues_declared,
            Event::QueueCreated => &churn.queues_created,
            Event::QueueDeleted => &churn.queues_deleted,
        };
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// How long messages have waited for their first delivery.
    pub fn time_in_queue(&self) -> Distribution {
        self.waited.read()
    }

    /// How long consumers have held messages that they acknowledged.
    pub fn time_to_ack(&self) -> Distribution {
        self.held.read()
    }

    /// Dead letters that ended because they turned in a circle, had died in too many places or too often at once.
    pub fn dead_letters_ended(&self) -> u64 {
        self.dead_letters_ended.load(Ordering::Relaxed)
    }

    /// Dead letters that reached no queue.
    pub fn dead_letters_unroutable(&self) -> u64 {
        self.dead_letters_unroutable.load(Ordering::Relaxed)
    }

    /// Messages that reached no queue when their delay was over.
    pub fn delayed_unroutable(&self) -> u64 {
        self.delayed_unroutable.load(Ordering::Relaxed)
    }

    pub(super) fn count_delayed_unroutable(&self) {
        self.delayed_unroutable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dead_letters_ended(&self, count: u64) {
        self.dead_letters_ended.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count_dead_letter_unroutable(&self) {
        self.dead_letters_unroutable.fetch_add(1, Ordering::Relaxed);
    }
}

impl Broker {
    /// What was counted over all vhosts, those that are gone included. Stops nobody.
    pub fn counts(&self) -> Counts {
        self.counters().all.read()
    }
}

impl Vhost {
    /// What was counted in this vhost. Stops nobody.
    pub fn counts(&self) -> Counts {
        self.message_counts().read()
    }

    /// Messages of this vhost's publishers were confirmed.
    pub fn count_confirmed(&self, protocol: Protocol, confirmed: u64) {
        let confirmed = Publishing { confirmed, ..Publishing::default() };
        self.message_counts().add_publishing(protocol, confirmed);
    }

    /// Every exchange with what it counts, in no order.
    pub fn exchange_figures(&self) -> Vec<ExchangeFigures> {
        let topology = self.topology.read();
        let figures = topology.routing.exchanges().filter_map(|exchange| {
            let name = exchange.name().clone();
            let counts = topology.exchanges.get(&name)?.clone();
            let bindings = topology.routing.bindings_from_len(&name) as u64;
            Some(ExchangeFigures { name, kind: exchange.options().kind.name(), bindings, counts })
        });
        figures.collect()
    }

    /// The counters of all exchanges.
    pub fn all_exchange_counts(&self) -> Vec<(ExchangeName, Arc<ExchangeCounts>)> {
        let topology = self.topology.read();
        topology.exchanges.iter().map(|(name, counts)| (name.clone(), counts.clone())).collect()
    }

    /// The counters of an exchange.
    pub fn exchange_counts(&self, exchange: &str) -> Option<Arc<ExchangeCounts>> {
        self.topology.read().exchanges.get(exchange).cloned()
    }
}
