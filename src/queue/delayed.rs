//! Messages that came back and wait until they may be delivered again (`x-delayed-retry-type`).
//!
//! They count for `x-max-length` like ready ones: a limit that could be passed by requeueing would be none.
//!
//! Invariants: in order of time, then of place; a message whose time to live ends sooner stands at that moment, so
//! it ends exactly then. Those that are not in memory wait like the others, and are not loaded for being due.
//! Not here: how long they wait (`model`), what becomes of them then (the queue).

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::model::{Location, Lsn, Message, Timestamp};

use super::browse::Seen;
use super::entry::{Entry, Held};
use super::paged::{Item, PagedRun, RUN_OVERHEAD};
use super::stats::memory_of;

/// Messages that are looked at, at most, each time some are paged out.
const LOOKED_AT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Delayed {
    waiting: BTreeMap<(Timestamp, Lsn), Held>,
    /// Those that are not in memory.
    runs: BTreeMap<(Timestamp, Lsn), PagedRun>,
    body_bytes: u64,
    /// Of the messages in memory.
    memory: u64,
    /// Messages that are not in memory.
    paged: u64,
}

impl Delayed {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.paged as usize
    }

    /// Bytes of the bodies: what `x-max-length-bytes` counts.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Bytes of the messages in memory with a fixed overhead for each, and one for each run of others.
    pub(super) fn memory(&self) -> u64 {
        self.memory + self.runs.len() as u64 * RUN_OVERHEAD
    }

    /// Of that, the bytes of the messages in memory: what paging gives back.
    pub(super) fn resident(&self) -> u64 {
        self.memory
    }

    /// Messages that are not in memory.
    pub(super) fn paged(&self) -> u64 {
        self.paged
    }

    /// Keeps a message until `at`, or until its time to live is over.
    pub(super) fn insert(&mut self, at: Timestamp, mut entry: Entry) {
        entry.held.body_len = entry.held.message.body_len() as u32;
        self.body_bytes += u64::from(entry.held.body_len);
        self.memory += memory_of(&entry.held.message);
        self.waiting.insert((at.min(entry.held.expires), entry.lsn), entry.held);
    }

    /// Keeps a run until `at`, or until its time to live is over.
    pub(super) fn insert_run(&mut self, at: Timestamp, run: PagedRun) {
        self.body_bytes += run.body_bytes;
        self.paged += u64::from(run.count);
        self.runs.insert((at.min(run.expires), run.first), run);
    }

    /// Whether no other run waits in the place of this one.
    pub(super) fn is_free_for(&self, at: Timestamp, run: &PagedRun) -> bool {
        !self.runs.contains_key(&(at.min(run.expires), run.first))
    }

    /// When the next one has waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let run = self.runs.first_key_value().map(|((at, _), _)| *at);
        waiting.into_iter().chain(run).min()
    }

    /// Takes the next one that has waited for long enough, perhaps for too long to live.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Item> {
        self.next_deadline().filter(|at| *at <= now)?;
        self.pop()
    }

    /// Takes the next one, however long it has waited.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let waiting = self.waiting.first_key_value().map(|(place, _)| place);
        let run = self.runs.first_key_value().map(|(place, _)| place);
        if let Some(run) = run
            && waiting.is_none_or(|waiting| run < waiting)
        {
            let (_, run) = self.runs.pop_first()?;
            self.body_bytes -= run.body_bytes;
            self.paged -= u64::from(run.count);
            return Some(Item::Run(run));
        }
        let ((_, lsn), held) = self.waiting.pop_first()?;
        self.body_bytes -= u64::from(held.body_len);
        self.memory -= memory_of(&held.message);
        Some(Item::Message(Entry { lsn, held }))
    }

    /// Pages messages out, those that wait longest first, until at most `keep_bytes` of them are in memory or nothing
    /// more can go. Answers how many went.
    pub(super) fn page_out(
        &mut self,
        keep_bytes: u64,
        stored: &impl Fn(&Message) -> Option<Location>,
    ) -> u64 {
        let (mut messages, mut bound) = (0, (Timestamp::NEVER, Lsn(u64::MAX)));
        for _ in 0..LOOKED_AT {
            let Some((&place, held)) = self.waiting.range(..bound).next_back() else { break };
            if self.memory <= keep_bytes {
                break;
            }
            bound = place;
            if let Some(location) = stored(&held.message) {
                let run = PagedRun::of(place.1, held, location, held.message.entry_offset());
                self.memory -= memory_of(&held.message);
                self.waiting.remove(&place);
                self.runs.insert(place, run);
                messages += 1;
            }
        }
        self.paged += messages;
        messages
    }

    /// Messages that `wanted` agrees with, those that wait longest first; not every one is looked at.
    pub(super) fn last(
        &self,
        wanted: &impl Fn(&Message) -> bool,
    ) -> impl Iterator<Item = ((Timestamp, Lsn), &Message)> {
        let last = self.waiting.iter().rev().take(LOOKED_AT).map(|(place, held)| (*place, &held.message));
        last.filter(|(_, message)| wanted(message))
    }

    /// The bytes of a message are here from now on. Answers whether it is still there.
    pub(super) fn page_at(&mut self, place: (Timestamp, Lsn), location: Location, from: u32) -> bool {
        let Some(held) = self.waiting.remove(&place) else { return false };
        self.memory -= memory_of(&held.message);
        self.paged += 1;
        self.runs.insert(place, PagedRun::of(place.1, &held, location, from));
        true
    }

    /// What waits behind a place, in order, with until when.
    pub(super) fn seen_after(
        &self,
        after: Option<(Timestamp, Lsn)>,
    ) -> impl Iterator<Item = (Timestamp, Seen<'_>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let waiting = self.waiting.range((from, Bound::Unbounded));
        let waiting = waiting.map(|(place, held)| (*place, Seen::Message(place.1, held)));
        let runs = self.runs.range((from, Bound::Unbounded));
        let runs = runs.map(|(place, run)| (*place, Seen::Run(*run)));
        let (mut waiting, mut runs) = (waiting.peekable(), runs.peekable());
        std::iter::from_fn(move || {
            let run_is_first = match (waiting.peek(), runs.peek()) {
                (Some((place, _)), Some((run, _))) => run < place,
                (waiting, _) => waiting.is_none(),
            };
            let next = if run_is_first { runs.next() } else { waiting.next() };
            next.map(|((until, _), seen)| (until, seen))
        })
    }

    /// The message, or the run, that waits in this place.
    pub(super) fn seen_at(&self, until: Timestamp, lsn: Lsn) -> Option<Seen<'_>> {
        let waiting = self.waiting.get(&(until, lsn)).map(|held| Seen::Message(lsn, held));
        waiting.or_else(|| self.runs.get(&(until, lsn)).map(|run| Seen::Run(*run)))
    }

    /// Tells where each message waits. (A run here is one message: each came back at its own time.)
    pub(super) fn each_place(&self, mut tell: impl FnMut(Timestamp, Lsn)) {
        self.waiting.keys().chain(self.runs.keys()).for_each(|(until, lsn)| tell(*until, *lsn));
    }

    /// Takes a message out. It must be in memory.
    pub(super) fn remove(&mut self, until: Timestamp, lsn: Lsn) -> Option<Entry> {
        let held = self.waiting.remove(&(until, lsn))?;
        self.body_bytes -= u64::from(held.body_len);
        self.memory -= memory_of(&held.message);
        Some(Entry { lsn, held })
    }

    /// Takes this run as it is now, and says until when it waits. Looks at every one.
    pub(super) fn take_run(&mut self, run: &PagedRun) -> Option<(Timestamp, PagedRun)> {
        let (&place, _) = self.runs.iter().find(|(_, now)| now.is_same(run))?;
        let run = self.runs.remove(&place)?;
        self.body_bytes -= run.body_bytes;
        self.paged -= u64::from(run.count);
        Some((place.0, run))
    }

    /// Changes when messages expire, given when they came; they still wait as long, unless they are dead sooner. Looks
    /// at every one.
    pub(super) fn change_expiry(&mut self, change: impl Fn(Timestamp, &mut Timestamp)) {
        let all = std::mem::take(self);
        for ((at, lsn), mut held) in all.waiting {
            change(held.enqueued, &mut held.expires);
            self.insert(at, Entry { lsn, held });
        }
        for ((at, _), mut run) in all.runs {
            change(run.enqueued, &mut run.expires);
            self.insert_run(at, run);
        }
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        let memory: u64 = self.waiting.values().map(|held| memory_of(&held.message)).sum();
        let body_bytes: u64 = self.waiting.values().map(|held| u64::from(held.body_len)).sum();
        let of_runs: u64 = self.runs.values().map(|run| run.body_bytes).sum();
        let paged = self.runs.values().map(|run| u64::from(run.count)).sum();
        assert_eq!((self.memory, self.body_bytes, self.paged), (memory, body_bytes + of_runs, paged));
        assert!(self.waiting.iter().all(|((at, _), held)| *at <= held.expires));
        assert!(self.runs.iter().all(|((at, first), run)| *at <= run.expires && *first == run.first));
    }
}
