//! Durations of the whole broker's messages by powers of two.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::queue::Durations;
use crate::queue::durations::DURATION_BUCKETS;

/// How often durations were in each bucket: see [`crate::queue::durations`].
#[derive(Debug)]
pub(in crate::broker) struct Histogram {
    buckets: [AtomicU64; DURATION_BUCKETS],
    sum_micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How often a duration was in each bucket, and no other.
    pub buckets: [u64; DURATION_BUCKETS],
    /// All durations together, in microseconds.
    pub sum_micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Takes what a batch has counted.
    pub(in crate::broker) fn take(&self, durations: &mut Durations) {
        if durations.is_empty() {
            return;
        }
        let sum = durations.drain(|bucket, count| {
            self.buckets[bucket].fetch_add(count, Ordering::Relaxed);
        });
        self.sum_micros.fetch_add(sum, Ordering::Relaxed);
    }

    pub(in crate::broker) fn read(&self) -> Distribution {
        Distribution {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}
