//! What is counted, and that reading it needs no queue's lock.

use rialto_protocol::types::{FieldTable, Properties};

use super::*;
use crate::queue::{ConsumerSpec, DeathReason, Settle};

fn spec(world: &World, auto_ack: bool) -> ConsumerSpec {
    ConsumerSpec {
        id: world.broker.next_consumer_id(),
        tag: Default::default(),
        auto_ack,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        credit: None,
        window: 1 << 20,
        channel_window: None,
        timeout: None,
    }
}

pub(super) fn consume(world: &mut World, queue: &Arc<QueueCell>, auto_ack: bool) -> ConsumerId {
    let spec = spec(world, auto_ack);
    let (id, local) = (spec.id, LocalConsumer { channel: crate::model::ChannelId(1), number: 1 });
    let outbox = world.outbox.clone();
    queue.consume(spec, local, &outbox, &mut world.turn).unwrap().unwrap();
    world.turn.finish(&world.broker);
    id
}

fn settle(
    world: &mut World,
    queue: &Arc<QueueCell>,
    consumer: ConsumerId,
    first: u64,
    last: u64,
    how: Settle,
) {
    queue.settle(consumer, &[Settled { first, last, settlement: how }], &mut world.turn).unwrap();
    world.turn.finish(&world.broker);
}

#[test]
fn figures_are_those_of_the_queue_after_each_batch() {
    let mut world = World::new();
    let queue = world.queue("q");
    let same = || assert_eq!(queue.figures(), queue.stats());
    same();
    for _ in 0..3 {
        world.publish("", "q", &Properties::default(), "body").unwrap();
        same();
    }
    let consumer = consume(&mut world, &queue, false);
    same();
    settle(&mut world, &queue, consumer, 1, 1, Settle::Ack);
    same();
    settle(&mut world, &queue, consumer, 2, 2, Settle::Requeue);
    same();
    queue.cancel_consumer(consumer, &mut world.turn);
    same();
    assert!(world.get("q").is_none());
    same();
    queue.consumers_gone(&[consumer], &mut world.turn);
    world.turn.finish(&world.broker);
    same();
    let figures = queue.figures();
    assert_eq!((figures.ready, figures.unacked, figures.ready_body_bytes), (2, 0, 8));
    assert_eq!((figures.totals.delivered, figures.totals.acked, figures.totals.get_empty), (4, 1, 1));
    queue.purge(&mut world.turn);
    same();
    assert_eq!(queue.figures().head_enqueued, None);
}

#[test]
fn the_vhost_and_the_broker_have_what_all_queues_have_and_keep_what_has_happened_in_those_that_are_gone() {
    let mut world = World::new();
    let (one, other) = (world.queue("one"), world.queue("other"));
    world.exchange("fanout", "x", FieldTable::new()).unwrap();
    world.bind("x", "one", "");
    world.bind("x", "other", "");
    for _ in 0..5 {
        world.publish("x", "", &Properties::default(), "body").unwrap();
    }
    consume(&mut world, &one, true);
    let counts = world.broker.counts();
    assert_eq!(counts, world.vhost.counts());
    assert_eq!((counts.publishing.received, counts.publishing.routed), (5, 10));
    assert_eq!((counts.in_queues.ready, counts.in_queues.consumers), (5, 1));
    assert_eq!((counts.totals.published, counts.totals.delivered_auto_ack()), (10, 5));
    let exchange = world.vhost.exchange_counts("x").unwrap();
    assert_eq!((exchange.published_in(), exchange.published_out()), (5, 10));

    world.vhost.delete_queue("other", false, false, ME, &mut world.turn).unwrap();
    assert_eq!(other.figures().ready, 0);
    let counts = world.broker.counts();
    assert_eq!((counts.in_queues.ready, counts.in_queues.memory, counts.totals.published), (0, 0, 10));
    world.vhost.delete_exchange(&super::exchange("x"), false).unwrap();
    assert!(world.vhost.exchange_counts("x").is_none() && world.vhost.exchange_counts("amq.topic").is_some());
    let churn = world.broker.counters().churn();
    assert_eq!((churn.queues_declared, churn.queues_created, churn.queues_deleted), (2, 2, 1));
}

#[test]
fn deaths_are_counted_by_reason_and_apart_if_somebody_wants_the_dead() {
    let mut world = World::new();
    world.queue("dead");
    let wanted =
        FieldTable::new().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
    let wanted = world.queue_with("wanted", wanted.with("x-max-length", 1));
    let unwanted = world.queue_with("unwanted", FieldTable::new().with("x-message-ttl", 10));
    for queue in ["wanted", "wanted", "unwanted"] {
        world.publish("", queue, &Properties::default(), "body").unwrap();
    }
    world.advance(10);
    let consumer = consume(&mut world, &wanted, false);
    settle(&mut world, &wanted, consumer, 1, 1, Settle::Reject { reason: None });
    let totals = wanted.figures().totals;
    assert_eq!((totals.max_length, totals.rejected, totals.dead_lettered.rejected), (1, 1, 1));
    assert_eq!(totals.dead_lettered.of(DeathReason::MaxLength), 1);
    let totals = unwanted.figures().totals;
    assert_eq!((totals.expired, totals.dead_lettered.expired), (1, 0));
    assert_eq!(world.broker.counts().totals.dead_lettered.rejected, 1);
    assert_eq!(world.broker.counts().in_queues.ready, 2);
}

#[test]
fn waiting_and_holding_take_their_time() {
    let mut world = World::new();
    let queue = world.queue("q");
    world.publish("", "q", &Properties::default(), "body").unwrap();
    world.publish("", "q", &Properties::default(), "body").unwrap();
    world.advance(1000);
    let consumer = consume(&mut world, &queue, false);
    world.advance(3);
    settle(&mut world, &queue, consumer, 1, 1, Settle::Ack);
    let held_since = queue.consumers()[0].1.held_since;
    assert_eq!(held_since.map(|since| world.broker.now().since(since)), Some(Duration::from_millis(3)));
    queue.consumers_gone(&[consumer], &mut world.turn);
    world.turn.finish(&world.broker);
    consume(&mut world, &queue, true);

    let waited = world.broker.counters().time_in_queue();
    assert_eq!(waited.sum_micros, 2_000_000, "what was delivered before does not count again");
    assert_eq!(waited.buckets[20], 2, "2^19 < 1,000,000 <= 2^20");
    let held = world.broker.counters().time_to_ack();
    assert_eq!((held.sum_micros, held.buckets[12]), (3000, 1));
}

#[test]
fn what_waits_in_a_delayed_exchange_is_no_queue_of_anybody() {
    let mut world = World::new();
    world.exchange("x-delayed-message", "x", FieldTable::new().with("x-delayed-type", "fanout")).unwrap();
    world.queue("q");
    world.bind("x", "q", "");
    world.publish("x", "", &headers(FieldTable::new().with("x-delay", 100)), "body").unwrap();
    assert_eq!(world.broker.counts().in_queues.ready, 0);
    world.advance(100);
    let counts = world.broker.counts();
    assert_eq!(
        (counts.in_queues.ready, counts.totals.expired, counts.totals.dead_lettered.expired),
        (1, 0, 0)
    );
}
