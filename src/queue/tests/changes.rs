//! A queue that gets other options.

use super::*;

fn change(host: &mut Host, options: QueueOptions) {
    host.queue.set_options(options, host.now, &mut host.out);
    host.queue.check_invariants();
}

#[test]
fn a_shorter_time_to_live_is_for_messages_that_are_there_too() {
    let mut host = host(QueueOptions { message_ttl_ms: Some(1000), ..QueueOptions::default() });
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.publish_many(2);
    host.publish_with(0, Some(10));
    host.deliveries();
    host.pass(5);
    change(
        &mut host,
        with_dead_letters(QueueOptions { message_ttl_ms: Some(50), ..QueueOptions::default() }),
    );
    host.pass(5);
    host.tick();
    assert_eq!(host.dead(), [(3, DeathReason::Expired)], "its own time to live is shorter still");
    host.pass(40);
    host.tick();
    assert_eq!(host.dead(), [(2, DeathReason::Expired)]);
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    assert_eq!(host.dead(), [(1, DeathReason::Expired)], "also the one that was out");
}

#[test]
fn a_longer_time_to_live_is_for_new_messages() {
    let mut host = host(QueueOptions { message_ttl_ms: Some(50), ..QueueOptions::default() });
    host.publish_many(1);
    change(&mut host, QueueOptions::default());
    host.publish_many(1);
    host.pass(50);
    assert_eq!(host.drain(), [2]);
}

#[test]
fn a_shorter_length_drops_at_once() {
    let mut host = host(QueueOptions::default());
    host.publish_many(5);
    change(&mut host, with_dead_letters(QueueOptions { max_length: Some(3), ..QueueOptions::default() }));
    assert_eq!(host.dead(), [(1, DeathReason::MaxLength), (2, DeathReason::MaxLength)]);
    change(&mut host, QueueOptions::default());
    assert_eq!(host.queue.next_deadline(), None);
    host.publish_many(5);
    assert_eq!(host.queue.ready_len(), 8);
}

#[test]
fn what_a_queue_is_stays() {
    let declared =
        QueueOptions { durable: true, auto_delete: true, max_priority: 3, ..QueueOptions::default() };
    let mut host = host(declared.clone());
    change(&mut host, QueueOptions { single_active_consumer: true, ..QueueOptions::default() });
    assert_eq!(*host.queue.options(), declared);
}

#[test]
fn how_long_it_may_be_unused_is_counted_from_when_it_was_told() {
    let mut host = host(QueueOptions::default());
    host.pass(10_000);
    change(&mut host, QueueOptions { expires_ms: Some(100), ..QueueOptions::default() });
    host.pass(99);
    host.tick();
    assert_eq!(host.out.deleted, None, "that nobody used it before does not count");
    change(&mut host, QueueOptions { expires_ms: Some(100), max_length: Some(1), ..QueueOptions::default() });
    host.pass(1);
    host.tick();
    assert_eq!(host.out.deleted, Some(DeleteReason::Expired), "what did not change does not begin anew");
}
