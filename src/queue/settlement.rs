//! How messages leave a consumer: done with, back to the queue, or dead.
//!
//! Invariants: a message is settled once; "is it dead, and is anybody told?" is answered in [`Queue::bury`]
//! alone. Not here: finding it by tag (`unacked`), what a dead letter looks like (`death`).

use rialto_protocol::types::ShortStr;

use crate::model::{ConsumerId, Publication, Returned, StoredRun, Timestamp};

use super::Queue;
use super::dying::Cause;
use super::effects::{DeadLetter, DeathReason, Effects, Settle, SettleError};
use super::entry::{Entry, Held};

impl Queue {
    /// Settles a consumer's messages with the tags `first_tag` to `last_tag`, both inclusive. Those settled
    /// before are passed over. Answers how many were settled.
    ///
    /// # Errors
    /// If a tag was never given out, or the consumer is not known; then nothing is settled.
    pub fn settle(
        &mut self,
        consumer: ConsumerId,
        first_tag: u64,
        last_tag: u64,
        settlement: Settle,
        now: Timestamp,
        out: &mut Effects,
    ) -> Result<u64, SettleError> {
        let slot = self.consumers.find(consumer).ok_or(SettleError::UnknownConsumer)?;
        let (stored, journalled) = (self.is_stored(), self.is_journalled());
        let unacked = &mut self.unacked;
        let consumer = self.consumers.get_mut(slot);
        if first_tag == 0 || last_tag >= consumer.unacked.next_tag() {
            return Err(SettleError::NeverDelivered);
        }
        let before = consumer.unacked.len();
        let taken = &mut self.taken;
        match settlement {
            Settle::Ack => consumer.unacked.take(first_tag, last_tag, |entry| {
                unacked.remove(&entry);
                if stored {
                    entry.note_settled(journalled, out);
                }
            }),
            _ => consumer.unacked.take(first_tag, last_tag, |entry| {
                unacked.remove(&entry);
                taken.push(entry);
            }),
        }
        let count = before - consumer.unacked.len();
        if matches!(settlement, Settle::Ack) {
            consumer.given.done(first_tag, last_tag, count as u64, now, &mut out.held);
        }
        consumer.given.forget_below(consumer.unacked.first_tag());
        consumer.give_back_channel_places(count);
        self.consumers.update(slot);
        self.consumers.hand_over(slot);
        self.consumers.remove_if_spent(slot);
        match settlement {
            Settle::Ack => self.totals.acked += count as u64,
            Settle::Requeue => self.put_back(true, now, out),
            Settle::Release => self.put_back(false, now, out),
            Settle::Reject { reason } => {
                let mut taken = std::mem::take(&mut self.taken);
                for entry in taken.drain(..) {
                    self.bury(entry, DeathReason::Rejected, reason.clone(), out);
                }
                self.taken = taken;
            }
        }
        Ok(count as u64)
    }

    /// Takes messages back that consumers have held for too long, if there are any. Nothing else changes for the consumers:
    /// they have room again, and what they say about these messages later is passed over.
    pub(super) fn take_back_late(&mut self, now: Timestamp, out: &mut Effects) -> bool {
        let before = out.late.len();
        while let Some((slot, last_tag)) = self.consumers.next_late(now) {
            let consumer = self.consumers.get_mut(slot);
            let (unacked, taken) = (&mut self.unacked, &mut self.taken);
            let before = consumer.unacked.len();
            consumer.unacked.take(0, last_tag, |entry| {
                unacked.remove(&entry);
                taken.push(entry);
            });
            let count = before - consumer.unacked.len();
            consumer.give_back_channel_places(count);
            out.late.push((consumer.id, count as u64));
            self.consumers.update(slot);
            self.consumers.hand_over(slot);
            self.consumers.remove_if_spent(slot);
        }
        let are_some = out.late.len() > before;
        if are_some {
            self.totals.late += self.taken.len() as u64;
            self.return_taken(true, now, out);
        }
        are_some
    }

    /// Puts the taken messages back, which may be too much.
    pub(super) fn put_back(&mut self, failed: bool, now: Timestamp, out: &mut Effects) {
        self.return_taken(failed, now, out);
        self.drop_overflow(out);
    }

    /// Puts the taken messages back to their old places, one delivery older, or delays them; `failed` says whether it counts.
    fn return_taken(&mut self, failed: bool, now: Timestamp, out: &mut Effects) {
        let mut taken = std::mem::take(&mut self.taken);
        taken.sort_unstable_by_key(|entry| entry.lsn);
        self.totals.returned += taken.len() as u64;
        // From the last place to the first, so that a run of neighbours goes to the front of its lane one by
        // one. The dead are told of in the order of their places.
        let mut dead = Vec::new();
        for mut entry in taken.drain(..).rev() {
            let held = &mut entry.held;
            held.returns = held.returns.saturating_add(1);
            held.failures = held.failures.saturating_add(u32::from(failed));
            if failed && self.options.delivery_limit.is_some_and(|limit| held.failures > limit) {
                dead.push((entry, DeathReason::DeliveryLimit));
            } else if entry.held.expires <= now {
                dead.push((entry, DeathReason::Expired));
            } else {
                let retry = self.options.delayed_retry.filter(|retry| retry.applies(failed));
                let until = retry.map(|retry| {
                    let count = if failed { entry.held.failures } else { entry.held.returns };
                    now.plus(retry.delay(entry.lsn, count))
                });
                if self.is_journalled()
                    && let Some(location) = entry.held.message.location()
                    && !location.segment.is_overflow()
                {
                    let Held { failures: delivery_count, returns, .. } = entry.held;
                    out.returned.push(Returned { lsn: entry.lsn, location, delivery_count, returns, until });
                }
                match until {
                    Some(until) => self.delayed.insert(until, entry),
                    None => self.ready.insert(entry),
                }
            }
        }
        taken.shrink_to(TAKEN_KEPT);
        self.taken = taken;
        for (entry, reason) in dead.into_iter().rev() {
            self.bury(entry, reason, None, out);
        }
    }

    /// Ends a message that has left the queue: a dead letter if somebody wants it, else it is dropped.
    pub(super) fn bury(
        &mut self,
        entry: Entry,
        reason: DeathReason,
        text: Option<ShortStr>,
        out: &mut Effects,
    ) {
        self.count_deaths(reason, 1);
        match self.dying.is_empty() {
            true => self.end(entry, reason, text, out),
            false => self.dying.push(entry, Cause { reason, text }),
        }
    }

    /// Counts messages that have died.
    pub(super) fn count_deaths(&mut self, reason: DeathReason, messages: u64) {
        self.totals.count_deaths(reason, messages);
        if self.options.dead_letter.is_some() {
            self.totals.dead_lettered.count(reason, messages);
        }
    }

    /// Ends a message whose turn to die it is.
    pub(super) fn end(&self, entry: Entry, reason: DeathReason, text: Option<ShortStr>, out: &mut Effects) {
        if self.options.dead_letter.is_none() {
            return self.note_settled(&entry, out);
        }
        if self.spills {
            // The journal does not know it; that it is released cannot wait for its way as a dead letter.
            entry.note_settled(false, out);
        }
        let Entry { lsn, held } = entry;
        let delivery_count = held.failures;
        out.dead.push(DeadLetter { message: held.message, lsn, reason, text, delivery_count });
    }

    /// Tells who has stored this message, if anybody has, that it is done with.
    pub(super) fn note_settled(&self, entry: &Entry, out: &mut Effects) {
        if self.is_stored() {
            entry.note_settled(self.is_journalled(), out);
        }
    }

    /// Tells the journal, which was told that this message comes before the queue was asked, that the queue does not take
    /// it.
    pub(super) fn note_not_taken(&self, publication: &Publication, out: &mut Effects) {
        if let Some(location) = publication.message.location() {
            let run = StoredRun { first: publication.lsn, count: 1, location };
            out.note_settled(run, self.is_journalled());
        }
    }

    /// Whether the journal has its persistent messages: it is durable, and does not go with a connection.
    pub(super) fn is_journalled(&self) -> bool {
        self.options.durable && !self.options.exclusive
    }

    /// Whether messages may be stored somewhere on its account, so that somebody has to know when they are done with.
    pub(super) fn is_stored(&self) -> bool {
        self.is_journalled() || self.spills
    }
}

/// Capacity, in messages, that is kept for messages on their way back.
const TAKEN_KEPT: usize = 1024;
