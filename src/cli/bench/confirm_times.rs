//! How long the broker takes to confirm: from when a message was handed to the socket until its answer was read.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::round::durations;

/// The times of one publisher.
#[derive(Debug)]
pub(super) struct ConfirmTimes {
    /// Nanoseconds.
    histogram: Histogram<u64>,
}

impl ConfirmTimes {
    pub(super) fn new() -> Self {
        ConfirmTimes { histogram: durations() }
    }

    /// So many messages that were sent together are answered.
    pub(super) fn record(&mut self, sent: Instant, answered: Instant, messages: u64) {
        let nanos = answered.saturating_duration_since(sent).as_nanos() as u64;
        self.histogram.saturating_record_n(nanos, messages);
    }

    /// Forgets what was until now.
    pub(super) fn clear(&mut self) {
        self.histogram.clear();
    }

    pub(super) fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

/// Messages without an answer, where answers come in the order of messages.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    sent: VecDeque<(u64, Instant)>,
}

impl InOrder {
    /// So many messages are about to be sent: the broker may answer before the sender knows that they have left.
    pub(super) fn published(&mut self, messages: u64) {
        self.sent.push_back((messages, Instant::now()));
    }

    /// The oldest so many are answered.
    pub(super) fn answered(&mut self, mut messages: u64, times: &mut ConfirmTimes) {
        let now = Instant::now();
        while let Some((waiting, sent)) = self.sent.front_mut().filter(|_| messages > 0) {
            let done = messages.min(*waiting);
            times.record(*sent, now, done);
            messages -= done;
            *waiting -= done;
            if *waiting == 0 {
                self.sent.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_message_has_one_time() {
        let (mut waiting, mut times) = (InOrder::default(), ConfirmTimes::new());
        waiting.published(10);
        waiting.published(5);
        waiting.answered(4, &mut times);
        waiting.answered(8, &mut times);
        assert_eq!(times.histogram().len(), 12);
        assert_eq!(waiting.sent.front().map(|(count, _)| *count), Some(3));
    }

    #[test]
    fn the_longest_wait_is_told() {
        let mut times = ConfirmTimes::new();
        let sent = Instant::now();
        times.record(sent, sent + Duration::from_millis(1), 99);
        times.record(sent, sent + Duration::from_millis(50), 1);
        assert!(times.histogram().value_at_quantile(0.5) < 1_100_000);
        assert!(times.histogram().max() >= 50_000_000);
        times.clear();
        assert_eq!(times.histogram().len(), 0);
    }
}
