//! What must be safe before something may be said, and who waits for that.
//!
//! Invariant: no wake-up is lost. A waiter looks once more at what is committed while it holds the lock of the list,
//! and progress is seen before that lock is taken: either the waiter sees the progress, or the progress sees the waiter.
//! Not here: what is held back meanwhile (`session`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{Broker, Core, Outbox, QueueCell};
use crate::model::{QueueId, StoredRun};
use crate::store::{LogError, Part, Position, Role};

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

    /// It never will be: the journal takes nothing any more.
    pub const NEVER: Commit = Commit { journal: Position(u64::MAX), catalog: 0 };

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
    /// Nothing more should be published until the disk has room.
    disk_full: AtomicBool,
    /// What the journal hears when the catalog has come to a version, in order of versions.
    later: Mutex<VecDeque<(u64, Later)>>,
}

/// What the journal must not hear before the catalog is safe: a crash between the two would lose messages.
#[derive(Debug)]
pub(super) enum Later {
    /// A message has left its queue for others, one of which may be too young to be in the catalog.
    Settle {
        /// The queue that it has left.
        queue: QueueId,
        /// The message.
        run: StoredRun,
    },
    /// A queue is gone: the catalog may still have it, and then it must still have its messages.
    RemoveQueue {
        /// The queue.
        queue: QueueId,
        /// What it held.
        runs: Vec<StoredRun>,
    },
}

impl Commits {
    pub(super) fn disk_is_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }
}

impl Core {
    fn is_committed(&self, commit: &Commit) -> bool {
        let catalog = || self.catalog.as_ref().map_or(u64::MAX, |catalog| catalog.committed());
        (commit.journal == Position(0) || commit.journal <= self.log.committed())
            && (commit.catalog == 0 || commit.catalog <= catalog())
    }

    /// Whether a crash could take this queue along, for it is too young.
    pub(super) fn is_young(&self, queue: &QueueCell) -> bool {
        queue.is_journalled() && !self.is_committed(&Commit { catalog: queue.kept_at(), ..Commit::NONE })
    }

    /// Tells the journal when every change of the topology so far is safe: now, if that is so.
    pub(super) fn tell_journal_later(&self, later: Later) {
        let version = self.catalog_version.load(Ordering::Acquire);
        self.commits.later.lock().push_back((version, later));
        self.tell_journal();
    }

    /// Tells the journal what it may hear by now.
    fn tell_journal(&self) {
        loop {
            let mut waiting = self.commits.later.lock();
            let is_due = |(version, _): &(u64, Later)| {
                self.is_committed(&Commit { catalog: *version, ..Commit::NONE })
            };
            // Under the lock, so that nothing overtakes what came before it.
            let Some((_, later)) = waiting.pop_front_if(|next| is_due(next)) else { return };
            match later {
                Later::Settle { queue, run } => {
                    if let Err(error) = self.log.append(&[Part::Settle { queue, runs: &[run] }]) {
                        tracing::debug!(%error, "a settlement is not recorded");
                    }
                }
                Later::RemoveQueue { queue, runs } => self.log.remove_queue(queue, &runs),
            }
        }
    }

    /// Why the disk takes nothing more for now.
    pub(super) fn disk_full(&self) -> Option<String> {
        self.log.full().or_else(|| self.catalog.as_ref().and_then(|catalog| catalog.full()))
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
        self.tell_journal();
        let full = self.disk_full();
        if self.commits.disk_full.swap(full.is_some(), Ordering::Relaxed) != full.is_some() {
            match full {
                Some(why) => {
                    tracing::warn!("disk alarm: publishers to durable queues wait, consumers go on; {why}")
                }
                None => tracing::info!("the disk alarm has lifted: publishers go on"),
            }
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

    /// Waits until all of it is safe.
    ///
    /// # Errors
    /// It never will be, and why: see [`Broker::log_stopped`].
    pub async fn committed(&self, commit: Commit) -> Result<(), String> {
        let outbox = Arc::new(Outbox::new());
        loop {
            if self.is_committed(&commit) {
                return Ok(());
            }
            if let Some(why) = self.log_stopped() {
                return Err(why);
            }
            self.wake_when_committed(commit, &outbox);
            std::future::poll_fn(|cx| outbox.poll_woken(cx)).await;
        }
    }

    /// Why the log takes nothing more and commits nothing more, if that is so.
    pub fn log_stopped(&self) -> Option<String> {
        self.0.core.commits.stopped.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::thread;

    use super::*;
    use crate::store::testing::HeldLog;

    fn position(journal: u64) -> Commit {
        Commit { journal: Position(journal), catalog: 0 }
    }

    fn was_woken(outbox: &Outbox) -> bool {
        outbox.poll_woken(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn broker() -> (Arc<HeldLog>, Broker) {
        let log = HeldLog::new();
        (log.clone(), Broker::in_memory().log(log).build())
    }

    #[test]
    fn what_both_wait_for_is_the_later_of_each() {
        let (one, other) =
            (Commit { journal: Position(3), catalog: 1 }, Commit { journal: Position(2), catalog: 7 });
        assert_eq!(one.join(other), Commit { journal: Position(3), catalog: 7 });
        assert_eq!(one.join(Commit::NONE), one);
        assert!(Commit::NONE.is_none() && !one.is_none());
    }

    #[test]
    fn each_is_woken_once_when_its_own_commit_is_reached() {
        let (log, broker) = broker();
        let outboxes = [1, 2, 2, 3].map(|at| (at, Arc::new(Outbox::new())));
        for (at, outbox) in &outboxes {
            broker.wake_when_committed(position(*at), outbox);
        }
        for reached in 1..=4 {
            log.commit(reached);
            let woken: Vec<_> = outboxes.iter().filter(|(_, outbox)| was_woken(outbox)).collect();
            assert!(woken.iter().all(|(at, _)| *at == reached), "{reached}: {woken:?}");
            assert_eq!(woken.len(), outboxes.iter().filter(|(at, _)| *at == reached).count());
        }
        assert!(broker.0.core.commits.waiting.lock().is_empty());
    }

    #[test]
    fn what_is_safe_already_wakes_at_once_and_so_does_what_never_will_be() {
        let (log, broker) = broker();
        let outbox = Arc::new(Outbox::new());
        log.commit(4);
        broker.wake_when_committed(position(4), &outbox);
        assert!(was_woken(&outbox));
        assert_eq!(broker.log_stopped(), None);
        broker.wake_when_committed(position(5), &outbox);
        log.stop("sync failed");
        assert!(was_woken(&outbox));
        assert_eq!(broker.log_stopped().as_deref(), Some("sync failed"));
        broker.wake_when_committed(position(5), &outbox);
        assert!(was_woken(&outbox));
        assert!(broker.is_committed(&position(4)) && !broker.is_committed(&position(5)));
    }

    #[test]
    fn no_wake_up_is_lost_between_a_look_and_a_commit() {
        let (log, broker) = broker();
        thread::scope(|scope| {
            let (ask, asked) = std::sync::mpsc::channel::<u64>();
            scope.spawn(move || asked.iter().for_each(|at| log.commit(at)));
            for at in 1..=2000 {
                let outbox = Arc::new(Outbox::new());
                ask.send(at).expect("the other thread hears until this one ends");
                broker.wake_when_committed(position(at), &outbox);
                while !was_woken(&outbox) {
                    thread::yield_now();
                }
            }
        });
    }
}
