//! What the journal tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of [`JournalStats::sync_times`], in microseconds: from what a battery-backed cache takes to
/// a disk that is stuck.
pub const SYNC_BOUNDS_MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// Numbers of a journal, now and since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Files, the one that is being written included.
    pub segments: u64,
    /// Bytes of records and indexes in them.
    pub bytes: u64,
    /// Bytes that messages in queues still need, about.
    pub live_bytes: u64,
    /// Bytes that nobody needs and that are not free yet: what deletion and compaction can win.
    pub reclaimable_bytes: u64,
    /// Pairs of queue and message that live.
    pub live_pairs: u64,
    /// Bytes appended.
    pub appended_bytes: u64,
    /// Records appended.
    pub appended_records: u64,
    /// Records that were settled before they were written, and never were.
    pub elided_records: u64,
    /// Bytes of them.
    pub elided_bytes: u64,
    /// Syncs of data.
    pub syncs: u64,
    /// How long the last one took.
    pub last_sync: Duration,
    /// How long all of them took together.
    pub sync_time: Duration,
    /// How many took so long, and no shorter: a number for each of [`SYNC_BOUNDS_MICROS`], and one for longer.
    pub sync_times: [u64; SYNC_BOUNDS_MICROS.len() + 1],
    /// Segments removed.
    pub removed_segments: u64,
    /// Bytes of survivors that were copied.
    pub copied_bytes: u64,
    /// Records that moved and are still asked for by their old places.
    pub forwarded_records: u64,
    /// Files with transient messages that did not fit in memory.
    pub overflow_segments: u64,
    /// Bytes in them.
    pub overflow_bytes: u64,
}

/// Counters that grow while the journal works.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) appended_bytes: AtomicU64,
    pub(super) appended_records: AtomicU64,
    pub(super) elided_bytes: AtomicU64,
    pub(super) elided_records: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) last_sync_micros: AtomicU64,
    pub(super) sync_micros: AtomicU64,
    pub(super) sync_times: [AtomicU64; SYNC_BOUNDS_MICROS.len() + 1],
    pub(super) removed_segments: AtomicU64,
    pub(super) copied_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }

    /// A sync took so long.
    pub(super) fn synced(&self, micros: u64) {
        self.last_sync_micros.store(micros, Ordering::Relaxed);
        Self::add(&self.sync_micros, micros);
        let bucket = SYNC_BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        Self::add(&self.sync_times[bucket], 1);
    }

    /// Fills in what is counted here.
    pub(super) fn fill(&self, stats: &mut JournalStats) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stats.appended_bytes = get(&self.appended_bytes);
        stats.appended_records = get(&self.appended_records);
        stats.elided_bytes = get(&self.elided_bytes);
        stats.elided_records = get(&self.elided_records);
        stats.syncs = get(&self.syncs);
        stats.last_sync = Duration::from_micros(get(&self.last_sync_micros));
        stats.sync_time = Duration::from_micros(get(&self.sync_micros));
        stats.sync_times = std::array::from_fn(|bucket| get(&self.sync_times[bucket]));
        stats.removed_segments = get(&self.removed_segments);
        stats.copied_bytes = get(&self.copied_bytes);
    }
}
