//! Single messages that an operator deletes, or moves to other queues.
//!
//! Invariants: for the journal, leaving the one queue and entering the others is one record, so that a crash loses nothing and
//! doubles nothing; a message is not taken out for a queue that would refuse it, nor for one that a crash could take along. If
//! one turns out to have no room after all (how long a message is shows when it is read; or somebody was quicker), the message
//! goes back to its own queue, which takes it over its limits: so it is never lost.
//! Not here: which messages, and where to (`admin`).

use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;
use rialto_protocol::types::RawProperties;

use super::publish::Targets;
use super::{Broker, BrokerError, Commit, Outbox, PublishBatch, QueueCell, Turn, Vhost};
use crate::model::{ExchangeName, Lsn, Message, MessageRoute, QueueId, RoutingKey};
use crate::queue::{Admission, BrowsePlace, RejectReason};
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
    /// A queue that it was to go to has no room, and refuses what exceeds its limit: the message is in its queue, where it
    /// was, or at the end if that showed late. (Of several queues, those that took it before somebody filled the other
    /// have it, too.)
    Full,
    /// A queue that it was to go to is so new that a crash could take it along: the message is where it was, and it can be
    /// moved in a moment. Also if it has no queue to go to.
    NotYet,
    /// The journal takes nothing any more. The message is in its queue when the broker is started again.
    Stopped,
}

impl Broker {
    /// Deletes messages that wait in a queue. Answers which of them were there. That they are gone is safe once
    /// [`Turn::take_commit`] is.
    pub fn delete_messages(
        &self,
        queue: &Arc<QueueCell>,
        places: &[BrowsePlace],
        turn: &mut Turn,
    ) -> Vec<bool> {
        let taken = queue.take_out(places, turn);
        turn.require_notes(self.log());
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
        let (mut going, mut staying) =
            (PublishBatch::coming(Admission::Moved), PublishBatch::coming(Admission::Returned));
        let back = Arc::new(Targets::new(vec![from.clone()], None));
        let mut gone: Vec<(usize, Message)> = Vec::new();
        let mut stayed = Vec::new();
        let mut room = Room::default();
        for (at, taken) in may.into_iter().zip(from.take_out(&places, turn)) {
            let Some(message) = taken else {
                outcomes[at] = Moved::Gone;
                continue;
            };
            let Move { route, properties, to, .. } = &moves[at];
            let properties = properties.as_deref().unwrap_or(message.properties_bytes());
            let targets = Arc::new(Targets::new(to.clone(), None));
            // Only now it is known how long it is. Whatever it says of its time to live was checked when it was published.
            if room.take(to, message.body().len() as u64)
                && going.push_content(route, &targets, properties, message.body()).is_ok()
            {
                gone.push((at, message));
            } else {
                outcomes[at] = Moved::Full;
                stayed.push(at);
                push_back(&mut staying, &message, &back);
            }
        }
        let mut rejected = Vec::new();
        let mut commit = self.publish_together(vec![going, staying], mover, &mut rejected, turn);
        if rejected.iter().any(|(_, reason)| *reason == RejectReason::JournalStopped) {
            // All of it was one record, so it is all of them.
            gone.iter().map(|(at, _)| *at).chain(stayed).for_each(|at| outcomes[at] = Moved::Stopped);
            return (outcomes, commit);
        }
        // Somebody was quicker, in this moment. What goes back is never refused, so it is those that were to go.
        let mut back_again = PublishBatch::coming(Admission::Returned);
        for (position, _) in rejected.drain(..) {
            let Some((at, message)) = gone.get(position as usize) else { continue };
            outcomes[*at] = Moved::Full;
            push_back(&mut back_again, message, &back);
        }
        if !back_again.is_empty() {
            // One record again: they have left the queue that refused them, and are in their own.
            commit = commit.join(self.publish_together(vec![back_again], mover, &mut rejected, turn));
        }
        (outcomes, commit)
    }

    /// Which messages may be taken out: those whose queues would take them now, each together with those before it.
    fn which_may(&self, from: &QueueCell, moves: &[Move]) -> Vec<Moved> {
        let core = &self.0.core;
        let mut room = Room::default();
        let may = moves.iter().map(|Move { to, .. }| {
            if to.is_empty() || from.is_journalled() && to.iter().any(|queue| core.is_young(queue)) {
                Moved::NotYet
            } else if room.take(to, 0) {
                Moved::Moved
            } else {
                Moved::Full
            }
        });
        may.collect()
    }
}

/// What is to go to queues that may refuse it: messages and bytes of bodies.
#[derive(Default)]
struct Room(AHashMap<QueueId, (u64, u64)>);

impl Room {
    /// Whether all these queues would take one more message, with a body so long, after those before it.
    fn take(&mut self, queues: &[Arc<QueueCell>], body_len: u64) -> bool {
        let limited = || queues.iter().filter(|queue| queue.may_refuse());
        let has_room = limited().all(|queue| {
            let (messages, bytes) = self.0.get(&queue.id()).copied().unwrap_or_default();
            queue.has_room_for(messages + 1, bytes + body_len)
        });
        if has_room {
            for queue in limited() {
                let (messages, bytes) = self.0.entry(queue.id()).or_default();
                *messages += 1;
                *bytes += body_len;
            }
        }
        has_room
    }
}

/// Has a message go to the end of its own queue, as a new one.
fn push_back(batch: &mut PublishBatch, message: &Message, own: &Arc<Targets>) {
    let pushed = batch.push_content(message.route(), own, message.properties_bytes(), message.body());
    debug_assert!(pushed.is_ok(), "an expiration that was checked is no number");
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
