//! What outlives the broker: it is killed, or its machine is, and everything durable is as it was. Here: a broker whose disk
//! is driven by hand, and in what ways it ends.

mod declared;
mod messages;

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
        let Store { journal, catalog, contents, held, delivered_before, .. } = store;
        let builder = Broker::in_memory().clock(clock.clone()).limits(limits.clone());
        let broker = builder.restore(journal.clone(), catalog.clone(), contents).unwrap();
        let vhost = broker.vhost("/").unwrap();
        let mut turn = Turn::new();
        turn.begin(broker.now());
        before(&vhost, &mut turn);
        turn.finish(&broker);
        broker.restore_messages(held, delivered_before, &mut turn);
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
        let resolved = self.world.vhost.resolve("", queue, raw, ME, &mut self.world.scratch).unwrap();
        let route = MessageRoute { exchange: exchange(""), routing_key: RoutingKey::new(queue).unwrap() };
        let mut batch = PublishBatch::default();
        batch.push_content(&route, &resolved.targets, &encoded, body.as_bytes()).unwrap();
        batch
    }
}
