//! What has happened, counted: the figures behind metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the whole broker, since its start.
#[derive(Debug, Default)]
pub struct Counters {
    dead_letters_ended: AtomicU64,
    dead_letters_unroutable: AtomicU64,
    delayed_unroutable: AtomicU64,
}

impl Counters {
    /// Dead letters that ended because they turned in a circle, had died in too many places or too often at once.
    pub fn dead_letters_ended(&self) -> u64 {
        self.dead_letters_ended.load(Ordering::Relaxed)
    }

    /// Dead letters that reached no queue.
    pub fn dead_letters_unroutable(&self) -> u64 {
        self.dead_letters_unroutable.load(Ordering::Relaxed)
    }

    /// Messages that reached no queue when their delay was over.
    pub fn delayed_unroutable(&self) -> u64 {
        self.delayed_unroutable.load(Ordering::Relaxed)
    }

    pub(super) fn count_delayed_unroutable(&self) {
        self.delayed_unroutable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dead_letters_ended(&self, count: u64) {
        self.dead_letters_ended.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count_dead_letter_unroutable(&self) {
        self.dead_letters_unroutable.fetch_add(1, Ordering::Relaxed);
    }
}
