//! What outlives the broker: it is killed, or its machine is, and everything durable is as it was.

use rialto_protocol::types::{FieldTable, Properties, ShortStr};

use super::*;
use crate::model::{Policy, PolicyTarget};
use crate::queue::Settle;
use crate::store::journal::{Journal, JournalOptions};
use crate::store::{CatalogPumped, SimDisk, Store, StoreOptions};

/// A world whose broker keeps what is durable on a disk, which is driven by hand.
pub(super) struct Durable {
    pub(super) world: World,
    disk: SimDisk,
    journal: Arc<Journal>,
    catalog: Arc<Catalog>,
    limits: Limits,
}

/// In what way a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process is killed: the system still writes what it was given.
    Killed,
    /// The machine loses its power: only what was synced is left.
    PowerCut,
    /// It is stopped in good order.
    Stopped,
}

pub(super) const ENDS: [End; 3] = [End::Killed, End::PowerCut, End::Stopped];

impl End {
    /// Whether it is unknown afterwards who had which message.
    fn is_sudden(self) -> bool {
        self != End::Stopped
    }
}

impl Durable {
    pub(super) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        Self::open(SimDisk::without_history(), Arc::new(ManualClock::new()), limits, |_, _| {})
    }

    /// Starts a broker as the server does. `before` sets what is to hold before the queues have their messages.
    fn open(
        disk: SimDisk,
        clock: Arc<ManualClock>,
        limits: Limits,
        before: impl FnOnce(&Vhost, &mut Turn),
    ) -> Self {
        let journal =
            JournalOptions { segment_size: 64 << 10, nonce_seed: Some(7), ..JournalOptions::default() };
        let options = StoreOptions { journal, ..StoreOptions::default() };
        let store = Store::open(Arc::new(disk.clone()), clock.clone(), options, &mut |_| {}).unwrap();
        assert!(store.damage.is_empty(), "{:?}", store.damage);
        let Store { journal, catalog, contents, held, was_killed, .. } = store;
        let builder = Broker::in_memory().clock(clock.clone()).limits(limits.clone());
        let broker = builder.restore(journal.clone(), catalog.clone(), contents).unwrap();
        let vhost = broker.vhost("/").unwrap();
        let mut turn = Turn::new();
        turn.begin(broker.now());
        before(&vhost, &mut turn);
        turn.finish(&broker);
        broker.restore_messages(held, was_killed, &mut turn);
        turn.begin(broker.now());
        let world = World { broker, vhost, turn, outbox: Arc::default(), clock, scratch: Routed::new() };
        Durable { world, disk, journal, catalog, limits }
    }

    /// Lets everything become safe.
    pub(super) fn sync(&mut self) {
        self.world.turn.finish(&self.world.broker);
        self.world.turn.begin(self.world.broker.now());
        self.catalog.pump();
        self.journal.pump();
    }

    /// Ends the broker and starts another one on what is left, so much later.
    pub(super) fn restart(self, end: End, later_ms: u64) -> Self {
        self.restart_with(end, later_ms, |_, _| {})
    }

    fn restart_with(self, end: End, later_ms: u64, before: impl FnOnce(&Vhost, &mut Turn)) -> Self {
        let disk = match end {
            End::Killed => self.disk.killed(),
            End::PowerCut => self.disk.only_synced(),
            End::Stopped => {
                self.catalog.close();
                self.catalog.pump();
                self.journal.close().unwrap();
                Store::note_end(&self.disk).unwrap();
                self.disk.only_synced()
            }
        };
        let clock = self.world.clock.clone();
        clock.advance(Duration::from_millis(later_ms));
        Self::open(disk, clock, self.limits, before)
    }

    fn publish(&mut self, to: &str, key: &str, properties: &Properties, body: &str) {
        let properties = Properties { delivery_mode: Some(2), ..properties.clone() };
        assert!(self.world.publish(to, key, &properties, body).unwrap() > 0, "{to} {key}: unroutable");
    }

    pub(super) fn send(&mut self, queue: &str, bodies: &[&str]) {
        bodies.iter().for_each(|body| self.publish("", queue, &Properties::default(), body));
    }

    pub(super) fn ready(&self, queue: &str) -> u64 {
        self.world.vhost.passive_queue(queue, ME).unwrap().stats().ready
    }

    pub(super) fn drain(&mut self, queue: &str) -> Vec<String> {
        self.world.drain(queue)
    }
}

fn table() -> FieldTable {
    FieldTable::new()
}

fn expiring(ms: u64) -> Properties {
    Properties { expiration: Some(ShortStr::truncated(ms.to_string())), ..Properties::default() }
}

fn options(durable: bool, exclusive: bool) -> QueueOptions {
    QueueOptions::from_declare(durable, exclusive, false, &table()).unwrap()
}

impl Durable {
    /// Takes the next message of a queue and gives it back.
    fn take_and_return(&mut self, queue: &str) {
        self.take_and_settle(queue, Settle::Requeue);
    }

    fn take_and_settle(&mut self, queue: &str, settlement: Settle) {
        let cell = self.world.vhost.queue(queue, ME).unwrap();
        let getter = self.world.broker.next_consumer_id();
        let turn = &mut self.world.turn;
        let got = cell.get(getter, false, turn).unwrap().unwrap();
        let tag = got.delivery.tag;
        let returned = Settled { first: tag, last: tag, settlement };
        cell.settle(getter, std::slice::from_ref(&returned), turn).unwrap();
        turn.finish(&self.world.broker);
    }

    fn delete_queue(&mut self, queue: &str) {
        self.world.vhost.delete_queue(queue, false, false, ME, &mut self.world.turn).unwrap();
        self.world.turn.finish(&self.world.broker);
    }

    /// A batch of one message.
    fn batch(&mut self, queue: &str, body: &str) -> PublishBatch {
        let encoded = Properties { delivery_mode: Some(2), ..Properties::default() }.encoded();
        let raw = RawProperties::check(&encoded).unwrap();
        let resolved = self.world.vhost.resolve("", queue, raw, &mut self.world.scratch).unwrap();
        let route = MessageRoute { exchange: exchange(""), routing_key: RoutingKey::new(queue).unwrap() };
        let mut batch = PublishBatch::default();
        batch.push_content(&route, &resolved.targets, &encoded, body.as_bytes()).unwrap();
        batch
    }
}

#[test]
fn what_was_declared_and_published_is_as_it_was() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.exchange("topic", "events", table()).unwrap();
        for queue in ["one", "two", "three"] {
            durable.world.queue(queue);
            durable.world.bind("events", queue, "order.*");
        }
        durable.world.bind("events", "three", "other");
        for body in ["1", "2", "3"] {
            durable.publish("events", "order.new", &Properties::default(), body);
        }
        durable.publish("events", "other", &Properties::default(), "4");
        // What the client had before the end does not come back.
        assert_eq!(durable.world.get("two").map(|got| super::body(&got)).as_deref(), Some("1"));
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert_eq!(
            (durable.ready("one"), durable.ready("two"), durable.ready("three")),
            (3, 2, 4),
            "{end:?}"
        );
        let got = durable.world.get("one").unwrap();
        assert_eq!((&**got.message.exchange(), &**got.message.routing_key()), ("events", "order.new"));
        assert!(got.message.is_persistent());
        assert_eq!(got.redelivered, end.is_sudden(), "it may have been with a consumer");
        assert_eq!(durable.drain("one"), ["2", "3"]);
        assert_eq!(durable.drain("two"), ["2", "3"]);
        assert_eq!(durable.drain("three"), ["1", "2", "3", "4"]);
        // Its topology works as before, and what comes is behind what was there.
        durable.publish("events", "order.old", &Properties::default(), "5");
        assert_eq!(
            (durable.drain("one"), durable.drain("two")),
            (vec!["5".to_owned()], vec!["5".to_owned()])
        );
    }
}

#[test]
fn what_need_not_outlive_the_broker_does_not() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("q");
        durable.world.declare("transient", options(false, false)).unwrap();
        durable.world.declare("exclusive", options(true, true)).unwrap();
        durable.world.exchange("fanout", "x", table()).unwrap();
        for queue in ["q", "transient", "exclusive"] {
            durable.world.bind("x", queue, "");
        }
        durable.publish("x", "", &Properties::default(), "kept");
        durable.world.publish("x", "", &Properties::default(), "transient").unwrap();
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let names: Vec<_> =
            durable.world.vhost.queues().iter().map(|queue| queue.name().to_string()).collect();
        assert_eq!(names, ["q"], "{end:?}");
        assert_eq!(durable.drain("q"), ["kept"]);
        assert_eq!(durable.world.publish("x", "", &Properties::default(), "m"), Ok(1), "one binding is left");
    }
}

#[test]
fn what_was_not_safe_is_gone_as_a_whole() {
    let mut durable = Durable::new();
    durable.world.exchange("fanout", "x", table()).unwrap();
    for queue in ["one", "two"] {
        durable.world.queue(queue);
        durable.world.bind("x", queue, "");
    }
    durable.publish("x", "", &Properties::default(), "safe");
    durable.sync();
    durable.publish("x", "", &Properties::default(), "not yet");
    let mut durable = durable.restart(End::PowerCut, 0);
    assert_eq!(
        (durable.drain("one"), durable.drain("two")),
        (vec!["safe".to_owned()], vec!["safe".to_owned()])
    );
}

#[test]
fn order_is_by_priority_then_by_age_and_returned_messages_keep_their_place() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue_with("q", table().with("x-max-priority", 5));
        for (priority, body) in [(0, "low"), (5, "high"), (3, "middle"), (5, "high too"), (0, "low too")] {
            let properties = Properties { priority: Some(priority), ..Properties::default() };
            durable.publish("", "q", &properties, body);
        }
        durable.take_and_return("q");
        durable.take_and_return("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let first = durable.world.get("q").unwrap();
        let facts = (super::body(&first), first.redelivered, first.delivery_count, first.returns);
        assert_eq!(facts, ("high".to_owned(), true, 2, 2), "{end:?}");
        let second = durable.world.get("q").unwrap();
        assert_eq!((super::body(&second), second.redelivered), ("high too".to_owned(), end.is_sudden()));
        assert_eq!(durable.drain("q"), ["middle", "low", "low too"]);
    }
}

#[test]
fn what_was_being_delivered_is_ready_again() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2"]);
    durable.sync();
    let cell = durable.world.vhost.queue("q", ME).unwrap();
    let getter = durable.world.broker.next_consumer_id();
    let got = cell.get(getter, false, &mut durable.world.turn).unwrap().unwrap();
    assert_eq!(super::body(&got.delivery), "1");
    durable.sync();
    drop((cell, got));
    let mut durable = durable.restart(End::Killed, 0);
    assert_eq!(durable.drain("q"), ["1", "2"]);
}

#[test]
fn times_to_live_go_on_while_nobody_runs() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("dead");
        let arguments = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
        durable.world.queue_with("q", arguments.clone().with("x-message-ttl", 1000));
        durable.world.queue_with("own", arguments);
        durable.send("q", &["by the queue"]);
        durable.publish("", "own", &expiring(700), "by its own");
        durable.publish("", "own", &Properties::default(), "never");
        durable.sync();
        let mut durable = durable.restart(end, 699);
        assert_eq!((durable.ready("q"), durable.ready("own"), durable.ready("dead")), (1, 2, 0), "{end:?}");
        durable.world.advance(1);
        assert_eq!((durable.ready("own"), durable.drain("dead")), (1, vec!["by its own".to_owned()]));
        durable.sync();
        // Its time comes while the broker is away.
        let mut durable = durable.restart(end, 300);
        durable.world.advance(0);
        assert_eq!(
            (durable.ready("q"), durable.drain("dead")),
            (0, vec!["by the queue".to_owned()]),
            "{end:?}"
        );
        durable.sync();
        let durable = durable.restart(end, 100_000);
        assert_eq!((durable.ready("q"), durable.ready("own"), durable.ready("dead")), (0, 1, 0));
    }
}

#[test]
fn delayed_messages_go_on_when_their_time_comes() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable
            .world
            .exchange("x-delayed-message", "later", table().with("x-delayed-type", "direct"))
            .unwrap();
        durable.world.queue("q");
        durable.world.bind("later", "q", "k");
        for (ms, body) in [(300, "third"), (100, "first"), (200, "second")] {
            durable.publish("later", "k", &headers(table().with("x-delay", ms)), body);
        }
        durable.sync();
        let mut durable = durable.restart(end, 50);
        durable.world.advance(49);
        assert!(durable.drain("q").is_empty(), "{end:?}");
        durable.world.advance(1);
        assert_eq!(durable.drain("q"), ["first"]);
        durable.sync();
        let mut durable = durable.restart(end, 150);
        durable.world.advance(0);
        assert_eq!(durable.drain("q"), ["second"], "{end:?}: due while nobody ran");
        durable.world.advance(50);
        assert_eq!(durable.drain("q"), ["third"]);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        durable.world.advance(1000);
        assert!(durable.drain("q").is_empty());
    }
}

#[test]
fn a_dead_letter_is_in_one_place_and_knows_its_history() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("dead");
        let dead = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
        durable.world.queue_with("q", dead.with("x-max-length", 1));
        durable.send("q", &["1", "2", "3"]);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let first = durable.world.get("dead").unwrap();
        let table = first.message.properties().decode().headers.unwrap();
        assert!(table.get("x-death").is_some(), "{table:?}");
        assert_eq!(super::body(&first), "1");
        assert_eq!((durable.drain("dead"), durable.drain("q")), (vec!["2".to_owned()], vec!["3".to_owned()]));
    }
}

#[test]
fn a_dead_letter_is_not_lost_with_the_young_queue_that_it_went_to() {
    for end in [End::Killed, End::PowerCut] {
        let mut durable = Durable::new();
        let dead = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "young");
        durable.world.queue_with("q", dead);
        durable.send("q", &["dies"]);
        durable.sync();
        durable.world.queue("young");
        durable.take_and_settle("q", Settle::Reject { reason: None });
        assert_eq!(durable.ready("young"), 1);
        // The catalog is not so far: the queue is gone after a crash, and the letter must not be.
        durable.journal.pump();
        let mut durable = durable.restart(end, 0);
        assert!(durable.world.vhost.queue("young", ME).is_err());
        assert_eq!(durable.drain("q"), ["dies"], "{end:?}");
    }
}

#[test]
fn a_dead_letter_leaves_its_queue_when_the_young_one_is_safe() {
    let mut durable = Durable::new();
    let dead = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "young");
    durable.world.queue_with("q", dead.with("x-message-ttl", 100));
    durable.send("q", &["dies"]);
    durable.sync();
    durable.world.queue("young");
    durable.world.advance(100);
    durable.sync();
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    durable.world.advance(100);
    assert_eq!(durable.drain("young"), ["dies"]);
}

#[test]
fn a_queue_whose_deletion_is_not_safe_still_has_its_messages() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2", "3"]);
    durable.sync();
    let got = durable.world.get("q").unwrap();
    assert_eq!(super::body(&got), "1");
    durable.sync();
    durable.delete_queue("q");
    durable.journal.rotate();
    durable.world.queue("other");
    durable.send("other", &["x"]);
    // The catalog is not told to the disk.
    for _ in 0..4 {
        durable.journal.pump();
        durable.journal.maintain();
    }
    let mut durable = durable.restart(End::PowerCut, 0);
    assert_eq!(durable.drain("q"), ["2", "3"]);
}

#[test]
fn what_a_queue_refused_does_not_come_back() {
    let mut durable = Durable::new();
    durable.world.queue_with("q", table().with("x-max-length", 1).with("x-overflow", "reject-publish"));
    durable.send("q", &["fits", "does not"]);
    durable.sync();
    let mut durable = durable.restart(End::Killed, 0);
    assert_eq!(durable.drain("q"), ["fits"]);
}

#[test]
fn a_message_published_before_the_end_is_still_a_duplicate() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.exchange("direct", "x", table().with("x-message-deduplication", true)).unwrap();
        durable.world.queue("q");
        durable.world.bind("x", "q", "k");
        let keyed = headers(table().with("x-deduplication-header", "a"));
        durable.publish("x", "k", &keyed, "1");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        durable.world.publish("x", "k", &keyed, "again").unwrap();
        assert_eq!(durable.drain("q"), ["1"], "{end:?}");
    }
}

#[test]
fn what_was_published_together_is_there_together_or_not() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("one");
        durable.world.queue("two");
        durable.send("one", &["taken in it"]);
        durable.sync();
        let cell = durable.world.vhost.queue("one", ME).unwrap();
        let batches = vec![durable.batch("one", "a"), durable.batch("two", "b"), durable.batch("one", "c")];
        let World { broker, turn, outbox, .. } = &mut durable.world;
        let got = cell.get(ConsumerId(0), true, turn).unwrap().unwrap();
        assert_eq!(super::body(&got.delivery), "taken in it");
        let mut rejected = Vec::new();
        let commit = broker.publish_together(batches, outbox, &mut rejected, turn);
        turn.finish(broker);
        assert!(rejected.is_empty() && !broker.is_committed(&commit));
        durable.sync();
        assert!(durable.world.broker.is_committed(&commit));
        // A second one, of which nothing is safe; a broker that is stopped sees to it.
        let batches = vec![durable.batch("one", "last"), durable.batch("two", "last")];
        let World { broker, turn, outbox, .. } = &mut durable.world;
        let _ = broker.publish_together(batches, outbox, &mut Vec::new(), turn);
        turn.finish(broker);
        drop(cell);
        let mut durable = durable.restart(end, 0);
        let last = usize::from(!end.is_sudden());
        assert_eq!(durable.drain("one"), ["a", "c", "last"][..2 + last], "{end:?}");
        assert_eq!(durable.drain("two"), ["b", "last"][..1 + last], "{end:?}");
    }
}

#[test]
fn a_queue_declared_again_does_not_get_the_messages_of_the_one_that_was_deleted() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("q");
        durable.send("q", &["old"]);
        durable.sync();
        durable.delete_queue("q");
        durable.world.queue("q");
        durable.send("q", &["new"]);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert_eq!(durable.drain("q"), ["new"], "{end:?}");
        // Nor one that another process declares.
        durable.send("q", &["old too"]);
        durable.sync();
        durable.delete_queue("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert!(durable.world.vhost.queue("q", ME).is_err());
        durable.world.queue("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert!(durable.drain("q").is_empty(), "{end:?}");
    }
}

#[test]
fn what_was_unbound_and_deleted_stays_so() {
    let mut durable = Durable::new();
    durable.world.exchange("direct", "x", table()).unwrap();
    durable.world.exchange("direct", "gone", table()).unwrap();
    durable.world.queue("q");
    for key in ["stays", "goes"] {
        durable.world.bind("x", "q", key);
    }
    durable.world.bind("gone", "q", "k");
    durable.sync();
    let (vhost, goes) = (&durable.world.vhost, RoutingKey::new("goes").unwrap());
    vhost.unbind_queue(&exchange("x"), "q", &goes, &table(), ME).unwrap();
    vhost.delete_exchange(&exchange("gone"), false).unwrap();
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    let mut routed = |to: &str, key: &str| durable.world.publish(to, key, &Properties::default(), "m");
    assert_eq!((routed("x", "stays"), routed("x", "goes")), (Ok(1), Ok(0)));
    assert_eq!(routed("gone", "k").unwrap_err().reply_code().number(), 404);
}

#[test]
fn policies_set_before_the_messages_come_hold_for_them() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2", "3"]);
    durable.sync();
    let ttl = Policy::new("p", "q", PolicyTarget::All, 0, &table().with("message-ttl", 1000)).unwrap();
    let mut durable =
        durable.restart_with(End::Killed, 999, |vhost, turn| vhost.set_policy(ttl, turn).unwrap());
    assert_eq!(durable.ready("q"), 3);
    durable.world.advance(1);
    assert_eq!(durable.ready("q"), 0);
}

#[test]
fn a_long_queue_is_on_disk_and_in_order() {
    for end in ENDS {
        let mut durable = Durable::with_limits(Limits { queue_bodies: 256 << 10, ..Limits::default() });
        durable.world.queue("q");
        let body = |number: usize| format!("{number:05} {}", "x".repeat(4000));
        let count = 500;
        for number in 0..count {
            durable.send("q", &[&body(number)]);
            if number % 20 == 19 {
                durable.sync();
            }
        }
        let stats = durable.world.vhost.queue("q", ME).unwrap().stats();
        assert!(stats.paged > 300 && stats.ready == count as u64, "{stats:?}");
        // Some are consumed here, the others by the next process; one came back meanwhile.
        for number in 0..100 {
            assert!(super::body(&durable.world.get("q").unwrap()) == body(number), "{number}");
        }
        durable.take_and_return("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let stats = durable.world.vhost.queue("q", ME).unwrap().stats();
        assert_eq!((stats.ready, stats.paged), (400, 400), "nothing is read before it is wanted");
        for number in 100..count {
            let got = durable.world.get("q").unwrap();
            assert!(super::body(&got) == body(number), "{number} at {end:?}");
            assert_eq!(got.redelivered, number == 100 || end.is_sudden());
        }
        assert!(durable.world.get("q").is_none());
        durable.sync();
        let durable = durable.restart(end, 0);
        assert_eq!(durable.ready("q"), 0);
    }
}

#[test]
fn transient_messages_beyond_the_memory_of_a_queue_come_back_in_order() {
    let mut durable = Durable::with_limits(Limits { queue_bodies: 256 << 10, ..Limits::default() });
    durable.world.queue("q");
    let body = |number: usize| format!("{number:05} {}", "x".repeat(4000));
    for number in 0..400 {
        // Every third one is in the journal, the others are in no file that outlives the process.
        match number % 3 {
            0 => durable.send("q", &[&body(number)]),
            _ => drop(durable.world.publish("", "q", &Properties::default(), &body(number)).unwrap()),
        }
        durable.journal.pump();
    }
    assert!(durable.world.vhost.queue("q", ME).unwrap().stats().paged > 200);
    for number in 0..200 {
        assert!(super::body(&durable.world.get("q").unwrap()) == body(number), "{number}");
    }
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    for number in (200..400).filter(|number| number % 3 == 0) {
        assert!(super::body(&durable.world.get("q").unwrap()) == body(number), "{number}");
    }
    assert!(durable.world.get("q").is_none());
}

#[test]
fn a_purged_queue_stays_empty() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2"]);
    durable.sync();
    let purged = durable.world.vhost.purge_queue("q", ME, &mut durable.world.turn).unwrap();
    assert_eq!(purged, 2);
    durable.sync();
    let durable = durable.restart(End::PowerCut, 0);
    assert_eq!(durable.ready("q"), 0);
}

#[test]
fn nothing_durable_is_declared_or_published_when_the_disk_has_failed() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.sync();
    durable.world.queue("other");
    durable.disk.fail_syncs(1);
    assert_eq!(durable.catalog.pump(), CatalogPumped::Stopped);
    assert!(durable.world.broker.log_stopped().is_some());
    assert_eq!(refused(durable.world.declare("more", options(true, false))).0, 541);
    assert!(durable.world.declare("transient", options(false, false)).is_ok());
}

#[test]
fn what_is_consumed_gives_its_files_back_also_after_a_restart() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    let body = "x".repeat(4000);
    for _ in 0..200 {
        durable.send("q", &[&body]);
        durable.sync();
    }
    let mut durable = durable.restart(End::Killed, 0);
    let before = durable.journal.stats().segments;
    assert!(before > 8, "{before}");
    assert_eq!(durable.drain("q").len(), 200);
    durable.sync();
    for _ in 0..50 {
        durable.journal.maintain();
        durable.journal.pump();
    }
    let after = durable.journal.stats().segments;
    assert!(after <= 2, "{after} of {before} segments are left");
}
