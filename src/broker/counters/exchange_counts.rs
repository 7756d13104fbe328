//! What one exchange has taken and given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::message_counts::{MessageCounts, Publishing};
use crate::access::Protocol;

/// The counters of an exchange, and of the vhost it is in.
#[derive(Debug)]
pub struct ExchangeCounts {
    published_in: AtomicU64,
    published_out: AtomicU64,
    unroutable_returned: AtomicU64,
    unroutable_dropped: AtomicU64,
    vhost: Arc<MessageCounts>,
}

impl ExchangeCounts {
    pub(in crate::broker) fn new(vhost: &Arc<MessageCounts>) -> Arc<Self> {
        let (published_in, published_out, unroutable_returned, unroutable_dropped) = Default::default();
        let vhost = vhost.clone();
        Arc::new(ExchangeCounts {
            published_in,
            published_out,
            unroutable_returned,
            unroutable_dropped,
            vhost,
        })
    }

    /// Messages that clients have published to it.
    pub fn published_in(&self) -> u64 {
        self.published_in.load(Ordering::Relaxed)
    }

    /// Copies of these that were given to queues, through whichever other exchanges.
    pub fn published_out(&self) -> u64 {
        self.published_out.load(Ordering::Relaxed)
    }

    /// Messages that no queue wanted, and that went back to their publishers.
    pub fn unroutable_returned(&self) -> u64 {
        self.unroutable_returned.load(Ordering::Relaxed)
    }

    /// Messages that no queue wanted, and that are gone.
    pub fn unroutable_dropped(&self) -> u64 {
        self.unroutable_dropped.load(Ordering::Relaxed)
    }
}

/// What a batch brings to exchanges: counted here, and told once when the batch is published.
#[derive(Debug, Default)]
pub(in crate::broker) struct PublishTally {
    /// What their publisher speaks.
    protocol: Protocol,
    /// Kept from batch to batch: publishers mostly go on with the same exchange.
    exchanges: Vec<OfExchange>,
    /// The one that messages are published to now.
    current: usize,
}

#[derive(Debug)]
struct OfExchange {
    counts: Arc<ExchangeCounts>,
    published: Publishing,
}

/// Exchanges that a batch remembers; one that publishes to more tells them sooner.
const EXCHANGES_MAX: usize = 16;

impl PublishTally {
    pub(in crate::broker) fn of(protocol: Protocol) -> Self {
        PublishTally { protocol, ..PublishTally::default() }
    }

    /// What comes next is published to this exchange.
    pub(in crate::broker) fn exchange(&mut self, counts: &Arc<ExchangeCounts>) {
        if self.exchanges.get(self.current).is_some_and(|of| Arc::ptr_eq(&of.counts, counts)) {
            return;
        }
        let found = self.exchanges.iter().position(|of| Arc::ptr_eq(&of.counts, counts));
        self.current = found.unwrap_or_else(|| {
            if self.exchanges.len() >= EXCHANGES_MAX {
                self.tell();
                self.exchanges.clear();
            }
            self.exchanges.push(OfExchange { counts: counts.clone(), published: Publishing::default() });
            self.exchanges.len() - 1
        });
    }

    /// What the exchange's messages have come to.
    pub(in crate::broker) fn count(&mut self) -> Option<&mut Publishing> {
        self.exchanges.get_mut(self.current).map(|of| &mut of.published)
    }

    /// Adds everything to the counters.
    pub(in crate::broker) fn tell(&mut self) {
        for OfExchange { counts, published } in &mut self.exchanges {
            let published = std::mem::take(published);
            if published == Publishing::default() {
                continue;
            }
            counts.published_in.fetch_add(published.received, Ordering::Relaxed);
            counts.published_out.fetch_add(published.routed, Ordering::Relaxed);
            if published.unroutable_returned + published.unroutable_dropped > 0 {
                counts.unroutable_returned.fetch_add(published.unroutable_returned, Ordering::Relaxed);
                counts.unroutable_dropped.fetch_add(published.unroutable_dropped, Ordering::Relaxed);
            }
            counts.vhost.add_publishing(self.protocol, published);
        }
    }
}
