//! What must be safe before something may be said, and who waits for that.
//!
//! Invariant: no wake-up is lost. A waiter looks once more at what is committed while it holds the lock of the list,
//! and progress is seen before that lock is taken: either the waiter sees the progress, or the progress sees the waiter.
//! Not here: what is held back meanwhile (`session`).

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{Broker, Core, Outbox};
use crate::store::{LogError, Position, Role};

/// How far the journal and the catalog must have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Everything in the journal up to here.
    pub journal: Position,
    /// Every change of the catalog up to this version.
    pub catalog: u64,
}

impl Commit {
    /// There is nothing to wait for.
    pub const NONE: Commit = Commit { journal: Position(0), catalog: 0 };

    /// What must be safe for both.
    #[must_use]
    pub fn join(self, other: Commit) -> Commit {
        Commit { journal: self.journal.max(other.journal), catalog: self.catalog.max(other.catalog) }
    }

    /// Whether there is nothing to wait for.
    pub fn is_none(&self) -> bool {
        *self == Commit::NONE
    }
}

/// Who waits for commits.
#[derive(Default)]
pub(super) struct Commits {
    /// One place for each [`Broker::wake_when_committed`]; sessions ask again only when they were woken.
    waiting: Mutex<Vec<(Commit, Arc<Outbox>)>>,
    /// Why nothing more will be committed.
    stopped: OnceLock<String>,
}

impl Core {
    fn is_committed(&self, commit: &Commit) -> bool {
        let catalog = || self.catalog.as_ref().map_or(u64::MAX, |catalog| catalog.committed());
        (commit.journal == Position(0) || commit.journal <= self.log.committed())
            && (commit.catalog == 0 || commit.catalog <= catalog())
    }

    /// The journal or the catalog has come further, or has stopped.
    pub(super) fn log_progressed(&self) {
        if *self.log.role().borrow() == Role::Stopped && self.commits.stopped.get().is_none() {
            let why = match self.log.append(&[]) {
                Err(LogError::Stopped(why)) => why,
                Err(error) => error.to_string(),
                Ok(_) => "the log takes no more records".to_owned(),
            };
            let _ = self.commits.stopped.set(why);
        }
        if let Some(why) = self.catalog.as_ref().and_then(|catalog| catalog.failure()) {
            let _ = self.commits.stopped.set(why);
        }
        let stopped = self.commits.stopped.get().is_some();
        let mut waiting = self.commits.waiting.lock();
        let due: Vec<_> =
            waiting.extract_if(.., |(commit, _)| stopped || self.is_committed(commit)).collect();
        drop(waiting);
        due.iter().for_each(|(_, outbox)| outbox.wake());
    }
}

impl Broker {
    /// Whether all of it is safe.
    pub fn is_committed(&self, commit: &Commit) -> bool {
        self.0.core.is_committed(commit)
    }

    /// Wakes the outbox, once, when all of it is safe, or when it never will be: see [`Broker::log_stopped`]. At once
    /// if that is so already.
    pub fn wake_when_committed(&self, commit: Commit, outbox: &Arc<Outbox>) {
        let core = &self.0.core;
        let mut waiting = core.commits.waiting.lock();
        if core.is_committed(&commit) || core.commits.stopped.get().is_some() {
            drop(waiting);
            return outbox.wake();
        }
        waiting.push((commit, outbox.clone()));
    }

    /// Why the log takes nothing more and commits nothing more, if that is so.
    pub fn log_stopped(&self) -> Option<String> {
        self.0.core.commits.stopped.get().cloned()
    }
}
