//! One queued message: a handle and what the queue must remember about it.
//!
//! Invariants: 64 bytes, one cache line, however large the message is.

use crate::model::{Lsn, Message, Priority, Publication, QueueOptions, StoredRun, Timestamp};

use super::effects::Effects;
use super::expiry::Deadline;

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
    /// While it waits: length of its body, read when it becomes ready: later the bytes are cold. While it is out, nobody
    /// asks for that, and it is when it was given: [`Held::given`].
    pub(super) body_len: u32,
    /// Already capped at the queue's maximum.
    pub(super) priority: u8,
}

/// Microseconds between moments at which messages are given that are told apart: so that 32 bits last for years.
const TICK: u64 = 100_000;

impl Held {
    /// Somebody holds it from now on.
    pub(super) fn give(&mut self, now: Timestamp) {
        self.body_len = (now.as_micros() / TICK) as u32;
    }

    /// Since when somebody holds it, up to a tick early. Wrong after seven years.
    pub(super) fn given(&self, now: Timestamp) -> Timestamp {
        let ticks = now.as_micros() / TICK;
        let ago = (ticks as u32).wrapping_sub(self.body_len);
        // The time of another thread may have been a little ahead.
        let ago = if ago > u32::MAX / 2 { 0 } else { ago };
        Timestamp::from_micros(ticks.saturating_sub(ago.into()) * TICK)
    }
}

impl Entry {
    /// Tells who has stored this message that it is done with, if anybody has.
    pub(super) fn note_settled(&self, journalled: bool, out: &mut Effects) {
        if let Some(location) = self.held.message.location() {
            out.note_settled(StoredRun { first: self.lsn, count: 1, location }, journalled);
        }
    }

    /// It is delivered: counts how long it has waited, if this is the first time. What came back has waited for its
    /// consumer, too.
    pub(super) fn count_wait(&self, now: Timestamp, out: &mut Effects) {
        if self.held.returns == 0 {
            out.waited.add(now.as_micros().saturating_sub(self.held.enqueued.as_micros()), 1);
        }
    }

    /// When it expires, if it does.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        Deadline::of(self.lsn, self.held.expires, self.held.priority)
    }

    pub(super) fn new(publication: Publication, options: &QueueOptions, now: Timestamp) -> Entry {
        let Publication { message, lsn, priority, ttl_ms, delay_ms: _ } = publication;
        let expires = expires(now, ttl_ms, options);
        let priority = effective_priority(priority, options);
        Entry {
            lsn,
            held: Held { message, expires, enqueued: now, returns: 0, failures: 0, body_len: 0, priority },
        }
    }
}

/// When a message that came at this time expires: at the sooner end of its own time to live and the queue's.
pub(super) fn expires(at: Timestamp, ttl_ms: Option<u64>, options: &QueueOptions) -> Timestamp {
    let ttl_ms = match (ttl_ms, options.message_ttl_ms) {
        (Some(own), Some(queue)) => Some(own.min(queue)),
        (own, queue) => own.or(queue),
    };
    ttl_ms.map_or(Timestamp::NEVER, |ttl| at.plus_millis(ttl))
}

/// The priority that a message has in a queue.
pub(super) fn effective_priority(priority: Option<Priority>, options: &QueueOptions) -> u8 {
    priority.map_or(options.default_priority, |priority| priority.0).min(options.max_priority)
}
