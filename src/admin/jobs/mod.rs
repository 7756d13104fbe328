//! What goes on in the background for somebody who may look at it, and stop it.
//!
//! A job is a task with a number, an account of what it has done, and a way to end it. Jobs are gone with the process: whatever
//! they do is whole at every moment, so that one that was cut short is simply begun again.
//!
//! Invariants: at most so many run (`management.jobs_max`); those that have ended are remembered, ten times as many; all
//! end when the server stops ([`Jobs::stop`]).
//! Not here: who may start them (`api`). Rooms: `progress` the account, `redrive` sending dead letters back.

mod progress;
mod redrive;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AdminState;
use crate::model::Timestamp;

pub use progress::{JobState, Progress, Skipped};
pub(super) use redrive::{Redrive, Where};

/// Jobs that have ended and are remembered, for each that may run.
const REMEMBERED: usize = 10;

/// Every job.
#[derive(Debug)]
pub struct Jobs {
    all: Mutex<BTreeMap<u64, Arc<Job>>>,
    next: AtomicU64,
    running_max: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A job.
#[derive(Debug)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// What it does, in a word.
    pub kind: &'static str,
    /// The vhost it works in.
    pub vhost: String,
    /// The queue it works on.
    pub queue: String,
    /// Who has started it.
    pub user: String,
    /// When.
    pub started_at: Timestamp,
    /// Whether it only counts what it would do.
    pub is_dry_run: bool,
    /// Messages a second that it does at most.
    pub rate: Option<u32>,
    /// What it has done.
    pub progress: Progress,
    cancel: CancellationToken,
}

/// What a job is known by from its start.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// What it does, in a word.
    pub kind: &'static str,
    /// The vhost it works in.
    pub vhost: String,
    /// The queue it works on.
    pub queue: String,
    /// Who starts it.
    pub user: String,
    /// Whether it only counts what it would do.
    pub is_dry_run: bool,
    /// Messages a second that it does at most.
    pub rate: Option<u32>,
}

/// As many jobs run as may run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyJobs {
    /// The limit.
    pub max: usize,
}

impl Jobs {
    /// Of which so many may run at a time.
    pub fn new(running_max: usize) -> Self {
        Jobs {
            all: Mutex::default(),
            next: AtomicU64::new(1),
            running_max,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Every job that is remembered, in the order of their start.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.all.lock().values().cloned().collect()
    }

    /// The job with this number.
    pub fn get(&self, id: u64) -> Option<Arc<Job>> {
        self.all.lock().get(&id).cloned()
    }

    /// Starts a job.
    ///
    /// # Errors
    /// Too many run.
    pub(super) fn start<F: Future<Output = ()> + Send + 'static>(
        &self,
        state: &AdminState,
        facts: JobFacts,
        run: impl FnOnce(AdminState, Arc<Job>) -> F,
    ) -> Result<Arc<Job>, TooManyJobs> {
        let mut all = self.all.lock();
        let running = all.values().filter(|job| job.progress.state() == JobState::Running).count();
        if running >= self.running_max || self.stop.is_cancelled() {
            return Err(TooManyJobs { max: self.running_max });
        }
        let JobFacts { kind, vhost, queue, user, is_dry_run, rate } = facts;
        let job = Arc::new(Job {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            kind,
            vhost,
            queue,
            user,
            started_at: state.broker.now(),
            is_dry_run,
            rate,
            progress: Progress::default(),
            cancel: self.stop.child_token(),
        });
        all.insert(job.id, job.clone());
        let ended: Vec<u64> = all
            .iter()
            .filter(|(_, job)| job.progress.state() != JobState::Running)
            .map(|(id, _)| *id)
            .collect();
        let forget = ended.len().saturating_sub(self.running_max * REMEMBERED);
        ended.into_iter().take(forget).for_each(|id| _ = all.remove(&id));
        drop(all);
        let (run, ending, broker) = (run(state.clone(), job.clone()), job.clone(), state.broker.clone());
        self.tasks.spawn(async move {
            // Whatever happens to it, it does not seem to run for ever.
            let guard = EndGuard { job: ending, broker };
            run.await;
            drop(guard);
        });
        Ok(job)
    }

    /// Ends all jobs, and waits until they have ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Job {
    /// Asks the job to end. It does so between two batches; what it has done stays done.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits for so long, or until the job is to end.
    async fn rest(&self, until: tokio::time::Instant) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Notes that a job has ended, also if it panicked.
struct EndGuard {
    job: Arc<Job>,
    broker: crate::broker::Broker,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let state = if self.job.is_cancelled() { JobState::Cancelled } else { JobState::Failed };
        self.job.progress.end(state, "it ended in the middle", self.broker.now());
    }
}
