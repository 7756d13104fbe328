//! The log seam: outcomes are appended, positions are committed.
//!
//! The log holds outcomes, not commands: "published into these queues", "settled here". Who folds it
//! reaches the same durable state without a clock. [`MemoryLog`] keeps nothing and commits at once;
//! the journal on disk (and later a replicated log) stand behind the same calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;

use super::journal::JournalStats;
use crate::model::{
    Location, Lsn, Message, MessageBatch, MessageRoute, Priority, QueueId, Returned, StoredRun, Timestamp,
};

/// How far the log has come: the number of a location (see [`Location::as_u64`]) behind the last byte of a record.
/// Everything up to a committed position is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// What this node may do with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It appends.
    Leader {
        /// Grows with every change of leader.
        epoch: u64,
    },
    /// Another node appends.
    Follower {
        /// That node.
        leader: u64,
    },
    /// Nobody may append here any more (a sync failed, or the log was closed).
    Stopped,
}

/// One thing that has happened and must not be forgotten. Those that are appended together are one record: after a
/// crash all of them have happened, or none.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// Messages entered queues. The append gives their batch its location.
    Publish(PublishPart<'a>),
    /// Messages left a queue for good.
    Settle {
        /// The queue.
        queue: QueueId,
        /// The messages.
        runs: &'a [StoredRun],
    },
    /// Messages came back to their queue.
    Return {
        /// The queue.
        queue: QueueId,
        /// The messages.
        returned: &'a [Returned],
    },
}

/// Messages of one batch, and the queues they entered.
#[derive(Clone, Debug)]
pub struct PublishPart<'a> {
    /// Holds the entries of all the messages, and nothing else.
    pub batch: &'a Arc<MessageBatch>,
    /// When they were published; times to live begin here.
    pub at: Timestamp,
    /// Its messages, in order.
    pub messages: &'a [StoredMessage],
    /// Which of them entered which queue.
    pub targets: &'a [StoredTarget],
}

/// What the journal must know of a message besides its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its identity and its place in every queue. Grows from message to message.
    pub lsn: Lsn,
    /// Length of its entry in bytes.
    pub entry_len: u32,
    /// Length of its body in bytes.
    pub body_len: u32,
    /// Number of its route in the batch.
    pub route: u16,
    /// Its priority, if it has one.
    pub priority: Option<Priority>,
    /// Its own time to live.
    pub ttl_ms: Option<u64>,
    /// How long it waits in a delayed exchange's queue.
    pub delay_ms: Option<u64>,
}

/// Neighbours of a batch that entered a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTarget {
    /// The queue.
    pub queue: QueueId,
    /// Number of the first message in the batch.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Entries read back from a record.
#[derive(Clone, Debug)]
pub struct RecordSlice {
    /// Whole entries, back to back.
    pub entries: Bytes,
    /// When they were published.
    pub at: Timestamp,
    /// Routes, in order, each with the byte of the record's entries at which it ends.
    pub routes: Vec<(u32, MessageRoute)>,
}

/// Why the log cannot do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// Another node leads.
    #[error("this node does not lead the log")]
    NotLeader,
    /// A newer leader has taken over.
    #[error("a newer leader has taken over the log")]
    Fenced,
    /// The log has stopped for good.
    #[error("the log has stopped: {0}")]
    Stopped(String),
    /// The disk does not do it now.
    #[error("{0}")]
    Disk(String),
    /// Nothing is stored there.
    #[error("nothing is stored in segment {} at {}", .0.segment, .0.offset)]
    NotStored(Location),
    /// What is stored there is damaged.
    #[error("the record in segment {} at {} is damaged: {what}", .location.segment, .location.offset)]
    Damaged {
        /// The record.
        location: Location,
        /// What is wrong with it.
        what: String,
    },
}

/// What the broker needs of a log.
pub trait Log: Send + Sync + 'static {
    /// Whether appended records outlive the process. If not, nobody need build records.
    fn is_durable(&self) -> bool;

    /// Hands out identities for `count` messages and returns the first.
    fn reserve(&self, count: u64) -> Lsn;

    /// Appends parts as one record. It is committed once [`Log::committed`] reaches the position. Does not wait.
    ///
    /// # Errors
    /// This node may not append; nothing has been appended.
    fn append(&self, parts: &[Part<'_>]) -> Result<Position, LogError>;

    /// The position up to which everything is safe.
    fn committed(&self) -> Position;

    /// Up to where [`Log::read`] works: what is handed to the disk, safe or not. A record can be read if its location,
    /// as a number, is below this.
    fn written(&self) -> Position;

    /// Calls this whenever [`Log::committed`] or [`Log::role`] has changed, from a thread of the log's. At most one.
    fn on_progress(&self, call: Box<dyn Fn() + Send + Sync>);

    /// What this node may do, as it changes.
    fn role(&self) -> watch::Receiver<Role>;

    /// Reads back entries of a record: `len` bytes from byte `from` on. May wait for the disk.
    ///
    /// # Errors
    /// Nothing is stored there, it is damaged, or the disk fails.
    fn read(&self, location: Location, from: u32, len: u32) -> Result<RecordSlice, LogError>;

    /// Writes transient messages, as one record, to a file that does not outlive the process. May wait for the disk.
    ///
    /// # Errors
    /// There is no such file, or the disk is full or fails.
    fn spill(&self, messages: &[Message]) -> Result<Location, LogError> {
        let _ = messages;
        Err(LogError::NotStored(Location::default()))
    }

    /// What was spilled is not needed any more.
    fn release(&self, runs: &[StoredRun]) {
        let _ = runs;
    }

    /// Why publishers of durable messages must wait for now, in words for them: the disk is full.
    fn full(&self) -> Option<String> {
        None
    }

    /// Its figures, if it has any.
    fn stats(&self) -> Option<JournalStats> {
        None
    }

    /// Messages at this place have moved, and their new record is safe once the log is up to here. Until then the file with
    /// the old one stays, whatever is settled and however full the disk is.
    fn keep_until(&self, location: Location, until: Position);

    /// A durable queue is there: its messages count. Before anything is appended for it.
    fn add_queue(&self, queue: QueueId);

    /// A durable queue is gone for good, with everything that the log has for it. What it still held is told in `runs`.
    fn remove_queue(&self, queue: QueueId, runs: &[StoredRun]);
}

/// A log that keeps nothing: every position is committed as soon as it exists.
#[derive(Debug)]
pub struct MemoryLog {
    next: AtomicU64,
    role: watch::Sender<Role>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        MemoryLog { next: AtomicU64::new(1), role: watch::Sender::new(Role::Leader { epoch: 1 }) }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Log for MemoryLog {
    fn is_durable(&self) -> bool {
        false
    }

    fn reserve(&self, count: u64) -> Lsn {
        Lsn(self.next.fetch_add(count, Ordering::Relaxed))
    }

    fn append(&self, _: &[Part<'_>]) -> Result<Position, LogError> {
        Ok(Position::default())
    }

    fn committed(&self) -> Position {
        Position(u64::MAX)
    }

    fn written(&self) -> Position {
        Position(0)
    }

    fn on_progress(&self, _: Box<dyn Fn() + Send + Sync>) {}

    fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    fn read(&self, location: Location, _: u32, _: u32) -> Result<RecordSlice, LogError> {
        Err(LogError::NotStored(location))
    }

    fn keep_until(&self, _: Location, _: Position) {}

    fn add_queue(&self, _: QueueId) {}

    fn remove_queue(&self, _: QueueId, _: &[StoredRun]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_handed_out_once() {
        let log = MemoryLog::new();
        assert_eq!((log.reserve(3), log.reserve(1), log.reserve(2)), (Lsn(1), Lsn(4), Lsn(5)));
    }

    #[test]
    fn memory_commits_at_once_and_reads_nothing_back() {
        let log = MemoryLog::new();
        let position = log.append(&[]).unwrap();
        assert!(log.committed() >= position);
        let nowhere = Location::default();
        assert_eq!(log.read(nowhere, 0, 1).unwrap_err(), LogError::NotStored(nowhere));
    }
}
