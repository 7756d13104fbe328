//! Exchanges that drop what was published before.
//!
//! With `x-message-deduplication` (an argument, or RabbitMQ's plugin's type of exchange) an exchange remembers the
//! keys that publishers put into a header, and a message whose key it remembers goes nowhere. The publisher is told
//! that all is well: its message is there. Dead letters, delayed messages that go on and messages that come through
//! another exchange are not looked at: nobody published them here.
//!
//! Invariants: a key is claimed when its message is routed, so that of two at once only one goes on; and given back
//! if no queue is known to hold the message in the end (unroutable, refused, rolled back): who publishes it again is
//! heard. Nobody is told that a message is there before that is known: who publishes it while another's is on its way
//! (in a transaction, say) and wants to be told of it hears that it cannot be said yet. After a restart the keys of
//! messages that are still there are known again, and no others. Not here: the window of keys (`model`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rialto_protocol::types::RawProperties;

use super::publish::Repeats;
use super::vhost::Topology;
use crate::model::{
    ConnectionId, Deduplication, DeduplicationKey, ExchangeName, ExchangeOptions, KnownKey, Message,
    Timestamp,
};
use crate::routing::Exchange;

/// The keys that an exchange has seen lately.
pub(super) type Window = Arc<Mutex<Deduplication>>;

/// A key that belongs to one message. Dropped before the message is in its queues, it is free again.
#[derive(Debug)]
pub(super) struct Claim {
    window: Window,
    key: DeduplicationKey,
    kept: AtomicBool,
}

/// What the exchange says of a message.
#[derive(Debug)]
pub(super) enum Seen {
    /// It has no key, or the exchange does not look.
    NoMatter,
    /// Not before; the key is this message's.
    First(Claim),
    /// Before.
    Before(Repeats),
}

impl Claim {
    /// The message is in its queues.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
        self.window.lock().keep(&self.key.key);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            self.window.lock().forget(&self.key.key);
        }
    }
}

/// The windows of a vhost's exchanges, while its queues come back.
pub(super) struct Windows<'a>(&'a Topology);

impl Windows<'_> {
    /// Most keys that any of them remembers.
    pub(super) fn size_max(&self) -> u64 {
        let sizes = self.0.windows.keys().filter_map(|name| {
            let options = self.0.routing.exchange(name)?.options();
            options.deduplication.as_ref().map(|options| options.size as u64)
        });
        sizes.max().unwrap_or(0)
    }

    /// Remembers the key of a message that was published at this time and is still there.
    pub(super) fn restore_key(&self, message: &Message, at: Timestamp) {
        let exchange = message.exchange();
        let Some(window) = self.0.windows.get(exchange) else { return };
        let found = self.0.routing.exchange(exchange);
        let Some(options) = found.and_then(|found| found.options().deduplication.as_ref()) else { return };
        let headers = message.properties().headers().unwrap_or_default();
        if let Some(key) = options.key_of(&headers) {
            window.lock().insert(&key.key, key.ttl_ms, at);
        }
    }
}

impl Topology {
    pub(super) fn windows(&self) -> Windows<'_> {
        Windows(self)
    }

    /// Gives a new exchange its window, if it is to have one.
    pub(super) fn begin_window(&mut self, name: &ExchangeName, options: &ExchangeOptions) {
        if let Some(options) = &options.deduplication {
            let window = Deduplication::new(options.size, options.ttl_ms);
            self.windows.insert(name.clone(), Arc::new(Mutex::new(window)));
        }
    }

    /// Forgets the windows of exchanges that are gone.
    pub(super) fn end_windows<'a>(&mut self, gone: impl IntoIterator<Item = &'a ExchangeName>) {
        if !self.windows.is_empty() {
            gone.into_iter().for_each(|name| drop(self.windows.remove(name)));
        }
    }

    /// Whether a message was published to this exchange before. If not, its key is claimed for its publisher.
    pub(super) fn claim(
        &self,
        exchange: &Exchange,
        properties: &RawProperties<'_>,
        by: ConnectionId,
        now: impl FnOnce() -> Timestamp,
    ) -> Seen {
        let Some(options) = &exchange.options().deduplication else { return Seen::NoMatter };
        let Some(window) = self.windows.get(exchange.name()) else { return Seen::NoMatter };
        let headers = properties.headers().unwrap_or_default();
        let Some(key) = options.key_of(&headers) else { return Seen::NoMatter };
        let known = window.lock().claim(&key.key, key.ttl_ms, now(), by);
        match known {
            KnownKey::New => Seen::First(Claim { window: window.clone(), key, kept: AtomicBool::new(false) }),
            KnownKey::Kept => Seen::Before(Repeats::Kept),
            KnownKey::Claimed(other) if other == by => Seen::Before(Repeats::Own),
            KnownKey::Claimed(_) => Seen::Before(Repeats::Others),
        }
    }
}
