//! When one consumer was given its messages: for how long it took to settle them, and since when it holds one.
//!
//! Those that were given at the same moment share a record, "up to this tag, then". Invariant: at most [`RECORDS_MAX`]
//! records, in order of tags; when there are more, neighbours become one, and the times of the older ones a little less
//! exact. Not here: how long a message may be held (`hold_times`).

use std::collections::VecDeque;

use crate::model::Timestamp;

use super::durations::Durations;

/// A kilobyte for each consumer that is busy.
const RECORDS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct GivenTimes {
    /// Last tag of the record, and when those up to it were given.
    records: VecDeque<(u64, Timestamp)>,
}

impl GivenTimes {
    /// The consumer was given the message with this tag.
    pub(super) fn given(&mut self, tag: u64, now: Timestamp) {
        match self.records.back_mut() {
            Some((last, at)) if *at == now => *last = tag,
            _ => {
                if self.records.len() >= RECORDS_MAX {
                    self.thin_out();
                }
                self.records.push_back((tag, now));
            }
        }
    }

    /// When the message with this tag was given, if it is still held.
    pub(super) fn at(&self, tag: u64) -> Option<Timestamp> {
        let record = self.records.partition_point(|(last, _)| *last < tag);
        self.records.get(record).map(|(_, at)| *at)
    }

    /// `count` of the messages with these tags are done with now: counts how long that took.
    pub(super) fn done(&self, first: u64, last: u64, count: u64, now: Timestamp, took: &mut Durations) {
        if count == 0 {
            // Also if the tags are the wrong way round.
            return;
        }
        let (mut from, mut left) = (first, count);
        let record = self.records.partition_point(|(end, _)| *end < first);
        for (end, at) in self.records.range(record..) {
            // If some were settled before, nobody knows which: those given first are counted.
            let here = left.min(end.min(&last) - from + 1);
            took.add(now.as_micros().saturating_sub(at.as_micros()), here);
            left -= here;
            from = end + 1;
            if left == 0 || from > last {
                return;
            }
        }
    }

    /// Forgets what is not held any more, given the lowest tag that is.
    pub(super) fn forget_below(&mut self, lowest_held: Option<u64>) {
        match lowest_held {
            None => self.records.clear(),
            Some(lowest) => while self.records.pop_front_if(|(last, _)| *last < lowest).is_some() {},
        }
    }

    /// Makes one record of two.
    fn thin_out(&mut self) {
        let mut number = 0;
        self.records.retain(|_| {
            number += 1;
            number % 2 == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn buckets(took: &mut Durations) -> Vec<u64> {
        let mut hits = Vec::new();
        took.drain(|_, count| hits.push(count));
        hits
    }

    #[test]
    fn each_message_took_the_time_since_it_was_given() {
        let mut given = GivenTimes::default();
        (1..=10).for_each(|tag| given.given(tag, at(1000)));
        (11..=15).for_each(|tag| given.given(tag, at(5000)));
        assert_eq!((given.at(10), given.at(11), given.at(16)), (Some(at(1000)), Some(at(5000)), None));
        let mut took = Durations::default();
        given.done(1, 15, 15, at(5001), &mut took);
        assert_eq!(buckets(&mut took), [10, 5]);
        given.done(9, 12, 3, at(5001), &mut took);
        assert_eq!(buckets(&mut took), [2, 1], "one of four was settled before");
        given.forget_below(Some(11));
        assert_eq!((given.records.len(), given.at(11)), (1, Some(at(5000))));
        given.forget_below(None);
        assert!(given.records.is_empty());
    }

    #[test]
    fn a_million_moments_are_a_few_records() {
        let mut given = GivenTimes::default();
        for tag in 1..=1_000_000 {
            given.given(tag, Timestamp::from_micros(tag));
            assert!(given.records.len() <= RECORDS_MAX);
        }
        assert!(given.at(1).is_some() && given.at(999_999).is_some());
        let mut took = Durations::default();
        given.done(1, 1_000_000, 1_000_000, Timestamp::from_micros(1_000_000), &mut took);
        assert_eq!(buckets(&mut took).iter().sum::<u64>(), 1_000_000);
    }
}
