//! Messages that came back and wait until they may be delivered again (`x-delayed-retry-type`).
//!
//! They count for `x-max-length` like ready ones: a limit that could be passed by requeueing would be none.
//!
//! Invariants: in order of time, then of place; a message whose time to live ends sooner stands at that moment, so
//! it ends exactly then. Not here: how long they wait (`model`), what becomes of them then (the queue).

use std::collections::BTreeMap;

use crate::model::{Lsn, Timestamp};

use super::entry::{Entry, Held};
use super::stats::memory_of;

#[derive(Debug, Default)]
pub(super) struct Delayed {
    waiting: BTreeMap<(Timestamp, Lsn), Held>,
    body_bytes: u64,
    memory: u64,
}

impl Delayed {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the bodies: what `x-max-length-bytes` counts.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Bytes of the messages with a fixed overhead for each.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Keeps a message until `at`, or until its time to live is over.
    pub(super) fn insert(&mut self, at: Timestamp, mut entry: Entry) {
        entry.held.body_len = entry.held.message.body_len() as u32;
        self.body_bytes += u64::from(entry.held.body_len);
        self.memory += memory_of(&entry.held.message);
        self.waiting.insert((at.min(entry.held.expires), entry.lsn), entry.held);
    }

    /// When the next one has waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next one that has waited for long enough, perhaps for too long to live.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Entry> {
        self.next_deadline().filter(|at| *at <= now)?;
        self.pop()
    }

    /// Takes the next one, however long it has waited.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let ((_, lsn), held) = self.waiting.pop_first()?;
        self.body_bytes -= u64::from(held.body_len);
        self.memory -= memory_of(&held.message);
        Some(Entry { lsn, held })
    }

    /// Changes all messages; they still wait as long, unless they are dead sooner. Looks at every one.
    pub(super) fn change(&mut self, change: impl Fn(&mut Held)) {
        for ((at, lsn), mut held) in std::mem::take(self).waiting {
            change(&mut held);
            self.insert(at, Entry { lsn, held });
        }
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        let memory: u64 = self.waiting.values().map(|held| memory_of(&held.message)).sum();
        let body_bytes: u64 = self.waiting.values().map(|held| u64::from(held.body_len)).sum();
        assert_eq!((self.memory, self.body_bytes), (memory, body_bytes));
        assert!(self.waiting.iter().all(|((at, _), held)| *at <= held.expires));
    }
}
