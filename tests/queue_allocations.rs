//! The hot path's budget: a warm queue allocates nothing per message.

use std::time::Duration;

use rialto::model::{
    BatchBuilder, ConsumerId, ConsumerTag, Lsn, MemoryGauge, MessageRoute, Publication, QueueName,
    QueueOptions, Timestamp,
};
use rialto::queue::{ConsumerSpec, Delivery, Effects, Queue, QueueLimits, Settle};

const BATCH: u64 = 50;

fn batch(next_lsn: &mut u64, gauge: &MemoryGauge) -> Vec<Publication> {
    let mut builder = BatchBuilder::default();
    let route = || MessageRoute { exchange: Default::default(), routing_key: Default::default() };
    (0..BATCH).for_each(|_| builder.push_content(&route(), &[], b"body", false));
    let messages = builder.finish(gauge);
    let publication = |message| {
        *next_lsn += 1;
        Publication { message, lsn: Lsn(*next_lsn), priority: None, ttl_ms: None, delay_ms: None }
    };
    messages.map(publication).collect()
}

#[test]
fn a_warm_queue_allocates_nothing_per_message() {
    // Prefetch 5 makes messages wait; 0 sends them on at once.
    for (prefetch, message_ttl_ms, timeout) in
        [(0, None, None), (5, None, None), (5, Some(60_000), None), (5, None, Some(Duration::from_secs(60)))]
    {
        let mut now = Timestamp::from_millis(1_000_000);
        let options = QueueOptions { message_ttl_ms, ..QueueOptions::default() };
        let mut queue = Queue::new(QueueName::new("q").unwrap(), options, QueueLimits::default(), now);
        for id in 1..=10 {
            let spec = ConsumerSpec {
                id: ConsumerId(id),
                tag: ConsumerTag::default(),
                auto_ack: false,
                exclusive: false,
                priority: 0,
                prefetch,
                credit: None,
                window: 1 << 40,
                channel_window: None,
                timeout,
            };
            queue.add_consumer(spec, now).unwrap();
        }
        let (gauge, mut out, mut next_lsn) = (MemoryGauge::new(), Effects::new(), 0);
        for waiting in batch(&mut next_lsn, &gauge) {
            queue.publish(waiting, now, &mut out);
        }
        let mut outbox: Vec<Delivery> = Vec::with_capacity(1000);
        let mut acks: Vec<(ConsumerId, u64)> = Vec::with_capacity(1000);
        for round in 0..20 {
            let publications = batch(&mut next_lsn, &gauge);
            let measured = allocation_counter::measure(|| {
                for publication in publications {
                    queue.publish(publication, now, &mut out);
                }
                queue.dispatch(now, &mut out);
                queue.take_deliveries(|consumer, deliveries| {
                    acks.extend(deliveries.iter().map(|delivery| (consumer, delivery.tag)));
                    outbox.append(deliveries);
                });
                outbox.clear();
                for (consumer, tag) in acks.drain(..) {
                    queue.settle(consumer, tag, tag, Settle::Ack, now, &mut out).unwrap();
                }
                queue.dispatch(now, &mut out);
            });
            now = now.plus_millis(1);
            if round >= 5 {
                assert_eq!(
                    measured.count_total, 0,
                    "prefetch {prefetch}, TTL {message_ttl_ms:?}, timeout {timeout:?}"
                );
            }
        }
        assert!(queue.stats().totals.acked >= 900);
    }
}
