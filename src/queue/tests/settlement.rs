//! How messages leave a consumer.

use rialto_protocol::types::{Properties, ShortStr};

use crate::model::{Location, MemoryGauge, Message, MessageRoute, Returned, RoutingKey, StoredRun};

use super::*;

/// A queue with one consumer that holds this many messages.
fn holding(count: usize, options: QueueOptions) -> Host {
    let mut host = host(options);
    host.add(spec(1));
    host.publish_many(count);
    host.deliveries();
    host
}

#[test]
fn a_range_of_tags_is_settled_at_once_and_settled_ones_are_passed_over() {
    let mut host = holding(5, QueueOptions::default());
    assert_eq!(host.settle(1, 2..=3, Settle::Ack), Ok(2));
    assert_eq!(host.settle(1, 1..=4, Settle::Ack), Ok(2));
    assert_eq!(host.settle(1, 1..=4, Settle::Ack), Ok(0));
    assert_eq!((host.queue.stats().unacked, host.queue.stats().totals.acked), (1, 4));
}

#[test]
fn a_tag_that_was_never_given_is_an_error_and_settles_nothing() {
    let mut host = holding(2, QueueOptions::default());
    assert_eq!(host.settle(1, 1..=3, Settle::Ack), Err(SettleError::NeverDelivered));
    assert_eq!(host.settle(1, 0..=1, Settle::Ack), Err(SettleError::NeverDelivered));
    assert_eq!(host.settle(7, 1..=1, Settle::Ack), Err(SettleError::UnknownConsumer));
    assert_eq!(host.queue.stats().unacked, 2);
}

#[test]
fn requeued_message_keeps_its_place() {
    let mut host = holding(3, QueueOptions::default());
    host.remove(1, RemoveMode::Cancel);
    host.publish_many(2);
    host.settle(1, 3..=3, Settle::Requeue).unwrap();
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    assert_eq!(host.drain(), [1, 3, 4, 5]);
}

#[test]
fn a_message_that_came_back_is_flagged_and_counted() {
    let mut host = host(QueueOptions::default());
    host.publish();
    for count in 0..3 {
        let id = ConsumerId(10 + count);
        let got = host.queue.get(id, false, host.now, &mut host.out).unwrap().delivery;
        assert_eq!((got.redelivered, u64::from(got.delivery_count)), (count > 0, count));
        match count {
            0 => assert_eq!(host.settle(id.0, 1..=1, Settle::Requeue), Ok(1)),
            _ => host.remove(id.0, RemoveMode::Gone),
        }
    }
    assert_eq!(host.queue.stats().totals.redelivered, 2);
}

#[test]
fn messages_of_a_dead_consumer_go_back_to_their_old_places() {
    let mut host = host(QueueOptions { max_priority: 1, ..QueueOptions::default() });
    host.add(ConsumerSpec { prefetch: 3, ..spec(1) });
    for priority in [0, 1, 0, 1, 0] {
        host.publish_with(priority, None);
    }
    assert_eq!(host.deliveries(), [(1, vec![1, 2, 3])]);
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.drain(), [2, 4, 1, 3, 5]);
}

#[test]
fn two_consumers_messages_are_merged_when_both_die() {
    let mut host = host(QueueOptions::default());
    host.add(spec(1));
    host.add(spec(2));
    host.publish_many(1000);
    host.deliveries();
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.deliveries()[0].1.len(), 500, "the other one gets them");
    host.remove(2, RemoveMode::Gone);
    assert_eq!(host.drain(), (1..=1000).collect::<Vec<_>>());
}

#[test]
fn rejected_messages_become_dead_letters_with_the_reason() {
    let mut host = holding(2, with_dead_letters(QueueOptions::default()));
    let reason = Some(ShortStr::truncated("no such customer"));
    assert_eq!(host.settle(1, 1..=2, Settle::Reject { reason: reason.clone() }), Ok(2));
    assert!(host.out.dead.iter().all(|dead| dead.text == reason));
    assert_eq!(host.dead(), [(1, DeathReason::Rejected), (2, DeathReason::Rejected)]);
}

#[test]
fn a_message_that_came_back_too_often_is_a_dead_letter() {
    let options = QueueOptions { delivery_limit: Some(2), ..QueueOptions::default() };
    let mut host = host(with_dead_letters(options));
    host.add(spec(1));
    host.publish();
    for tag in 1..=2 {
        assert_eq!(host.deliveries(), [(1, vec![1])]);
        host.settle(1, tag..=tag, Settle::Requeue).unwrap();
        assert_eq!(host.dead(), []);
    }
    assert_eq!(host.deliveries(), [(1, vec![1])]);
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.dead(), [(1, DeathReason::DeliveryLimit)]);
}

#[test]
fn a_released_message_is_flagged_but_its_limit_does_not_count_it() {
    let options = QueueOptions { delivery_limit: Some(0), ..QueueOptions::default() };
    let mut host = host(with_dead_letters(options));
    host.publish();
    for count in 0..3 {
        let got = host.queue.get(ConsumerId(10), false, host.now, &mut host.out).unwrap().delivery;
        assert_eq!((got.redelivered, got.delivery_count, got.returns), (count > 0, 0, count));
        assert_eq!(host.settle(10, got.tag..=got.tag, Settle::Release), Ok(1));
    }
    let got = host.queue.get(ConsumerId(10), false, host.now, &mut host.out).unwrap().delivery;
    host.settle(10, got.tag..=got.tag, Settle::Requeue).unwrap();
    assert_eq!(host.dead(), [(1, DeathReason::DeliveryLimit)]);
}

fn persistent(host: &mut Host) {
    let route = MessageRoute { exchange: ExchangeName::default(), routing_key: RoutingKey::default() };
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let message = Message::new(route, &properties.encoded(), b"kept", &MemoryGauge::new());
    let publication = Publication { message, ..host.publication() };
    publication.message.batch().set_location(Location::from_u64(publication.lsn.0), 0);
    host.queue.publish(publication, host.now, &mut host.out);
}

#[test]
fn the_journal_is_told_of_persistent_messages_in_durable_queues_only() {
    for durable in [true, false] {
        let mut host = host(QueueOptions { durable, ..QueueOptions::default() });
        host.add(ConsumerSpec { prefetch: 2, ..spec(1) });
        persistent(&mut host);
        host.publish();
        persistent(&mut host);
        host.settle(1, 1..=2, Settle::Ack).unwrap();
        host.deliveries();
        host.settle(1, 3..=3, Settle::Requeue).unwrap();
        host.queue.purge(host.now, &mut host.out);
        let [one, three] =
            [1, 3].map(|lsn| StoredRun { first: Lsn(lsn), count: 1, location: Location::from_u64(lsn) });
        let location = Location::from_u64(3);
        let returned = Returned { lsn: Lsn(3), location, delivery_count: 1, returns: 1, until: None };
        let (settled, returned) =
            if durable { (vec![one, three], vec![returned]) } else { Default::default() };
        assert_eq!((&host.out.settled, &host.out.returned), (&settled, &returned));
    }
}

#[test]
fn the_journal_learns_of_a_dead_letter_once() {
    let options = QueueOptions { durable: true, ..QueueOptions::default() };
    for (options, settled) in [(with_dead_letters(options.clone()), 0), (options, 1)] {
        let mut host = host(options);
        host.add(spec(1));
        persistent(&mut host);
        host.settle(1, 1..=1, Settle::Reject { reason: None }).unwrap();
        assert_eq!((host.out.dead.len(), host.out.settled.len()), (1 - settled, settled));
    }
}
