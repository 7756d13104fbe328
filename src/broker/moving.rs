//! Single messages that an operator deletes, or moves to other queues.
//!
//! Invariants: for the journal, leaving the one queue and entering the others is one record, so that a crash loses nothing and
//! doubles nothing; a message is not taken out for a queue that would refuse it, nor for one that a crash could take along.
//! Not here: which messages, and where to (`admin`).

use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;
use rialto_protocol::types::RawProperties;
use tracing::error;

use super::publish::Targets;
use super::{Broker, BrokerError, Commit, Outbox, PublishBatch, QueueCell, Turn, Vhost};
use crate::model::{ExchangeName, Lsn, Message, MessageRoute, QueueId, RoutingKey};
use crate::queue::BrowsePlace;
use crate::routing::{CopyKeys, RouteInput, Routed};

/// A message that is to go elsewhere.
#[derive(Clone, Debug)]
pub struct Move {
    /// Where it waits.
    pub place: BrowsePlace,
    /// The exchange and the routing key that its new consumers see.
    pub route: MessageRoute,
    /// Its properties there, checked. None: as they are.
    pub properties: Option<Bytes>,
    /// The queues it goes to.
    pub to: Vec<Arc<QueueCell>>,
}

/// What became of a message that was to go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It has gone there.
    Moved,
    /// It is not in its queue any more, or is with a consumer.
    Gone,
    /// A queue that it was to go to has no room, and refuses what exceeds its limit: the message is where it was.
    Full,
    /// A queue that it was to go to is so new that a crash could take it along: the message is where it was, and it can be
    /// moved in a moment. Also if it has no queue to go to.
    NotYet,
    /// The journal takes nothing any more. The message is in its queue when the broker is started again.
    Stopped,
}

impl Broker {
    /// Deletes messages that wait in a queue. Answers which of them were there.
    pub fn delete_messages(
        &self,
        queue: &Arc<QueueCell>,
        places: &[BrowsePlace],
        turn: &mut Turn,
    ) -> Vec<bool> {
        let taken = queue.take_out(places, turn);
        taken.iter().map(Option::is_some).collect()
    }

    /// Where messages wait in a queue; none for those that do not.
    pub fn places_of(&self, queue: &QueueCell, lsns: &[Lsn]) -> Vec<Option<BrowsePlace>> {
        queue.look(|queue| queue.places_of(lsns)).unwrap_or_else(|| vec![None; lsns.len()])
    }

    /// Moves messages, in order. Whoever tells that it is done waits for what is returned. The `mover` is told when queues
    /// that hold it back take messages again; [`Turn::take_congested`] says which do.
    pub fn move_messages(
        &self,
        from: &Arc<QueueCell>,
        moves: &[Move],
        mover: &Arc<Outbox>,
        turn: &mut Turn,
    ) -> (Vec<Moved>, Commit) {
        // What the turn has done before is a record of its own.
        self.append_notes(&mut turn.notes);
        let mut outcomes = self.which_may(from, moves);
        let may: Vec<_> = (0..moves.len()).filter(|at| outcomes[*at] == Moved::Moved).collect();
        let places: Vec<_> = may.iter().map(|at| moves[*at].place).collect();
        let mut batch = PublishBatch::default();
        let mut going: Vec<(usize, Message)> = Vec::new();
        for (at, taken) in may.into_iter().zip(from.take_out(&places, turn)) {
            let Some(message) = taken else {
                outcomes[at] = Moved::Gone;
                continue;
            };
            let Move { route, properties, to, .. } = &moves[at];
            let properties = properties.as_deref().unwrap_or(message.properties_bytes());
            let targets = Arc::new(Targets::new(to.clone(), None));
            // Whatever it says of its time to live was checked when it was published.
            if batch.push_content(route, &targets, properties, message.body()).is_ok() {
                going.push((at, message));
            } else {
                debug_assert!(false, "an expiration that was checked is no number");
                self.put_back(from, &message, mover, turn);
                outcomes[at] = Moved::Full;
            }
        }
        let mut rejected = Vec::new();
        let commit = self.publish_together(vec![batch], mover, &mut rejected, turn);
        let stopped = self.log_stopped().is_some();
        for (position, _) in rejected {
            let Some((at, message)) = going.get(position as usize) else { continue };
            outcomes[*at] = if stopped { Moved::Stopped } else { Moved::Full };
            if !stopped {
                self.put_back(from, message, mover, turn);
            }
        }
        (outcomes, commit)
    }

    /// Which messages may be taken out: those whose queues would take them now, each together with those before it.
    fn which_may(&self, from: &QueueCell, moves: &[Move]) -> Vec<Moved> {
        let mut wanted: AHashMap<QueueId, (u64, u64)> = AHashMap::new();
        let mut may = Vec::with_capacity(moves.len());
        for Move { to, .. } in moves {
            let core = &self.0.core;
            if to.is_empty() || from.is_journalled() && to.iter().any(|queue| core.is_young(queue)) {
                may.push(Moved::NotYet);
                continue;
            }
            // How long bodies are is not known before they are taken: queues limited by bytes have room for one more, or not.
            let has_room = to.iter().filter(|queue| queue.may_refuse()).all(|queue| {
                let (messages, _) = wanted.get(&queue.id()).copied().unwrap_or_default();
                queue.has_room_for(messages + 1, 0)
            });
            if !has_room {
                may.push(Moved::Full);
                continue;
            }
            to.iter().for_each(|queue| wanted.entry(queue.id()).or_default().0 += 1);
            may.push(Moved::Moved);
        }
        may
    }

    /// A queue got full in this moment: the message goes back, as a new one.
    fn put_back(&self, from: &Arc<QueueCell>, message: &Message, mover: &Arc<Outbox>, turn: &mut Turn) {
        let mut batch = PublishBatch::default();
        let targets = Arc::new(Targets::new(vec![from.clone()], None));
        let mut rejected = Vec::new();
        let pushed =
            batch.push_content(message.route(), &targets, message.properties_bytes(), message.body());
        if pushed.is_ok() {
            self.publish(&mut batch, mover, &mut rejected, turn);
        }
        if !rejected.is_empty() || pushed.is_err() {
            error!(queue = %from.name(), "a message that could not be moved finds no room where it was, and is dropped");
        }
    }
}

impl Vhost {
    /// The queues that a message would go to which an operator sends to an exchange.
    ///
    /// # Errors
    /// There is no such exchange, it takes messages from other exchanges only, or the message's `CC` is no list.
    pub fn queues_of(
        &self,
        exchange: &ExchangeName,
        routing_key: &RoutingKey,
        properties: RawProperties<'_>,
    ) -> Result<Vec<Arc<QueueCell>>, BrokerError> {
        let topology = self.topology.read();
        let found = topology.routing.exchange(exchange).ok_or_else(|| self.no_exchange(exchange))?;
        if found.options().internal {
            let (exchange, vhost) = (exchange.clone(), self.name().clone());
            return Err(BrokerError::ExchangeInternal { exchange, vhost });
        }
        let copies = CopyKeys::read(&properties)
            .map_err(|error| BrokerError::refused(error.reply_code(), error.to_string()))?
            .unwrap_or_default();
        let input = RouteInput { exchange, routing_keys: &copies.with(routing_key), properties };
        let mut routed = Routed::new();
        topology.routing.route(&input, &mut routed).map_err(|_| self.no_exchange(exchange))?;
        Ok(topology.cells.queues(&routed.queues))
    }
}

impl QueueCell {
    /// Takes messages out, as far as they wait and can be read.
    fn take_out(self: &Arc<Self>, places: &[BrowsePlace], turn: &mut Turn) -> Vec<Option<Message>> {
        let taken = self.run(turn, |queue, now, effects| {
            let take = |place: &BrowsePlace| {
                self.load_for_taking(queue, *place, now, effects);
                queue.take_out(*place, now, effects)
            };
            let taken = places.iter().map(take).collect();
            queue.dispatch(now, effects);
            taken
        });
        taken.unwrap_or_else(|| vec![None; places.len()])
    }
}
