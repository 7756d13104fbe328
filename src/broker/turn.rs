//! One turn: the time it happens at, and everything that must follow once no queue is locked.
//!
//! A driver opens a turn for each batch (a read, a timer), calls any number of operations with it and ends it
//! with [`Turn::finish`]. Dead letters wait here as a work list, so that they are routed without recursion and
//! without a second queue's lock; wake-ups wait here, so that each connection is woken once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::journalling::{JournalNotes, stored_run};
use super::{Broker, Commit, Hold, Outbox, QueueCell};
use crate::model::{QueueId, StoredRun, Timestamp};
use crate::queue::{DeadLetter, Effects};
use crate::routing::Routed;
use crate::store::Log;

/// How often, on average, a letter may die again within the turn in which it died first.
const REBURIALS_EACH: usize = 64;

/// How often letters may die again in any turn. Queues that expire everything at once and dead-letter into each
/// other through a fanout exchange multiply a letter by every order in which it can pass them: with 15 queues,
/// more than a million million times. That must end, visibly.
///
/// What was in a queue before and dies only now is never held to this, however much of it there is: one large
/// letter can drive out a million small messages.
const REBURIALS_LEAST: usize = 10_000;

/// See the module.
#[derive(Default)]
pub struct Turn {
    /// The moment everything in this turn happens at.
    pub now: Timestamp,
    pub(super) effects: Effects,
    pub(super) wakes: Vec<Arc<Outbox>>,
    pub(super) dead: VecDeque<(Arc<QueueCell>, DeadLetter)>,
    pub(super) closed: Vec<Arc<QueueCell>>,
    pub(super) congested: Vec<(QueueId, Hold)>,
    /// What the journal is to be told.
    pub(super) notes: JournalNotes,
    required: Commit,
    /// What overflow files need not keep.
    pub(super) released: Vec<StoredRun>,
    /// Room for looking up the routes of what died or has waited.
    pub(super) routed: Routed,
}

impl Turn {
    /// A turn whose buffers are used again and again by its driver.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the turn at a moment.
    pub fn begin(&mut self, now: Timestamp) {
        debug_assert!(self.wakes.is_empty() && self.dead.is_empty() && self.closed.is_empty());
        self.now = now;
    }

    /// Routes what died, removes queues that have ended, and wakes every connection that got something.
    pub fn finish(&mut self, broker: &Broker) {
        self.follow_up(broker);
        self.wake();
    }

    /// Wakes every connection that got something.
    pub(super) fn wake(&mut self) {
        for outbox in self.wakes.drain(..) {
            outbox.wake();
        }
    }

    /// Whether [`Turn::finish`] will wake others than who has this outbox.
    pub fn wakes_others(&self, own: &Arc<Outbox>) -> bool {
        self.wakes.iter().any(|outbox| !Arc::ptr_eq(outbox, own))
    }

    /// Routes what died and removes queues that have ended, so that what comes later in the turn sees it.
    pub fn follow_up(&mut self, broker: &Broker) {
        // Whatever is put into a queue from here on is younger than this: a letter's new life, that is.
        let reborn_from = (!self.dead.is_empty()).then(|| broker.log().reserve(1));
        let mut budget = REBURIALS_LEAST;
        let mut ended = 0u64;
        loop {
            if let Some(queue) = self.closed.pop() {
                queue.leave_vhost();
            } else if let Some((queue, dead)) = self.dead.pop_front() {
                if reborn_from.is_none_or(|first| dead.lsn < first) {
                    budget = budget.saturating_add(REBURIALS_EACH);
                } else if budget > 0 {
                    budget -= 1;
                } else {
                    ended += 1;
                    self.notes_dead(&queue, &dead);
                    continue;
                }
                broker.bury(&queue, dead, self);
            } else {
                break;
            }
        }
        if ended > 0 {
            broker.end_dead_letters(ended);
        }
        broker.append_notes(&mut self.notes);
        if !self.released.is_empty() {
            broker.log().release(&self.released);
            self.released.clear();
        }
    }

    /// Notes that a letter has left its queue and goes nowhere.
    pub(super) fn notes_dead(&mut self, queue: &QueueCell, letter: &DeadLetter) {
        if let Some(run) = stored_run(queue, &letter.message, letter.lsn) {
            self.notes.settled(queue.id(), run);
        }
    }

    /// Whatever is answered from here on must wait for this.
    pub fn require(&mut self, commit: Commit) {
        self.required = self.required.join(commit);
    }

    /// What was done to messages of durable queues up to now is told the journal, and whatever is answered from here on
    /// waits for it: who is told that messages are gone must not find them again after a crash.
    pub(super) fn require_notes(&mut self, log: &dyn Log) {
        let commit = self.notes.append(log);
        self.require(commit);
    }

    /// What the next answer must wait for: all that was required since this was asked last, in this turn or before,
    /// for not everything that is done is answered.
    pub fn take_commit(&mut self) -> Commit {
        std::mem::take(&mut self.required)
    }

    /// The queues that hold this turn's publisher back, and why: it must wait for
    /// [`super::Notice::PressureLifted`] from each.
    pub fn take_congested(&mut self) -> impl Iterator<Item = (QueueId, Hold)> + '_ {
        self.congested.drain(..)
    }
}
