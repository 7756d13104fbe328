//! The journal on a disk in memory: a batch is appended as one record, written and synced.

use std::sync::Arc;

use rialto::model::{
    BatchBuilder, ExchangeName, Lsn, ManualClock, MemoryGauge, Message, MessageRoute, QueueId, RoutingKey,
};
use rialto::store::journal::{Journal, JournalOptions, Pumped};
use rialto::store::recovery::{OnDamage, RecoveryOptions, recover};
use rialto::store::{Log, Part, PublishPart, SimDisk, StoredMessage, StoredTarget};

use super::{BODY, NOW, Workload};

const BATCH: u32 = 256;
const QUEUE: QueueId = QueueId(1);

/// A journal and the next batch.
pub(super) struct Append {
    journal: Journal,
    route: MessageRoute,
    gauge: MemoryGauge,
    messages: Vec<Message>,
    stored: Vec<StoredMessage>,
}

impl Append {
    pub(super) fn new() -> Self {
        let disk = SimDisk::new();
        let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &|_| true };
        let recovered = recover(&disk, &options, &mut |_| {}).expect("nothing is there");
        let options = JournalOptions { nonce_seed: Some(7), ..JournalOptions::default() };
        let journal = Journal::start(Arc::new(disk), Arc::new(ManualClock::new()), options, &recovered);
        let journal = journal.expect("a disk in memory does not fail");
        journal.add_queue(QUEUE);
        let exchange = ExchangeName::new("orders").expect("short");
        let route = MessageRoute { exchange, routing_key: RoutingKey::new("order.new").expect("short") };
        Append { journal, route, gauge: MemoryGauge::new(), messages: Vec::new(), stored: Vec::new() }
    }
}

impl Workload for Append {
    fn prepare(&mut self) {
        let mut builder = BatchBuilder::default();
        (0..BATCH).for_each(|_| builder.push_content(&self.route, &[], &[7; BODY], true));
        self.messages = builder.finish(&self.gauge).collect();
        let Lsn(first) = self.journal.reserve(BATCH.into());
        let stored = |(message, lsn): (&Message, u64)| StoredMessage {
            lsn: Lsn(lsn),
            entry_len: message.len() as u32,
            body_len: message.body_len() as u32,
            route: message.route_number(),
            priority: None,
            ttl_ms: None,
            delay_ms: None,
        };
        self.stored = self.messages.iter().zip(first..).map(stored).collect();
    }

    fn work(&mut self) {
        let targets = [StoredTarget { queue: QUEUE, first: 0, count: BATCH }];
        let batch = self.messages[0].batch();
        let part = PublishPart { batch, at: NOW, messages: &self.stored, targets: &targets };
        let position = self.journal.append(&[Part::Publish(part)]).expect("the journal runs");
        assert_eq!(self.journal.pump(), Pumped::Wrote);
        assert!(self.journal.committed() >= position);
    }

    fn operations(&self) -> usize {
        BATCH as usize
    }
}
