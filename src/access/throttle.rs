//! Failed logins are slowed down: who tries again with a wrong password waits longer each time.
//!
//! Counted for a user and an address together, so that nobody locks out somebody elsewhere. Invariant: the table is
//! bounded; when it is full, the one that failed longest ago is forgotten. Not here: what a login is (`login`).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use crate::model::Timestamp;

/// How failed logins are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Failures that cost nothing yet: people mistype.
    pub free_failures: u32,
    /// The first delay; it doubles with each further failure.
    pub delay_min: Duration,
    /// The longest delay.
    pub delay_max: Duration,
    /// After this long without a failure all is forgotten.
    pub forget_after: Duration,
    /// Users and addresses that are remembered at most.
    pub entries_max: usize,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        ThrottleLimits {
            free_failures: 5,
            delay_min: Duration::from_millis(250),
            delay_max: Duration::from_secs(5),
            forget_after: Duration::from_secs(15 * 60),
            entries_max: 10_000,
        }
    }
}

type Key = (String, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
    blocked_until: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failures: HashMap<Key, Failures, ahash::RandomState>,
    by_age: BTreeSet<(Timestamp, Key)>,
}

impl Throttle {
    /// How long whoever tries now must wait, without being heard.
    pub(super) fn wait(&self, user: &str, from: IpAddr, now: Timestamp) -> Option<Duration> {
        let failures = self.failures.get(&(user.to_owned(), from))?;
        (failures.blocked_until > now).then(|| failures.blocked_until.since(now))
    }

    /// Notes a failure, and says how long its answer is to be held back.
    pub(super) fn failed(
        &mut self,
        user: &str,
        from: IpAddr,
        now: Timestamp,
        limits: &ThrottleLimits,
    ) -> Option<Duration> {
        let key = (user.to_owned(), from);
        let before = self.forget(&key);
        let before = before.filter(|failures| now.since(failures.last) < limits.forget_after);
        let count = before.map_or(0, |failures| failures.count).saturating_add(1);
        let doublings = count.checked_sub(limits.free_failures.saturating_add(1));
        let delay = doublings.map(|doublings| {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            limits.delay_min.saturating_mul(factor).min(limits.delay_max)
        });
        if self.failures.len() >= limits.entries_max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.failures.remove(&oldest);
        }
        let blocked_until = now.plus(delay.unwrap_or_default());
        self.failures.insert(key.clone(), Failures { count, last: now, blocked_until });
        self.by_age.insert((now, key));
        delay
    }

    /// Notes that a login was right.
    pub(super) fn succeeded(&mut self, user: &str, from: IpAddr) {
        if !self.failures.is_empty() {
            self.forget(&(user.to_owned(), from));
        }
    }

    /// Who has failed from where, how often, and when last; the oldest first.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&str, IpAddr, u32, Timestamp)> {
        self.by_age.iter().filter_map(|(last, key)| {
            let failures = self.failures.get(key)?;
            Some((key.0.as_str(), key.1, failures.count, *last))
        })
    }

    fn forget(&mut self, key: &Key) -> Option<Failures> {
        let failures = self.failures.remove(key)?;
        self.by_age.remove(&(failures.last, key.clone()));
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ThrottleLimits = ThrottleLimits {
        free_failures: 2,
        delay_min: Duration::from_millis(100),
        delay_max: Duration::from_secs(1),
        forget_after: Duration::from_secs(60),
        entries_max: 3,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn each_failure_costs_twice_as_much_up_to_a_limit() {
        let mut throttle = Throttle::default();
        let delays: Vec<_> = (0..40)
            .map(|_| throttle.failed("u", address(1), at(0), &LIMITS).map_or(0, |delay| delay.as_millis()))
            .collect();
        assert_eq!(delays[..8], [0, 0, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(delays[39], 1000);
        assert_eq!(throttle.wait("u", address(1), at(0)), Some(Duration::from_secs(1)));
        assert_eq!(throttle.wait("u", address(1), at(1)), None);
    }

    #[test]
    fn others_do_not_wait_and_a_right_login_ends_it() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            throttle.failed("u", address(1), at(0), &LIMITS);
        }
        assert_eq!(throttle.wait("u", address(2), at(0)), None);
        assert_eq!(throttle.wait("v", address(1), at(0)), None);
        throttle.succeeded("u", address(1));
        assert_eq!(throttle.wait("u", address(1), at(0)), None);
        assert_eq!(throttle.failed("u", address(1), at(0), &LIMITS), None);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            throttle.failed("u", address(1), at(0), &LIMITS);
        }
        assert_eq!(throttle.failed("u", address(1), at(61), &LIMITS), None);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_goes() {
        let mut throttle = Throttle::default();
        for last in 0..4 {
            for _ in 0..4 {
                throttle.failed("u", address(last), at(last.into()), &LIMITS);
            }
        }
        assert_eq!((throttle.failures.len(), throttle.by_age.len()), (3, 3));
        assert!(throttle.wait("u", address(0), at(0)).is_none());
        assert!(throttle.wait("u", address(3), at(3)).is_some());
    }
}
