//! A number that one task writes and anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A figure for statistics. To write it takes no lock and no locked instruction, so only one task may: a second writer
/// would lose some of what the first counts. Readers see it a moment late, and two figures not of the same moment.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Writes it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Takes from it, down to zero.
    pub fn sub(&self, less: u64) {
        self.set(self.get().saturating_sub(less));
    }
}
