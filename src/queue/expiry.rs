//! When ready messages expire, wherever they stand.
//!
//! Deadlines that come in order (one TTL for the queue, or for all messages) stand in a ring buffer, others
//! in a heap. A message that leaves by another way is not searched: its record is stale, found out when it
//! is due, and stale records are thrown out together once they outnumber the live ones.
//!
//! A run of messages that are not in memory has one record, at the place of its first one.
//!
//! Invariants: every ready message with a deadline has a record, every such run too; records are at most about twice as
//! many as they are, however long their TTL. Not here: the messages (`ready`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::model::{Lsn, Timestamp};

use super::spare::give_back_spare;

/// Stale records that are tolerated in any case.
const STALE: usize = 64;

/// A deadline of a message. Ordered by time, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline {
    pub(super) at: Timestamp,
    pub(super) lsn: Lsn,
    pub(super) priority: u8,
}

impl Deadline {
    /// Of a message, or of a run by its first one; none if it does not expire.
    pub(super) fn of(lsn: Lsn, at: Timestamp, priority: u8) -> Option<Deadline> {
        (at != Timestamp::NEVER).then_some(Deadline { at, lsn, priority })
    }
}

#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// In order.
    steady: VecDeque<Deadline>,
    others: BinaryHeap<Reverse<Deadline>>,
    /// Ready messages that have a deadline.
    live: usize,
}

impl Expiry {
    /// A message with a deadline became ready.
    pub(super) fn add(&mut self, deadline: Deadline) {
        self.live += 1;
        if self.steady.back().is_none_or(|back| *back <= deadline) {
            self.steady.push_back(deadline);
        } else if self.steady.front().is_some_and(|front| deadline <= *front) {
            self.steady.push_front(deadline);
        } else {
            self.others.push(Reverse(deadline));
        }
    }

    /// A message with a deadline is not ready any more. With one TTL for all, the message at the head of the
    /// queue has the first record (and those that are paged out from its end have the last ones), so nothing stale is
    /// left behind.
    pub(super) fn left(&mut self, deadline: Deadline) {
        self.live -= 1;
        if self.steady.front() == Some(&deadline) {
            self.steady.pop_front();
            give_back_spare(&mut self.steady);
        } else if self.steady.back() == Some(&deadline) {
            self.steady.pop_back();
            give_back_spare(&mut self.steady);
        }
        if self.live == 0 {
            self.clear();
        }
    }

    /// The first deadline: never later than the first of a ready message, earlier if its record is stale.
    pub(super) fn first(&self) -> Option<Timestamp> {
        let steady = self.steady.front().map(|deadline| deadline.at);
        let other = self.others.peek().map(|Reverse(deadline)| deadline.at);
        match (steady, other) {
            (Some(steady), Some(other)) => Some(steady.min(other)),
            (steady, other) => steady.or(other),
        }
    }

    /// Takes the next record that is due, in order of time and place; it may be stale. If not, `left` follows.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Deadline> {
        let steady = self.steady.front().copied();
        let other = self.others.peek().map(|Reverse(deadline)| *deadline);
        let steady_first = match (steady, other) {
            (Some(steady), Some(other)) => steady <= other,
            (steady, _) => steady.is_some(),
        };
        let first = if steady_first { steady } else { other };
        let due = first.filter(|deadline| deadline.at <= now)?;
        if steady_first {
            self.steady.pop_front();
            give_back_spare(&mut self.steady);
        } else {
            self.others.pop();
        }
        Some(due)
    }

    /// Whether stale records are so many that a [`Expiry::rebuild`] pays.
    pub(super) fn is_mostly_stale(&self) -> bool {
        self.records() > 2 * self.live + STALE
    }

    /// Starts again from the deadlines of all ready messages.
    pub(super) fn rebuild(&mut self, live: impl Iterator<Item = Deadline>) {
        self.others = BinaryHeap::new();
        self.steady = live.collect();
        self.steady.make_contiguous().sort_unstable();
        self.live = self.steady.len();
    }

    /// No message is ready.
    pub(super) fn clear(&mut self) {
        self.steady.clear();
        give_back_spare(&mut self.steady);
        self.others.clear();
        self.others.shrink_to(STALE);
        self.live = 0;
    }

    fn records(&self) -> usize {
        self.steady.len() + self.others.len()
    }

    /// Asserts what the module promises, given the deadlines of all ready messages.
    pub(super) fn check_invariants(&self, mut ready: Vec<Deadline>) {
        assert!(self.steady.iter().is_sorted(), "deadlines out of order");
        assert_eq!(self.live, ready.len());
        assert!(!self.is_mostly_stale(), "{} records for {} messages", self.records(), self.live);
        let mut records: Vec<_> = self.steady.iter().copied().collect();
        records.extend(self.others.iter().map(|Reverse(deadline)| *deadline));
        records.sort_unstable();
        ready.retain(|deadline| records.binary_search(deadline).is_err());
        assert!(ready.is_empty(), "without a record: {ready:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(at: u64, lsn: u64) -> Deadline {
        Deadline { at: Timestamp::from_millis(at), lsn: Lsn(lsn), priority: 0 }
    }

    #[test]
    fn records_are_due_in_order_of_time_then_place() {
        let mut expiry = Expiry::default();
        for (at, lsn) in [(50, 1), (20, 2), (70, 3), (20, 4), (30, 5)] {
            expiry.add(deadline(at, lsn));
        }
        assert_eq!(expiry.first(), Some(Timestamp::from_millis(20)));
        let due: Vec<_> = std::iter::from_fn(|| expiry.pop_due(Timestamp::from_millis(50))).collect();
        assert_eq!(due.iter().map(|due| due.lsn.0).collect::<Vec<_>>(), [2, 4, 5, 1]);
    }

    #[test]
    fn one_ttl_for_all_leaves_nothing_stale() {
        let mut expiry = Expiry::default();
        (0..1000).for_each(|n| expiry.add(deadline(n, n)));
        (0..999).for_each(|n| expiry.left(deadline(n, n)));
        assert_eq!((expiry.records(), expiry.others.len()), (1, 0));
    }

    #[test]
    fn stale_records_are_noticed() {
        let mut expiry = Expiry::default();
        (0..1000).for_each(|n| expiry.add(deadline(2000 - n, n)));
        (200..800).for_each(|n| expiry.left(deadline(2000 - n, n)));
        assert!(expiry.is_mostly_stale());
        let live = || (0..200).chain(800..1000).map(|n| deadline(2000 - n, n));
        expiry.rebuild(live());
        expiry.check_invariants(live().collect());
    }

    #[test]
    fn what_is_paged_out_from_the_end_leaves_nothing_stale() {
        let mut expiry = Expiry::default();
        (0..1000).for_each(|n| expiry.add(deadline(n, n)));
        (100..1000).rev().for_each(|n| expiry.left(deadline(n, n)));
        assert_eq!(expiry.records(), 100);
    }
}
