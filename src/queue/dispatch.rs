//! Giving ready messages to consumers with room.
//!
//! Invariants: a message goes to the consumer whose turn it is, never after its deadline; afterwards either
//! nothing is ready, or nobody has room, or the next message is not in memory. Not here: whose turn it is (`consumers`).

use crate::model::Timestamp;

use super::Queue;
use super::consumers::Slot;
use super::effects::{Delivery, Effects};
use super::entry::Entry;

impl Queue {
    /// Gives ready messages to consumers with room, until one or the other is used up. To be called once after
    /// a batch of publishes, settlements, credit, or any other change; then, if [`Queue::page_wanted`] says nothing,
    /// [`Queue::take_deliveries`].
    pub fn dispatch(&mut self, now: Timestamp, out: &mut Effects) {
        self.pass_time(now, out);
        while self.ready.has_front() {
            let Some(slot) = self.consumers.next() else { break };
            let entry = self.ready.pop().expect("there is a first message in memory");
            self.give(slot, entry, now, out);
        }
    }

    /// Gives a message to the consumer whose turn it is.
    pub(super) fn give(&mut self, slot: Slot, mut entry: Entry, now: Timestamp, out: &mut Effects) {
        let (stored, journalled) = (self.is_stored(), self.is_journalled());
        self.totals.delivered += 1;
        self.totals.redelivered += u64::from(entry.held.returns > 0);
        entry.count_wait(now, out);
        let consumer = self.consumers.get_mut(slot);
        consumer.charge(entry.held.message.len());
        let tag = consumer.unacked.next_tag();
        if consumer.auto_ack {
            consumer.unacked.skip();
            self.totals.auto_acked += 1;
            if stored {
                entry.note_settled(journalled, out);
            }
            consumer.outgoing.push(Delivery::new(entry, tag));
        } else {
            entry.held.give(now);
            self.unacked.add(&entry);
            consumer.outgoing.push(Delivery::sharing(&entry, tag));
            consumer.unacked.push(entry);
            consumer.given.given(tag, now);
            self.consumers.start_hold(slot, tag, now);
        }
        self.consumers.served(slot);
    }
}

impl Delivery {
    /// The only delivery of a message that is not kept.
    pub(super) fn new(entry: Entry, tag: u64) -> Delivery {
        let Entry { lsn, held } = entry;
        let (delivery_count, returns) = (held.failures, held.returns);
        Delivery { message: held.message, lsn, tag, delivery_count, returns, redelivered: returns > 0 }
    }

    /// A delivery of a message that is kept until it is settled.
    pub(super) fn sharing(entry: &Entry, tag: u64) -> Delivery {
        let Entry { lsn, ref held } = *entry;
        let (delivery_count, returns) = (held.failures, held.returns);
        let message = held.message.clone();
        Delivery { message, lsn, tag, delivery_count, returns, redelivered: returns > 0 }
    }
}
