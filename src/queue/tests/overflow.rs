//! What a full queue does.

use crate::model::OverflowRule;

use super::*;

const REFUSED: Verdict = Verdict::Rejected(RejectReason::MaxLength);

fn full_at(messages: u64, overflow: OverflowRule) -> QueueOptions {
    with_dead_letters(QueueOptions { max_length: Some(messages), overflow, ..QueueOptions::default() })
}

#[test]
fn drop_head_drops_what_would_be_delivered_next() {
    let mut host = host(QueueOptions { max_priority: 1, ..full_at(2, OverflowRule::DropHead) });
    for priority in [0, 0, 1] {
        assert_eq!(host.publish_with(priority, None), Verdict::Accepted);
    }
    assert_eq!(host.dead(), [(3, DeathReason::MaxLength)], "the higher priority is next");
    host.publish();
    assert_eq!(host.dead(), [(1, DeathReason::MaxLength)]);
    assert_eq!(host.drain(), [2, 4]);
}

#[test]
fn bytes_of_bodies_are_limited_too() {
    let options = QueueOptions { max_length_bytes: Some(25), ..QueueOptions::default() };
    let mut host = host(with_dead_letters(options));
    host.publish_many(3);
    assert_eq!(host.dead(), [(1, DeathReason::MaxLength)], "three of ten bytes are too many");
}

#[test]
fn reject_publish_refuses_at_the_limit() {
    let mut host = host(full_at(2, OverflowRule::RejectPublish));
    host.publish_many(2);
    assert_eq!(host.publish(), REFUSED);
    assert_eq!(host.dead(), []);
    host.get();
    assert_eq!(host.publish(), Verdict::Accepted);
    assert_eq!(host.queue.stats().totals.refused, 1);
}

#[test]
fn reject_publish_dlx_makes_a_dead_letter_of_what_it_refuses() {
    let mut host = host(full_at(1, OverflowRule::RejectPublishDeadLetter));
    host.publish_many(1);
    assert_eq!(host.publish(), REFUSED);
    assert_eq!(host.dead(), [(2, DeathReason::MaxLength)]);
}

#[test]
fn reject_publish_refuses_what_can_never_fit_though_a_consumer_waits() {
    for (overflow, answer) in
        [(OverflowRule::RejectPublish, REFUSED), (OverflowRule::DropHead, Verdict::Accepted)]
    {
        let mut host = host(full_at(0, overflow));
        host.add(spec(1));
        assert_eq!(host.publish(), answer);
        assert_eq!(host.dead(), []);
    }
}

#[test]
fn unacked_messages_do_not_count() {
    let mut host = host(full_at(1, OverflowRule::RejectPublish));
    host.add(ConsumerSpec { prefetch: 5, ..spec(1) });
    host.publish_many(6);
    assert_eq!(host.publish(), REFUSED);
}

#[test]
fn a_maximum_of_zero_serves_consumers_that_wait() {
    let mut host = host(full_at(0, OverflowRule::DropHead));
    host.publish();
    assert_eq!(host.dead(), [(1, DeathReason::MaxLength)]);
    host.add(spec(1));
    host.publish();
    assert_eq!((host.deliveries(), host.dead()), (vec![(1, vec![2])], vec![]));
}

#[test]
fn messages_that_come_back_to_a_full_queue_push_out_the_head() {
    let mut host = host(full_at(2, OverflowRule::DropHead));
    host.add(ConsumerSpec { prefetch: 2, ..spec(1) });
    host.publish_many(4);
    host.deliveries();
    host.remove(1, RemoveMode::Gone);
    assert_eq!(host.dead(), [(1, DeathReason::MaxLength), (2, DeathReason::MaxLength)]);
    assert_eq!(host.drain(), [3, 4]);
}
