//! Messages delivered to one consumer and not settled yet, by delivery tag.
//!
//! Tags count up from 1, so the messages stand in a ring buffer and a tag is an offset into it. A settled one
//! leaves a hole. When most of the buffer is holes (an old message is never settled while newer ones are), the
//! survivors move to a sparse list that is searched by tag, and the buffer starts again behind them.
//!
//! Invariants: tags in the sparse list are lower than those in the buffer; both are in order; neither starts
//! with a hole; memory is proportional to the messages held, and time to what is settled: whoever settles the same again
//! and again has the holes closed once as many were passed over as there are places.

use std::collections::VecDeque;

use super::entry::Entry;
use super::spare::give_back_spare;

/// Holes that are tolerated in any case.
const HOLES: usize = 64;

#[derive(Debug)]
pub(super) struct Unacked {
    sparse: VecDeque<(u64, Option<Entry>)>,
    sparse_holes: usize,
    /// Tag of the buffer's first place.
    base: u64,
    dense: VecDeque<Option<Entry>>,
    dense_holes: usize,
    /// Holes that were passed over since there were none.
    passed_over: usize,
}

impl Default for Unacked {
    fn default() -> Self {
        let (sparse, dense) = (VecDeque::new(), VecDeque::new());
        Unacked { sparse, sparse_holes: 0, base: 1, dense, dense_holes: 0, passed_over: 0 }
    }
}

impl Unacked {
    pub(super) fn len(&self) -> usize {
        self.sparse.len() - self.sparse_holes + self.dense.len() - self.dense_holes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tag that the next message gets.
    pub(super) fn next_tag(&self) -> u64 {
        self.base + self.dense.len() as u64
    }

    /// The lowest tag of a message it holds.
    pub(super) fn first_tag(&self) -> Option<u64> {
        match self.sparse.front() {
            Some((tag, _)) => Some(*tag),
            None => (!self.dense.is_empty()).then_some(self.base),
        }
    }

    /// Keeps a message under the next tag.
    pub(super) fn push(&mut self, entry: Entry) {
        self.dense.push_back(Some(entry));
    }

    /// Uses up a tag without keeping anything: for a consumer that does not settle.
    pub(super) fn skip(&mut self) {
        debug_assert!(self.is_empty());
        self.base += 1;
    }

    /// Takes the messages from `first` to `last`, both inclusive, in order of tags.
    pub(super) fn take(&mut self, first: u64, last: u64, mut taken: impl FnMut(Entry)) {
        if !self.sparse.is_empty() {
            let from = self.sparse.partition_point(|(tag, _)| *tag < first);
            for (_, place) in self.sparse.range_mut(from..).take_while(|(tag, _)| *tag <= last) {
                match place.take() {
                    Some(entry) => {
                        self.sparse_holes += 1;
                        taken(entry);
                    }
                    None => self.passed_over += 1,
                }
            }
            self.tidy_sparse();
        }
        if last >= self.base {
            let from = first.saturating_sub(self.base).min(self.dense.len() as u64) as usize;
            let to = (last - self.base).saturating_add(1).min(self.dense.len() as u64) as usize;
            for place in self.dense.range_mut(from..to.max(from)) {
                match place.take() {
                    Some(entry) => {
                        self.dense_holes += 1;
                        taken(entry);
                    }
                    None => self.passed_over += 1,
                }
            }
            self.tidy_dense();
        }
        if self.passed_over > HOLES + self.sparse.len() + self.dense.len() {
            self.passed_over = 0;
            self.close_sparse_holes();
            self.close_dense_holes();
        }
    }

    fn tidy_sparse(&mut self) {
        while self.sparse.front().is_some_and(|(_, place)| place.is_none()) {
            self.sparse.pop_front();
            self.sparse_holes -= 1;
        }
        if self.sparse_holes > HOLES + self.sparse.len() / 2 {
            self.close_sparse_holes();
        }
        give_back_spare(&mut self.sparse);
    }

    fn close_sparse_holes(&mut self) {
        self.sparse.retain(|(_, place)| place.is_some());
        self.sparse_holes = 0;
    }

    fn tidy_dense(&mut self) {
        while self.dense.front().is_some_and(Option::is_none) {
            self.dense.pop_front();
            self.dense_holes -= 1;
            self.base += 1;
        }
        if self.dense_holes > HOLES + self.dense.len() / 2 {
            self.close_dense_holes();
        }
        give_back_spare(&mut self.dense);
    }

    /// What is left of the buffer moves to the list.
    fn close_dense_holes(&mut self) {
        if self.dense_holes == 0 {
            return;
        }
        let base = self.base;
        self.base += self.dense.len() as u64;
        self.dense_holes = 0;
        for (tag, place) in (base..).zip(self.dense.drain(..)) {
            if place.is_some() {
                self.sparse.push_back((tag, place));
            }
        }
    }

    /// Its messages in order of tags.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let sparse = self.sparse.iter().filter_map(|(_, place)| place.as_ref());
        sparse.chain(self.dense.iter().filter_map(Option::as_ref))
    }

    /// Its messages from this tag on, each with its tag, in order.
    pub(super) fn iter_from(&self, first: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let from = self.sparse.partition_point(|(tag, _)| *tag < first);
        let sparse = self.sparse.range(from..).filter_map(|(tag, place)| Some((*tag, place.as_ref()?)));
        let from = first.saturating_sub(self.base).min(self.dense.len() as u64);
        let dense = (self.base + from..).zip(self.dense.range(from as usize..));
        sparse.chain(dense.filter_map(|(tag, place)| Some((tag, place.as_ref()?))))
    }

    /// Its messages, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let sparse = self.sparse.iter_mut().filter_map(|(_, place)| place.as_mut());
        sparse.chain(self.dense.iter_mut().filter_map(Option::as_mut))
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        assert!(self.sparse.front().is_none_or(|(_, place)| place.is_some()));
        assert!(self.dense.front().is_none_or(Option::is_some));
        assert!(self.sparse.iter().is_sorted_by(|a, b| a.0 < b.0));
        assert!(self.sparse.back().is_none_or(|(tag, _)| *tag < self.base));
        assert_eq!(self.sparse.iter().filter(|(_, place)| place.is_none()).count(), self.sparse_holes);
        assert_eq!(self.dense.iter().filter(|place| place.is_none()).count(), self.dense_holes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::entry;

    fn taken(unacked: &mut Unacked, first: u64, last: u64) -> Vec<u64> {
        let mut lsns = Vec::new();
        unacked.take(first, last, |entry| lsns.push(entry.lsn.0));
        unacked.check_invariants();
        lsns
    }

    #[test]
    fn tags_count_up_from_one_and_find_their_message() {
        let mut unacked = Unacked::default();
        for lsn in 101..=105 {
            assert_eq!(unacked.next_tag(), lsn - 100);
            unacked.push(entry(lsn));
        }
        assert_eq!(taken(&mut unacked, 2, 3), [102, 103]);
        assert_eq!(unacked.first_tag(), Some(1));
        assert_eq!(taken(&mut unacked, 1, 4), [101, 104], "settled ones are passed over");
        assert_eq!(unacked.first_tag(), Some(5));
        assert_eq!((unacked.len(), unacked.next_tag()), (1, 6));
        assert_eq!(taken(&mut unacked, 0, u64::MAX), [105]);
    }

    #[test]
    fn one_old_message_does_not_keep_the_places_of_a_million_newer_ones() {
        let mut unacked = Unacked::default();
        unacked.push(entry(0));
        for tag in 2..=100_000 {
            unacked.push(entry(tag));
            if tag % 1000 != 0 {
                taken_quick(&mut unacked, tag);
            }
        }
        unacked.check_invariants();
        assert_eq!((unacked.len(), unacked.first_tag()), (101, Some(1)));
        assert!(unacked.dense.capacity() + unacked.sparse.capacity() < 4096);
        assert_eq!(taken(&mut unacked, 1, 3000), [0, 1000, 2000, 3000]);
        assert_eq!(taken(&mut unacked, 99_001, 100_000), [100_000]);
        assert_eq!(unacked.next_tag(), 100_001);
    }

    #[test]
    fn to_settle_the_same_again_and_again_costs_nothing_for_long() {
        let mut unacked = Unacked::default();
        (1..=10_000).for_each(|tag| unacked.push(entry(tag)));
        assert_eq!(taken(&mut unacked, 2, 4000).len(), 3999);
        assert_eq!(unacked.dense_holes, 3999);
        for _ in 0..4 {
            assert!(taken(&mut unacked, 2, 4000).is_empty());
        }
        assert_eq!((unacked.dense_holes, unacked.sparse_holes, unacked.len()), (0, 0, 6001));
        assert_eq!(taken(&mut unacked, 1, 4001), [1, 4001]);
        unacked.push(entry(10_001));
        assert_eq!(taken(&mut unacked, 9_999, u64::MAX), [9_999, 10_000, 10_001]);
    }

    fn taken_quick(unacked: &mut Unacked, tag: u64) {
        let mut count = 0;
        unacked.take(tag, tag, |_| count += 1);
        assert_eq!(count, 1, "tag {tag}");
    }
}
