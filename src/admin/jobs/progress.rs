//! What a job has done so far: written by its task, read by whoever asks.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::model::Timestamp;

/// Origins that are counted each for itself; the others are counted together.
const ORIGINS_MAX: usize = 100;

/// Whether a job still goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobState {
    /// It does.
    #[default]
    Running,
    /// It has done all there was to do.
    Done,
    /// Somebody has ended it, or the broker stops.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl JobState {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Cancelled => "cancelled",
            JobState::Failed => "failed",
        }
    }
}

/// Messages that a job has left where they were, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not dead letters, or with a history that makes no sense: nobody knows where they came from.
    pub no_origin: u64,
    /// The queue that they came from is gone, or the exchange leads nowhere.
    pub no_queue: u64,
    /// Whoever started the job may not publish to the exchange that they would go to.
    pub not_allowed: u64,
    /// The queue that they would go to is full, and refuses them.
    pub full: u64,
    /// A consumer, or somebody else, was faster.
    pub gone: u64,
    /// They cannot be read now.
    pub unreadable: u64,
}

/// What a job has done at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Whether it goes on.
    pub state: JobState,
    /// Why it has failed.
    pub reason: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Messages that there were when it began.
    pub total: u64,
    /// Messages that it has looked at.
    pub scanned: u64,
    /// Of these, those that its filter wants.
    pub matched: u64,
    /// Of these, those that it has moved; in a dry run, those that it would have moved.
    pub moved: u64,
    /// Of those that its filter wants, those that it has left.
    pub skipped: Skipped,
    /// How many went where.
    pub by_destination: BTreeMap<String, u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Account>);

impl Progress {
    /// Whether it goes on.
    pub fn state(&self) -> JobState {
        self.0.lock().state
    }

    /// All of it.
    pub fn account(&self) -> Account {
        self.0.lock().clone()
    }

    /// Adds to it.
    pub(super) fn add(&self, add: impl FnOnce(&mut Account)) {
        add(&mut self.0.lock());
    }

    /// It has ended so, unless it had ended before.
    pub(super) fn end(&self, state: JobState, reason: &str, now: Timestamp) {
        let mut account = self.0.lock();
        if account.state == JobState::Running {
            account.state = state;
            account.reason = (state == JobState::Failed).then(|| reason.to_owned());
            account.ended_at = Some(now);
        }
    }
}

impl Account {
    /// So many more went there.
    pub(super) fn count(&mut self, destination: &str, messages: u64) {
        let known = self.by_destination.contains_key(destination);
        let name = if known || self.by_destination.len() < ORIGINS_MAX { destination } else { "others" };
        *self.by_destination.entry(name.to_owned()).or_default() += messages;
    }
}
