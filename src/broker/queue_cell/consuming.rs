//! What consumers do with a queue: start and end, take, settle, and say how much more they may hold.

use std::sync::Arc;

use super::{Hosted, Port, QueueCell, Settled};
use crate::broker::Turn;
use crate::broker::outbox::{LocalConsumer, Outbox};
use crate::model::ConsumerId;
use crate::queue::{ChannelWindow, ConsumeError, ConsumerSpec, Got, RemoveMode, SettleError};

impl QueueCell {
    /// Starts a consumer whose deliveries go to this outbox.
    pub fn consume(
        self: &Arc<Self>,
        spec: ConsumerSpec,
        consumer: LocalConsumer,
        outbox: &Arc<Outbox>,
        turn: &mut Turn,
    ) -> Option<Result<(), ConsumeError>> {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return None;
        }
        let id = spec.id;
        if let Err(error) = hosted.queue.add_consumer(spec, turn.now) {
            return Some(Err(error));
        }
        hosted.ports.insert(id, Port { outbox: outbox.clone(), consumer });
        hosted.queue.dispatch(turn.now, &mut turn.effects);
        self.carry_out(&mut hosted, turn);
        Some(Ok(()))
    }

    /// Ends a consumer that can still settle what it holds. Says how many messages that are.
    pub fn cancel_consumer(self: &Arc<Self>, id: ConsumerId, turn: &mut Turn) -> u64 {
        self.remove_consumers(&[id], RemoveMode::Cancel, turn)
    }

    /// Gives back what consumers hold whose channel or connection has ended. All at once: what one gives back
    /// must not be delivered to another that is about to go too.
    pub fn consumers_gone(self: &Arc<Self>, ids: &[ConsumerId], turn: &mut Turn) {
        self.remove_consumers(ids, RemoveMode::Gone, turn);
    }

    fn remove_consumers(self: &Arc<Self>, ids: &[ConsumerId], mode: RemoveMode, turn: &mut Turn) -> u64 {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return 0;
        }
        for id in ids {
            hosted.queue.remove_consumer(*id, mode, turn.now, &mut turn.effects);
        }
        hosted.queue.dispatch(turn.now, &mut turn.effects);
        self.carry_out(&mut hosted, turn);
        let mut unacked = 0;
        for &id in ids {
            let port = hosted.ports.remove(&id);
            let left = hosted.queue.unacked_of(id);
            match port {
                Some(port) if left > 0 => hosted.cancelled.push((id, port)),
                Some(_) => {}
                None => hosted.cancelled.retain(|(cancelled, _)| *cancelled != id),
            }
            unacked += left;
        }
        unacked
    }

    /// Settles deliveries of one consumer. How many were still outstanding, or what was wrong. A cancelled consumer that goes
    /// with its last message is not unknown to the ranges behind that: they are passed over, as others that were settled.
    pub fn settle(
        self: &Arc<Self>,
        consumer: ConsumerId,
        ranges: &[Settled],
        turn: &mut Turn,
    ) -> Result<u64, SettleError> {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return Ok(0);
        }
        let Hosted { queue, cancelled, .. } = &mut *hosted;
        let mut settle = || {
            let mut count = 0;
            for range in ranges {
                let Settled { first, last, settlement } = range.clone();
                match queue.settle(consumer, first, last, settlement, turn.now, &mut turn.effects) {
                    Ok(settled) => count += settled,
                    Err(SettleError::UnknownConsumer) if count > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(count)
        };
        let settled = settle();
        queue.dispatch(turn.now, &mut turn.effects);
        cancelled.retain(|(id, _)| *id != consumer || queue.unacked_of(*id) > 0);
        self.carry_out(&mut hosted, turn);
        settled
    }

    /// Takes one message for a `get`. None: the queue is gone.
    pub fn get(self: &Arc<Self>, getter: ConsumerId, auto_ack: bool, turn: &mut Turn) -> Option<Option<Got>> {
        self.run(turn, |queue, now, effects| {
            self.load_front(queue, now, effects);
            queue.get(getter, auto_ack, now, effects)
        })
    }

    /// Tells the queue that deliveries have left the outbox.
    pub fn refill(self: &Arc<Self>, consumer: ConsumerId, bytes: u64, turn: &mut Turn) {
        self.run(turn, |queue, now, effects| {
            queue.refill(consumer, bytes);
            queue.dispatch(now, effects);
        });
    }

    /// Gives a consumer more credit.
    pub fn add_credit(self: &Arc<Self>, consumer: ConsumerId, messages: u32, bytes: u32, turn: &mut Turn) {
        self.run(turn, |queue, now, effects| {
            queue.add_credit(consumer, messages.into(), bytes.into());
            queue.dispatch(now, effects);
        });
    }

    /// Changes how many messages a consumer may hold; 0 is unlimited.
    pub fn set_prefetch(self: &Arc<Self>, consumer: ConsumerId, prefetch: u32, turn: &mut Turn) {
        self.run(turn, |queue, now, effects| {
            queue.set_prefetch(consumer, prefetch);
            queue.dispatch(now, effects);
        });
    }

    /// The consumer's channel has got a limit after the consumer was started.
    pub fn join_channel_window(
        self: &Arc<Self>,
        consumer: ConsumerId,
        window: &Arc<ChannelWindow>,
        turn: &mut Turn,
    ) {
        self.run(turn, |queue, _, _| queue.join_channel_window(consumer, window));
    }

    /// Tells the consumers of a channel that its window has room. Those of one queue are told together, the oldest
    /// first, before the queue gives anything: they take turns, so that the first does not take all the room.
    pub fn channel_has_room<'a>(
        consumers: impl Iterator<Item = (&'a Arc<QueueCell>, ConsumerId)>,
        turn: &mut Turn,
    ) {
        let mut waiting: Vec<_> = consumers.collect();
        waiting.sort_unstable_by_key(|(queue, consumer)| (queue.id(), *consumer));
        for of_queue in waiting.chunk_by(|one, other| one.0.id() == other.0.id()) {
            of_queue[0].0.run(turn, |queue, now, effects| {
                of_queue.iter().for_each(|(_, consumer)| queue.channel_has_room(*consumer));
                queue.dispatch(now, effects);
            });
        }
    }
}
