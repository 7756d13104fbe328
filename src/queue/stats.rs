//! Counts of one queue, for lists, metrics and limits.
//!
//! Invariants: every number here is kept up to date as messages move, so reading them is O(1).

use std::time::Duration;

use rialto_protocol::native::ENTRY_HEADER_LEN;

use crate::model::{ConsumerId, ConsumerTag, Message, Timestamp};

use super::consumer::Readiness;
use super::effects::DeathReason;
use super::entry::Entry;

/// Bytes that a queued message costs besides its own: a place in a ring buffer with room to grow, and its
/// share of the batch's bookkeeping.
pub const MESSAGE_OVERHEAD: u64 = 96;

/// What a message counts for in memory limits.
pub(super) fn memory_of(message: &Message) -> u64 {
    message.len() as u64 + MESSAGE_OVERHEAD
}

/// A queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that came back and wait until they may be delivered again (`x-delayed-retry-type`).
    pub delayed: u64,
    /// Messages delivered and not settled.
    pub unacked: u64,
    /// Of all these, messages that are not in memory.
    pub paged: u64,
    /// Bytes of memory of the ready messages: [`MESSAGE_OVERHEAD`] for each that is in memory included, and
    /// [`super::RUN_OVERHEAD`] for each run of those that are not.
    pub ready_bytes: u64,
    /// Bytes of the bodies of the ready messages: what `x-max-length-bytes` limits.
    pub ready_body_bytes: u64,
    /// Bytes of memory of the delayed messages, counted likewise.
    pub delayed_bytes: u64,
    /// Bytes of their bodies.
    pub delayed_body_bytes: u64,
    /// Bytes of the unacked messages, with [`MESSAGE_OVERHEAD`] for each.
    pub unacked_bytes: u64,
    /// Bytes of their bodies and properties: how much of it is which is not kept of those that are with consumers.
    pub unacked_body_bytes: u64,
    /// Consumers; `get`s and cancelled ones don't count.
    pub consumers: u64,
    /// When the message that is next to be delivered came to the queue.
    pub head_enqueued: Option<Timestamp>,
    /// What happened since the queue was made.
    pub totals: Totals,
}

impl QueueStats {
    /// Bytes of memory of all its messages.
    pub fn memory(&self) -> u64 {
        self.ready_bytes + self.delayed_bytes + self.unacked_bytes
    }

    /// Bytes of the bodies of all its messages, in memory or not: what RabbitMQ calls `message_bytes`. With the properties of
    /// those that are with consumers.
    pub fn body_bytes(&self) -> u64 {
        self.ready_body_bytes + self.delayed_body_bytes + self.unacked_body_bytes
    }
}

/// What happened to a queue's messages since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that the queue took.
    pub published: u64,
    /// Messages that it dropped because it took one with the same key lately.
    pub duplicates: u64,
    /// Messages that it refused.
    pub refused: u64,
    /// Deliveries to consumers, repeated ones included.
    pub delivered: u64,
    /// Messages given to `get`s, repeated ones included.
    pub got: u64,
    /// Of both, those that had been delivered before.
    pub redelivered: u64,
    /// Of both, those that needed no acknowledgement.
    pub auto_acked: u64,
    /// Of these, those given to `get`s.
    pub got_auto_acked: u64,
    /// `get`s that found nothing.
    pub get_empty: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Messages that came back, by requeue or because their consumer was gone or too slow.
    pub returned: u64,
    /// Of these, those that a consumer held for too long (`x-consumer-timeout`).
    pub late: u64,
    /// Messages that were purged.
    pub purged: u64,
    /// Messages that an operator took out: deleted or moved one by one.
    pub taken: u64,
    /// Messages that a consumer rejected.
    pub rejected: u64,
    /// Messages whose time to live was over.
    pub expired: u64,
    /// Messages dropped, or refused into the dead-letter exchange, because the queue was full.
    pub max_length: u64,
    /// Messages that came back too often.
    pub delivery_limit: u64,
    /// Messages that could not be read back.
    pub lost: u64,
    /// Of those that were rejected, expired, dropped or came back too often: those for a dead-letter exchange.
    pub dead_lettered: Deaths,
}

/// Messages by what they died of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// [`DeathReason::Rejected`].
    pub rejected: u64,
    /// [`DeathReason::Expired`].
    pub expired: u64,
    /// [`DeathReason::MaxLength`].
    pub max_length: u64,
    /// [`DeathReason::DeliveryLimit`].
    pub delivery_limit: u64,
}

impl Totals {
    /// How many numbers there are.
    pub const LEN: usize = 23;

    /// The numbers in a row, as parts that do not overlap: whatever is made of them by adding up only grows, even if they
    /// are read while they are written. Those that change with every batch come first.
    pub fn to_array(self) -> [u64; Totals::LEN] {
        let dead = self.dead_lettered;
        [
            self.published,
            self.delivered_manual_ack(),
            self.delivered_auto_ack(),
            self.acked,
            self.redelivered,
            self.returned,
            self.got_manual_ack(),
            self.got_auto_acked,
            self.get_empty,
            self.duplicates,
            self.refused,
            self.late,
            self.purged,
            self.taken,
            self.lost,
            self.rejected - dead.rejected,
            self.expired - dead.expired,
            self.max_length - dead.max_length,
            self.delivery_limit - dead.delivery_limit,
            dead.rejected,
            dead.expired,
            dead.max_length,
            dead.delivery_limit,
        ]
    }

    /// The numbers from a row, as [`Totals::to_array`] makes it.
    pub fn from_array(row: [u64; Totals::LEN]) -> Totals {
        let [published, manual, auto, acked, redelivered, returned, got_manual, got_auto_acked, ..] = row;
        let [_, _, _, _, _, _, _, _, get_empty, duplicates, refused, late, purged, taken, lost, ..] = row;
        let [.., rejected, expired, max_length, delivery_limit, _, _, _, _] = row;
        let [.., dead_rejected, dead_expired, dead_max_length, dead_delivery_limit] = row;
        Totals {
            published,
            duplicates,
            refused,
            delivered: manual.wrapping_add(auto),
            got: got_manual.wrapping_add(got_auto_acked),
            redelivered,
            auto_acked: auto.wrapping_add(got_auto_acked),
            got_auto_acked,
            get_empty,
            acked,
            returned,
            late,
            purged,
            taken,
            rejected: rejected.wrapping_add(dead_rejected),
            expired: expired.wrapping_add(dead_expired),
            max_length: max_length.wrapping_add(dead_max_length),
            delivery_limit: delivery_limit.wrapping_add(dead_delivery_limit),
            lost,
            dead_lettered: Deaths {
                rejected: dead_rejected,
                expired: dead_expired,
                max_length: dead_max_length,
                delivery_limit: dead_delivery_limit,
            },
        }
    }

    /// Deliveries to consumers that acknowledge.
    pub fn delivered_manual_ack(&self) -> u64 {
        self.delivered.saturating_sub(self.delivered_auto_ack())
    }

    /// Deliveries to consumers that need not acknowledge.
    pub fn delivered_auto_ack(&self) -> u64 {
        self.auto_acked.saturating_sub(self.got_auto_acked)
    }

    /// Messages given to `get`s that acknowledge.
    pub fn got_manual_ack(&self) -> u64 {
        self.got.saturating_sub(self.got_auto_acked)
    }

    /// Deliveries of all kinds, repeated ones included.
    pub fn delivered_or_got(&self) -> u64 {
        self.delivered + self.got
    }

    pub(super) fn count_deaths(&mut self, reason: DeathReason, messages: u64) {
        match reason {
            DeathReason::Rejected => self.rejected += messages,
            DeathReason::Expired => self.expired += messages,
            DeathReason::MaxLength => self.max_length += messages,
            DeathReason::DeliveryLimit => self.delivery_limit += messages,
        }
    }
}

impl Deaths {
    pub(super) fn count(&mut self, reason: DeathReason, messages: u64) {
        match reason {
            DeathReason::Rejected => self.rejected += messages,
            DeathReason::Expired => self.expired += messages,
            DeathReason::MaxLength => self.max_length += messages,
            DeathReason::DeliveryLimit => self.delivery_limit += messages,
        }
    }

    /// The number for a reason.
    pub fn of(&self, reason: DeathReason) -> u64 {
        match reason {
            DeathReason::Rejected => self.rejected,
            DeathReason::Expired => self.expired,
            DeathReason::MaxLength => self.max_length,
            DeathReason::DeliveryLimit => self.delivery_limit,
        }
    }
}

/// A consumer, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its identity.
    pub id: ConsumerId,
    /// Its name on its channel.
    pub tag: ConsumerTag,
    /// Whether it settles.
    pub auto_ack: bool,
    /// Whether it has the queue for itself.
    pub exclusive: bool,
    /// Its priority.
    pub priority: i32,
    /// How many messages it may hold; 0 is unlimited.
    pub prefetch: u32,
    /// How long it may hold a message. None: for ever.
    pub timeout: Option<Duration>,
    /// How many messages it holds.
    pub unacked: u64,
    /// When it was given the first of those, about: see the queue's `given_times`.
    pub held_since: Option<Timestamp>,
    /// Whether it may have another.
    pub readiness: Readiness,
}

/// What a closed queue had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Messages that waited.
    pub ready: u64,
    /// Messages that came back and waited until they might be delivered again.
    pub delayed: u64,
    /// Messages delivered and not settled.
    pub unacked: u64,
    /// Consumers that were cancelled.
    pub consumers: u64,
}

/// Messages delivered and not settled, over all consumers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UnackedTotal {
    pub(super) count: u64,
    pub(super) memory: u64,
}

impl UnackedTotal {
    /// Bytes of their bodies and properties.
    pub(super) fn content_bytes(&self) -> u64 {
        self.memory - self.count * (MESSAGE_OVERHEAD + ENTRY_HEADER_LEN as u64)
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.memory += memory_of(&entry.held.message);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.count -= 1;
        self.memory -= memory_of(&entry.held.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_totals_is_the_same_totals() {
        let row = std::array::from_fn(|number| number as u64 + 1);
        let totals = Totals::from_array(row);
        assert_eq!(totals.to_array(), row);
        assert_eq!((totals.published, totals.lost, totals.dead_lettered.delivery_limit), (1, 15, 23));
    }
}
