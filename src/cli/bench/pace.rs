//! When messages are due in an open loop: at a fixed rate, whatever the broker does.
//!
//! A message carries the time it was due, not the time it was sent, so that a broker which makes the
//! publisher wait is charged for all that would have been sent meanwhile (coordinated omission).

/// The messages of one publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When the first message is due, in nanoseconds of the round's clock.
    start: u64,
    interval: f64,
}

impl Pace {
    /// For publisher `number` of `publishers`, which together send `rate` messages a second, evenly spread.
    pub(super) fn new(start: u64, rate: u64, number: u32, publishers: u32) -> Self {
        let of_all = 1e9 / rate as f64;
        Pace { start: start + (of_all * f64::from(number)) as u64, interval: of_all * f64::from(publishers) }
    }

    /// When a message is due, counted from 0.
    pub(super) fn due(&self, message: u64) -> u64 {
        self.start + (message as f64 * self.interval) as u64
    }

    /// How many messages are due by now.
    pub(super) fn due_by(&self, now: u64) -> u64 {
        match now.checked_sub(self.start) {
            Some(since) => (since as f64 / self.interval) as u64 + 1,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_share_the_rate_evenly() {
        let paces: Vec<Pace> = (0..4).map(|number| Pace::new(1000, 1_000_000, number, 4)).collect();
        let mut due: Vec<u64> = paces.iter().flat_map(|pace| (0..3).map(|n| pace.due(n))).collect();
        due.sort_unstable();
        let expected: Vec<u64> = (0..12).map(|n| 1000 + n * 1000).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn what_is_due_has_been_counted_and_nothing_more() {
        let pace = Pace::new(500, 10_000, 0, 1);
        assert_eq!((pace.due_by(0), pace.due_by(499), pace.due_by(500)), (0, 0, 1));
        for message in 1..1000 {
            assert!(pace.due_by(pace.due(message) + 1) > message, "{message}");
            assert!(pace.due_by(pace.due(message) - 1) <= message, "{message}");
        }
    }
}
