//! When which queue must be looked at next: one heap for the whole broker.
//!
//! A queue arms a timer only when its next deadline is earlier than the one it has armed, so a stream of
//! messages with a time to live costs one entry, not one each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Weak;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::QueueCell;
use crate::model::Timestamp;

#[derive(Default)]
pub(super) struct Timers {
    armed: Mutex<BinaryHeap<Armed>>,
    changed: Notify,
}

struct Armed {
    at: Reverse<Timestamp>,
    queue: Weak<QueueCell>,
}

impl Timers {
    pub(super) fn arm(&self, at: Timestamp, queue: Weak<QueueCell>) {
        let mut armed = self.armed.lock();
        let is_next = armed.peek().is_none_or(|next| at < next.at.0);
        armed.push(Armed { at: Reverse(at), queue });
        drop(armed);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// The next moment at which something is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.armed.lock().peek().map(|next| next.at.0)
    }

    /// Takes a queue that is due.
    pub(super) fn due(&self, now: Timestamp) -> Option<Weak<QueueCell>> {
        let mut armed = self.armed.lock();
        match armed.peek() {
            Some(next) if next.at.0 <= now => armed.pop().map(|next| next.queue),
            _ => None,
        }
    }

    /// Waits until the next moment has come nearer.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl PartialEq for Armed {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Armed {}

impl PartialOrd for Armed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Armed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
