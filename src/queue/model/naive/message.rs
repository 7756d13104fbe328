//! A message as the twin knows it: everything about it in one place, wherever it is.

use std::cmp::Reverse;

use crate::model::QueueOptions;

/// Times are in microseconds unless their names say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct NaiveMessage {
    pub(crate) lsn: u64,
    /// Where it stands among those of its priority.
    pub(crate) place: u64,
    pub(crate) key: Option<u64>,
    pub(crate) key_ttl_ms: Option<u64>,
    pub(crate) died_here: bool,
    pub(crate) own_priority: Option<u8>,
    pub(crate) priority: u8,
    /// As its publisher asked for.
    pub(crate) own_ttl_ms: Option<u64>,
    /// In this queue.
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) expires: Option<u64>,
    pub(crate) returns: u32,
    pub(crate) failures: u32,
    /// Until when it waits, if it is delayed.
    pub(crate) delayed_until: u64,
    /// Its consumer's, if it was given to one.
    pub(crate) tag: u64,
    /// When a consumer has held it for too long.
    pub(crate) late_at: Option<u64>,
    /// When it was given to a consumer last.
    pub(crate) given: u64,
    pub(crate) body_len: u64,
    pub(crate) len: u64,
    pub(crate) persistent: bool,
    pub(crate) enqueued: u64,
}

/// A delivery: LSN, tag, how often it failed, how often it came back.
pub(crate) type Given = (u64, u64, u32, u32);

impl NaiveMessage {
    pub(super) fn delivery(&self) -> Given {
        (self.lsn, self.tag, self.failures, self.returns)
    }

    /// Its time begins: its own, or the queue's if that is shorter.
    pub(super) fn begin_to_age(&mut self, options: &QueueOptions, from: u64) {
        self.ttl_ms = [self.own_ttl_ms, options.message_ttl_ms].into_iter().flatten().min();
        self.expires = self.ttl_ms.map(|ttl| from + ttl * 1000);
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    pub(super) fn is_late(&self, now: u64) -> bool {
        self.late_at.is_some_and(|at| at <= now)
    }

    /// When its delay is over: when it is dead, if that is sooner.
    pub(super) fn delay_end(&self) -> u64 {
        self.expires.map_or(self.delayed_until, |end| end.min(self.delayed_until))
    }

    pub(super) fn ready_order(&self) -> (Reverse<u8>, u64) {
        (Reverse(self.priority), self.place)
    }

    pub(super) fn delayed_order(&self) -> (u64, u64) {
        (self.delay_end(), self.lsn)
    }
}
