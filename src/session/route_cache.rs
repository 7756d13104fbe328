//! Where an exchange and a routing key lead, remembered for a generation of the vhost's topology.
//!
//! Invariant: bounded; when it is full it starts again.

use std::sync::Arc;

use ahash::AHashMap;
use rialto_protocol::types::{RawProperties, ShortStr};

use crate::broker::{BrokerError, Resolved, Targets, Vhost};
use crate::model::{ExchangeName, MessageRoute, RoutingKey};
use crate::routing::{CopyKeys, Routed};

/// An exchange, a routing key, and the queues they lead to.
#[derive(Debug)]
pub(super) struct RouteSlot {
    pub(super) route: MessageRoute,
    known: Option<(u64, Arc<Targets>)>,
}

impl RouteSlot {
    pub(super) fn new(exchange: ShortStr, routing_key: ShortStr) -> Self {
        let route = MessageRoute { exchange: exchange.into(), routing_key: routing_key.into() };
        RouteSlot { route, known: None }
    }

    /// Queues of a route that is remembered. To look a longer one up again costs little next to publishing to so
    /// many queues, and a client may have very many routes.
    const TARGETS_MAX: usize = 256;

    /// The queues that a message with these properties goes to: those that are known, unless the message itself has
    /// a say in it.
    pub(super) fn find(
        &mut self,
        vhost: &Vhost,
        properties: RawProperties<'_>,
        scratch: &mut Routed,
    ) -> Result<Resolved, BrokerError> {
        match self.known_targets(vhost).cloned() {
            Some(targets) if !CopyKeys::are_in(&properties) => {
                Ok(Resolved { targets, generation: Some(vhost.generation()), stored: None, duplicate: false })
            }
            _ => self.resolve(vhost, properties, scratch),
        }
    }

    fn resolve(
        &mut self,
        vhost: &Vhost,
        properties: RawProperties<'_>,
        scratch: &mut Routed,
    ) -> Result<Resolved, BrokerError> {
        let resolved = vhost.resolve(&self.route.exchange, &self.route.routing_key, properties, scratch)?;
        if resolved.targets.queues.len() <= Self::TARGETS_MAX
            && let Some(generation) = resolved.generation
        {
            self.known = Some((generation, resolved.targets.clone()));
        }
        Ok(resolved)
    }

    /// The queues, if they are known. Not for messages with [`CopyKeys`].
    pub(super) fn known_targets(&self, vhost: &Vhost) -> Option<&Arc<Targets>> {
        let (generation, targets) = self.known.as_ref()?;
        (*generation == vhost.generation()).then_some(targets)
    }
}

/// Slots for routes that are spelt out with each message.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    slots: Vec<RouteSlot>,
    /// Places in `slots`.
    exchanges: AHashMap<ExchangeName, AHashMap<RoutingKey, usize>>,
    /// The slot that was asked for last: publishers mostly go on with the same route, and to compare two short names
    /// costs less than to hash them.
    last: usize,
}

impl RouteCache {
    /// Most routes that are remembered.
    const MAX: usize = 4096;

    pub(super) fn slot(&mut self, exchange: &str, routing_key: &str) -> &mut RouteSlot {
        let is_it =
            |slot: &RouteSlot| *slot.route.routing_key == *routing_key && *slot.route.exchange == *exchange;
        if !self.slots.get(self.last).is_some_and(is_it) {
            self.last = self.place(exchange, routing_key);
        }
        &mut self.slots[self.last]
    }

    fn place(&mut self, exchange: &str, routing_key: &str) -> usize {
        if let Some(&place) = self.exchanges.get(exchange).and_then(|keys| keys.get(routing_key)) {
            return place;
        }
        if self.slots.len() >= Self::MAX {
            self.exchanges.clear();
            self.slots.clear();
        }
        let place = self.slots.len();
        let slot = RouteSlot::new(ShortStr::truncated(exchange), ShortStr::truncated(routing_key));
        let MessageRoute { exchange, routing_key } = slot.route.clone();
        self.exchanges.entry(exchange).or_default().insert(routing_key, place);
        self.slots.push(slot);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_keeps_its_slot_until_there_are_too_many() {
        let mut cache = RouteCache::default();
        for round in 0..2 {
            for n in 0..RouteCache::MAX {
                let slot = cache.slot("e", &n.to_string());
                assert_eq!((&*slot.route.exchange, &*slot.route.routing_key), ("e", &*n.to_string()));
            }
            assert_eq!(cache.slots.len(), RouteCache::MAX, "round {round}");
        }
        assert_eq!(&*cache.slot("f", "0").route.exchange, "f");
        assert_eq!(cache.slots.len(), 1, "it starts again");
    }
}
