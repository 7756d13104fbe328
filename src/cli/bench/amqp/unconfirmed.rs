//! Published messages without an answer: at most a window of them.
//!
//! Invariant: every message is answered once. Brokers answer in any order, one by one or all up to a tag, which spares
//! those that were answered before.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::confirm_times::ConfirmTimes;
use super::super::error::{BenchError, BenchResult};

#[derive(Debug)]
pub(super) struct Unconfirmed {
    max: u64,
    count: u64,
    /// The tag of the first in `sent`. Tags begin with 1.
    first: u64,
    /// From the oldest message without an answer to the newest: when each was sent, if it still has none.
    sent: VecDeque<Option<Instant>>,
    pub(super) times: ConfirmTimes,
}

impl Unconfirmed {
    /// A window of so many messages.
    pub(super) fn new(max: u64) -> Self {
        Unconfirmed { max, count: 0, first: 1, sent: VecDeque::new(), times: ConfirmTimes::new() }
    }

    /// Whether so many more may be published.
    pub(super) fn has_room(&self, count: u64) -> bool {
        self.count + count <= self.max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// So many messages are about to be sent: the broker may answer before the sender knows that they have left.
    pub(super) fn published(&mut self, count: u32) {
        self.count += u64::from(count);
        self.sent.resize(self.sent.len() + count as usize, Some(Instant::now()));
    }

    /// Takes an answer for a message, or for all up to it, and says how many it answers.
    pub(super) fn answer(&mut self, tag: u64, multiple: bool) -> BenchResult<u64> {
        let unknown = || BenchError::Protocol(format!("an answer for {tag}, which does not wait for one"));
        let end = match (tag, multiple) {
            // "All outstanding messages" (AMQP 0-9-1, basic.ack).
            (0, true) => self.sent.len(),
            // All of them may have been answered one by one.
            (tag, true) if tag < self.first => return Ok(0),
            (tag, _) => tag.checked_sub(self.first).ok_or_else(unknown)? as usize + 1,
        };
        let now = Instant::now();
        let mut count = 0;
        if multiple {
            if end > self.sent.len() {
                return Err(unknown());
            }
            self.first += end as u64;
            for sent in self.sent.drain(..end).flatten() {
                self.times.record(sent, now, 1);
                count += 1;
            }
        } else {
            let sent = self.sent.get_mut(end - 1).and_then(Option::take).ok_or_else(unknown)?;
            self.times.record(sent, now, 1);
            count = 1;
        }
        while self.sent.front() == Some(&None) {
            self.sent.pop_front();
            self.first += 1;
        }
        self.count -= count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_any_order_count_once() {
        let mut unconfirmed = Unconfirmed::new(10);
        unconfirmed.published(10);
        assert!(!unconfirmed.has_room(1));
        assert_eq!(unconfirmed.answer(2, false).unwrap(), 1);
        assert_eq!(unconfirmed.answer(4, true).unwrap(), 3);
        // Tag 5 to 10 are left.
        assert!(unconfirmed.has_room(4) && !unconfirmed.has_room(5));
        assert_eq!(unconfirmed.answer(5, false).unwrap(), 1);
        assert_eq!(unconfirmed.answer(4, true).unwrap(), 0, "nothing new");
        assert_eq!(unconfirmed.answer(0, true).unwrap(), 5);
        assert!(unconfirmed.is_empty());
        unconfirmed.published(1);
        assert_eq!(unconfirmed.answer(11, false).unwrap(), 1);
        assert!(unconfirmed.is_empty());
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_refused() {
        let mut unconfirmed = Unconfirmed::new(10);
        unconfirmed.published(3);
        assert!(unconfirmed.answer(4, true).is_err());
        assert!(unconfirmed.answer(4, false).is_err());
        assert!(unconfirmed.answer(0, false).is_err());
        assert_eq!(unconfirmed.answer(2, false).unwrap(), 1);
        assert!(unconfirmed.answer(2, false).is_err());
    }
}
