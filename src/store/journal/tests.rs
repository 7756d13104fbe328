use std::sync::atomic::AtomicUsize;

use super::*;
use crate::model::{
    BatchBuilder, ExchangeName, ManualClock, MemoryGauge, Message, MessageBatch, MessageRoute, Priority,
    RoutingKey, SegmentId, Timestamp,
};
use crate::store::recovery::{OnDamage, RecoveryOptions, recover};
use crate::store::{PublishPart, SimDisk, StoredMessage, StoredTarget};

mod appending;
mod faults;
mod reclaiming;

pub(super) const SEGMENT: u32 = 16 << 10;

/// A journal on a simulated disk, pumped by hand.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) journal: Arc<Journal>,
}

/// Messages that were appended.
pub(super) struct Published {
    pub(super) messages: Vec<Message>,
    pub(super) first: Lsn,
    pub(super) position: Position,
}

impl Published {
    pub(super) fn location(&self) -> Location {
        self.messages[0].location().unwrap()
    }

    pub(super) fn run(&self, from: u32, count: u32) -> StoredRun {
        StoredRun { first: Lsn(self.first.0 + u64::from(from)), count, location: self.location() }
    }

    pub(super) fn all(&self) -> StoredRun {
        self.run(0, self.messages.len() as u32)
    }
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(JournalOptions::default())
    }

    pub(super) fn with(options: JournalOptions) -> Rig {
        Rig::on(SimDisk::new(), options)
    }

    /// On a disk that is there, after a recovery. Queues 1 to 9 exist.
    pub(super) fn on(disk: SimDisk, options: JournalOptions) -> Rig {
        let options = JournalOptions { segment_size: SEGMENT, nonce_seed: Some(7), ..options };
        let clock = Arc::new(ManualClock::new());
        let exists = |queue: QueueId| (1..10).contains(&queue.0);
        let recovery = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &exists };
        let mut recovered = recover(&disk, &recovery, &mut |_| {}).unwrap();
        recovered.mend(&disk).unwrap();
        let journal = Journal::start(Arc::new(disk.clone()), clock, options, &recovered).unwrap();
        let rig = Rig { disk, journal: Arc::new(journal) };
        (1..10).for_each(|queue| rig.journal.add_queue(QueueId(queue)));
        rig
    }

    /// Publishes bodies to queues, as one batch.
    pub(super) fn publish(&self, queues: &[u64], bodies: &[&[u8]]) -> Published {
        self.try_publish(queues, bodies, &[]).unwrap()
    }

    pub(super) fn try_publish(
        &self,
        queues: &[u64],
        bodies: &[&[u8]],
        others: &[Part<'_>],
    ) -> Result<Published, LogError> {
        let messages = batch(bodies);
        let first = self.journal.reserve(messages.len() as u64);
        let stored = stored(&messages, first);
        let count = stored.len() as u32;
        let targets: Vec<_> =
            queues.iter().map(|queue| StoredTarget { queue: QueueId(*queue), first: 0, count }).collect();
        let part = PublishPart {
            batch: messages[0].batch(),
            at: Timestamp::from_millis(1),
            messages: &stored,
            targets: &targets,
        };
        let mut parts = vec![Part::Publish(part)];
        parts.extend(others.iter().cloned());
        let position = self.journal.append(&parts)?;
        Ok(Published { messages, first, position })
    }

    pub(super) fn settle(&self, queue: u64, runs: &[StoredRun]) -> Position {
        self.journal.append(&[Part::Settle { queue: QueueId(queue), runs }]).unwrap()
    }

    /// Pumps until there is nothing to do.
    pub(super) fn pump(&self) {
        while self.journal.pump() == Pumped::Wrote {}
    }

    /// The bodies that are read back from these entries.
    pub(super) fn bodies(&self, location: Location, from: u32, len: u32) -> Vec<Vec<u8>> {
        let slice = self.journal.read(location, from, len).unwrap();
        let gauge = MemoryGauge::new();
        let messages = MessageBatch::read_back(location, from, slice.entries, slice.routes, &gauge).unwrap();
        messages.iter().map(|message| message.body().to_vec()).collect()
    }

    pub(super) fn bodies_of(&self, published: &Published) -> Vec<Vec<u8>> {
        let len = published.messages.iter().map(|message| message.len() as u32).sum();
        self.bodies(published.location(), 0, len)
    }

    pub(super) fn files(&self) -> Vec<String> {
        self.disk.list().unwrap().into_iter().map(|(name, _)| name).collect()
    }
}

fn batch(bodies: &[&[u8]]) -> Vec<Message> {
    let mut builder = BatchBuilder::default();
    for (number, body) in bodies.iter().enumerate() {
        let routing_key = RoutingKey::new(format!("key {}", number / 2)).unwrap();
        let route = MessageRoute { exchange: ExchangeName::new("orders").unwrap(), routing_key };
        builder.push_content(&route, &[], body, true);
    }
    builder.finish(&MemoryGauge::new()).collect()
}

fn stored(messages: &[Message], first: Lsn) -> Vec<StoredMessage> {
    let stored = |(number, message): (usize, &Message)| StoredMessage {
        lsn: Lsn(first.0 + number as u64),
        entry_len: message.len() as u32,
        body_len: message.body_len() as u32,
        route: message.route_number(),
        priority: Some(Priority(3)),
        ttl_ms: None,
        delay_ms: None,
    };
    messages.iter().enumerate().map(stored).collect()
}
