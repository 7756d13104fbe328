//! Messages that wait after they came back.

use crate::model::{DelayedRetry, DelayedRetryType, OverflowRule};

use super::*;

/// A queue whose messages wait for 100 ms at first and a second at most, with one consumer that holds `count`.
fn holding(which: DelayedRetryType, count: usize, options: QueueOptions) -> Host {
    let delayed_retry = Some(DelayedRetry { which, min_ms: 100, max_ms: 1000 });
    let mut host = host(QueueOptions { delayed_retry, ..options });
    host.add(spec(1));
    host.publish_many(count);
    host.deliveries();
    host
}

/// Ready and delayed.
fn counts(host: &Host) -> (u64, u64) {
    let stats = host.queue.stats();
    (stats.ready, stats.delayed)
}

#[test]
fn a_message_that_failed_waits_and_then_goes_to_its_old_place() {
    let mut host = holding(DelayedRetryType::Failed, 2, QueueOptions::default());
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    assert_eq!((counts(&host), host.queue.next_deadline()), ((0, 1), Some(host.now.plus_millis(100))));
    host.remove(1, RemoveMode::Cancel);
    host.publish_many(1);
    host.pass(99);
    assert_eq!(host.drain(), [3], "it is not ready yet");
    host.publish_many(1);
    host.pass(1);
    host.tick();
    assert_eq!(counts(&host), (2, 0));
    assert_eq!(host.drain(), [1, 4]);
}

#[test]
fn it_waits_longer_each_time() {
    let mut host = holding(DelayedRetryType::Failed, 1, QueueOptions::default());
    for (tag, most) in (1..).zip([100, 200, 400, 800, 1000, 1000]) {
        host.settle(1, tag..=tag, Settle::Requeue).unwrap();
        let least = most * 4 / 5;
        let until = host.queue.next_deadline().unwrap();
        assert!(until >= host.now.plus_millis(least) && until <= host.now.plus_millis(most), "{tag}");
        host.now = until;
        assert_eq!(host.deliveries(), [(1, vec![1])]);
    }
}

#[test]
fn the_type_says_who_waits() {
    for (which, failed, released) in [
        (DelayedRetryType::All, true, true),
        (DelayedRetryType::Failed, true, false),
        (DelayedRetryType::Returned, false, true),
    ] {
        let mut host = holding(which, 3, QueueOptions::default());
        host.settle(1, 1..=1, Settle::Release).unwrap();
        assert_eq!(counts(&host).1, u64::from(released), "{which:?}");
        host.settle(1, 2..=2, Settle::Requeue).unwrap();
        assert_eq!(counts(&host).1, u64::from(released) + u64::from(failed), "{which:?}");
        host.remove(1, RemoveMode::Gone);
        let lost = counts(&host).1 - u64::from(released) - u64::from(failed);
        assert_eq!(lost, u64::from(failed), "{which:?}: a consumer that is gone has failed");
    }
}

#[test]
fn a_delayed_message_expires_at_its_own_time() {
    let options = QueueOptions { message_ttl_ms: Some(50), ..QueueOptions::default() };
    let mut host = holding(DelayedRetryType::All, 1, with_dead_letters(options));
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(50)));
    host.pass(50);
    host.tick();
    assert_eq!(host.dead(), [(1, DeathReason::Expired)]);
    assert_eq!(counts(&host), (0, 0));
}

#[test]
fn the_delivery_limit_comes_before_the_delay() {
    let options = QueueOptions { delivery_limit: Some(0), ..QueueOptions::default() };
    let mut host = holding(DelayedRetryType::All, 1, with_dead_letters(options));
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    assert_eq!((host.dead(), counts(&host)), (vec![(1, DeathReason::DeliveryLimit)], (0, 0)));
}

#[test]
fn purge_and_close_take_delayed_messages_too() {
    let mut host = holding(DelayedRetryType::All, 3, QueueOptions::default());
    host.settle(1, 1..=2, Settle::Requeue).unwrap();
    assert!(host.queue.memory_bytes() > 0 && host.queue.messages() == 3);
    assert_eq!(host.queue.purge(host.now, &mut host.out), 2);
    host.settle(1, 3..=3, Settle::Requeue).unwrap();
    let closed = host.queue.close(&mut host.out);
    assert_eq!((closed.ready, closed.delayed), (0, 1));
    assert_eq!((host.queue.memory_bytes(), host.queue.next_deadline()), (0, None));
}

#[test]
fn requeueing_does_not_get_round_the_maximum_length() {
    let options = QueueOptions { max_length: Some(2), ..QueueOptions::default() };
    let reject = QueueOptions { overflow: OverflowRule::RejectPublish, ..options.clone() };
    let mut host = holding(DelayedRetryType::All, 2, reject);
    host.settle(1, 1..=2, Settle::Requeue).unwrap();
    host.remove(1, RemoveMode::Cancel);
    assert_eq!(host.publish(), Verdict::Rejected(RejectReason::MaxLength));

    let mut host = holding(DelayedRetryType::All, 3, with_dead_letters(options));
    host.settle(1, 1..=3, Settle::Requeue).unwrap();
    assert_eq!(counts(&host), (0, 2));
    assert_eq!(host.dead(), [(1, DeathReason::MaxLength)]);
}
