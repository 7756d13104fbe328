//! Memory that a broker holds for itself: what is not the kernel's copy of a file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::usage::Meter;

/// How often to look until it stops falling.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// It has stopped falling when it is no less than so long ago. Allocators keep free memory for a second or two.
const STEADY: Duration = Duration::from_secs(3);
/// Falling by less than this, in bytes, is none.
const NOISE: u64 = 256 << 10;
/// It is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks at the anonymous memory of a broker.
#[derive(Debug)]
pub(super) struct Anonymous {
    meter: Option<Meter>,
    peak: AtomicU64,
}

impl Anonymous {
    /// Of a broker, if it can be looked at.
    pub(super) fn new(meter: Option<Meter>) -> Anonymous {
        Anonymous { meter, peak: AtomicU64::new(0) }
    }

    /// CPU time of the broker up to now.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.meter?.cpu()
    }

    /// Bytes now.
    pub(super) fn now(&self) -> Option<u64> {
        let bytes = self.meter?.anonymous()?;
        self.peak.fetch_max(bytes, Ordering::Relaxed);
        Some(bytes)
    }

    /// Bytes once they have stopped falling: what was in use a moment ago is given back a moment later.
    pub(super) fn settled(&self) -> Option<u64> {
        let began = Instant::now();
        let (mut least, mut fell_at) = (self.now()?, began);
        while fell_at.elapsed() < STEADY && began.elapsed() < PATIENCE {
            thread::sleep(LOOK_EVERY);
            let now = self.now()?;
            if now + NOISE < least {
                fell_at = Instant::now();
            }
            least = least.min(now);
        }
        self.now()
    }

    /// Most bytes seen.
    pub(super) fn peak(&self) -> Option<u64> {
        Some(self.peak.load(Ordering::Relaxed)).filter(|peak| *peak > 0)
    }
}
