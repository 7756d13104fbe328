//! What one message costs in the queue machine: published, dispatched, taken, acknowledged.
//!
//! Run with `cargo bench --bench queue`. Messages come in batches of 64 as from one socket read, and making the
//! batch is not measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rialto::model::{
    BatchBuilder, ConsumerId, ConsumerTag, ExchangeName, Lsn, MemoryGauge, MessageRoute, Publication,
    QueueName, QueueOptions, RoutingKey, Timestamp,
};
use rialto::queue::{ConsumerSpec, Delivery, Effects, Queue, QueueLimits, Settle};

const BATCH: u64 = 64;
/// The best of so many slices counts: a busy machine makes some of them slow, never fast.
const SLICES: u64 = 20;
const ROUNDS_PER_SLICE: u64 = 2_500;

struct Case {
    name: &'static str,
    consumers: u64,
    prefetch: u32,
    auto_ack: bool,
    ttl_ms: Option<u64>,
    /// Messages that wait before anything is measured.
    backlog: u64,
    /// Acknowledge one by one instead of each batch at once.
    single_acks: bool,
}

impl Default for Case {
    fn default() -> Self {
        Case {
            name: "",
            consumers: 1,
            prefetch: 0,
            auto_ack: false,
            ttl_ms: None,
            backlog: 0,
            single_acks: false,
        }
    }
}

fn main() {
    for case in [
        Case { name: "1 consumer", ..Case::default() },
        Case { name: "1 consumer, single acks", single_acks: true, ..Case::default() },
        Case { name: "1 consumer, auto-ack", auto_ack: true, ..Case::default() },
        Case { name: "10 consumers", consumers: 10, ..Case::default() },
        Case {
            name: "8 consumers, 1,000 waiting",
            consumers: 8,
            prefetch: 8,
            backlog: 1024,
            ..Case::default()
        },
        Case {
            name: "1000 consumers, prefetch 1, single acks",
            consumers: 1000,
            prefetch: 1,
            single_acks: true,
            ..Case::default()
        },
        Case { name: "1 consumer, TTL", ttl_ms: Some(60_000), ..Case::default() },
        Case { name: "1 consumer, 100,000 waiting", prefetch: 64, backlog: 100_000, ..Case::default() },
        Case {
            name: "1 consumer, 100,000 waiting, TTL",
            prefetch: 64,
            backlog: 100_000,
            ttl_ms: Some(60_000),
            ..Case::default()
        },
    ] {
        measure(&case);
    }
}

fn measure(case: &Case) {
    let mut now = Timestamp::from_millis(1_000_000);
    let options = QueueOptions { message_ttl_ms: case.ttl_ms, ..QueueOptions::default() };
    let mut queue = Queue::new(QueueName::new("q").unwrap(), options, QueueLimits::default(), now);
    let mut out = Effects::new();
    let mut lsn = 0;
    let gauge = MemoryGauge::new();
    let exchange = ExchangeName::new("orders").unwrap();
    let route = MessageRoute { exchange, routing_key: RoutingKey::new("order.new").unwrap() };
    let mut batch = |count: u64| -> Vec<Publication> {
        let mut builder = BatchBuilder::default();
        (0..count).for_each(|_| builder.push_content(&route, &[], &[7; 128], false));
        let messages = builder.finish(&gauge);
        let publication = |message| {
            lsn += 1;
            Publication { message, lsn: Lsn(lsn), priority: None, ttl_ms: None, delay_ms: None }
        };
        messages.map(publication).collect()
    };
    for _ in 0..case.backlog / BATCH {
        for publication in batch(BATCH) {
            queue.publish(publication, now, &mut out);
        }
    }
    for id in 1..=case.consumers {
        let spec = ConsumerSpec {
            id: ConsumerId(id),
            tag: ConsumerTag::default(),
            auto_ack: case.auto_ack,
            exclusive: false,
            priority: 0,
            prefetch: case.prefetch,
            credit: None,
            window: 1 << 40,
            channel_window: None,
            timeout: None,
        };
        queue.add_consumer(spec, now).unwrap();
    }
    let mut taken: Vec<(ConsumerId, Vec<Delivery>)> = Vec::new();
    let mut spare: Vec<Vec<Delivery>> = Vec::new();
    let mut best: Option<Slice> = None;
    for _ in 0..SLICES {
        let mut slice = Slice::default();
        for _ in 0..ROUNDS_PER_SLICE {
            let publications = batch(BATCH);
            let started = Instant::now();
            for publication in publications {
                black_box(queue.publish(publication, now, &mut out));
            }
            queue.dispatch(now, &mut out);
            queue.take_deliveries(|consumer, deliveries| {
                let mut own = spare.pop().unwrap_or_default();
                own.append(deliveries);
                taken.push((consumer, own));
            });
            slice.publishing += started.elapsed();
            // What the connections do with them is not the queue's.
            let acks: Vec<_> = taken
                .drain(..)
                .map(|(consumer, mut own)| {
                    let range = (consumer, own[0].tag, own[own.len() - 1].tag);
                    own.clear();
                    spare.push(own);
                    range
                })
                .collect();
            let started = Instant::now();
            for (consumer, first, last) in acks {
                slice.delivered += last - first + 1;
                if case.auto_ack {
                    continue;
                }
                if case.single_acks {
                    for tag in first..=last {
                        black_box(queue.settle(consumer, tag, tag, Settle::Ack, now, &mut out)).unwrap();
                    }
                } else {
                    black_box(queue.settle(consumer, first, last, Settle::Ack, now, &mut out)).unwrap();
                }
            }
            slice.settling += started.elapsed();
            now = now.plus_millis(1);
            out.clear();
        }
        if best.is_none_or(|best| slice.total() < best.total()) {
            best = Some(slice);
        }
    }
    let best = best.expect("there are slices");
    println!(
        "{:45} {:6.1} ns per message: {:5.1} publish and dispatch, {:5.1} acknowledge",
        case.name,
        best.total(),
        best.per_message(best.publishing),
        best.per_message(best.settling)
    );
}

/// What some rounds took.
#[derive(Clone, Copy, Default)]
struct Slice {
    publishing: Duration,
    settling: Duration,
    delivered: u64,
}

impl Slice {
    fn per_message(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.delivered as f64
    }

    fn total(&self) -> f64 {
        self.per_message(self.publishing + self.settling)
    }
}
