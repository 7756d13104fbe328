//! Messages that have died and are not dead letters yet, because the first of them is not in memory.
//!
//! They have left the ready ones, so they count for no limit and are delivered to nobody, but they are still the
//! queue's: the journal is told when they become dead letters. What dies meanwhile waits behind them, so that dead
//! letters keep their order.
//!
//! Invariants: empty, or the first is a run; only in queues that had a dead-letter exchange when they died.
//! Not here: when they are loaded (`paging`).

use std::collections::VecDeque;

use rialto_protocol::types::ShortStr;

use super::effects::DeathReason;
use super::entry::Entry;
use super::paged::{Item, PagedRun, RUN_OVERHEAD};
use super::spare::give_back_spare;
use super::stats::memory_of;

/// Why messages died.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) reason: DeathReason,
    /// What the rejecting consumer said about it.
    pub(super) text: Option<ShortStr>,
}

#[derive(Debug)]
enum Dead {
    Message(Entry, Cause),
    Run(PagedRun, DeathReason),
}

#[derive(Debug, Default)]
pub(super) struct Dying {
    waiting: VecDeque<Dead>,
    /// Messages, in memory or not.
    messages: u64,
    /// Of these, messages that are not in memory.
    paged: u64,
    memory: u64,
}

impl Dying {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All of them, in memory or not.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Those that are not in memory.
    pub(super) fn paged(&self) -> u64 {
        self.paged
    }

    /// Bytes of those in memory with a fixed overhead for each, and one for each run of others.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// A message in memory died.
    pub(super) fn push(&mut self, entry: Entry, cause: Cause) {
        self.messages += 1;
        self.memory += memory_of(&entry.held.message);
        self.waiting.push_back(Dead::Message(entry, cause));
    }

    /// Messages died that are not in memory.
    pub(super) fn push_run(&mut self, run: PagedRun, reason: DeathReason) {
        self.count_run(&run);
        self.waiting.push_back(Dead::Run(run, reason));
    }

    /// What has to be loaded before any of them can go.
    pub(super) fn front_run(&self) -> Option<&PagedRun> {
        match self.waiting.front()? {
            Dead::Run(run, _) => Some(run),
            Dead::Message(..) => None,
        }
    }

    /// Runs at the front, with nothing between them.
    pub(super) fn front_runs(&self) -> impl Iterator<Item = PagedRun> {
        self.waiting.iter().map_while(|dead| match dead {
            Dead::Run(run, _) => Some(*run),
            Dead::Message(..) => None,
        })
    }

    /// Takes the first run.
    pub(super) fn pop_run(&mut self) -> Option<(PagedRun, DeathReason)> {
        let run = *self.front_run()?;
        let Some(Dead::Run(_, reason)) = self.waiting.pop_front() else { return None };
        self.messages -= u64::from(run.count);
        self.paged -= u64::from(run.count);
        self.memory -= RUN_OVERHEAD;
        give_back_spare(&mut self.waiting);
        Some((run, reason))
    }

    /// Puts back what is left of the first run.
    pub(super) fn push_front_run(&mut self, run: PagedRun, reason: DeathReason) {
        self.count_run(&run);
        self.waiting.push_front(Dead::Run(run, reason));
    }

    /// Takes the first one if it is in memory.
    pub(super) fn pop(&mut self) -> Option<(Entry, Cause)> {
        let front = self.waiting.pop_front_if(|dead| matches!(dead, Dead::Message(..)))?;
        let Dead::Message(entry, cause) = front else { return None };
        self.messages -= 1;
        self.memory -= memory_of(&entry.held.message);
        Some((entry, cause))
    }

    /// Takes the first one, whatever it is.
    pub(super) fn pop_item(&mut self) -> Option<Item> {
        match self.pop_run() {
            Some((run, _)) => Some(Item::Run(run)),
            None => self.pop().map(|(entry, _)| Item::Message(entry)),
        }
    }

    fn count_run(&mut self, run: &PagedRun) {
        self.messages += u64::from(run.count);
        self.paged += u64::from(run.count);
        self.memory += RUN_OVERHEAD;
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        assert!(self.is_empty() || self.front_run().is_some(), "a dead letter waits for nothing");
        let (mut messages, mut paged, mut memory) = (0, 0, 0);
        for dead in &self.waiting {
            match dead {
                Dead::Message(entry, _) => {
                    messages += 1;
                    memory += memory_of(&entry.held.message);
                }
                Dead::Run(run, _) => {
                    messages += u64::from(run.count);
                    paged += u64::from(run.count);
                    memory += RUN_OVERHEAD;
                }
            }
        }
        assert_eq!((self.messages, self.paged, self.memory), (messages, paged, memory));
    }
}
