//! Where the journal keeps a message.

use std::fmt;

use super::{Lsn, Priority, Timestamp};

/// A file of the journal. Later ones have higher numbers; none is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u32);

impl SegmentId {
    /// What the numbers of overflow segments begin with: the highest bit.
    pub const OVERFLOW: u32 = 1 << 31;

    /// Whether it holds transient messages that found no room in memory: gone with the process, and kept for as long
    /// as the one queue that put them there holds them.
    pub const fn is_overflow(self) -> bool {
        self.0 & Self::OVERFLOW != 0
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first byte of a record in the journal. Ordered as records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The file.
    pub segment: SegmentId,
    /// Bytes from its start.
    pub offset: u32,
}

impl Location {
    /// As one number, in the same order.
    pub const fn as_u64(self) -> u64 {
        (self.segment.0 as u64) << 32 | self.offset as u64
    }

    /// From [`Location::as_u64`].
    pub const fn from_u64(number: u64) -> Self {
        Location { segment: SegmentId((number >> 32) as u32), offset: number as u32 }
    }
}

/// A message that came back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The message.
    pub lsn: Lsn,
    /// The record that holds it.
    pub location: Location,
    /// How often a delivery of it failed, this time included.
    pub delivery_count: u32,
    /// How often it was delivered and came back, this time included.
    pub returns: u32,
    /// When it may be delivered again, if it has to wait.
    pub until: Option<Timestamp>,
}

/// Neighbours in one record, with consecutive LSNs, as one queue knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// The first message.
    pub first: Lsn,
    /// How many there are.
    pub count: u32,
    /// The record that holds them (or, after it was moved, the one that held them first).
    pub location: Location,
}

impl StoredRun {
    /// Adds a run to a list, as part of its last one if it goes on there.
    pub fn push(runs: &mut Vec<StoredRun>, run: StoredRun) {
        match runs.last_mut() {
            Some(last)
                if last.location == run.location
                    && last.first.0 + u64::from(last.count) == run.first.0
                    && last.count.checked_add(run.count).is_some() =>
            {
                last.count += run.count;
            }
            _ => runs.push(run),
        }
    }
}

/// Neighbours in one record that a queue held when the broker stopped, ready or unacknowledged. They have everything
/// but their places in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredRun {
    /// The first message; the others follow without a gap.
    pub first: Lsn,
    /// How many there are.
    pub count: u32,
    /// The record that holds them.
    pub location: Location,
    /// Where the first one's entry begins among the entries of the record.
    pub from: u32,
    /// Bytes of all their entries, back to back.
    pub len: u32,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// When they were published.
    pub at: Timestamp,
    /// Their priority, if they have one.
    pub priority: Option<Priority>,
    /// Their own time to live.
    pub ttl_ms: Option<u64>,
    /// How long they wait in a delayed exchange's queue.
    pub delay_ms: Option<u64>,
    /// What the journal knows of the last time it came back; then it is alone in its run.
    pub returned: Option<Returned>,
}
