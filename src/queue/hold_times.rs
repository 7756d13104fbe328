//! How long one consumer has held its messages: `x-consumer-timeout`.
//!
//! Messages get rising tags and all have the same time, so those that came within one grain (a 64th of that time)
//! share one record: "up to this tag, until then". A message is late at the end of its grain, never before its
//! time is over. Settling costs nothing: records of settled messages are found out when they are due.
//!
//! Invariants: records are in order of tags and of deadlines, and at most about 64 are not due, however many
//! messages are held. Not here: whose turn it is to be looked at (`consumers`), what becomes of late messages
//! (`settlement`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{EXPIRY_MS_MAX, Timestamp};

/// Parts of the time that are told apart.
const GRAINS: u64 = 64;

#[derive(Debug)]
pub(super) struct HoldTimes {
    timeout: Duration,
    /// In microseconds.
    grain: u64,
    /// Last tag of the record and when its messages are late.
    records: VecDeque<(u64, Timestamp)>,
    /// When this consumer is to be looked at; [`Timestamp::NEVER`] if it has no record.
    pub(super) armed: Timestamp,
}

impl HoldTimes {
    /// None if the consumer may hold messages for ever, or for so long that it comes to the same.
    pub(super) fn new(timeout: Option<Duration>) -> Option<Self> {
        let timeout = timeout.filter(|timeout| !timeout.is_zero())?;
        if timeout > Duration::from_millis(EXPIRY_MS_MAX) {
            return None;
        }
        let grain = timeout.as_micros() as u64 / GRAINS;
        Some(HoldTimes { timeout, grain: grain.max(1), records: VecDeque::new(), armed: Timestamp::NEVER })
    }

    /// How long the consumer may hold a message.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The consumer was given the message with this tag.
    pub(super) fn given(&mut self, tag: u64, now: Timestamp) {
        let due = now.plus(self.timeout).as_micros().div_ceil(self.grain).saturating_mul(self.grain);
        let due = Timestamp::from_micros(due);
        match self.records.back_mut() {
            // Also if the time of another thread was a little ahead.
            Some((last, at)) if due <= *at => *last = tag,
            _ => self.records.push_back((tag, due)),
        }
    }

    /// When the first of its messages is late, given the lowest tag that it holds.
    pub(super) fn next(&mut self, lowest_held: Option<u64>) -> Option<Timestamp> {
        let Some(lowest) = lowest_held else {
            self.records.clear();
            return None;
        };
        while self.records.front().is_some_and(|(last, _)| *last < lowest) {
            self.records.pop_front();
        }
        self.records.front().map(|(_, at)| *at)
    }

    /// Takes the records that are due. Answers the last tag of them.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<u64> {
        let mut last_late = None;
        while let Some((last, _)) = self.records.pop_front_if(|(_, at)| *at <= now) {
            last_late = Some(last);
        }
        last_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_message_is_late_when_its_time_is_over_and_soon_after() {
        for given in 1000..1100 {
            let mut hold = HoldTimes::new(Some(Duration::from_millis(640))).unwrap();
            hold.given(1, at(given));
            let late = hold.next(Some(1)).unwrap();
            assert!(at(given + 640) <= late && late < at(given + 650), "{late:?}");
            assert_eq!(hold.take_due(Timestamp::from_micros(late.as_micros() - 1)), None);
            assert_eq!(hold.take_due(late), Some(1));
        }
    }

    #[test]
    fn a_million_messages_share_a_few_records() {
        let mut hold = HoldTimes::new(Some(Duration::from_secs(100))).unwrap();
        for tag in 1..=1_000_000 {
            hold.given(tag, Timestamp::from_micros(tag * 100));
        }
        assert!(hold.records.len() <= 66, "{}", hold.records.len());
        assert_eq!(hold.next(Some(999_999)), hold.records.back().map(|record| record.1));
        assert_eq!(hold.records.len(), 1, "those of settled messages are gone");
        assert_eq!((hold.next(None), hold.records.len()), (None, 0));
    }

    #[test]
    fn no_time_is_no_limit() {
        assert!(HoldTimes::new(None).is_none() && HoldTimes::new(Some(Duration::ZERO)).is_none());
        assert!(HoldTimes::new(Some(Duration::MAX)).is_none(), "so long that it never comes");
    }
}
