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
        match self.known_targets(vhost) {
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
    fn known_targets(&self, vhost: &Vhost) -> Option<Arc<Targets>> {
        let (generation, targets) = self.known.as_ref()?;
        (*generation == vhost.generation()).then(|| targets.clone())
    }
}

/// Slots for routes that are spelt out with each message.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    exchanges: AHashMap<ExchangeName, AHashMap<RoutingKey, RouteSlot>>,
    len: usize,
}

impl RouteCache {
    /// Most routes that are remembered.
    const MAX: usize = 4096;

    pub(super) fn slot(&mut self, exchange: &str, routing_key: &str) -> &mut RouteSlot {
        let known = self.exchanges.get(exchange).is_some_and(|keys| keys.contains_key(routing_key));
        if !known {
            if self.len >= Self::MAX {
                self.exchanges.clear();
                self.len = 0;
            }
            self.len += 1;
            let slot = RouteSlot::new(ShortStr::truncated(exchange), ShortStr::truncated(routing_key));
            let keys = self.exchanges.entry(slot.route.exchange.clone()).or_default();
            keys.insert(slot.route.routing_key.clone(), slot);
        }
        let keys = self.exchanges.get_mut(exchange).expect("just looked up or put in");
        keys.get_mut(routing_key).expect("just looked up or put in")
    }
}
