//! Time as a value, and the clocks that make it.
//!
//! Machines take a [`Timestamp`]; only drivers ask a [`Clock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since the Unix epoch. Expiry times are absolute, so they outlive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Never: later than every other moment.
    pub const NEVER: Timestamp = Timestamp(u64::MAX);

    /// A moment from microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Timestamp(micros)
    }

    /// A moment from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis.saturating_mul(1000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// A later moment; [`Timestamp::NEVER`] if there is none.
    pub const fn plus(self, duration: Duration) -> Self {
        let micros = duration.as_micros();
        if micros > u64::MAX as u128 {
            return Timestamp::NEVER;
        }
        Timestamp(self.0.saturating_add(micros as u64))
    }

    /// A moment some milliseconds later.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Timestamp(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// How long ago `earlier` was; nothing if it was not.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Where drivers get the time from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. Never earlier than an answer before.
    fn now(&self) -> Timestamp;
}

/// The machine's clock: wall time when it was made, carried on by the monotonic clock, so it never jumps.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
}

impl SystemClock {
    /// A clock that starts with the present wall time.
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SystemClock { started: Instant::now(), started_at: Timestamp::default().plus(wall) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed())
    }
}

/// A clock that a test moves by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at the start of 2026.
    pub fn new() -> Self {
        ManualClock(AtomicU64::new(Timestamp::from_millis(1_767_225_600_000).as_micros()))
    }

    /// Moves the clock on. Nothing fires by itself: tell the broker to look at its timers.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
