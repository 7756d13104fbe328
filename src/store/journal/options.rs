//! How the journal is set up.

use std::time::Duration;

/// When what is written is synced, and so what a confirm means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Before it is committed: nothing confirmed is lost, whatever happens. Whoever waits meanwhile shares one sync.
    Always,
    /// Committed once the system has it; synced this often. A crash of the machine loses that much, one of the broker
    /// nothing.
    Interval(Duration),
    /// Committed once the system has it, and synced when the system likes (and before files are removed).
    Never,
}

/// Settings of a journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Bytes of a segment. A record that is longer gets a segment of its own length.
    pub segment_size: u32,
    /// When it syncs.
    pub sync: SyncMode,
    /// Publishers are blocked when the disk has fewer bytes left.
    pub free_space_min: u64,
    /// Share of the journal that may be garbage before survivors are copied, between 0 and 1.
    pub garbage_ratio: f64,
    /// For tests that must come out the same each time: where the segments' nonces come from. They are secret else.
    pub nonce_seed: Option<u64>,
}

impl JournalOptions {
    /// Smallest segment: tests like many.
    pub const SEGMENT_SIZE_MIN: u32 = 4 << 10;
    /// Largest segment: offsets are 32-bit, and a record begins before this.
    pub const SEGMENT_SIZE_MAX: u32 = 1 << 30;
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions {
            segment_size: 64 << 20,
            sync: SyncMode::Always,
            free_space_min: 1 << 30,
            garbage_ratio: 0.5,
            nonce_seed: None,
        }
    }
}
