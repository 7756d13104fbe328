//! Ready messages of one priority, in LSN order.
//!
//! Arrivals come in LSN order and leave at the front, so they stand in a ring buffer. Those that come out of
//! order go to the nearer end if their place is close to it, else into a small ordered map beside the buffer:
//! a peer that rejects a million messages in random order costs O(log n) each, never O(n).
//! A message that leaves from the middle (expiry, paging) leaves a hole that keeps its place.
//! Messages that are not in memory stand in a list of their own, as runs. Buffer, map and runs together are the lane.
//!
//! Invariants: buffer, map and runs are each in LSN order, and no LSN is in two of them; the buffer starts with a
//! message, not a hole; at most about half of it are holes.
//! Not here: which lane is next (`ready`), when a message expires (`expiry`).

use std::collections::{BTreeMap, VecDeque};

use crate::model::{Location, Lsn, Message, Timestamp};

use super::browse::Seen;
use super::entry::{Entry, Held};
use super::expiry::Expiry;
use super::paged::{Item, PagedRun};
use super::run_list::{Inserted, RunList};
use super::spare::give_back_spare;
use super::stats::memory_of;

/// How far from an end of the buffer a message is still moved into place there: 2 KiB to shift.
const NEAR: usize = 32;
/// Holes that are tolerated in any case.
const HOLES: usize = 32;
/// Late messages that are looked at, at most, each time some are paged out.
const LATE_LOOKED_AT: usize = 1024;
/// Runs that are gathered, the last ones first, before they are put in their places, which is done in order.
const GATHERED_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Lane {
    slots: VecDeque<Slot>,
    holes: usize,
    late: BTreeMap<Lsn, Held>,
    runs: RunList,
}

/// What was paged out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PagedOut {
    /// Messages.
    pub(super) messages: u64,
    /// What they counted for in memory.
    pub(super) memory: u64,
}

/// A place in the buffer; a hole if the message is gone.
#[derive(Debug)]
struct Slot {
    lsn: Lsn,
    held: Option<Held>,
}

impl Lane {
    /// Messages in memory.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.holes + self.late.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.late.is_empty() && self.runs.is_empty()
    }

    /// How many runs there are.
    pub(super) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Bytes of memory that the runs cost.
    pub(super) fn runs_memory(&self) -> u64 {
        self.runs.memory()
    }

    /// Whether the first message is not in memory.
    pub(super) fn begins_with_run(&self) -> bool {
        let first = self.runs.first_place();
        first.is_some_and(|first| self.front().is_none_or(|(front, _)| first < front))
    }

    /// The first messages, if they are not in memory.
    pub(super) fn front_run(&self) -> Option<PagedRun> {
        if self.begins_with_run() { self.runs.first() } else { None }
    }

    /// The run that begins with this LSN.
    pub(super) fn run(&self, first: Lsn) -> Option<PagedRun> {
        self.runs.get(first)
    }

    /// Whether no other run has messages in the place of this one.
    pub(super) fn is_free_for(&self, run: &PagedRun) -> bool {
        self.runs.last_before(run.end()).is_none_or(|before| before.end() <= run.first)
    }

    /// Takes the run that begins with this LSN.
    pub(super) fn remove_run(&mut self, first: Lsn) -> Option<PagedRun> {
        self.runs.remove(first)
    }

    /// Takes the first message, or the run that begins with it.
    pub(super) fn pop_item(&mut self) -> Option<Item> {
        match self.front_run() {
            Some(run) => self.remove_run(run.first).map(Item::Run),
            None => self.pop().map(Item::Message),
        }
    }

    /// Puts a run in its place, as part of its neighbours if they go together.
    pub(super) fn insert_run(&mut self, run: PagedRun, expiry: &mut Expiry) {
        debug_assert!(self.is_free_for(&run), "{run:?} is in the queue twice");
        let Inserted { absorbed, is_absorbed } = self.runs.insert(run);
        absorbed.and_then(|next| next.deadline()).into_iter().for_each(|deadline| expiry.left(deadline));
        if !is_absorbed {
            run.deadline().into_iter().for_each(|deadline| expiry.add(deadline));
        }
    }

    /// Turns messages into runs, from the last one on, until `excess` bytes are out of memory or nothing more can go.
    /// `stored` says where a message's bytes are, if it can do without them.
    pub(super) fn page_out(
        &mut self,
        excess: u64,
        stored: &impl Fn(&Message) -> Option<Location>,
        expiry: &mut Expiry,
    ) -> PagedOut {
        let mut out = PagedOut::default();
        let mut gathered = Vec::new();
        let mut walk = Walk::from(self.slots.len());
        while out.memory < excess
            && let Some((at, location)) = walk.next(&self.slots, stored)
        {
            let slot = &mut self.slots[at];
            let held = slot.held.take().expect("the walk stops at messages");
            let run = out.add(slot.lsn, &held, location, expiry);
            self.holes += 1;
            self.gather(run, &mut gathered, expiry);
        }
        while self.slots.back().is_some_and(|slot| slot.held.is_none()) {
            self.slots.pop_back();
            self.holes -= 1;
        }
        self.trim();
        self.close_holes();

        let mut bound = Lsn(u64::MAX);
        for _ in 0..LATE_LOOKED_AT {
            let Some((&lsn, held)) = self.late.range(..bound).next_back() else { break };
            if out.memory >= excess {
                break;
            }
            bound = lsn;
            if let Some(location) = stored(&held.message) {
                let run = out.add(lsn, held, location, expiry);
                self.late.remove(&lsn);
                self.gather(run, &mut gathered, expiry);
            }
        }
        self.insert_gathered(&mut gathered, expiry);
        out
    }

    /// Messages that `wanted` agrees with, from the last one on, those that came late behind the others. As when paging
    /// out, not every one is looked at.
    pub(super) fn last(&self, wanted: &impl Fn(&Message) -> bool) -> impl Iterator<Item = (Lsn, &Message)> {
        let mut walk = Walk::from(self.slots.len());
        let is_wanted = |message: &Message| wanted(message).then_some(());
        let slots = std::iter::from_fn(move || {
            let (at, ()) = walk.next(&self.slots, &is_wanted)?;
            let slot = &self.slots[at];
            Some((slot.lsn, &slot.held.as_ref()?.message))
        });
        let late = self.late.iter().rev().take(LATE_LOOKED_AT).map(|(lsn, held)| (*lsn, &held.message));
        slots.chain(late.filter(|(_, message)| wanted(message)))
    }

    /// Adds a message before those that were paged out last.
    fn gather(&mut self, mut run: PagedRun, gathered: &mut Vec<PagedRun>, expiry: &mut Expiry) {
        match gathered.last_mut() {
            Some(last) if run.append(last) => *last = run,
            _ => {
                if gathered.len() >= GATHERED_MAX {
                    self.insert_gathered(gathered, expiry);
                }
                gathered.push(run);
            }
        }
    }

    fn insert_gathered(&mut self, gathered: &mut Vec<PagedRun>, expiry: &mut Expiry) {
        gathered.drain(..).rev().for_each(|run| self.insert_run(run, expiry));
    }

    /// Puts a message in its place. Its LSN must not be here already.
    pub(super) fn insert(&mut self, entry: Entry) {
        let Entry { lsn, held } = entry;
        let slot = |held| Slot { lsn, held: Some(held) };
        match (self.slots.front(), self.slots.back()) {
            (_, Some(back)) if back.lsn < lsn => self.slots.push_back(slot(held)),
            (Some(front), _) if lsn < front.lsn => self.slots.push_front(slot(held)),
            (None, _) => self.slots.push_back(slot(held)),
            _ => {
                let at = self.slots.partition_point(|slot| slot.lsn < lsn);
                if self.slots[at].lsn == lsn {
                    // The hole that this message left when it was taken from the middle.
                    let old = self.slots[at].held.replace(held);
                    debug_assert!(old.is_none(), "LSN {lsn} is in the queue twice");
                    self.holes -= 1;
                } else if at.min(self.slots.len() - at) <= NEAR {
                    self.slots.insert(at, slot(held));
                } else {
                    let old = self.late.insert(lsn, held);
                    debug_assert!(old.is_none(), "LSN {lsn} is in the queue twice");
                }
            }
        }
    }

    /// The message with the lowest LSN.
    pub(super) fn front(&self) -> Option<(Lsn, &Held)> {
        let slot = self.slots.front().and_then(|slot| Some((slot.lsn, slot.held.as_ref()?)));
        let late = self.late.first_key_value().map(|(lsn, held)| (*lsn, held));
        match (slot, late) {
            (Some(slot), Some(late)) => Some(if slot.0 < late.0 { slot } else { late }),
            (slot, late) => slot.or(late),
        }
    }

    /// Takes the message with the lowest LSN.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if !self.late.is_empty() && self.late_is_first() {
            return self.late.pop_first().map(|(lsn, held)| Entry { lsn, held });
        }
        let slot = self.slots.pop_front()?;
        self.trim();
        let held = slot.held.expect("the buffer starts with a message");
        Some(Entry { lsn: slot.lsn, held })
    }

    fn late_is_first(&self) -> bool {
        match (self.late.first_key_value(), self.slots.front()) {
            (Some((late, _)), Some(slot)) => *late < slot.lsn,
            (late, _) => late.is_some(),
        }
    }

    /// Takes the message with this LSN, wherever it stands, if `wanted` says that it is the one.
    pub(super) fn remove(&mut self, lsn: Lsn, wanted: impl Fn(&Held) -> bool) -> Option<Entry> {
        if let Ok(at) = self.slots.binary_search_by_key(&lsn, |slot| slot.lsn)
            && let Some(held) = self.slots[at].held.take_if(|held| wanted(held))
        {
            self.holes += 1;
            self.trim();
            self.close_holes();
            return Some(Entry { lsn, held });
        }
        if self.late.get(&lsn).is_some_and(wanted) {
            return self.late.remove(&lsn).map(|held| Entry { lsn, held });
        }
        None
    }

    /// Removes holes at the front, and spare memory.
    fn trim(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.held.is_none()) {
            self.slots.pop_front();
            self.holes -= 1;
        }
        give_back_spare(&mut self.slots);
    }

    /// Closes the holes if they are too many.
    fn close_holes(&mut self) {
        if self.holes > HOLES + self.slots.len() / 2 {
            self.slots.retain(|slot| slot.held.is_some());
            self.holes = 0;
        }
    }

    /// Changes when messages expire, given when they came. Looks at every one. The deadlines are the caller's matter.
    pub(super) fn change_expiry(&mut self, change: &impl Fn(Timestamp, &mut Timestamp)) {
        let slots = self.slots.iter_mut().filter_map(|slot| slot.held.as_mut());
        slots.chain(self.late.values_mut()).for_each(|held| change(held.enqueued, &mut held.expires));
        self.runs.for_each_mut(|run| change(run.enqueued, &mut run.expires));
    }

    /// Its runs from the one that begins here on, in order.
    pub(super) fn runs_from(&self, first: Lsn) -> impl Iterator<Item = PagedRun> {
        self.runs.iter_from(first)
    }

    /// Its runs, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = PagedRun> {
        self.runs.iter()
    }

    /// What it holds from this place on, in order; a run that has the place is the first.
    pub(super) fn seen_from(&self, place: Lsn) -> impl Iterator<Item = Seen<'_>> {
        let at = self.slots.partition_point(|slot| slot.lsn < place);
        let slots = self.slots.range(at..);
        let slots = slots.filter_map(|slot| Some(Seen::Message(slot.lsn, slot.held.as_ref()?)));
        let late = self.late.range(place..).map(|(lsn, held)| Seen::Message(*lsn, held));
        let around = self.runs.last_before(place).filter(|run| run.end() > place);
        let runs = around.into_iter().chain(self.runs.iter_from(place)).map(Seen::Run);
        let (mut slots, mut late, mut runs) = (slots.peekable(), late.peekable(), runs.peekable());
        std::iter::from_fn(move || {
            let firsts = [slots.peek(), late.peek(), runs.peek()].map(|seen| seen.map(Seen::first));
            let (which, _) =
                (0..).zip(firsts).filter(|(_, first)| first.is_some()).min_by_key(|(_, first)| *first)?;
            match which {
                0 => slots.next(),
                1 => late.next(),
                _ => runs.next(),
            }
        })
    }

    /// Its messages in memory, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Lsn, &Held)> {
        let slots = self.slots.iter().filter_map(|slot| Some((slot.lsn, slot.held.as_ref()?)));
        slots.chain(self.late.iter().map(|(lsn, held)| (*lsn, held)))
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        assert!(self.slots.front().is_none_or(|slot| slot.held.is_some()), "the buffer starts with a hole");
        assert!(self.slots.iter().is_sorted_by(|a, b| a.lsn < b.lsn), "the buffer is out of order");
        assert_eq!(self.slots.iter().filter(|slot| slot.held.is_none()).count(), self.holes);
        assert!(self.holes <= HOLES + 1 + self.slots.len() / 2, "too many holes");
        self.runs.check_invariants();
        for run in self.runs.iter() {
            let inside = self.iter().find(|(lsn, _)| (run.first..run.end()).contains(lsn));
            assert!(inside.is_none(), "{inside:?} is in {run:?}, too");
        }
    }
}

/// A way through the buffer from its end that does not look at every message: those that cannot go stand together (what
/// is not written yet is at the end), and to look at each of them every time would take too long.
struct Walk {
    at: usize,
    /// How far the next look is from the last one.
    step: usize,
}

impl Walk {
    fn from(end: usize) -> Walk {
        Walk { at: end, step: 1 }
    }

    /// The next message for which `look` has an answer, and the answer.
    fn next<R>(
        &mut self,
        slots: &VecDeque<Slot>,
        look: &impl Fn(&Message) -> Option<R>,
    ) -> Option<(usize, R)> {
        while self.at > 0 {
            self.at = self.at.saturating_sub(self.step);
            let Some(held) = &slots[self.at].held else { continue };
            if let Some(answer) = look(&held.message) {
                self.step = 1;
                return Some((self.at, answer));
            }
            self.step *= 2;
        }
        None
    }
}

impl PagedOut {
    /// Counts a message, and makes a run of it.
    fn add(&mut self, lsn: Lsn, held: &Held, location: Location, expiry: &mut Expiry) -> PagedRun {
        self.messages += 1;
        self.memory += memory_of(&held.message);
        let run = PagedRun::of(lsn, held, location, held.message.entry_offset());
        run.deadline().into_iter().for_each(|deadline| expiry.left(deadline));
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::entry;

    fn drain(lane: &mut Lane) -> Vec<u64> {
        lane.check_invariants();
        std::iter::from_fn(|| lane.pop()).map(|entry| entry.lsn.0).collect()
    }

    #[test]
    fn messages_leave_in_lsn_order_however_they_came() {
        let mut lane = Lane::default();
        let mut lsns: Vec<u64> = (0..1000).map(|n| n * 7919 % 1000).collect();
        for &lsn in &lsns {
            lane.insert(entry(lsn));
        }
        assert!(!lane.late.is_empty(), "some places are far from both ends");
        assert_eq!((lane.len(), lane.front().unwrap().0), (1000, Lsn(0)));
        lsns.sort_unstable();
        assert_eq!(drain(&mut lane), lsns);
        assert!(lane.is_empty());
    }

    #[test]
    fn a_message_taken_from_the_middle_leaves_the_order_of_the_others() {
        let mut lane = Lane::default();
        (0..100).for_each(|lsn| lane.insert(entry(lsn)));
        for lsn in (0..100).filter(|lsn| lsn % 10 != 3) {
            assert_eq!(lane.remove(Lsn(lsn), |_| true).map(|entry| entry.lsn), Some(Lsn(lsn)));
            lane.check_invariants();
        }
        assert!(lane.remove(Lsn(5), |_| true).is_none(), "it is gone");
        assert_eq!(drain(&mut lane), [3, 13, 23, 33, 43, 53, 63, 73, 83, 93]);
    }

    #[test]
    fn a_message_can_come_back_to_its_hole() {
        let mut lane = Lane::default();
        (0..10).for_each(|lsn| lane.insert(entry(lsn)));
        let taken = lane.remove(Lsn(5), |_| true).unwrap();
        lane.insert(taken);
        assert_eq!(drain(&mut lane), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut lane = Lane::default();
        (0..100_000).for_each(|lsn| lane.insert(entry(lsn)));
        while lane.len() > 10 {
            lane.pop();
        }
        assert!(lane.slots.capacity() <= 2048, "{}", lane.slots.capacity());
    }

    #[test]
    fn a_waiting_message_takes_one_cache_line() {
        assert_eq!(size_of::<Slot>(), 64);
    }
}
