//! Ready messages of one queue, in delivery order.
//!
//! Invariants: higher priority first, then LSN order, so a requeued message returns to its old place; the
//! counts are those of the messages; every deadline is known to `expiry`. Lanes of unused priorities hold no
//! memory worth counting. Not here: who receives (`dispatch`), how many may wait (`overflow`).

use crate::model::{Lsn, Timestamp};

use super::entry::{Entry, Held};
use super::expiry::{Deadline, Expiry};
use super::lane::Lane;
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
    memory: u64,
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

    /// Bytes of the messages with a fixed overhead for each.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Puts a message in its place.
    pub(super) fn insert(&mut self, mut entry: Entry) {
        let held = &mut entry.held;
        held.body_len = held.message.body_len() as u32;
        self.count += 1;
        self.body_bytes += u64::from(held.body_len);
        self.memory += memory_of(&held.message);
        if let Some(deadline) = deadline(entry.lsn, &entry.held) {
            self.expiry.add(deadline);
        }
        let priority = usize::from(entry.held.priority);
        if self.lanes.len() <= priority {
            self.lanes.resize_with(priority + 1, Lane::default);
        }
        self.occupied[priority / 64] |= 1 << (priority % 64);
        self.lanes[priority].insert(entry);
    }

    /// The next message to be delivered.
    pub(super) fn front(&self) -> Option<(Lsn, &Held)> {
        self.lanes.get(self.first_lane()?)?.front()
    }

    /// Takes the next message to be delivered.
    pub(super) fn pop(&mut self) -> Option<Entry> {
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

    /// Takes the next message that is past its deadline, in order of deadline, then LSN.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<Entry> {
        while let Some(due) = self.expiry.pop_due(now) {
            let lane = &mut self.lanes[usize::from(due.priority)];
            if let Some(entry) = lane.remove(due.lsn, |held| held.expires == due.at) {
                self.removed(&entry);
                self.forget_stale();
                return Some(entry);
            }
        }
        None
    }

    /// Takes all messages, in delivery order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.expiry.clear();
        let mut all = std::mem::take(self);
        std::iter::from_fn(move || {
            let priority = all.first_lane()?;
            let entry = all.lanes[priority].pop()?;
            if all.lanes[priority].is_empty() {
                all.occupied[priority / 64] &= !(1 << (priority % 64));
            }
            Some(entry)
        })
    }

    /// Changes all messages: their times, not their places. Looks at every one.
    pub(super) fn change(&mut self, change: impl Fn(&mut Held)) {
        for mut entry in self.drain() {
            change(&mut entry.held);
            self.insert(entry);
        }
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
        if let Some(deadline) = deadline(entry.lsn, &entry.held) {
            self.expiry.left(deadline);
        }
        let priority = usize::from(entry.held.priority);
        if self.lanes[priority].is_empty() {
            self.occupied[priority / 64] &= !(1 << (priority % 64));
        }
    }

    fn forget_stale(&mut self) {
        if self.expiry.is_mostly_stale() {
            let messages = self.lanes.iter().flat_map(Lane::iter);
            self.expiry.rebuild(messages.filter_map(|(lsn, held)| deadline(lsn, held)));
        }
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        let (mut count, mut body_bytes, mut memory, mut deadlines) = (0, 0, 0, Vec::new());
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
                deadlines.extend(deadline(lsn, held));
            }
        }
        assert_eq!((self.count, self.body_bytes, self.memory), (count, body_bytes, memory));
        self.expiry.check_invariants(deadlines);
    }
}

fn deadline(lsn: Lsn, held: &Held) -> Option<Deadline> {
    (held.expires != Timestamp::NEVER).then_some(Deadline { at: held.expires, lsn, priority: held.priority })
}
