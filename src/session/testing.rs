//! For tests of both sessions: a broker whose log and catalog commit when a test says so, and whether an outbox was
//! woken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::access::{Access, AccessOptions, Credentials, HashCost, Permission, Tags, ThrottleLimits, User};
use crate::broker::{Broker, Commit, Link, Outbox};
use crate::model::{
    BatchSlice, ExchangeName, ManualClock, MemoryGauge, Message, MessageRoute, RoutingKey, VhostName,
};
use crate::store::testing::HeldLog;
use crate::store::{Catalog, CatalogPumped, Position, SimDisk};

/// A connection over the loopback interface.
pub(super) fn link() -> Arc<Link> {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Arc::new(Link::new(address(5000), address(5672), None))
}

/// A broker whose clock stands still, where hashes cost nothing, one failed login is free and the next one waits for
/// [`LOGIN_DELAY`]; besides the guest it has `slow`, whose password `pass` is hashed.
pub(super) fn login_broker() -> Broker {
    let cost = HashCost { memory_kib: 8, passes: 1, scram_rounds: 0 };
    let throttle = ThrottleLimits { free_failures: 1, delay_min: LOGIN_DELAY, ..ThrottleLimits::default() };
    let access = Access::new(AccessOptions { cost, throttle, ..AccessOptions::default() });
    let vhost = VhostName::new("/").unwrap();
    access.put_guest([&vhost]);
    access.put_user(User::new("slow", Credentials::new("pass", &cost).unwrap(), Tags::default()));
    access.put_permission(Permission::full("slow", vhost));
    Broker::in_memory().access(access).clock(Arc::new(ManualClock::new())).build()
}

/// See [`login_broker`].
pub(super) const LOGIN_DELAY: Duration = Duration::from_millis(250);

/// A commit of the journal alone.
pub(super) fn journal(position: u64) -> Commit {
    Commit { journal: Position(position), catalog: 0 }
}

/// A large piece of a message, as a write queue takes it.
pub(super) fn large(body: &[u8]) -> BatchSlice {
    let (exchange, routing_key) = (ExchangeName::new("x").unwrap(), RoutingKey::new("key").unwrap());
    Message::new(MessageRoute { exchange, routing_key }, &[], body, &MemoryGauge::new()).body_slice()
}

/// A log that commits nothing yet, and a broker that appends to it.
pub(super) fn held_log() -> (Arc<HeldLog>, Broker) {
    let log = HeldLog::new();
    let broker = Broker::in_memory().log(log.clone()).build();
    (log, broker)
}

/// What a broker waits for: publishes for the log, declares for the catalog.
pub(super) struct HeldDisk {
    log: Arc<HeldLog>,
    catalog: Arc<Catalog>,
    disk: SimDisk,
}

/// A disk that commits nothing yet, and a broker on it.
pub(super) fn held_disk() -> (HeldDisk, Broker) {
    let disk = SimDisk::without_history();
    let (catalog, contents) = Catalog::open(Arc::new(disk.clone())).unwrap();
    let (log, catalog) = (HeldLog::new(), Arc::new(catalog));
    let broker = Broker::in_memory().restore(log.clone(), catalog.clone(), contents).unwrap();
    (HeldDisk { log, catalog, disk }, broker)
}

impl HeldDisk {
    /// How many records the log has.
    pub(super) fn appended(&self) -> u64 {
        self.log.appended()
    }

    /// Commits what was published up to this record.
    pub(super) fn commit(&self, position: u64) {
        self.log.commit(position);
    }

    /// Commits what was declared.
    pub(super) fn commit_declares(&self) {
        self.catalog.pump();
    }

    /// Commits everything.
    pub(super) fn commit_all(&self) {
        self.commit_declares();
        self.log.commit_all();
    }

    /// The log takes and commits nothing more.
    pub(super) fn stop(&self, why: &str) {
        self.log.stop(why);
    }

    /// The catalog fails with what was declared, and takes nothing more.
    pub(super) fn stop_catalog(&self) {
        self.disk.fail_syncs(1);
        assert_eq!(self.catalog.pump(), CatalogPumped::Stopped);
    }
}

/// Whether the outbox was woken since this was asked last.
pub(super) fn was_woken(outbox: &Outbox) -> bool {
    outbox.poll_woken(&mut Context::from_waker(Waker::noop())).is_ready()
}
