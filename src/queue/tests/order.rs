//! In which order messages are delivered, and to whom at once.

use super::*;

#[test]
fn messages_are_delivered_in_lsn_order_even_if_two_connections_race() {
    let mut host = host(QueueOptions::default());
    for lsn in [2, 4, 1, 3] {
        host.next_lsn = lsn;
        host.publish();
    }
    assert_eq!(host.drain(), [1, 2, 3, 4]);
}

#[test]
fn higher_priorities_are_delivered_first_and_capped_at_the_maximum() {
    let mut host = host(QueueOptions { max_priority: 5, ..QueueOptions::default() });
    for priority in [0, 5, 3, 255, 0] {
        host.publish_with(priority, None);
    }
    assert_eq!(host.drain(), [2, 4, 3, 1, 5]);
}

#[test]
fn without_a_maximum_all_priorities_are_one() {
    let mut host = host(QueueOptions::default());
    for priority in [0, 9, 5] {
        host.publish_with(priority, None);
    }
    assert_eq!(host.drain(), [1, 2, 3]);
}

#[test]
fn all_256_priorities_have_their_place() {
    let mut host = host(QueueOptions { max_priority: 255, ..QueueOptions::default() });
    for priority in 0..=255 {
        host.publish_with(priority, None);
    }
    assert_eq!(host.drain(), (1..=256).rev().collect::<Vec<_>>());
}

#[test]
fn a_message_goes_at_once_to_a_consumer_that_waits() {
    let mut host = host(QueueOptions::default());
    host.add(spec(1));
    host.publish();
    assert_eq!(host.queue.stats().ready, 0);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
}

#[test]
fn a_message_does_not_overtake_those_that_wait_when_room_was_made_without_a_dispatch() {
    let mut host = host(QueueOptions::default());
    host.publish_many(2);
    host.add(spec(1));
    host.publish();
    assert_eq!(host.deliveries(), [(1, vec![1, 2, 3])]);
}

#[test]
fn a_get_takes_the_head_and_says_how_many_remain() {
    let mut host = host(QueueOptions::default());
    host.publish_many(3);
    let got = host.queue.get(ConsumerId(9), false, host.now, &mut host.out).unwrap();
    assert_eq!((got.delivery.lsn, got.delivery.tag, got.remaining), (Lsn(1), 1, 2));
    let got = host.queue.get(ConsumerId(9), true, host.now, &mut host.out).unwrap();
    assert_eq!((got.delivery.lsn, got.delivery.tag, got.remaining), (Lsn(2), 0, 1));
    assert_eq!(host.queue.consumer_count(), 0, "a getter is no consumer");
    assert_eq!(host.settle(9, 1..=1, Settle::Requeue), Ok(1));
    assert_eq!(host.drain(), [1, 3]);
}

#[test]
fn a_purge_drops_ready_messages_without_dead_letters_and_leaves_the_unacked() {
    let mut host = host(with_dead_letters(QueueOptions { max_priority: 3, ..QueueOptions::default() }));
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    for priority in [0, 1, 2] {
        host.publish_with(priority, None);
    }
    assert_eq!(host.queue.purge(host.now, &mut host.out), 2);
    assert_eq!((host.queue.stats().ready, host.queue.stats().unacked), (0, 1));
    assert!(host.out.is_empty());
    host.publish();
    host.queue.check_invariants();
}

#[test]
fn a_closed_queue_cancels_its_consumers_and_makes_no_dead_letters() {
    let mut host = host(with_dead_letters(QueueOptions::default()));
    let window = std::sync::Arc::new(ChannelWindow::new(5));
    host.add(ConsumerSpec { prefetch: 2, channel_window: Some(window.clone()), ..spec(1) });
    host.publish_many(5);
    let closed = host.queue.close(&mut host.out);
    assert_eq!(closed, Closed { ready: 3, delayed: 0, unacked: 2, consumers: 1 });
    assert_eq!((&host.out.cancelled[..], host.out.dead.len()), (&[ConsumerId(1)][..], 0));
    assert_eq!((window.taken(), host.queue.memory_bytes()), (0, 0));
}

#[test]
fn counts_follow_the_messages() {
    let mut host = host(QueueOptions::default());
    host.publish_many(3);
    let len = message(b"0123456789").len() as u64 + MESSAGE_OVERHEAD;
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.deliveries();
    let stats = host.queue.stats();
    assert_eq!((stats.ready, stats.ready_body_bytes, stats.ready_bytes), (2, 20, 2 * len));
    assert_eq!((stats.unacked, stats.unacked_bytes, stats.consumers), (1, len, 1));
    assert_eq!((stats.unacked_body_bytes, stats.body_bytes(), stats.memory()), (10, 30, 3 * len));
    assert_eq!((stats.totals.published, stats.totals.delivered), (3, 1));
    assert_eq!(host.queue.memory_bytes(), 3 * len);
}

#[test]
fn the_age_of_the_head_is_that_of_its_first_arrival() {
    let mut host = host(QueueOptions::default());
    let first = host.now;
    host.publish();
    host.pass(10);
    host.publish();
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.deliveries();
    assert_eq!(host.queue.stats().head_enqueued, Some(host.now));
    host.pass(10);
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.queue.stats().head_enqueued, Some(first));
}
