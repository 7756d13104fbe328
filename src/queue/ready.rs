//! Ready messages of one queue, in delivery order.
//!
//! Invariants: higher priority first, then LSN order, so a requeued message returns to its old place; the
//! counts are those of the messages, in memory or not; every deadline is known to `expiry`. Lanes of unused priorities
//! hold no memory worth counting. As long as nothing is paged, that costs a branch.
//! Not here: who receives (`dispatch`), how many may wait (`overflow`), when messages are loaded (`paging`).

use crate::model::{Location, Lsn, Message, Timestamp};

use super::browse::{BrowsePlace, Seen};
use super::entry::Entry;
use super::expiry::{Deadline, Expiry};
use super::lane::Lane;
use super::paged::{Item, PagedRun};
use super::stats::memory_of;

#[derive(Debug, Default)]
pub(super) struct Ready {
    /// By priority; only as long as the highest priority seen.
    lanes: Vec<Lane>,
    /// A bit for each lane that has messages.
    occupied: [u64; 4],
    expiry: Expiry,
    count: usize,
    body_bytes: u64,
    /// Of the messages in memory.
    memory: u64,
    /// Messages that are not in memory.
    paged: u64,
    /// In how many runs they are.
    runs: usize,
    /// What is remembered of them.
    runs_memory: u64,
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the bodies: what `x-max-length-bytes` counts.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Bytes of the messages in memory with a fixed overhead for each, and what is remembered of others.
    pub(super) fn memory(&self) -> u64 {
        self.memory + self.runs_memory
    }

    /// Of that, the bytes of the messages in memory: what paging gives back.
    pub(super) fn resident(&self) -> u64 {
        self.memory
    }

    /// Messages that are not in memory.
    pub(super) fn paged(&self) -> u64 {
        self.paged
    }

    /// Whether there is a next message, and it is in memory.
    pub(super) fn has_front(&self) -> bool {
        match self.runs {
            0 => self.count > 0,
            _ => self.first_lane().is_some_and(|lane| !self.lanes[lane].begins_with_run()),
        }
    }

    /// The next messages to be delivered, if they are not in memory.
    pub(super) fn front_run(&self) -> Option<PagedRun> {
        match self.runs {
            0 => None,
            _ => self.lanes.get(self.first_lane()?)?.front_run(),
        }
    }

    /// Puts a message in its place.
    pub(super) fn insert(&mut self, mut entry: Entry) {
        let held = &mut entry.held;
        held.body_len = held.message.body_len() as u32;
        self.count += 1;
        self.body_bytes += u64::from(held.body_len);
        self.memory += memory_of(&held.message);
        if let Some(deadline) = entry.deadline() {
            self.expiry.add(deadline);
        }
        let priority = usize::from(entry.held.priority);
        self.occupy(priority);
        self.lanes[priority].insert(entry);
    }

    /// Puts a run in its place.
    pub(super) fn insert_run(&mut self, run: PagedRun) {
        self.count += run.count as usize;
        self.body_bytes += run.body_bytes;
        self.paged += u64::from(run.count);
        let priority = usize::from(run.priority);
        self.occupy(priority);
        let lane = &mut self.lanes[priority];
        let before = (lane.run_count(), lane.runs_memory());
        lane.insert_run(run, &mut self.expiry);
        self.runs = self.runs + lane.run_count() - before.0;
        self.runs_memory = self.runs_memory + lane.runs_memory() - before.1;
        self.forget_stale();
    }

    /// The run that begins with this message, and those behind it.
    pub(super) fn runs_from(&self, priority: u8, first: Lsn) -> impl Iterator<Item = PagedRun> {
        self.lanes.get(usize::from(priority)).into_iter().flat_map(move |lane| lane.runs_from(first))
    }

    /// Whether no other run has messages in the place of this one.
    pub(super) fn is_free_for(&self, run: &PagedRun) -> bool {
        self.lanes.get(usize::from(run.priority)).is_none_or(|lane| lane.is_free_for(run))
    }

    /// A message comes to this lane.
    fn occupy(&mut self, priority: usize) {
        if self.lanes.len() <= priority {
            self.lanes.resize_with(priority + 1, Lane::default);
        }
        self.occupied[priority / 64] |= 1 << (priority % 64);
    }

    /// When the next message to be delivered came to the queue.
    pub(super) fn head_enqueued(&self) -> Option<Timestamp> {
        let lane = self.lanes.get(self.first_lane()?)?;
        match lane.front_run() {
            Some(run) => Some(run.enqueued),
            None => lane.front().map(|(_, held)| held.enqueued),
        }
    }

    /// Takes the next message to be delivered. It must be in memory: see [`Ready::has_front`].
    pub(super) fn pop(&mut self) -> Option<Entry> {
        debug_assert!(self.front_run().is_none(), "the next message is not in memory");
        let priority = self.first_lane()?;
        let entry = self.lanes[priority].pop()?;
        self.removed(&entry);
        self.forget_stale();
        Some(entry)
    }

    /// Whether a message is past its deadline, unless its record is stale.
    pub(super) fn may_be_due(&self, now: Timestamp) -> bool {
        self.expiry.first().is_some_and(|first| first <= now)
    }

    /// The first deadline; earlier than any message's if a record is stale.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.expiry.first()
    }

    /// Takes the next message that is past its deadline, in order of deadline, then LSN; or a run of them.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<Item> {
        while let Some(due) = self.expiry.pop_due(now) {
            let lane = &mut self.lanes[usize::from(due.priority)];
            if self.runs > 0 && lane.run(due.lsn).is_some_and(|run| run.expires == due.at) {
                return self.remove_run(due.priority, due.lsn).map(Item::Run);
            }
            if let Some(entry) = lane.remove(due.lsn, |held| held.expires == due.at) {
                self.removed(&entry);
                self.forget_stale();
                return Some(Item::Message(entry));
            }
        }
        None
    }

    /// Takes the next messages to be delivered, which are not in memory.
    pub(super) fn pop_run(&mut self) -> Option<PagedRun> {
        let run = self.front_run()?;
        self.take_run(&run)
    }

    /// Takes this run as it is now, if it still begins and is kept where it did.
    pub(super) fn take_run(&mut self, run: &PagedRun) -> Option<PagedRun> {
        let lane = self.lanes.get_mut(usize::from(run.priority))?;
        lane.run(run.first).filter(|now| now.is_same(run))?;
        self.remove_run(run.priority, run.first)
    }

    fn remove_run(&mut self, priority: u8, first: Lsn) -> Option<PagedRun> {
        let lane = self.lanes.get_mut(usize::from(priority))?;
        let before = lane.runs_memory();
        let run = lane.remove_run(first)?;
        self.runs_memory = self.runs_memory + lane.runs_memory() - before;
        self.removed_run(&run);
        Some(run)
    }

    /// Pages messages out, the last ones of the lowest lanes first, until at most `keep_bytes` of them are in memory
    /// or nothing more can go. Answers how many went.
    pub(super) fn page_out(
        &mut self,
        keep_bytes: u64,
        stored: &impl Fn(&Message) -> Option<Location>,
    ) -> u64 {
        let mut messages = 0;
        for lane in &mut self.lanes {
            let excess = self.memory.saturating_sub(keep_bytes);
            if excess == 0 {
                break;
            }
            let before = (lane.run_count(), lane.runs_memory());
            let out = lane.page_out(excess, stored, &mut self.expiry);
            self.runs = self.runs + lane.run_count() - before.0;
            self.runs_memory = self.runs_memory + lane.runs_memory() - before.1;
            self.memory -= out.memory;
            messages += out.messages;
        }
        self.paged += messages;
        self.forget_stale();
        messages
    }

    /// Its lanes with their priorities, the lowest first.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (u8, &Lane)> {
        (0..=u8::MAX).zip(&self.lanes)
    }

    /// The bytes of a message are here from now on. Answers whether it is still there.
    pub(super) fn page_at(&mut self, priority: u8, lsn: Lsn, location: Location, from: u32) -> bool {
        let lane = self.lanes.get_mut(usize::from(priority));
        let Some(entry) = lane.and_then(|lane| lane.remove(lsn, |_| true)) else { return false };
        self.removed(&entry);
        self.insert_run(PagedRun::of(lsn, &entry.held, location, from));
        true
    }

    /// What waits behind a place (priority and LSN), in delivery order, with its priority.
    pub(super) fn seen_after(&self, after: Option<(u8, Lsn)>) -> impl Iterator<Item = (u8, Seen<'_>)> {
        let lanes = (0..=u8::MAX).zip(&self.lanes).rev();
        let lanes = lanes.filter(move |(priority, _)| after.is_none_or(|(last, _)| *priority <= last));
        lanes.flat_map(move |(priority, lane)| {
            let from = match after {
                Some((last, lsn)) if last == priority => Lsn(lsn.0.saturating_add(1)),
                _ => Lsn(0),
            };
            lane.seen_from(from).map(move |seen| (priority, seen))
        })
    }

    /// What has this message, in the lane of this priority.
    pub(super) fn seen_at(&self, priority: u8, lsn: Lsn) -> Option<Seen<'_>> {
        let seen = self.lanes.get(usize::from(priority))?.seen_from(lsn).next()?;
        let is_it = match &seen {
            Seen::Message(found, _) => *found == lsn,
            Seen::Run(run) => run.has(lsn),
        };
        is_it.then_some(seen)
    }

    /// Where this message waits.
    pub(super) fn place_of(&self, lsn: Lsn) -> Option<BrowsePlace> {
        let priorities = (0..=u8::MAX).take(self.lanes.len());
        let priority = priorities.into_iter().find(|priority| self.seen_at(*priority, lsn).is_some())?;
        Some(BrowsePlace::Ready { priority, lsn })
    }

    /// Takes a message out of the lane of this priority. It must be in memory.
    pub(super) fn remove(&mut self, priority: u8, lsn: Lsn) -> Option<Entry> {
        let entry = self.lanes.get_mut(usize::from(priority))?.remove(lsn, |_| true)?;
        self.removed(&entry);
        self.forget_stale();
        Some(entry)
    }

    /// Takes all messages, in delivery order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item> + use<> {
        let mut all = std::mem::take(self);
        std::iter::from_fn(move || {
            let priority = all.first_lane()?;
            let item = all.lanes[priority].pop_item()?;
            all.leave(priority);
            Some(item)
        })
    }

    /// Changes when messages expire, given when they came. Looks at every one.
    pub(super) fn change_expiry(&mut self, change: impl Fn(Timestamp, &mut Timestamp)) {
        self.lanes.iter_mut().for_each(|lane| lane.change_expiry(&change));
        self.runs_memory = self.lanes.iter().map(Lane::runs_memory).sum();
        self.rebuild_expiry();
    }

    fn first_lane(&self) -> Option<usize> {
        let word = self.occupied.iter().rposition(|word| *word != 0)?;
        Some(word * 64 + 63 - self.occupied[word].leading_zeros() as usize)
    }

    /// Accounts for a message that has left its lane.
    fn removed(&mut self, entry: &Entry) {
        self.count -= 1;
        self.body_bytes -= u64::from(entry.held.body_len);
        self.memory -= memory_of(&entry.held.message);
        if let Some(deadline) = entry.deadline() {
            self.expiry.left(deadline);
        }
        self.leave(usize::from(entry.held.priority));
    }

    /// Accounts for a run that has left its lane.
    fn removed_run(&mut self, run: &PagedRun) {
        self.count -= run.count as usize;
        self.body_bytes -= run.body_bytes;
        self.paged -= u64::from(run.count);
        self.runs -= 1;
        if let Some(deadline) = run.deadline() {
            self.expiry.left(deadline);
        }
        self.leave(usize::from(run.priority));
        self.forget_stale();
    }

    /// Something has left this lane.
    fn leave(&mut self, priority: usize) {
        if self.lanes[priority].is_empty() {
            self.occupied[priority / 64] &= !(1 << (priority % 64));
        }
    }

    fn forget_stale(&mut self) {
        if self.expiry.is_mostly_stale() {
            self.rebuild_expiry();
        }
    }

    fn rebuild_expiry(&mut self) {
        let messages = self.lanes.iter().flat_map(Lane::iter);
        let messages = messages.filter_map(|(lsn, held)| Deadline::of(lsn, held.expires, held.priority));
        let runs = self.lanes.iter().flat_map(Lane::runs).filter_map(|run| run.deadline());
        self.expiry.rebuild(messages.chain(runs));
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        let (mut count, mut body_bytes, mut memory, mut deadlines) = (0, 0, 0, Vec::new());
        let (mut paged, mut runs) = (0, 0);
        for (priority, lane) in self.lanes.iter().enumerate() {
            lane.check_invariants();
            let occupied = self.occupied[priority / 64] >> (priority % 64) & 1 == 1;
            assert_eq!(occupied, !lane.is_empty(), "lane {priority}");
            assert_eq!(lane.len(), lane.iter().count(), "lane {priority}");
            for (lsn, held) in lane.iter() {
                assert_eq!(usize::from(held.priority), priority);
                count += 1;
                body_bytes += u64::from(held.body_len);
                memory += memory_of(&held.message);
                deadlines.extend(Deadline::of(lsn, held.expires, held.priority));
            }
            for run in lane.runs() {
                assert_eq!(usize::from(run.priority), priority);
                count += run.count as usize;
                body_bytes += run.body_bytes;
                paged += u64::from(run.count);
                runs += 1;
                deadlines.extend(run.deadline());
            }
        }
        assert_eq!((self.count, self.body_bytes, self.memory), (count, body_bytes, memory));
        let runs_memory = self.lanes.iter().map(Lane::runs_memory).sum();
        assert_eq!((self.paged, self.runs, self.runs_memory), (paged, runs, runs_memory));
        self.expiry.check_invariants(deadlines);
    }
}
