//! Looking at messages, taking them out, and pausing.

use crate::model::{DelayedRetry, DelayedRetryType};

use super::*;

fn seen(host: &Host, after: Option<BrowsePlace>, limit: usize) -> Vec<BrowsedMessage> {
    let found = host.queue.browse(after, limit, host.now).into_iter();
    let in_memory = found.map(|found| match found {
        Browsed::Message(message) => message,
        Browsed::Run { run, .. } => panic!("{run:?} is in memory"),
    });
    in_memory.collect()
}

fn lsns(messages: &[BrowsedMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.place.lsn().0).collect()
}

#[test]
fn looking_shows_messages_in_the_order_in_which_they_are_delivered_and_changes_nothing() {
    let mut host = host(QueueOptions { max_priority: 9, ..QueueOptions::default() });
    for priority in [0, 5, 0, 9, 5] {
        host.publish_with(priority, None);
    }
    let before = host.queue.stats();
    assert_eq!(lsns(&seen(&host, None, 100)), [4, 2, 5, 1, 3]);
    assert_eq!(host.queue.stats(), before);
    let first = seen(&host, None, 2);
    assert_eq!(lsns(&first), [4, 2]);
    assert_eq!(lsns(&seen(&host, Some(first[1].place), 2)), [5, 1], "from where the first page ended");
    assert_eq!(host.drain(), [4, 2, 5, 1, 3], "as they were seen");
}

#[test]
fn what_is_past_its_deadline_is_not_shown() {
    let mut host = host(QueueOptions::default());
    host.publish_with(0, Some(10));
    host.publish();
    host.pass(10);
    assert_eq!(lsns(&seen(&host, None, 100)), [2]);
}

#[test]
fn a_message_that_is_taken_out_leaves_the_others_as_they_are() {
    let mut host = host(QueueOptions::default());
    host.publish_many(4);
    let place = host.queue.places_of(&[Lsn(3)])[0].unwrap();
    assert!(host.queue.take_out(place, host.now, &mut host.out).is_some());
    assert!(host.queue.take_out(place, host.now, &mut host.out).is_none(), "it is gone");
    assert_eq!(host.queue.stats().totals.taken, 1);
    assert_eq!(host.drain(), [1, 2, 4]);
    assert!(host.out.dead.is_empty(), "it did not die");
}

#[test]
fn a_delayed_message_is_shown_behind_the_others_and_can_be_taken_out() {
    let retry = DelayedRetry { which: DelayedRetryType::All, min_ms: 1000, max_ms: 1000 };
    let mut host = host(QueueOptions { delayed_retry: Some(retry), ..QueueOptions::default() });
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.publish_many(2);
    assert_eq!(host.deliveries(), [(1, vec![1])]);
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    let shown = seen(&host, None, 100);
    assert_eq!(lsns(&shown), [2, 1]);
    let BrowsePlace::Delayed { until, .. } = shown[1].place else { panic!("it waits") };
    assert!(until > host.now);
    assert_eq!(shown[1].returns, 1);
    assert!(host.queue.take_out(shown[1].place, host.now, &mut host.out).is_some());
    assert_eq!(host.queue.messages(), 1);
    host.queue.check_invariants();
}

#[test]
fn a_message_that_was_delayed_when_it_was_seen_is_taken_out_though_it_is_ready_now() {
    let retry = DelayedRetry { which: DelayedRetryType::All, min_ms: 100, max_ms: 100 };
    let mut host = host(QueueOptions { delayed_retry: Some(retry), ..QueueOptions::default() });
    host.add(ConsumerSpec { prefetch: 1, ..spec(1) });
    host.publish();
    host.deliveries();
    host.settle(1, 1..=1, Settle::Requeue).unwrap();
    let place = seen(&host, None, 1)[0].place;
    host.remove(1, RemoveMode::Gone);
    host.pass(1000);
    assert!(host.queue.take_out(place, host.now, &mut host.out).is_some());
}

#[test]
fn who_holds_what_since_when() {
    let mut host = host(QueueOptions::default());
    host.add(ConsumerSpec { prefetch: 2, ..spec(7) });
    host.publish_many(3);
    host.deliveries();
    let given = host.now;
    host.pass(2500);
    let got = host.queue.get(ConsumerId(99), false, host.now, &mut host.out).unwrap();
    assert_eq!(got.delivery.lsn, Lsn(3));
    let held = host.queue.unacked(None, 100, host.now, |_| true);
    let facts: Vec<_> = held.iter().map(|it| (it.consumer.0, it.tag, it.lsn.0, it.is_get)).collect();
    assert_eq!(facts, [(7, 1, 1, false), (7, 2, 2, false), (99, 1, 3, true)]);
    assert_eq!(held[0].given, given);
    assert_eq!(held[2].given, host.now);
    let behind = host.queue.unacked(Some((ConsumerId(7), 1)), 1, host.now, |_| true);
    assert_eq!(behind[0].lsn, Lsn(2));
    assert_eq!(host.queue.holder_of(Lsn(2)), Some(ConsumerId(7)));
    assert_eq!(host.queue.holder_of(Lsn(9)), None);
}

#[test]
fn a_paused_queue_takes_messages_and_gives_none() {
    let mut host = host(QueueOptions::default());
    host.add(spec(1));
    host.publish();
    assert_eq!(host.deliveries(), [(1, vec![1])]);
    host.queue.set_paused(true);
    assert_eq!(host.publish(), Verdict::Accepted);
    assert_eq!(host.deliveries(), []);
    assert_eq!(host.get(), None, "nor to a get");
    assert_eq!(host.settle(1, 1..=1, Settle::Requeue), Ok(1), "what is out can be settled");
    assert_eq!(host.deliveries(), []);
    host.queue.set_paused(false);
    assert_eq!(host.deliveries(), [(1, vec![1, 2])], "in their order");
}

#[test]
fn messages_expire_in_a_paused_queue() {
    let mut host = host(with_dead_letters(QueueOptions::default()));
    host.queue.set_paused(true);
    host.publish_with(0, Some(10));
    host.pass(10);
    host.queue.tick(host.now, &mut host.out);
    assert_eq!(host.out.dead.len(), 1);
}
