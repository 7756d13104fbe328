//! Delayed messages: where they wait, and how they go on.
//!
//! An exchange of type `x-delayed-message` has a hidden queue, `amq.delayed.<exchange>`. Routing sends a message
//! whose header `x-delay` asks for it there, and nowhere else from that exchange; its time to live in the queue is
//! the delay, so any number of them wait in the queue's own exact timers, are counted, listed and held to the
//! memory budget, and to purge the queue is to cancel them. A message whose time has come is routed from the
//! exchange anew: with the exchange and the routing key it was published with, its properties (the delay negated)
//! and its own `expiration` beginning only then. It did not die: it has no history of deaths.
//!
//! Invariants: the queue lives as long as its exchange; no client consumes from it, gets, binds, declares or
//! deletes it; a tick of its timer releases a few hundred messages at most, so that a million due at once hold up
//! neither the queue's lock nor other timers.
//! Not here: the header (`routing::delay`), which messages wait (`routing::route`), the timers (`queue`).

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::{RawProperties, ShortStr};
use tracing::debug;

use super::purpose::Purpose;
use super::vhost::Topology;
use super::{Broker, BrokerError, QueueCell, Turn, Vhost};
use crate::model::{
    DeadLetterTarget, ExchangeKind, ExchangeName, ExchangeOptions, Message, Priority, Publication, QueueId,
    QueueName, QueueOptions,
};
use crate::queue::{DeadLetter, Queue, QueueLimits};
use crate::routing::{CopyKeys, RouteInput, delay};

/// What the names of these queues begin with.
const PREFIX: &str = "amq.delayed.";

/// Messages that the queue releases in a tick.
const RELEASED_EACH_TIME: usize = 256;

/// Longest name of a delayed exchange in bytes: its queue's name has the prefix in front.
const NAME_LEN_MAX: usize = 255 - PREFIX.len();

impl Vhost {
    /// Whether a new exchange with these options can have what it needs.
    pub(super) fn check_delays(
        &self,
        name: &ExchangeName,
        options: &ExchangeOptions,
    ) -> Result<(), BrokerError> {
        if options.kind != ExchangeKind::Delayed {
            return Ok(());
        }
        if name.len() > NAME_LEN_MAX {
            let text = format!("name of a delayed exchange can be at most {NAME_LEN_MAX} bytes long");
            return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        }
        self.check_queue_count(&queue_name(name))
    }

    /// Gives a delayed exchange its queue: a new one, or that which the journal knows.
    pub(super) fn begin_delays(
        &self,
        topology: &mut Topology,
        name: &ExchangeName,
        options: &ExchangeOptions,
        known_as: Option<QueueId>,
    ) {
        if options.kind != ExchangeKind::Delayed {
            return;
        }
        let core = self.core();
        let target = DeadLetterTarget { exchange: name.clone(), routing_key: None };
        let queue_options =
            QueueOptions { durable: options.durable, dead_letter: Some(target), ..QueueOptions::default() };
        let limits = QueueLimits { expired_each_time: RELEASED_EACH_TIME, ..core.limits.queue };
        let machine = Queue::new(queue_name(name), queue_options, limits, core.clock.now());
        let id = known_as.unwrap_or_else(|| core.next_queue_id());
        let queue = self.host_as(id, machine, Purpose::Delays, None);
        if known_as.is_none() {
            self.keep_queue(&queue);
        }
        topology.routing.set_delay_queue(name, queue.id());
        topology.cells.insert(queue.clone());
        topology.delays.insert(name.clone(), queue);
    }

    /// Ends the queues of delayed exchanges that are gone, and with them what waited there.
    pub(super) fn end_delays<'a>(
        &self,
        topology: &mut Topology,
        gone: impl IntoIterator<Item = &'a ExchangeName>,
    ) {
        if topology.delays.is_empty() {
            return;
        }
        for name in gone {
            let Some(queue) = topology.delays.remove(name) else { continue };
            // Its own turn: no effect can follow but that publishers who were held back go on.
            let mut turn = Turn::new();
            turn.begin(self.core().clock.now());
            let _ = queue.close_if(&mut turn, |_| Ok::<_, BrokerError>(()));
            turn.wake();
            self.core().log.release(&turn.released);
            topology.cells.remove(queue.id());
            self.forget_kept_queue(&queue);
            self.forget_name(&queue);
        }
    }
}

impl Topology {
    /// Messages that wait in a delayed exchange; none if it is of another kind.
    pub(super) fn messages_delayed(&self, exchange: &ExchangeName) -> Option<u64> {
        self.delays.get(exchange).map(|queue| queue.stats().ready)
    }
}

impl Broker {
    /// A message has waited long enough in a delayed exchange: routes it from there.
    pub(super) fn release(&self, queue: &Arc<QueueCell>, letter: DeadLetter, turn: &mut Turn) {
        let (Some(vhost), Some(target)) = (queue.vhost(), &queue.options().dead_letter) else { return };
        let published = &letter.message;
        let waited = delay::waited(published.properties_bytes());
        let waited = waited.as_deref().unwrap_or(published.properties_bytes());
        let raw = RawProperties::trusted(waited);
        // Checked when it was published.
        let copies = CopyKeys::read(&raw).ok().flatten().unwrap_or_default();
        let stored = copies.stored(&raw);
        let stored = stored.as_deref().unwrap_or(waited);
        let message = Message::new(published.route().clone(), stored, published.body(), self.gauge());
        let input = RouteInput {
            exchange: &target.exchange,
            routing_keys: &copies.with(published.routing_key()),
            properties: raw,
        };
        let cells = vhost.lookup(&input, &mut turn.routed).unwrap_or_default();
        if cells.is_empty() {
            self.counters().count_delayed_unroutable();
            debug!(exchange = %target.exchange, vhost = %vhost.name(), "a delayed message has no queue to go to");
            return turn.notes_dead(queue, &letter);
        }
        let properties = message.properties();
        let publication = Publication {
            lsn: self.log().reserve(1),
            priority: properties.priority().map(Priority),
            delay_ms: None,
            ttl_ms: properties.expiration().and_then(|ttl| ttl.parse().ok()),
            message,
        };
        self.move_on(queue, &letter, &cells, publication, turn);
    }
}

pub(super) fn queue_name(exchange: &ExchangeName) -> QueueName {
    QueueName::from(ShortStr::truncated(format!("{PREFIX}{exchange}")))
}
