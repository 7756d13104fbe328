//! Who receives: the round, room, exclusive and single active consumers, the queue's end with its last one.

use std::sync::Arc;

use super::*;

fn paused(reason: PauseReason) -> Readiness {
    Readiness::Paused(reason)
}

#[test]
fn consumers_are_served_in_turn() {
    let mut host = host(QueueOptions::default());
    (1..=3).for_each(|id| host.add(spec(id)));
    host.publish_many(7);
    assert_eq!(host.deliveries(), [(1, vec![1, 4, 7]), (2, vec![2, 5]), (3, vec![3, 6])]);
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(2, vec![8]), (3, vec![9])], "the round goes on where it was");
}

#[test]
fn a_consumer_without_room_loses_its_turn_to_the_others() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.add(spec(2));
    host.publish_many(4);
    assert_eq!(host.deliveries(), [(1, vec![1]), (2, vec![2, 3, 4])]);
    assert_eq!(host.readiness(1), paused(PauseReason::Prefetch));
    host.settle(1, 1..=1, Settle::Ack).unwrap();
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(1, vec![6]), (2, vec![5])], "it joins at the end");
}

#[test]
fn prefetch_zero_means_unlimited() {
    let mut host = host(QueueOptions::default());
    host.add(spec(1));
    host.publish_many(1000);
    assert_eq!(host.deliveries()[0].1.len(), 1000);
}

#[test]
fn prefetch_does_not_hold_back_a_consumer_with_auto_ack() {
    let mut host = host(QueueOptions::default());
    let window = Arc::new(ChannelWindow::new(1));
    host.add(ConsumerSpec { auto_ack: true, prefetch: 1, channel_window: Some(window.clone()), ..spec(1) });
    host.publish_many(3);
    assert_eq!(host.deliveries(), [(1, vec![1, 2, 3])]);
    assert_eq!((host.queue.stats().unacked, window.taken()), (0, 0));
    assert_eq!(host.settle(1, 1..=3, Settle::Ack), Ok(0), "nothing is left to settle");
}

#[test]
fn a_changed_prefetch_acts_on_the_live_consumer() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.publish_many(5);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
    host.queue.set_prefetch(ConsumerId(1), 3);
    assert_eq!(host.deliveries(), [(1, vec![2, 3])]);
    host.queue.set_prefetch(ConsumerId(1), 1);
    host.settle(1, 1..=2, Settle::Ack).unwrap();
    assert_eq!(host.deliveries(), [], "it still holds one");
}

#[test]
fn higher_consumer_priorities_are_served_while_they_have_room() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { priority: -1, ..spec(1) });
    host.add(ConsumerSpec { priority: 10, prefetch: 2, ..spec(2) });
    host.add(ConsumerSpec { priority: 0, prefetch: 1, ..spec(3) });
    host.publish_many(4);
    assert_eq!(host.deliveries(), [(1, vec![4]), (2, vec![1, 2]), (3, vec![3])]);
    host.settle(2, 1..=1, Settle::Ack).unwrap();
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(1, vec![6]), (2, vec![5])]);
}

#[test]
fn credit_is_used_up_in_messages() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { credit: Some(Credit { messages: 2, bytes: 1 << 20 }), ..spec(1) });
    host.publish_many(4);
    assert_eq!(host.deliveries(), [(1, vec![1, 2])]);
    assert_eq!(host.readiness(1), paused(PauseReason::Credit));
    host.queue.add_credit(ConsumerId(1), 1, 0);
    assert_eq!(host.deliveries(), [(1, vec![3])]);
}

#[test]
fn credit_in_bytes_may_be_exceeded_by_the_last_message() {
    let mut host = host(QueueOptions::default());
    let len = message(b"0123456789").len() as u64;
    host.add(ConsumerSpec { credit: Some(Credit { messages: 100, bytes: len + 1 }), ..spec(1) });
    host.publish_many(4);
    assert_eq!(host.deliveries(), [(1, vec![1, 2])]);
    host.queue.add_credit(ConsumerId(1), 0, len - 1);
    assert_eq!(host.deliveries(), [], "the debt is paid first");
    host.queue.add_credit(ConsumerId(1), 0, 1);
    assert_eq!(host.deliveries(), [(1, vec![3])]);
}

#[test]
fn a_full_outbox_pauses_its_consumer_alone() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { window: 1, ..spec(1) });
    host.add(spec(2));
    host.publish_many(3);
    assert_eq!(host.deliveries(), [(1, vec![1]), (2, vec![2, 3])]);
    assert_eq!(host.readiness(1), paused(PauseReason::OutboxFull));
    host.queue.refill(ConsumerId(1), 1 << 20);
    assert_eq!(host.readiness(1), Readiness::Ready);
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(1, vec![5]), (2, vec![4])], "and never gets more than its window");
    assert_eq!(host.readiness(1), paused(PauseReason::OutboxFull));
}

#[test]
fn a_channels_prefetch_counts_over_its_queues() {
    let window = Arc::new(ChannelWindow::new(2));
    let mut queues = [host(QueueOptions::default()), host(QueueOptions::default())];
    for host in &mut queues {
        host.add(ConsumerSpec { channel_window: Some(window.clone()), ..spec(1) });
        host.publish();
        host.publish();
    }
    let [first, second] = &mut queues;
    assert_eq!((first.deliveries(), second.deliveries()), (vec![(1, vec![1, 2])], vec![]));
    assert_eq!(second.readiness(1), paused(PauseReason::ChannelPrefetch));
    first.settle(1, 1..=1, Settle::Ack).unwrap();
    assert!(window.take_waiting(), "the channel learns that somebody waits");
    second.queue.channel_has_room(ConsumerId(1));
    assert_eq!(second.deliveries(), [(1, vec![1])]);
    assert_eq!(window.taken(), 2);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut host = host(QueueOptions::default());
    let exclusive = |id| ConsumerSpec { exclusive: true, ..spec(id) };
    host.add(spec(1));
    assert_eq!(host.queue.add_consumer(exclusive(2), host.now), Err(ConsumeError::NotAlone));
    host.remove(1, RemoveMode::Gone);
    host.add(exclusive(2));
    assert_eq!(host.queue.add_consumer(spec(3), host.now), Err(ConsumeError::InExclusiveUse));
    assert_eq!(host.queue.add_consumer(exclusive(3), host.now), Err(ConsumeError::InExclusiveUse));
    host.remove(2, RemoveMode::Cancel);
    host.add(spec(3));
}

#[test]
fn the_limit_of_consumers_holds() {
    let mut host = host(QueueOptions::default());
    host.queue.limits.consumers_max = 2;
    host.add(spec(1));
    host.add(spec(2));
    assert_eq!(host.queue.add_consumer(spec(2), host.now), Err(ConsumeError::AlreadyThere));
    assert_eq!(host.queue.add_consumer(spec(3), host.now), Err(ConsumeError::TooMany { max: 2 }));
}

fn single_active() -> Host {
    host(QueueOptions { single_active_consumer: true, ..QueueOptions::default() })
}

#[test]
fn a_single_active_consumer_gets_everything_until_it_goes() {
    let mut host = single_active();
    (1..=3).for_each(|id| host.add(spec(id)));
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(1, vec![1, 2])]);
    assert_eq!(host.readiness(2), paused(PauseReason::NotActive));
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.deliveries(), [(2, vec![1, 2])], "the oldest takes over, with what was given back");
    let exclusive = ConsumerSpec { exclusive: true, ..spec(4) };
    assert_eq!(host.queue.add_consumer(exclusive, host.now), Err(ConsumeError::SingleActive));
}

#[test]
fn a_better_consumer_becomes_active_once_the_active_one_holds_nothing() {
    let mut host = single_active();
    host.add(spec(1));
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(1, vec![1, 2])]);
    host.add(ConsumerSpec { priority: 1, ..spec(2) });
    host.publish();
    assert_eq!(host.deliveries(), [], "one still holds, the other must wait");
    host.settle(1, 1..=1, Settle::Ack).unwrap();
    assert_eq!(host.deliveries(), []);
    host.settle(1, 2..=2, Settle::Requeue).unwrap();
    assert_eq!(host.deliveries(), [(2, vec![2, 3])]);
    assert_eq!(host.readiness(1), paused(PauseReason::NotActive));
}

#[test]
fn the_active_consumer_goes_on_if_the_better_one_leaves_again() {
    let mut host = single_active();
    host.add(spec(1));
    host.publish();
    host.deliveries();
    host.add(ConsumerSpec { priority: 1, ..spec(2) });
    host.remove(2, RemoveMode::Cancel);
    host.publish();
    assert_eq!(host.deliveries(), [(1, vec![2])]);
}

#[test]
fn a_cancelled_consumer_gets_nothing_more_and_can_settle_what_it_holds() {
    let mut host = host(QueueOptions::default());
    host.add(spec(1));
    host.publish_many(2);
    host.deliveries();
    host.remove(1, RemoveMode::Cancel);
    host.publish();
    assert_eq!(host.deliveries(), []);
    assert_eq!(host.queue.consumer_count(), 0);
    assert_eq!(host.settle(1, 1..=2, Settle::Ack), Ok(2));
    assert_eq!(host.settle(1, 1..=2, Settle::Ack), Err(SettleError::UnknownConsumer), "it is forgotten");
}

#[test]
fn what_was_assigned_before_a_cancel_is_still_handed_out() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { auto_ack: true, ..spec(1) });
    host.publish();
    host.remove(1, RemoveMode::Cancel);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_and_not_before_its_first() {
    let mut host = host(QueueOptions { auto_delete: true, ..QueueOptions::default() });
    host.publish();
    host.get();
    host.remove(99, RemoveMode::Gone);
    assert_eq!(host.out.deleted, None);
    host.add(spec(1));
    host.add(spec(2));
    host.remove(1, RemoveMode::Cancel);
    assert_eq!(host.out.deleted, None);
    host.remove(2, RemoveMode::Gone);
    assert_eq!(host.out.deleted, Some(DeleteReason::AutoDelete));
}

#[test]
fn a_thousand_consumers_share_evenly() {
    let mut host = host(QueueOptions::default());
    (1..=1000).for_each(|id| host.add(ConsumerSpec { prefetch: 3, ..spec(id) }));
    host.publish_many(2000);
    let deliveries = host.deliveries();
    assert!(deliveries.len() == 1000 && deliveries.iter().all(|(_, lsns)| lsns.len() == 2));
}
