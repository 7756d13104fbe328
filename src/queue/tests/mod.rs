//! The rules of a queue, one by one, with a clock moved by hand.

mod browsing;
mod changes;
mod consumer_timeout;
mod consumers;
mod delayed_retry;
mod duplicates;
mod expiry;
mod order;
mod overflow;
mod paging;
mod restore;
mod settlement;
mod spill;

use crate::model::{
    ConsumerId, ConsumerTag, DeadLetterTarget, ExchangeName, Lsn, Priority, Publication, QueueName,
    QueueOptions, Timestamp,
};

use super::testing::message;
use super::*;

/// A queue, its time, and what it asked for.
struct Host {
    queue: Queue,
    now: Timestamp,
    out: Effects,
    next_lsn: u64,
}

fn host(options: QueueOptions) -> Host {
    let now = Timestamp::from_millis(1_000_000);
    let name = QueueName::new("jobs").unwrap();
    let queue = Queue::new(name, options, QueueLimits::default(), now);
    Host { queue, now, out: Effects::new(), next_lsn: 1 }
}

fn with_dead_letters(options: QueueOptions) -> QueueOptions {
    let target = DeadLetterTarget { exchange: ExchangeName::default(), routing_key: None };
    QueueOptions { dead_letter: Some(target), ..options }
}

fn spec(id: u64) -> ConsumerSpec {
    ConsumerSpec {
        id: ConsumerId(id),
        tag: ConsumerTag::default(),
        auto_ack: false,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        credit: None,
        window: u64::MAX,
        channel_window: None,
        timeout: None,
    }
}

impl Host {
    fn publication(&mut self) -> Publication {
        let lsn = Lsn(self.next_lsn);
        self.next_lsn += 1;
        Publication { message: message(b"0123456789"), lsn, priority: None, ttl_ms: None, delay_ms: None }
    }

    /// Publishes a message of ten bytes.
    fn publish(&mut self) -> Verdict {
        let publication = self.publication();
        self.queue.publish(publication, self.now, &mut self.out)
    }

    fn publish_many(&mut self, count: usize) {
        (0..count).for_each(|_| assert_eq!(self.publish(), Verdict::Accepted));
    }

    fn publish_with(&mut self, priority: u8, ttl_ms: Option<u64>) -> Verdict {
        let publication = Publication { priority: Some(Priority(priority)), ttl_ms, ..self.publication() };
        self.queue.publish(publication, self.now, &mut self.out)
    }

    fn add(&mut self, spec: ConsumerSpec) {
        assert_eq!(self.queue.add_consumer(spec, self.now), Ok(()));
    }

    fn remove(&mut self, id: u64, mode: RemoveMode) {
        self.queue.remove_consumer(ConsumerId(id), mode, self.now, &mut self.out);
    }

    /// Dispatches, and takes the LSNs that each consumer got.
    fn deliveries(&mut self) -> Vec<(u64, Vec<u64>)> {
        self.queue.dispatch(self.now, &mut self.out);
        let mut taken = Vec::new();
        self.queue.take_deliveries(|id, deliveries| {
            taken.push((id.0, deliveries.drain(..).map(|delivery| delivery.lsn.0).collect::<Vec<_>>()));
        });
        taken.sort();
        self.queue.check_invariants();
        taken
    }

    fn settle(
        &mut self,
        id: u64,
        tags: std::ops::RangeInclusive<u64>,
        how: Settle,
    ) -> Result<u64, SettleError> {
        self.queue.settle(ConsumerId(id), *tags.start(), *tags.end(), how, self.now, &mut self.out)
    }

    fn get(&mut self) -> Option<u64> {
        let got = self.queue.get(ConsumerId(99), true, self.now, &mut self.out);
        got.map(|got| got.delivery.lsn.0)
    }

    /// Takes all that is ready, in order.
    fn drain(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.get()).collect()
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_millis(ms);
    }

    fn tick(&mut self) {
        self.queue.tick(self.now, &mut self.out);
    }

    /// The dead letters since the last time.
    fn dead(&mut self) -> Vec<(u64, DeathReason)> {
        self.out.dead.drain(..).map(|dead| (dead.lsn.0, dead.reason)).collect()
    }

    fn readiness(&self, id: u64) -> Readiness {
        let consumer = self.queue.consumers().find(|consumer| consumer.id.0 == id);
        consumer.expect("it consumes").readiness
    }
}
