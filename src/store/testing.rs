//! For tests: a log that commits when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Log, LogError, Part, Position, RecordSlice, Role};
use crate::model::{Location, Lsn, QueueId, SegmentId, StoredRun};

/// See the module. Positions are 1, 2, 3…, and so are the offsets of records, which nobody can read back.
pub(crate) struct HeldLog {
    lsn: AtomicU64,
    appended: AtomicU64,
    committed: AtomicU64,
    role: watch::Sender<Role>,
    why_stopped: Mutex<String>,
    progress: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

impl HeldLog {
    /// It has committed nothing.
    pub(crate) fn new() -> Arc<HeldLog> {
        Arc::new(HeldLog {
            lsn: AtomicU64::new(1),
            appended: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            role: watch::Sender::new(Role::Leader { epoch: 1 }),
            why_stopped: Mutex::default(),
            progress: Mutex::default(),
        })
    }

    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::SeqCst)
    }

    /// Commits up to a position.
    pub(crate) fn commit(&self, position: u64) {
        self.committed.store(position, Ordering::SeqCst);
        self.progressed();
    }

    /// Commits everything.
    pub(crate) fn commit_all(&self) {
        self.commit(self.appended());
    }

    /// Takes and commits nothing more.
    pub(crate) fn stop(&self, why: &str) {
        *self.why_stopped.lock() = why.to_owned();
        self.role.send_replace(Role::Stopped);
        self.progressed();
    }

    fn progressed(&self) {
        if let Some(progress) = &*self.progress.lock() {
            progress();
        }
    }
}

impl Log for HeldLog {
    fn is_durable(&self) -> bool {
        true
    }

    fn reserve(&self, count: u64) -> Lsn {
        Lsn(self.lsn.fetch_add(count, Ordering::SeqCst))
    }

    fn append(&self, parts: &[Part<'_>]) -> Result<Position, LogError> {
        if *self.role.borrow() == Role::Stopped {
            return Err(LogError::Stopped(self.why_stopped.lock().clone()));
        }
        if parts.is_empty() {
            return Ok(Position(self.appended()));
        }
        let position = self.appended.fetch_add(1, Ordering::SeqCst) + 1;
        let location = Location { segment: SegmentId(1), offset: position as u32 };
        let mut base = 0;
        for part in parts {
            if let Part::Publish(publish) = part {
                publish.batch.set_location(location, base);
                base += publish.batch.bytes().len() as u32;
            }
        }
        Ok(Position(position))
    }

    fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::SeqCst))
    }

    fn written(&self) -> Position {
        self.committed()
    }

    fn on_progress(&self, call: Box<dyn Fn() + Send + Sync>) {
        *self.progress.lock() = Some(call);
    }

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
