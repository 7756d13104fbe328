//! How many bytes messages hold, counted once per batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes of message batches that are alive. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct MemoryGauge(Arc<AtomicU64>);

impl MemoryGauge {
    /// A gauge at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes charged now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds bytes until the charge is dropped.
    pub fn charge(&self, bytes: u64) -> MemoryCharge {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        MemoryCharge { gauge: self.clone(), bytes }
    }
}

/// Bytes counted by a [`MemoryGauge`] for as long as this lives.
#[derive(Debug)]
pub struct MemoryCharge {
    gauge: MemoryGauge,
    bytes: u64,
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.gauge.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
