//! One queued message: a handle and what the queue must remember about it.
//!
//! Invariants: 64 bytes, one cache line, however large the message is.

use crate::model::{Lsn, Message, Publication, QueueOptions, StoredRun, Timestamp};

/// A message in the queue: its place, and the rest.
#[derive(Debug)]
pub(super) struct Entry {
    /// Identity and place.
    pub(super) lsn: Lsn,
    /// Everything else; apart, so that a hole in a lane can keep its place without it.
    pub(super) held: Held,
}

/// What a queued message is besides its place.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Message,
    /// When it expires; kept when it is delivered and comes back.
    pub(super) expires: Timestamp,
    /// When it came to the queue first.
    pub(super) enqueued: Timestamp,
    /// How often it was delivered and came back.
    pub(super) returns: u32,
    /// How often that was a failed delivery: what `x-delivery-limit` counts.
    pub(super) failures: u32,
    /// Length of its body, read when it becomes ready: later the bytes are cold.
    pub(super) body_len: u32,
    /// Already capped at the queue's maximum.
    pub(super) priority: u8,
}

impl Entry {
    /// Tells the journal, if it has this message, that it is done with.
    pub(super) fn note_settled(&self, settled: &mut Vec<StoredRun>) {
        if let Some(location) = self.held.message.location() {
            StoredRun::push(settled, StoredRun { first: self.lsn, count: 1, location });
        }
    }

    pub(super) fn new(publication: Publication, options: &QueueOptions, now: Timestamp) -> Entry {
        let Publication { message, lsn, priority, ttl_ms, delay_ms: _ } = publication;
        let ttl_ms = match (ttl_ms, options.message_ttl_ms) {
            (Some(own), Some(queue)) => Some(own.min(queue)),
            (own, queue) => own.or(queue),
        };
        let expires = ttl_ms.map_or(Timestamp::NEVER, |ttl| now.plus_millis(ttl));
        let priority =
            priority.map_or(options.default_priority, |priority| priority.0).min(options.max_priority);
        Entry {
            lsn,
            held: Held { message, expires, enqueued: now, returns: 0, failures: 0, body_len: 0, priority },
        }
    }
}
