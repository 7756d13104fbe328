//! When messages and queues expire.

use super::*;

fn ttl(ms: u64) -> QueueOptions {
    with_dead_letters(QueueOptions { message_ttl_ms: Some(ms), ..QueueOptions::default() })
}

#[test]
fn a_message_expires_at_its_deadline_and_not_before() {
    let mut host = host(ttl(100));
    host.publish();
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(100)));
    host.pass(99);
    host.tick();
    assert_eq!(host.dead(), []);
    host.pass(1);
    host.tick();
    assert_eq!(host.dead(), [(1, DeathReason::Expired)]);
    assert_eq!(host.queue.next_deadline(), None);
}

#[test]
fn the_shorter_of_message_and_queue_ttl_counts() {
    let mut host = host(ttl(50));
    host.publish_with(0, Some(1000));
    host.publish_with(0, Some(10));
    host.pass(10);
    host.tick();
    assert_eq!(host.dead(), [(2, DeathReason::Expired)]);
    host.pass(40);
    host.tick();
    assert_eq!(host.dead(), [(1, DeathReason::Expired)]);
}

#[test]
fn a_message_expires_wherever_it_stands() {
    let mut host = host(with_dead_letters(QueueOptions::default()));
    for ttl_ms in [None, Some(30), None, Some(10), Some(20), None] {
        host.publish_with(0, ttl_ms);
    }
    host.pass(20);
    host.tick();
    assert_eq!(host.dead(), [(4, DeathReason::Expired), (5, DeathReason::Expired)]);
    host.queue.check_invariants();
    host.pass(10);
    assert_eq!(host.drain(), [1, 3, 6]);
    assert_eq!(host.dead(), [(2, DeathReason::Expired)]);
}

#[test]
fn an_expired_message_is_not_delivered_even_if_no_timer_fired() {
    let mut host = host(ttl(100));
    host.publish();
    host.pass(100);
    host.publish();
    host.add(spec(1));
    assert_eq!(host.deliveries(), [(1, vec![2])]);
    assert_eq!(host.dead(), [(1, DeathReason::Expired)]);
}

#[test]
fn a_ttl_of_zero_is_now_or_never() {
    let mut host = host(with_dead_letters(QueueOptions::default()));
    host.publish_with(0, Some(0));
    assert_eq!(host.dead(), [(1, DeathReason::Expired)]);
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.publish_with(0, Some(0));
    host.publish_with(0, Some(0));
    assert_eq!(host.deliveries(), [(1, vec![2])]);
    assert_eq!(host.dead(), [(3, DeathReason::Expired)]);
}

#[test]
fn a_message_held_by_a_consumer_does_not_expire_until_it_comes_back() {
    let mut host = host(ttl(100));
    host.add(spec(1));
    host.publish_many(2);
    host.deliveries();
    assert_eq!(host.queue.next_deadline(), None, "no record is kept for what nobody waits for");
    host.pass(1000);
    host.tick();
    assert_eq!(host.dead(), []);
    host.settle(1, 1..=1, Settle::Ack).unwrap();
    host.settle(1, 2..=2, Settle::Requeue).unwrap();
    assert_eq!(host.dead(), [(2, DeathReason::Expired)]);
}

#[test]
fn a_requeued_message_keeps_its_deadline() {
    let mut host = host(ttl(100));
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.publish();
    host.deliveries();
    host.pass(60);
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(40)));
}

#[test]
fn without_a_dead_letter_exchange_expired_messages_are_counted_and_dropped() {
    let mut host = host(QueueOptions { message_ttl_ms: Some(5), ..QueueOptions::default() });
    host.publish();
    host.pass(5);
    host.tick();
    assert!(host.out.is_empty());
    assert_eq!(host.queue.stats().totals.expired, 1);
}

#[test]
fn an_unused_queue_expires() {
    let mut host = host(QueueOptions { expires_ms: Some(100), ..QueueOptions::default() });
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(100)));
    host.pass(50);
    host.publish();
    host.pass(50);
    host.tick();
    assert_eq!(host.out.deleted, Some(DeleteReason::Expired), "a publish is not a use");
}

#[test]
fn a_get_or_a_redeclare_is_a_use() {
    let mut host = host(QueueOptions { expires_ms: Some(100), ..QueueOptions::default() });
    host.pass(99);
    assert_eq!(host.get(), None);
    host.pass(99);
    host.queue.touch(host.now);
    host.pass(99);
    host.tick();
    assert_eq!(host.out.deleted, None);
    host.pass(1);
    host.tick();
    assert_eq!(host.out.deleted, Some(DeleteReason::Expired));
}

#[test]
fn a_queue_with_a_consumer_does_not_expire() {
    let mut host = host(QueueOptions { expires_ms: Some(100), ..QueueOptions::default() });
    host.add(spec(1));
    host.pass(1000);
    host.tick();
    assert_eq!((host.out.deleted, host.queue.next_deadline()), (None, None));
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(100)));
}

#[test]
fn deadlines_of_messages_that_left_do_not_pile_up() {
    let mut host = host(QueueOptions::default());
    host.publish_with(0, Some(1_000_000));
    for n in 0..10_000 {
        // Ever shorter lives, so that no deadline comes in order.
        host.publish_with(0, Some(900_000 - n));
        host.get();
    }
    host.queue.check_invariants();
}
