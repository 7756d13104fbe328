//! What a broker has on a disk, and what it has of it after a restart.

use rialto_protocol::types::FieldTable;

use super::*;
use crate::routing::RoutingLimits;
use crate::store::journal::{Journal, JournalOptions};
use crate::store::{SimDisk, Store, StoreOptions};

/// A broker on a disk, whose threads are the test's.
struct Stored {
    world: World,
    journal: Arc<Journal>,
    catalog: Arc<Catalog>,
    disk: SimDisk,
}

impl Stored {
    fn new() -> Self {
        Self::open(SimDisk::without_history(), Limits::default(), 0)
    }

    fn open(disk: SimDisk, limits: Limits, later_ms: u64) -> Self {
        let clock = Arc::new(ManualClock::new());
        clock.advance(Duration::from_millis(later_ms));
        let journal =
            JournalOptions { segment_size: 1 << 20, nonce_seed: Some(1), ..JournalOptions::default() };
        let options = StoreOptions { journal, ..StoreOptions::default() };
        let store = Store::open(Arc::new(disk.clone()), clock.clone(), options, &mut |_| {}).unwrap();
        let Store { journal, catalog, contents, held, delivered_before, .. } = store;
        let builder = Broker::in_memory().clock(clock.clone()).limits(limits);
        let broker = builder.restore(journal.clone(), catalog.clone(), contents).unwrap();
        let mut turn = Turn::new();
        broker.restore_messages(held, delivered_before, &mut turn);
        let vhost = broker.vhost("/").unwrap();
        turn.begin(broker.now());
        let world = World { broker, vhost, turn, outbox: Arc::default(), clock, scratch: Routed::new() };
        Stored { world, journal, catalog, disk }
    }

    /// Everything that was done is safe.
    fn pump(&self) {
        self.catalog.pump();
        self.journal.pump();
    }

    /// Is killed, and starts again on what is safe.
    fn restart(self, limits: Limits, later_ms: u64) -> Self {
        let Stored { disk, .. } = self;
        Self::open(disk.only_synced(), limits, later_ms)
    }
}

fn persistent() -> Properties {
    Properties { delivery_mode: Some(2), ..Properties::default() }
}

/// Few bytes of each queue stay in memory.
fn small() -> Limits {
    Limits { queue_bodies: 1 << 18, ..Limits::default() }
}

#[test]
fn a_queue_that_expires_unused_does_so_after_a_restart_though_it_is_empty() {
    let mut stored = Stored::new();
    stored.world.queue_with("q", FieldTable::new().with("x-expires", 1000));
    stored.pump();
    let mut stored = stored.restart(Limits::default(), 10);
    assert!(stored.world.vhost.queue("q", ME).is_ok());
    stored.world.advance(1000);
    assert!(stored.world.vhost.queue("q", ME).is_err());
}

#[test]
fn of_a_long_queue_that_dies_at_once_only_a_part_is_in_memory_at_a_time_and_all_of_it_arrives() {
    let mut stored = Stored::new();
    stored.world.queue("dead");
    let dying = FieldTable::new()
        .with("x-message-ttl", 1000)
        .with("x-dead-letter-exchange", "")
        .with("x-dead-letter-routing-key", "dead");
    stored.world.queue_with("q", dying);
    let body = "b".repeat(64 << 10);
    for _ in 0..320 {
        stored.world.publish("", "q", &persistent(), &body).unwrap();
        stored.journal.pump();
    }
    stored.pump();
    let mut stored = stored.restart(small(), 5000);
    let length = |stored: &Stored, name| stored.world.vhost.queue(name, ME).unwrap().stats().ready;
    assert!((1..=80).contains(&length(&stored, "dead")), "{}", length(&stored, "dead"));
    let mut turn = Turn::new();
    turn.begin(stored.world.broker.now());
    let deleted = stored.world.vhost.delete_queue("q", false, true, ME, &mut turn);
    assert!(deleted.is_err(), "the rest of it is still there");
    while stored.world.broker.run_some_timers(&mut turn) {
        stored.journal.pump();
    }
    assert_eq!((length(&stored, "q"), length(&stored, "dead")), (0, 320));
    stored.pump();
    drop(turn);
    let mut got = 0;
    while stored.world.get("dead").is_some() {
        got += 1;
    }
    assert_eq!(got, 320);
}

#[test]
fn messages_that_cannot_be_read_for_now_stay_and_are_delivered_later() {
    let mut stored = Stored::new();
    stored.world.queue("q");
    stored.world.publish("", "q", &persistent(), "m").unwrap();
    stored.pump();
    let mut stored = stored.restart(small(), 10);
    stored.disk.fail_reads(true);
    assert!(stored.world.get("q").is_none());
    stored.disk.fail_reads(false);
    assert_eq!(stored.world.vhost.queue("q", ME).unwrap().stats().ready, 1, "it is not given up");
    stored.world.advance(1000);
    assert_eq!(stored.world.drain("q"), ["m"]);
}

#[test]
fn what_a_delayed_exchange_has_spilled_is_released_when_the_exchange_is_deleted() {
    let stored = Stored::new();
    let disk = stored.disk.only_synced();
    drop(stored);
    let mut stored = Stored::open(disk, small(), 0);
    let world = &mut stored.world;
    world.exchange("x-delayed-message", "later", FieldTable::new().with("x-delayed-type", "fanout")).unwrap();
    let body = "b".repeat(64 << 10);
    for _ in 0..64 {
        let properties = headers(FieldTable::new().with("x-delay", 60_000));
        world.publish("later", "", &properties, &body).unwrap();
    }
    assert!(stored.journal.stats().overflow_bytes > 2 << 20);
    stored.world.vhost.delete_exchange(&exchange("later"), false).unwrap();
    assert!(stored.journal.stats().overflow_bytes < 1 << 20, "{:?}", stored.journal.stats());
}

#[test]
fn a_delayed_exchanges_queue_whose_exchange_is_gone_goes_too() {
    use crate::model::VhostName;
    let mut stored = Stored::new();
    let arguments = FieldTable::new().with("x-delayed-type", "fanout");
    stored.world.exchange("x-delayed-message", "later", arguments).unwrap();
    let properties = Properties {
        headers: Some(FieldTable::new().with("x-delay", 60_000)),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    stored.world.publish("later", "", &properties, "m").unwrap();
    stored.pump();
    // The broker is killed when it has told the catalog half of it.
    let vhost = VhostName::new("/").unwrap();
    stored.catalog.change(Change::DeleteExchange { vhost, name: exchange("later") }).unwrap();
    stored.pump();
    let stored = stored.restart(Limits::default(), 10);
    stored.pump();
    assert_eq!(stored.catalog.contents().unwrap().queues, []);
    assert_eq!(stored.journal.stats().live_pairs, 0);
}

#[test]
fn nobody_is_told_of_a_duplicate_before_the_first_one_is_safe() {
    let mut stored = Stored::new();
    let world = &mut stored.world;
    world.exchange("fanout", "x", FieldTable::new().with("x-message-deduplication", true)).unwrap();
    world.queue("q");
    world.bind("x", "q", "");
    let keyed = Properties {
        headers: Some(FieldTable::new().with("x-deduplication-header", "a")),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    world.publish("x", "", &keyed, "m").unwrap();
    let mut another = PublishBatch::default();
    another.leave_out_duplicate();
    let commit = world.broker.publish(&mut another, &world.outbox, &mut Vec::new(), &mut world.turn);
    assert!(!world.broker.is_committed(&commit));
    stored.pump();
    assert!(stored.world.broker.is_committed(&commit));
}

#[test]
fn what_need_not_be_kept_is_not_put_on_a_disk_that_is_nearly_full() {
    let mut stored = Stored::new();
    stored.world.queue("q");
    stored.world.publish("", "q", &Properties::default(), "m").unwrap();
    let message = stored.world.get("q").unwrap().message;
    assert!(stored.journal.spill(std::slice::from_ref(&message)).is_ok());
    stored.disk.set_capacity(Some(4 << 20));
    stored.journal.maintain();
    assert!(stored.journal.is_full().is_some());
    assert!(stored.journal.spill(&[message]).is_err());
}

#[test]
fn limits_that_were_lowered_are_for_what_comes() {
    let mut stored = Stored::new();
    for name in ["one", "two", "three"] {
        stored.world.queue(name);
        stored.world.exchange("fanout", name, FieldTable::new()).unwrap();
        stored.world.bind(name, name, "");
    }
    stored.pump();
    let routing = RoutingLimits { exchanges_max: 8, bindings_max: 1 };
    let mut stored = stored.restart(Limits { routing, ..Limits::default() }, 0);
    for name in ["one", "two", "three"] {
        assert_eq!(stored.world.publish(name, "", &Properties::default(), "m"), Ok(1), "{name}");
    }
    let more = stored.world.exchange("fanout", "four", FieldTable::new()).unwrap_err();
    assert!(more.to_string().contains("limit of 8"), "{more}");
    let bound =
        stored.world.vhost.bind_queue(&exchange("one"), "two", RoutingKey::default(), FieldTable::new(), ME);
    assert!(bound.unwrap_err().to_string().contains("limit of 1"));
}
