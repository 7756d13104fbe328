//! Messages that a consumer holds for too long.

use std::time::Duration;

use super::*;

fn slow(id: u64, timeout_ms: u64) -> ConsumerSpec {
    ConsumerSpec { timeout: Some(Duration::from_millis(timeout_ms)), ..spec(id) }
}

/// Lets time pass and does what is due.
fn wait(host: &mut Host, ms: u64) {
    host.pass(ms);
    host.tick();
    host.queue.check_invariants();
}

#[test]
fn only_the_late_message_goes_back_and_the_consumer_lives_on() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { prefetch: 2, ..slow(1, 100) });
    host.publish_many(1);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
    host.pass(60);
    host.publish_many(1);
    assert_eq!(host.deliveries(), [(1, vec![2])]);
    wait(&mut host, 45);
    assert_eq!((host.queue.stats().unacked, host.queue.stats().totals.late), (1, 1));
    assert_eq!(host.deliveries(), [(1, vec![1])], "its prefetch has room for it again");
    let info = host.queue.consumers().next().unwrap();
    assert_eq!((info.unacked, info.readiness), (2, Readiness::Paused(PauseReason::Prefetch)));
}

#[test]
fn a_late_message_goes_to_its_old_place_as_a_failed_delivery() {
    let mut host = host(QueueOptions { delivery_limit: Some(1), ..QueueOptions::default() });
    host.add(ConsumerSpec { prefetch: 1, ..slow(1, 100) });
    host.publish_many(3);
    for count in 0..2 {
        let mut counts = Vec::new();
        host.queue.dispatch(host.now, &mut host.out);
        host.queue.take_deliveries(|_, deliveries| {
            counts.extend(deliveries.drain(..).map(|delivery| (delivery.lsn.0, delivery.delivery_count)));
        });
        assert_eq!(counts, [(1, count)]);
        wait(&mut host, 110);
    }
    assert_eq!(host.queue.stats().totals.delivery_limit, 1);
    assert_eq!(host.deliveries(), [(1, vec![2])], "the first one has come back too often");
}

#[test]
fn what_is_past_its_deadline_makes_room_for_a_late_message() {
    let full = QueueOptions { max_length: Some(1), ..QueueOptions::default() };
    let mut host = host(with_dead_letters(full));
    host.add(ConsumerSpec { prefetch: 1, ..slow(1, 100) });
    host.publish_many(1);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
    host.publish_with(0, Some(50));
    host.pass(110);
    host.tick();
    assert_eq!((host.dead(), host.drain()), (vec![(2, DeathReason::Expired)], vec![1]));
}

#[test]
fn a_late_settlement_is_passed_over() {
    let mut host = host(QueueOptions::default());
    host.add(slow(1, 100));
    host.publish_many(1);
    host.deliveries();
    wait(&mut host, 110);
    assert_eq!(host.settle(1, 1..=1, Settle::Ack), Ok(0));
    assert_eq!(host.settle(1, 1..=1, Settle::Requeue), Ok(0));
    assert_eq!(host.queue.ready_len(), 1);
}

#[test]
fn a_settlement_in_time_leaves_nothing_to_do() {
    let mut host = host(QueueOptions::default());
    host.add(slow(1, 100));
    for _ in 0..1000 {
        host.publish_many(1);
        host.deliveries();
        host.pass(1);
        let tag = host.queue.stats().totals.delivered;
        assert_eq!(host.settle(1, tag..=tag, Settle::Ack), Ok(1));
        host.tick();
    }
    assert_eq!(host.queue.stats().totals.late, 0);
    wait(&mut host, 200);
    assert_eq!(host.queue.next_deadline(), None, "it need not look again");
}

#[test]
fn a_consumers_own_time_comes_before_the_queues_and_zero_is_for_ever() {
    let mut host = host(QueueOptions { consumer_timeout_ms: Some(100), ..QueueOptions::default() });
    for consumer in [spec(1), slow(2, 1000), slow(3, 0), ConsumerSpec { auto_ack: true, ..spec(4) }] {
        host.add(consumer);
    }
    host.publish_many(4);
    host.deliveries();
    wait(&mut host, 110);
    assert_eq!(host.out.late, [(ConsumerId(1), 1)]);
    host.out.clear();
    wait(&mut host, 1000);
    assert!(host.out.late.iter().any(|late| late.0.0 == 2) && host.out.late.iter().all(|late| late.0.0 != 3));
    assert_eq!(host.queue.unacked_of(ConsumerId(3)), 1);
}

#[test]
fn messages_got_and_messages_of_a_cancelled_consumer_come_back_too() {
    let mut host = host(QueueOptions { consumer_timeout_ms: Some(100), ..QueueOptions::default() });
    host.publish_many(2);
    host.queue.get(ConsumerId(90), false, host.now, &mut host.out).unwrap();
    host.add(spec(1));
    host.deliveries();
    host.remove(1, RemoveMode::Cancel);
    wait(&mut host, 110);
    assert_eq!(host.out.late, [(ConsumerId(1), 1), (ConsumerId(90), 1)]);
    assert_eq!(host.settle(1, 1..=1, Settle::Ack), Err(SettleError::UnknownConsumer), "it held nothing more");
    assert_eq!(host.drain(), [1, 2]);
}

#[test]
fn a_consumer_that_is_gone_is_not_looked_at() {
    let mut host = host(QueueOptions::default());
    host.add(slow(1, 100));
    host.publish_many(1);
    host.deliveries();
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.queue.next_deadline(), None);
    wait(&mut host, 110);
    assert_eq!(host.out.late, []);
}

#[test]
fn a_late_message_makes_room_in_its_channel() {
    let window = Arc::new(ChannelWindow::new(1));
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { channel_window: Some(window.clone()), ..slow(1, 100) });
    host.publish_many(1);
    host.deliveries();
    assert_eq!(window.taken(), 1);
    wait(&mut host, 110);
    assert_eq!(window.taken(), 0);
}

#[test]
fn the_single_active_consumer_hands_over_when_its_last_message_is_late() {
    let mut host = host(QueueOptions { single_active_consumer: true, ..QueueOptions::default() });
    host.add(slow(1, 100));
    host.publish_many(1);
    host.deliveries();
    host.add(ConsumerSpec { priority: 1, ..spec(2) });
    assert_eq!(host.readiness(2), Readiness::Paused(PauseReason::NotActive));
    wait(&mut host, 110);
    assert_eq!(host.deliveries(), [(2, vec![1])]);
}
