//! The log seam: outcomes are appended, positions are committed.
//!
//! The log holds outcomes, not commands: "published into these queues", "settled here". Who folds it
//! reaches the same durable state without a clock. [`MemoryLog`] keeps nothing and commits at once;
//! a journal on disk (and later a replicated log) stand behind the same four calls.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;

use crate::model::{Lsn, Message, QueueId};

/// A place in the log. Positions grow; everything up to a committed position is safe.
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

/// One thing that has happened and must not be forgotten.
#[derive(Clone, Debug)]
pub enum Record<'a> {
    /// A message entered these queues: all of them or none.
    Publish {
        /// The message's identity.
        lsn: Lsn,
        /// The message.
        message: &'a Message,
        /// The queues.
        queues: &'a [QueueId],
    },
    /// Messages left a queue for good.
    Settle {
        /// The queue.
        queue: QueueId,
        /// The messages.
        lsns: &'a [Lsn],
    },
}

/// Where an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Committed once [`Log::committed`] reaches it.
    pub position: Position,
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
    /// Nothing is stored there.
    #[error("nothing is stored at {0:?}")]
    NotStored(Position),
}

/// What the broker needs of a log.
pub trait Log: Send + Sync + 'static {
    /// Whether appended records outlive the process. If not, nobody need build records.
    fn is_durable(&self) -> bool;

    /// Hands out identities for `count` messages and returns the first.
    fn reserve(&self, count: u64) -> Lsn;

    /// Appends records as one unit.
    fn append(&self, records: &[Record<'_>]) -> Result<Appended, LogError>;

    /// The position up to which everything is safe, as it moves.
    fn committed(&self) -> watch::Receiver<Position>;

    /// What this node may do, as it changes.
    fn role(&self) -> watch::Receiver<Role>;

    /// Reads back a message's entry.
    fn read(&self, position: Position) -> Result<Bytes, LogError>;
}

/// A log that keeps nothing: every position is committed as soon as it exists.
#[derive(Debug)]
pub struct MemoryLog {
    next: AtomicU64,
    committed: watch::Sender<Position>,
    role: watch::Sender<Role>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        MemoryLog {
            next: AtomicU64::new(1),
            committed: watch::Sender::new(Position(u64::MAX)),
            role: watch::Sender::new(Role::Leader { epoch: 1 }),
        }
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

    fn append(&self, _: &[Record<'_>]) -> Result<Appended, LogError> {
        Ok(Appended { position: Position(self.next.load(Ordering::Relaxed)) })
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.committed.subscribe()
    }

    fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    fn read(&self, position: Position) -> Result<Bytes, LogError> {
        Err(LogError::NotStored(position))
    }
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
        let position = log.append(&[]).unwrap().position;
        assert!(*log.committed().borrow() >= position);
        assert_eq!(log.read(position), Err(LogError::NotStored(position)));
    }
}
