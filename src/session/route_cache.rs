//! Where an exchange and a routing key lead, remembered for a generation of the vhost's topology and of permissions.
//!
//! Invariant: bounded, and what does not fit costs little more than without it.

use std::hash::{BuildHasher, Hasher};
use std::str::Utf8Error;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use rialto_protocol::types::{RawProperties, ShortStr};

use crate::access::VhostPass;
use crate::broker::{BrokerError, ExchangeCounts, Repeats, Resolved, Targets, Vhost};
use crate::model::{ConnectionId, ExchangeName, MessageRoute};
use crate::routing::{CopyKeys, Routed};

/// An exchange, a routing key, and the queues they lead to.
#[derive(Debug)]
pub(super) struct RouteSlot {
    pub(super) route: MessageRoute,
    known: Option<(u64, Arc<Targets>)>,
    /// For which generations of the vhost and of permissions it was found that messages may take it.
    allowed: Option<(u64, u64)>,
    /// What the exchange counts, as far as it was ever found.
    pub(super) counts: Option<Arc<ExchangeCounts>>,
    /// What was found is not to be remembered: it depends on more than the route, or is too long.
    is_beyond: bool,
}

impl RouteSlot {
    pub(super) fn new(exchange: impl Into<ExchangeName>, routing_key: ShortStr) -> Self {
        let route = MessageRoute { exchange: exchange.into(), routing_key: routing_key.into() };
        RouteSlot { route, known: None, allowed: None, counts: None, is_beyond: false }
    }

    fn is_for(&self, exchange: &[u8], routing_key: &[u8]) -> bool {
        self.route.routing_key.as_bytes() == routing_key && self.route.exchange.as_bytes() == exchange
    }

    /// Queues of a route that is remembered. To look a longer one up again costs little next to publishing to so
    /// many queues, and a client may have very many routes.
    const TARGETS_MAX: usize = 256;

    /// The queues that a message with these properties goes to: those that are known, unless the message itself has
    /// a say in it.
    pub(super) fn find(
        &mut self,
        (vhost, pass, by): (&Vhost, &VhostPass, ConnectionId),
        properties: RawProperties<'_>,
        scratch: &mut Routed,
    ) -> Result<Resolved, BrokerError> {
        match self.known_targets(vhost, pass).cloned() {
            Some(targets) if !CopyKeys::are_in(&properties) => Ok(Resolved {
                targets,
                counts: self.counts.clone(),
                generation: Some(vhost.generation()),
                stored: None,
                repeats: Repeats::Nothing,
            }),
            _ => self.resolve((vhost, pass, by), properties, scratch),
        }
    }

    fn resolve(
        &mut self,
        (vhost, pass, by): (&Vhost, &VhostPass, ConnectionId),
        properties: RawProperties<'_>,
        scratch: &mut Routed,
    ) -> Result<Resolved, BrokerError> {
        let generations = (vhost.generation(), pass.generation());
        if self.allowed != Some(generations) {
            vhost.may_publish(pass, &self.route.exchange, &self.route.routing_key)?;
            self.allowed = Some(generations);
        }
        vhost.may_publish_copies(pass, &self.route.exchange, &properties)?;
        let resolved =
            vhost.resolve(&self.route.exchange, &self.route.routing_key, properties, by, scratch)?;
        self.is_beyond = true;
        self.counts.clone_from(&resolved.counts);
        if resolved.targets.queues.len() <= Self::TARGETS_MAX
            && let Some(generation) = resolved.generation
        {
            self.is_beyond = false;
            self.known = Some((generation, resolved.targets.clone()));
        }
        Ok(resolved)
    }

    /// Has the queues known, if they can be, by means of a message without [`CopyKeys`]. What goes wrong does so again
    /// for whoever needs to know.
    pub(super) fn learn(
        &mut self,
        (vhost, pass, by): (&Vhost, &VhostPass, ConnectionId),
        properties: RawProperties<'_>,
        scratch: &mut Routed,
    ) {
        if !self.is_beyond && self.known_targets(vhost, pass).is_none() {
            let _ = self.resolve((vhost, pass, by), properties, scratch);
        }
    }

    /// The queues, if they are known. Not for messages with [`CopyKeys`].
    pub(super) fn known_targets(&self, vhost: &Vhost, pass: &VhostPass) -> Option<&Arc<Targets>> {
        let (generation, targets) = self.known.as_ref()?;
        let (_, allowed_at) = self.allowed?;
        (*generation == vhost.generation() && allowed_at == pass.generation()).then_some(targets)
    }
}

/// Slots for routes that are spelt out with each message.
#[derive(Debug)]
pub(super) struct RouteCache {
    /// Most routes that are remembered.
    max: usize,
    /// Up to `max` that are remembered, and behind them the one that is not.
    slots: Vec<RouteSlot>,
    /// Places of those that are remembered.
    places: HashTable<u32>,
    hasher: RandomState,
    /// The slot that was asked for last: publishers mostly go on with the same route, and to compare two short names
    /// costs less than to hash them.
    last: usize,
    /// Routes that were not found since there was no more room.
    missed: usize,
}

impl RouteCache {
    /// Once there is no more room, so many routes go by until one takes the place of another. A publisher that goes
    /// through more keys than fit, again and again, would otherwise never find one: each would be forgotten shortly
    /// before it is wanted. Those that go by cost no more than to be looked up.
    const ADMIT_EVERY: usize = 16;

    /// Remembers up to `max` routes, 1 at least.
    pub(super) fn new(max: usize) -> Self {
        RouteCache {
            max: max.max(1),
            slots: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::new(),
            last: 0,
            missed: 0,
        }
    }

    pub(super) fn slot(&mut self, exchange: &str, routing_key: &str) -> &mut RouteSlot {
        let (exchange_bytes, key_bytes) = (exchange.as_bytes(), routing_key.as_bytes());
        if !self.is_last(exchange_bytes, key_bytes) {
            let place = self.place(exchange_bytes, key_bytes);
            self.last = place.unwrap_or_else(|| self.admit(exchange, routing_key));
        }
        &mut self.slots[self.last]
    }

    /// [`RouteCache::slot`] for names that were not looked at: those of a route that is remembered are known to be texts.
    /// Most likely it is not the one that was asked for last.
    pub(super) fn slot_of_bytes(
        &mut self,
        exchange: &[u8],
        routing_key: &[u8],
    ) -> Result<&mut RouteSlot, Utf8Error> {
        self.last = match self.place(exchange, routing_key) {
            Some(place) => place,
            None if self.is_last(exchange, routing_key) => self.last,
            None => self.admit(str::from_utf8(exchange)?, str::from_utf8(routing_key)?),
        };
        Ok(&mut self.slots[self.last])
    }

    fn is_last(&self, exchange: &[u8], routing_key: &[u8]) -> bool {
        self.slots.get(self.last).is_some_and(|slot| slot.is_for(exchange, routing_key))
    }

    fn place(&self, exchange: &[u8], routing_key: &[u8]) -> Option<usize> {
        let hash = hash(&self.hasher, exchange, routing_key);
        let is_it = |&place: &u32| self.slots[place as usize].is_for(exchange, routing_key);
        self.places.find(hash, is_it).map(|&place| place as usize)
    }

    /// Takes in a route that is not remembered, for a while at least, and says in which place.
    fn admit(&mut self, exchange: &str, routing_key: &str) -> usize {
        let hash = hash(&self.hasher, exchange.as_bytes(), routing_key.as_bytes());
        let exchange = match self.slots.get(self.last) {
            Some(last) if *last.route.exchange == *exchange => last.route.exchange.clone(),
            _ => ShortStr::truncated(exchange).into(),
        };
        let slot = RouteSlot::new(exchange, ShortStr::truncated(routing_key));
        if self.slots.len() < self.max {
            self.slots.push(slot);
            return self.remember(self.slots.len() - 1, hash);
        }
        self.missed += 1;
        if !self.missed.is_multiple_of(Self::ADMIT_EVERY) {
            self.slots.truncate(self.max);
            self.slots.push(slot);
            return self.max;
        }
        let place = self.missed / Self::ADMIT_EVERY % self.max;
        let forgotten = hash_of(&self.hasher, &self.slots[place]);
        if let Ok(entry) = self.places.find_entry(forgotten, |&other| other as usize == place) {
            entry.remove();
        }
        self.slots[place] = slot;
        self.remember(place, hash)
    }

    fn remember(&mut self, place: usize, hash: u64) -> usize {
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.places.insert_unique(hash, place as u32, |&other| hash_of(hasher, &slots[other as usize]));
        place
    }
}

fn hash_of(hasher: &RandomState, slot: &RouteSlot) -> u64 {
    hash(hasher, slot.route.exchange.as_bytes(), slot.route.routing_key.as_bytes())
}

fn hash(hasher: &RandomState, exchange: &[u8], routing_key: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(exchange);
    hasher.write(routing_key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4096;

    fn ask(cache: &mut RouteCache, exchange: &str, n: usize) -> usize {
        let slot = cache.slot(exchange, &n.to_string());
        assert_eq!((&*slot.route.exchange, &*slot.route.routing_key), (exchange, &*n.to_string()));
        assert!(cache.slots.len() <= MAX + 1 && cache.places.len() <= MAX);
        cache.last
    }

    #[test]
    fn a_route_keeps_its_slot_while_there_is_room() {
        let mut cache = RouteCache::new(MAX);
        for _ in 0..2 {
            for n in 0..MAX {
                assert_eq!(ask(&mut cache, "e", n), n);
            }
        }
        assert_eq!(ask(&mut cache, "f", 0), MAX, "there is no more room");
        assert_eq!(ask(&mut cache, "f", 0), MAX);
        assert_eq!(ask(&mut cache, "e", 0), 0, "nothing else was forgotten for it");
    }

    #[test]
    fn more_routes_than_there_is_room_for_are_found_as_often_as_there_is_room() {
        let mut cache = RouteCache::new(MAX);
        let routes = MAX * 5 / 2;
        for n in 0..routes {
            ask(&mut cache, "e", n);
        }
        for round in 0..10 {
            let found = (0..routes).filter(|&n| {
                let before = cache.missed;
                ask(&mut cache, "e", n);
                cache.missed == before
            });
            let found = found.count();
            assert!(found > MAX / 2, "{found} in round {round}");
        }
    }

    #[test]
    fn routes_that_are_wanted_no_more_make_room() {
        let mut cache = RouteCache::new(MAX);
        for n in 0..MAX {
            ask(&mut cache, "old", n);
        }
        for n in (0..MAX).cycle().take(MAX * (RouteCache::ADMIT_EVERY + 1)) {
            ask(&mut cache, "new", n);
        }
        let found = cache.slots[..MAX].iter().filter(|slot| &*slot.route.exchange == "new").count();
        assert!(found > MAX / 2, "{found}");
    }
}
