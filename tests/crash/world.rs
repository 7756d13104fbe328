//! What everybody in a test shares: the ledger, the numbers of messages, the moment to kill.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::ledger::{FAN, Id, Ledger, PLAIN, Tally, WORK};

/// Turns a hang into a failure; no test passes because of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The pace at which somebody who has nothing to do looks up whether the load has stopped.
pub(crate) const LOOK_UP: Duration = Duration::from_millis(20);

/// Where messages are published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) exchange: &'static str,
    pub(crate) routing_key: &'static str,
    pub(crate) queues: &'static [usize],
}

/// The fanout exchange of the test.
pub(crate) const FANOUT: &str = "all";

/// All targets.
pub(crate) const TARGETS: [Target; 3] = [
    Target { exchange: FANOUT, routing_key: "", queues: &FAN },
    Target { exchange: "", routing_key: "plain", queues: &[PLAIN] },
    Target { exchange: "", routing_key: "work", queues: &[WORK] },
];

/// What is known of a durable queue that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Asked for, not answered.
    Perhaps,
    Yes,
    No,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    /// Queues that come and go, by name.
    pub(crate) declared: BTreeMap<String, Declared>,
    numbers: BTreeMap<u16, u64>,
}

/// Everything that is shared.
#[derive(Debug, Default)]
pub(crate) struct World {
    inner: Mutex<Inner>,
    changed: Condvar,
    stop: AtomicBool,
}

impl World {
    /// Looks at the ledger, or notes something in it.
    pub(crate) fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        let done = what(&mut self.inner.lock().expect("a thread that panicked has failed the test"));
        self.changed.notify_all();
        done
    }

    /// A new message of a publisher.
    pub(crate) fn next_id(&self, publisher: u16) -> Id {
        let mut inner = self.inner.lock().expect("a thread that panicked has failed the test");
        let number = inner.numbers.entry(publisher).or_default();
        *number += 1;
        Id { publisher, number: *number }
    }

    /// Waits until the counts are there.
    pub(crate) fn wait_for(&self, what: &str, reached: impl Fn(&Tally) -> bool) {
        let inner = self.inner.lock().expect("a thread that panicked has failed the test");
        let (inner, waited) = self
            .changed
            .wait_timeout_while(inner, PATIENCE, |inner| !reached(&inner.ledger.tally))
            .expect("a thread that panicked has failed the test");
        assert!(!waited.timed_out(), "waited {PATIENCE:?} for {what}: {:?}", inner.ledger.tally);
    }

    /// Load begins.
    pub(crate) fn go(&self) {
        self.stop.store(false, Ordering::SeqCst);
    }

    /// Load ends as soon as it looks up.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
