//! How logins are set.

use super::password::HashCost;
use super::throttle::ThrottleLimits;

/// How logins are set: `[auth]` of `broker.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOptions {
    /// Whether the user `guest` may log in from this machine only.
    pub guest_loopback_only: bool,
    /// Most users.
    pub users_max: usize,
    /// What hashing a new password costs.
    pub cost: HashCost,
    /// How failed logins are slowed down.
    pub throttle: ThrottleLimits,
    /// Slow checks of passwords that run at the same time: each takes a processor, and the memory of [`HashCost`].
    pub hashes_at_once: usize,
    /// Logins whose password is being checked or waits for it. Further ones are refused.
    pub pending_logins_max: usize,
}

impl Default for AccessOptions {
    fn default() -> Self {
        AccessOptions {
            guest_loopback_only: true,
            users_max: 100_000,
            cost: HashCost::default(),
            throttle: ThrottleLimits::default(),
            hashes_at_once: 2,
            pending_logins_max: 200,
        }
    }
}
