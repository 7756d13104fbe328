//! The threads that drive a journal: one writes and syncs, one gives space back.
//!
//! Owned by [`JournalThreads`], which ends them. Not here: what they do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use super::{Journal, Maintained, Pumped, SyncMode};
use crate::store::Log;

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How often it is looked whether space can be given back, and how much the disk has left, when little is written.
const MAINTENANCE: Duration = Duration::from_millis(500);
/// How soon maintenance looks again when it waits for a sync.
const SYNC_WAIT: Duration = Duration::from_millis(5);
/// How long the writer sleeps when there is nothing to do: it is woken before.
const IDLE: Duration = Duration::from_secs(1);

/// The threads of a journal.
#[derive(Debug)]
pub struct JournalThreads {
    journal: Arc<Journal>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl JournalThreads {
    /// Starts them.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn spawn(journal: Arc<Journal>) -> std::io::Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let mut started = JournalThreads { journal, ends, threads: Vec::new() };
        let (journal, ends) = (started.journal.clone(), started.ends.clone());
        let space = thread::Builder::new().name("journal-space".into());
        let space = space.spawn(move || give_space_back(&journal, &ends))?;
        let wake = space.thread().clone();
        started.threads.push(space);
        let (journal, ends) = (started.journal.clone(), started.ends.clone());
        let writer = thread::Builder::new().name("journal-writer".into());
        let guarded = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| write(&journal, &wake, &ends)));
            if ended.is_err() {
                // Else everyone would wait for ever for what nobody writes.
                journal.stop("its writer has failed");
            }
        };
        started.threads.push(writer.spawn(guarded)?);
        Ok(started)
    }

    /// Ends them and closes the journal: everything that was appended is safe when this returns.
    ///
    /// # Errors
    /// Why it is not.
    pub fn close(mut self) -> Result<(), String> {
        self.end();
        self.journal.close()
    }

    fn end(&mut self) {
        self.ends.store(true, Ordering::Release);
        self.journal.wake_up();
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for JournalThreads {
    fn drop(&mut self) {
        self.end();
    }
}

/// `space` is woken whenever a good part of a segment was written: as much may be dead by then.
fn write(journal: &Journal, space: &Thread, ends: &AtomicBool) {
    let step = u64::from(journal.options.segment_size / 8);
    let mut looked_at = journal.written().0;

    let idle = match journal.options.sync {
        SyncMode::Interval(interval) => interval.clamp(Duration::from_millis(1), IDLE),
        SyncMode::Always | SyncMode::Never => IDLE,
    };
    while !ends.load(Ordering::Acquire) {
        match journal.pump() {
            // From one segment to the next the numbers leap, which is more than a step.
            Pumped::Wrote if journal.written().0 - looked_at >= step => {
                looked_at = journal.written().0;
                space.unpark();
            }
            Pumped::Wrote => {}
            Pumped::Idle => journal.wait_for_work(idle),
            Pumped::Full => thread::park_timeout(RETRY),
            Pumped::Stopped => return,
        }
    }
}

fn give_space_back(journal: &Journal, ends: &AtomicBool) {
    while !ends.load(Ordering::Acquire) {
        match journal.maintain() {
            Maintained::Worked => {}
            Maintained::Waiting => thread::park_timeout(SYNC_WAIT),
            Maintained::Idle => thread::park_timeout(MAINTENANCE),
        }
    }
}
