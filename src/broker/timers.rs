//! When which queue must be looked at next: one sorted list for the whole broker.
//!
//! Invariant: at most one entry for each queue, whatever its peers do: a queue that arms an earlier deadline
//! takes its later one out, and one that ends takes its last one along. (A heap with stale entries would be
//! quicker by little, and grow with every queue that is declared to expire and deleted at once.)

use std::collections::BTreeMap;
use std::sync::Weak;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::QueueCell;
use crate::model::{QueueId, Timestamp};

#[derive(Default)]
pub(super) struct Timers {
    armed: Mutex<BTreeMap<(Timestamp, QueueId), Weak<QueueCell>>>,
    changed: Notify,
}

impl Timers {
    /// Arms a queue's timer; `instead` is where it stood, or [`Timestamp::NEVER`].
    pub(super) fn arm(&self, at: Timestamp, instead: Timestamp, id: QueueId, queue: Weak<QueueCell>) {
        let mut armed = self.armed.lock();
        if instead < Timestamp::NEVER {
            armed.remove(&(instead, id));
        }
        let is_next = armed.first_key_value().is_none_or(|((next, _), _)| at < *next);
        armed.insert((at, id), queue);
        drop(armed);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Takes a queue's timer out.
    pub(super) fn disarm(&self, at: Timestamp, id: QueueId) {
        if at < Timestamp::NEVER {
            self.armed.lock().remove(&(at, id));
        }
    }

    /// The next moment at which something is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.armed.lock().first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes a queue that is due, with the moment it was armed for.
    pub(super) fn due(&self, now: Timestamp) -> Option<(Timestamp, Weak<QueueCell>)> {
        let mut armed = self.armed.lock();
        match armed.first_entry() {
            Some(next) if next.key().0 <= now => Some((next.key().0, next.remove())),
            _ => None,
        }
    }

    /// How many queues have a timer.
    pub(super) fn len(&self) -> usize {
        self.armed.lock().len()
    }

    /// Waits until the next moment has come nearer.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
