//! The queue machine: messages published, dispatched, taken, acknowledged. In batches as from one socket read.

use std::hint::black_box;

use rialto::model::{
    BatchBuilder, ConsumerId, ConsumerTag, ExchangeName, Lsn, MemoryGauge, MessageRoute, Publication,
    QueueName, QueueOptions, RoutingKey, Timestamp,
};
use rialto::queue::{ConsumerSpec, Delivery, Effects, Queue, QueueLimits, Settle};

use super::{BODY, Workload};

const BATCH: u64 = 64;

/// How the queue is used.
pub(super) struct Case {
    pub(super) consumers: u64,
    pub(super) prefetch: u32,
    pub(super) auto_ack: bool,
    pub(super) ttl_ms: Option<u64>,
    /// Messages that wait before anything is measured.
    pub(super) backlog: u64,
    /// Acknowledge one by one instead of each batch at once.
    pub(super) single_acks: bool,
}

impl Default for Case {
    fn default() -> Self {
        PLAIN
    }
}

const PLAIN: Case =
    Case { consumers: 1, prefetch: 0, auto_ack: false, ttl_ms: None, backlog: 0, single_acks: false };
pub(super) const SINGLE_ACKS: Case = Case { single_acks: true, ..PLAIN };
pub(super) const AUTO_ACK: Case = Case { auto_ack: true, ..PLAIN };
pub(super) const TEN_CONSUMERS: Case = Case { consumers: 10, ..PLAIN };
pub(super) const THOUSAND_CONSUMERS: Case = Case { consumers: 1000, prefetch: 1, single_acks: true, ..PLAIN };
pub(super) const TTL: Case = Case { ttl_ms: Some(60_000), ..PLAIN };
pub(super) const BACKLOG: Case = Case { prefetch: 64, backlog: 10_000, ..PLAIN };

/// A queue and what goes through it.
pub(super) struct Cycle {
    case: Case,
    queue: Queue,
    now: Timestamp,
    next_lsn: u64,
    gauge: MemoryGauge,
    route: MessageRoute,
    out: Effects,
    publications: Vec<Publication>,
    taken: Vec<(ConsumerId, Vec<Delivery>)>,
    spare: Vec<Vec<Delivery>>,
}

impl Cycle {
    pub(super) fn new(case: Case) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let options = QueueOptions { message_ttl_ms: case.ttl_ms, ..QueueOptions::default() };
        let name = QueueName::new("q").expect("short");
        let exchange = ExchangeName::new("orders").expect("short");
        let routing_key = RoutingKey::new("order.new").expect("short");
        let mut cycle = Cycle {
            queue: Queue::new(name, options, QueueLimits::default(), now),
            now,
            next_lsn: 1,
            gauge: MemoryGauge::new(),
            route: MessageRoute { exchange, routing_key },
            out: Effects::new(),
            publications: Vec::new(),
            taken: Vec::new(),
            spare: Vec::new(),
            case,
        };
        for _ in 0..cycle.case.backlog / BATCH {
            cycle.prepare();
            cycle.publish();
        }
        for id in 1..=cycle.case.consumers {
            let spec = ConsumerSpec {
                id: ConsumerId(id),
                tag: ConsumerTag::default(),
                auto_ack: cycle.case.auto_ack,
                exclusive: false,
                priority: 0,
                prefetch: cycle.case.prefetch,
                credit: None,
                window: 1 << 40,
                channel_window: None,
                timeout: None,
            };
            cycle.queue.add_consumer(spec, now).expect("nobody is exclusive");
        }
        cycle
    }

    fn publish(&mut self) {
        for publication in self.publications.drain(..) {
            black_box(self.queue.publish(publication, self.now, &mut self.out));
        }
    }
}

impl Workload for Cycle {
    fn prepare(&mut self) {
        self.out.clear();
        self.now = self.now.plus_millis(1);
        let mut builder = BatchBuilder::default();
        (0..BATCH).for_each(|_| builder.push_content(&self.route, &[], &[7; BODY], false));
        for message in builder.finish(&self.gauge) {
            let lsn = Lsn(self.next_lsn);
            self.next_lsn += 1;
            self.publications.push(Publication {
                message,
                lsn,
                priority: None,
                ttl_ms: None,
                delay_ms: None,
            });
        }
    }

    fn work(&mut self) {
        self.publish();
        let (taken, spare) = (&mut self.taken, &mut self.spare);
        self.queue.dispatch(self.now, &mut self.out);
        self.queue.take_deliveries(|consumer, deliveries| {
            let mut own = spare.pop().unwrap_or_default();
            own.append(deliveries);
            taken.push((consumer, own));
        });
        for (consumer, mut own) in taken.drain(..) {
            let (first, last) = (own[0].tag, own[own.len() - 1].tag);
            own.clear();
            spare.push(own);
            if self.case.auto_ack {
                continue;
            }
            let step = if self.case.single_acks { 1 } else { last - first + 1 };
            for tag in (first..=last).step_by(step as usize) {
                let settled =
                    self.queue.settle(consumer, tag, tag + step - 1, Settle::Ack, self.now, &mut self.out);
                black_box(settled).expect("it was delivered");
            }
        }
    }

    fn operations(&self) -> usize {
        BATCH as usize
    }
}
