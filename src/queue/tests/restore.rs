//! A queue after a restart.

use crate::model::{DelayedRetry, DelayedRetryType, Location, RestoredRun, Returned, SegmentId};
use crate::queue::testing::Records;

use super::*;

fn at(offset: u32) -> Location {
    Location { segment: SegmentId(1), offset }
}

/// What the journal says of messages that were published a minute before the host's time.
fn run(first: u64, count: u32, offset: u32) -> RestoredRun {
    RestoredRun {
        first: Lsn(first),
        count,
        location: at(offset),
        from: 0,
        len: count * (10 + 9),
        body_bytes: u64::from(count) * 10,
        at: Timestamp::from_millis(940_000),
        priority: None,
        ttl_ms: None,
        delay_ms: None,
        returned: None,
    }
}

fn returned(first: u64, offset: u32, until: Option<Timestamp>) -> RestoredRun {
    let last = Returned { lsn: Lsn(first), location: at(offset), delivery_count: 2, returns: 3, until };
    RestoredRun { returned: Some(last), ..run(first, 1, offset) }
}

fn durable(options: QueueOptions) -> Host {
    host(QueueOptions { durable: true, ..options })
}

fn load_and_get(host: &mut Host, records: &Records) -> Option<Delivery> {
    let Host { queue, now, out, .. } = host;
    while let Some(run) = queue.page_wanted_for_get(*now, out) {
        assert!(queue.page_in(&run, records.read(&run), out) > 0);
    }
    queue.check_invariants();
    queue.get(ConsumerId(99), true, *now, out).map(|got| got.delivery)
}

#[test]
fn restored_messages_are_there_without_a_byte_of_them() {
    let mut host = durable(QueueOptions::default());
    assert!(host.queue.restore(run(1, 1000, 0)));
    assert!(host.queue.restore(run(2000, 1000, 400)));
    host.queue.check_invariants();
    let stats = host.queue.stats();
    assert_eq!((stats.ready, stats.paged, stats.ready_body_bytes), (2000, 2000, 20_000));
    assert_eq!(stats.head_enqueued, Some(Timestamp::from_millis(940_000)));
    assert_eq!(host.queue.memory_bytes(), 2 * RUN_OVERHEAD);
}

#[test]
fn a_journal_that_repeats_itself_does_no_harm() {
    let mut host = durable(QueueOptions::default());
    assert!(host.queue.restore(run(10, 10, 0)));
    for (first, count) in [(10, 10), (5, 6), (19, 1), (1, 100)] {
        assert!(!host.queue.restore(run(first, count, 400)), "{first}, {count}");
    }
    assert!(host.queue.restore(run(5, 5, 400)) && host.queue.restore(run(20, 1, 400)));
    assert!(host.queue.restore(returned(1, 0, Some(host.now))));
    assert!(!host.queue.restore(returned(1, 0, Some(host.now))));
    assert!(host.queue.restore(run(u64::MAX, 7, 800)), "whatever it says");
    host.queue.check_invariants();
    assert_eq!(host.queue.messages(), 24);
}

#[test]
fn priorities_hold_after_a_restart() {
    let mut host = durable(QueueOptions { max_priority: 5, default_priority: 3, ..QueueOptions::default() });
    let mut records = Records::default();
    for (lsn, priority) in [(1, Some(1)), (2, None), (3, Some(9))] {
        records.append(at(lsn as u32), &[b"0123456789"]);
        let priority = priority.map(Priority);
        assert!(host.queue.restore(RestoredRun { priority, ..run(lsn, 1, lsn as u32) }));
    }
    let got: Vec<_> = std::iter::from_fn(|| load_and_get(&mut host, &records)).map(|got| got.lsn.0).collect();
    assert_eq!(got, [3, 2, 1]);
}

#[test]
fn a_time_to_live_goes_on_while_the_broker_is_down() {
    let mut host =
        durable(with_dead_letters(QueueOptions { message_ttl_ms: Some(70_000), ..Default::default() }));
    let mut records = Records::default();
    records.append(at(0), &[b"0123456789".as_slice(); 2]);
    assert!(host.queue.restore(RestoredRun { ttl_ms: Some(59_999), ..run(1, 2, 0) }));
    assert!(host.queue.restore(run(3, 2, 400)));
    assert!(host.queue.restore(RestoredRun { ttl_ms: Some(80_000), ..run(5, 2, 800) }));
    host.tick();
    let dying = host.queue.page_wanted().unwrap();
    assert_eq!(host.queue.page_in(&dying, records.read(&dying), &mut host.out), 2);
    assert_eq!(host.dead(), [(1, DeathReason::Expired), (2, DeathReason::Expired)]);
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(10_000)), "the queue's own");
}

#[test]
fn a_message_that_came_back_keeps_its_counts() {
    let mut host = durable(QueueOptions::default());
    let mut records = Records::default();
    records.append(at(0), &[b"0123456789"]);
    assert!(host.queue.restore(returned(1, 0, None)));
    let got = load_and_get(&mut host, &records).unwrap();
    assert_eq!((got.delivery_count, got.returns, got.redelivered), (2, 3, true));
}

#[test]
fn a_message_that_had_to_wait_waits_on_and_is_not_loaded_for_it() {
    let retry = DelayedRetry { which: DelayedRetryType::All, min_ms: 100, max_ms: 100 };
    let mut host = durable(QueueOptions { delayed_retry: Some(retry), ..QueueOptions::default() });
    let mut records = Records::default();
    records.append(at(0), &[b"0123456789"]);
    assert!(host.queue.restore(returned(1, 0, Some(host.now.plus_millis(50)))));
    let stats = host.queue.stats();
    assert_eq!((stats.ready, stats.delayed, stats.paged), (0, 1, 1));
    assert!(load_and_get(&mut host, &records).is_none());
    assert_eq!(host.queue.next_deadline(), Some(host.now.plus_millis(50)));
    host.pass(50);
    assert_eq!(load_and_get(&mut host, &records).map(|got| got.lsn), Some(Lsn(1)));
}

#[test]
fn a_million_delayed_messages_are_loaded_when_each_is_due() {
    // Ten thousand here; a run of its own for each.
    let count = 10_000;
    let mut host = durable(with_dead_letters(QueueOptions::default()));
    let mut records = Records::default();
    records.append(at(0), &[b"0123456789"]);
    for lsn in 1..=count {
        let ttl_ms = Some(60_000 + (lsn * 7919 % count));
        assert!(host.queue.restore(RestoredRun { ttl_ms, ..run(lsn, 1, 0) }));
    }
    assert!(host.queue.memory_bytes() < count * 10, "a few bytes each");
    let mut loaded = 0;
    for passed in [0, 1, 100] {
        host.pass(passed);
        host.tick();
        while let Some(run) = host.queue.page_wanted() {
            loaded += host.queue.page_in(&run, records.read(&run), &mut host.out);
        }
        assert_eq!(loaded as u64, host.now.since(Timestamp::from_millis(1_000_000)).as_millis() as u64 + 1);
    }
    host.queue.check_invariants();
    let dead: Vec<_> = host.dead().iter().map(|(lsn, _)| lsn * 7919 % count).collect();
    assert_eq!(dead, (0..=101).collect::<Vec<_>>(), "in order of their deadlines");
}

#[test]
fn keys_of_messages_that_are_there_are_still_known() {
    use crate::model::DeduplicationOptions;
    use rialto_protocol::types::{FieldTable, Properties, ShortStr};
    let once = DeduplicationOptions { size: 3, ttl_ms: Some(90_000), header: ShortStr::truncated("id") };
    let mut host = durable(QueueOptions { deduplication: Some(once), ..QueueOptions::default() });
    let with_key = |key: i64| {
        let headers = Some(FieldTable::new().with("id", key));
        crate::queue::testing::message_with(&Properties { headers, ..Properties::default() }, b"0123456789")
    };
    host.queue.restore_key(&with_key(7), Timestamp::from_millis(940_000));
    let publish = |host: &mut Host, key| {
        let publication = Publication { message: with_key(key), ..host.publication() };
        host.queue.publish(publication, host.now, &mut host.out)
    };
    assert_eq!(publish(&mut host, 7), Verdict::Duplicate);
    assert_eq!(publish(&mut host, 8), Verdict::Accepted);
    host.pass(30_000);
    assert_eq!(publish(&mut host, 7), Verdict::Accepted, "its time began before the restart");
}
