//! Messages that leave memory and come back to it.
//!
//! The machine says which messages can do without memory and which it cannot go on without; to read them, and to know
//! what can be read, is the caller's part. After every operation the caller loads what is wanted:
//!
//! ```text
//! while let Some(run) = queue.page_wanted() {      // under the queue's lock
//!     read the entries of `run`, or a prefix of whole ones (and of those that `page_behind` says)
//!     queue.page_in(&run, messages, out);
//!     queue.dispatch(now, out);
//! }
//! ```
//!
//! Invariants: with nothing wanted, a queue with paged messages behaves as if all were in memory; what needs no bytes
//! (expiry and drop-head without dead letters, purge, close) loads none.
//! Not here: what a run is (`paged`), transient messages (`spill`), a new process (`restore`).

use crate::model::{Location, Message, Timestamp};

use super::Queue;
use super::effects::{DeathReason, Effects};
use super::paged::PagedRun;

/// Runs that are read with one that is wanted: see [`Queue::page_behind`].
pub const RUNS_TOGETHER_MAX: usize = 512;

impl Queue {
    /// What has to be loaded before the queue can go on: messages that died and are to be dead letters; the next
    /// messages, if a consumer has room or too many are there and they have to go one by one. Costs next to nothing
    /// while nothing is paged.
    pub fn page_wanted(&mut self) -> Option<PagedRun> {
        if let Some(run) = self.dying.front_run() {
            return Some(*run);
        }
        let run = self.ready.front_run()?;
        (self.consumers.has_room() || self.is_overfull()).then_some(run)
    }

    /// What has to be loaded before a [`Queue::get`], which wants the next message whoever has room. First it does what
    /// is due, so that the next message is the one that the `get` finds. It does not wait for what is dying.
    pub fn page_wanted_for_get(&mut self, now: Timestamp, out: &mut Effects) -> Option<PagedRun> {
        self.pass_time(now, out);
        self.ready.front_run().filter(|_| !self.is_paused())
    }

    /// Runs that are wanted next, in order, and stand right behind one that is wanted in the same record: they can be
    /// read with it, and where a record holds many runs, finding one of them costs as much as reading a hundred. At most
    /// `bytes_max` bytes of entries and [`RUNS_TOGETHER_MAX`] runs.
    pub fn page_behind(&self, run: &PagedRun, bytes_max: u32) -> Vec<PagedRun> {
        let mut behind = Vec::new();
        let (mut last, mut room) = (*run, bytes_max);
        let mut add = |next: PagedRun| {
            let left = room.checked_sub(next.len);
            let goes = behind.len() < RUNS_TOGETHER_MAX && last.is_before(&next) && left.is_some();
            if let Some(left) = left.filter(|_| goes) {
                (last, room) = (next, left);
                behind.push(next);
            }
            goes
        };
        match self.dying.front_run().is_some_and(|dying| dying.is_same(run)) {
            true => _ = self.dying.front_runs().skip(1).all(&mut add),
            false => _ = self.ready.runs_from(run.priority, run.first).skip(1).all(&mut add),
        }
        behind
    }

    /// Takes the messages of a run into memory: all of them, or the first ones, in order; the rest stays where it is.
    /// Answers how many it took. None if the run is not there any more, which is no harm.
    pub fn page_in(&mut self, run: &PagedRun, mut messages: Vec<Message>, out: &mut Effects) -> usize {
        messages.truncate(run.count as usize);
        let taken = messages.len();
        if taken == 0 {
            return 0;
        }
        if self.dying.front_run().is_some_and(|dying| dying.is_same(run)) {
            let Some((run, reason)) = self.dying.pop_run() else { return 0 };
            let rest = run.without(&messages);
            for entry in run.entries(messages) {
                self.end(entry, reason, None, out);
            }
            match rest {
                Some(rest) => self.dying.push_front_run(rest, reason),
                None => self.end_dying(out),
            }
            return taken;
        }
        let Some(run) = self.ready.take_run(run) else { return self.page_in_delayed(run, messages) };
        if let Some(rest) = run.without(&messages) {
            self.ready.insert_run(rest);
        }
        // From the last place to the first, so that they go to the front of their lane one by one.
        run.entries(messages).rev().for_each(|entry| self.ready.insert(entry));
        self.drop_overflow(out);
        taken
    }

    /// Gives up messages whose bytes cannot be read: they are gone for this queue, and nobody is told. What the journal
    /// has of them it keeps. Answers how many they are.
    pub fn page_lost(&mut self, run: &PagedRun, out: &mut Effects) -> u64 {
        let lost = match self.dying.front_run().is_some_and(|dying| dying.is_same(run)) {
            true => self.dying.pop_run().map(|(run, _)| run),
            false => {
                let ready = self.ready.take_run(run);
                ready.or_else(|| self.delayed.take_run(run).map(|(_, run)| run))
            }
        };
        if let Some(run) = lost {
            // Of an overflow file nobody else needs it.
            out.note_settled(run.stored(), false);
        }
        let lost = lost.map_or(0, |run| u64::from(run.count));
        self.totals.lost += lost;
        self.end_dying(out);
        self.drop_overflow(out);
        lost
    }

    /// Pages out ready messages whose bytes can be read back, those first that would be delivered last, then delayed
    /// ones, until they take at most `keep_bytes` of memory ([`super::MESSAGE_OVERHEAD`] for each included) or nothing
    /// more can go. `is_written` says whether the journal's record at a location can be read already. Answers how many
    /// went. Does not look at every message: what cannot go is passed over in growing steps.
    pub fn page_out(&mut self, keep_bytes: u64, is_written: impl Fn(Location) -> bool) -> u64 {
        let journalled = self.is_journalled();
        let stored = |message: &Message| {
            let location = message.location()?;
            let here = location.segment.is_overflow() || journalled && is_written(location);
            here.then_some(location)
        };
        let messages = self.ready.page_out(keep_bytes.saturating_sub(self.delayed.resident()), &stored);
        messages + self.delayed.page_out(keep_bytes.saturating_sub(self.ready.resident()), &stored)
    }

    /// Bytes of memory that ready and delayed messages take: what [`Queue::page_out`] and spilling can give back. Runs
    /// and unacknowledged messages do not count.
    pub fn resident_bytes(&self) -> u64 {
        self.ready.resident() + self.delayed.resident()
    }

    /// Messages that are not in memory.
    pub fn paged(&self) -> u64 {
        self.ready.paged() + self.delayed.paged() + self.dying.paged()
    }

    /// Ends messages that are not in memory, as [`Queue::bury`] does: dead letters must wait until they are loaded.
    pub(super) fn bury_run(&mut self, run: PagedRun, reason: DeathReason, out: &mut Effects) {
        self.count_deaths(reason, run.count.into());
        match self.options.dead_letter {
            None => out.note_settled(run.stored(), self.is_journalled()),
            Some(_) => self.dying.push_run(run, reason),
        }
    }

    /// Ends the messages that waited for others that died before them and are in memory now.
    fn end_dying(&mut self, out: &mut Effects) {
        while let Some((entry, cause)) = self.dying.pop() {
            self.end(entry, cause.reason, cause.text, out);
        }
    }

    /// What is dying becomes no dead letter any more: it is dropped.
    pub(super) fn forget_dying(&mut self, out: &mut Effects) {
        while let Some(item) = self.dying.pop_item() {
            self.note_item_settled(item, out);
        }
    }
}
