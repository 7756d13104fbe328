//! What the machine keeps elsewhere: pages and overflow files, and what is left of it all after a restart.
//!
//! The twin knows of the restart only.

use std::sync::Arc;

use crate::model::{Message, StoredRun};
use crate::queue::{ChannelWindow, PagedRun, Queue, QueueLimits};

use super::super::choices::Choices;
use super::{Pair, same};

/// More runs than a queue here ever has.
const LOADS_MAX: usize = 100_000;

impl Pair {
    /// Loads what the machine wants, perhaps in pieces.
    pub(super) fn load(&mut self, choices: &mut impl Choices, dispatch: bool) -> Result<(), String> {
        for _ in 0..LOADS_MAX {
            let Some(run) = self.machine.page_wanted() else { return Ok(()) };
            self.page_in(&run, choices)?;
            if dispatch {
                self.machine.dispatch(self.now, &mut self.out);
            }
        }
        Err("the machine wants to load something all the time".to_owned())
    }

    pub(super) fn load_for_get(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        while let Some(run) = self.machine.page_wanted_for_get(self.now, &mut self.out) {
            self.page_in(&run, choices)?;
        }
        Ok(())
    }

    pub(super) fn read(&self, run: &PagedRun) -> Result<Vec<Message>, String> {
        let stored = StoredRun { first: run.first, count: run.count, location: run.location };
        self.stored.read(stored, run.from, run.len, &self.gauge)
    }

    pub(super) fn page_in(&mut self, run: &PagedRun, choices: &mut impl Choices) -> Result<(), String> {
        let mut messages = self.read(run)?;
        let all = u64::from(run.count);
        let most = if choices.one_in(3) { 1 + choices.below(all) } else { all };
        messages.truncate(most as usize);
        self.tally.loaded += most;
        let taken = self.machine.page_in(run, messages, &mut self.out);
        same("messages taken into memory", taken as u64, most)
    }

    pub(super) fn page_out(&mut self, choices: &mut impl Choices) {
        let keep_bytes = choices.one_of(&[0, 0, 150, 500, 2000]);
        let unwritten = choices.one_of(&[0, 0, 5, 30]);
        let offset = self.stored.written(unwritten);
        self.tally.paged += self.machine.page_out(keep_bytes, |location| location.offset <= offset);
    }

    /// Writes transient messages to an overflow file, at once or in two steps.
    pub(super) fn spill(&mut self, choices: &mut impl Choices) {
        if let Some((spill, location)) = self.spilling.take() {
            self.tally.spilled += spill.messages().len() as u64;
            return self.machine.spilled(spill, location, &mut self.out);
        }
        let (keep_bytes, bytes_max) = (choices.one_of(&[0, 0, 500]), choices.one_of(&[1, 100, 5000]));
        if let Some(spill) = self.machine.spill_wanted(keep_bytes, bytes_max) {
            let location = self.stored.spill(spill.lsns().map(|lsn| lsn.0).zip(spill.messages()));
            self.spilling = Some((spill, location));
            if choices.one_in(2) {
                self.spill(choices);
            }
        }
    }

    /// The broker stops without a word and starts again.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        self.tally.count(&self.machine.stats().totals);
        self.tally.restarts += 1;
        self.spilling = None;
        let (name, options) = (self.machine.name().clone(), self.machine.options().clone());
        self.machine = Queue::new(name, options.clone(), QueueLimits::default(), self.now);
        for (window, (_, limit)) in self.windows.iter_mut().zip(&self.naive.channels) {
            *window = Arc::new(ChannelWindow::new(*limit));
        }
        for run in self.stored.restart() {
            same("restore", self.machine.restore(run), true)?;
        }
        self.machine.check_invariants();
        for (at, message) in self.stored.each(&self.gauge)? {
            self.machine.restore_key(&message, at);
        }
        self.naive.restart(self.now.as_micros());
        self.machine.set_paused(self.naive.paused);
        // As when policies are applied.
        self.machine.set_options(options.clone(), self.now, &mut self.out);
        self.naive.set_options(options, self.now.as_micros());
        Ok(())
    }
}
