//! How long a message that came back waits before it is delivered again: `x-delayed-retry-*`.
//!
//! RabbitMQ 4.3 waits `min * count`, at most `max`. We double from `min`, so that a message that fails again and again
//! soon stops costing much, and spread what came back together a little, so that it does not come again together.
//!
//! Invariants: pure, and the same for the same message and count, also after a restart; never less than `min`, never
//! more than `max`. Not here: where messages wait (`queue`).

use std::time::Duration;

use super::Lsn;

/// `x-delayed-retry-min` if only the type is given, in milliseconds.
pub const DELAYED_RETRY_MIN_MS: u64 = 1_000;

/// `x-delayed-retry-max` if it is not given, in milliseconds, unless the minimum is more: one hour.
pub const DELAYED_RETRY_MAX_MS: u64 = 3_600_000;

/// Which messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayedRetryType {
    /// All that come back.
    All,
    /// Those whose delivery failed: what `x-delivery-limit` counts.
    Failed,
    /// Those that were released: what it does not count.
    Returned,
}

/// A queue's rule for messages that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedRetry {
    /// Which ones wait.
    pub which: DelayedRetryType,
    /// How long the first time, in milliseconds.
    pub min_ms: u64,
    /// How long at most, in milliseconds.
    pub max_ms: u64,
}

impl DelayedRetry {
    /// Whether a message waits that came back like this.
    pub fn applies(&self, failed: bool) -> bool {
        match self.which {
            DelayedRetryType::All => true,
            DelayedRetryType::Failed => failed,
            DelayedRetryType::Returned => !failed,
        }
    }

    /// How long a message waits that has come back for the `count`th time, counting from 1.
    pub fn delay(&self, lsn: Lsn, count: u32) -> Duration {
        let doubled = 1u64.checked_shl(count.saturating_sub(1)).unwrap_or(u64::MAX);
        let ms = self.min_ms.saturating_mul(doubled).min(self.max_ms);
        let micros = ms.saturating_mul(1000);
        let earlier = mixed(lsn.0 ^ u64::from(count).rotate_left(48)) % (micros / 5 + 1);
        Duration::from_micros(micros - earlier).max(Duration::from_millis(self.min_ms))
    }
}

/// Well-mixed bits (the end of SplitMix64): neighbours have nothing in common.
fn mixed(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: DelayedRetry =
        DelayedRetry { which: DelayedRetryType::Failed, min_ms: 1000, max_ms: 10_000 };

    #[test]
    fn a_message_waits_twice_as_long_each_time_up_to_the_maximum_and_up_to_a_fifth_less() {
        for lsn in 0..1000 {
            for (count, ms) in [(1, 1000), (2, 2000), (3, 4000), (4, 8000), (5, 10_000), (90, 10_000)] {
                let delay = RETRY.delay(Lsn(lsn), count);
                assert!(delay <= Duration::from_millis(ms), "{count}: {delay:?}");
                assert!(delay >= Duration::from_millis(ms * 4 / 5), "{count}: {delay:?}");
            }
            assert_eq!(RETRY.delay(Lsn(lsn), 1), Duration::from_secs(1), "the minimum is a promise");
        }
    }

    #[test]
    fn messages_that_came_back_together_are_spread() {
        let mut delays: Vec<_> = (0..1000).map(|lsn| RETRY.delay(Lsn(lsn), 3)).collect();
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 990);
        let early = delays.iter().filter(|delay| **delay < Duration::from_millis(3600)).count();
        assert!((400..600).contains(&early), "{early}");
    }
}
