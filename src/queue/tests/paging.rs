//! Messages that are not in memory.

use crate::model::{DelayedRetry, DelayedRetryType, Location, SegmentId, StoredRun};
use crate::queue::testing::Records;

use super::*;

/// A durable queue, and the journal that its messages are in.
struct Paging {
    host: Host,
    records: Records,
    /// Runs that were loaded, each by its first LSN and its count.
    loaded: Vec<(u64, u32)>,
}

fn paging(options: QueueOptions) -> Paging {
    let options = QueueOptions { durable: true, ..options };
    Paging { host: host(options), records: Records::default(), loaded: Vec::new() }
}

fn at(offset: u32) -> Location {
    Location { segment: SegmentId(1), offset }
}

impl Paging {
    /// Publishes messages of ten bytes, all in the record at this offset.
    fn publish(&mut self, offset: u32, count: usize) {
        self.publish_with(offset, count, None, 0);
    }

    fn publish_with(&mut self, offset: u32, count: usize, ttl_ms: Option<u64>, priority: u8) {
        for message in self.records.append(at(offset), &vec![b"0123456789".as_slice(); count]) {
            let publication = Publication {
                message,
                ttl_ms,
                priority: Some(Priority(priority)),
                ..self.host.publication()
            };
            self.host.queue.publish(publication, self.host.now, &mut self.host.out);
        }
        self.host.queue.check_invariants();
    }

    /// Pages everything out.
    fn page_out(&mut self) -> u64 {
        let messages = self.host.queue.page_out(0, |_| true);
        self.host.queue.check_invariants();
        messages
    }

    /// Loads what is wanted, `most` messages at a time, and dispatches, until nothing is wanted.
    fn load(&mut self, most: usize) {
        let Host { queue, now, out, .. } = &mut self.host;
        while let Some(run) = queue.page_wanted() {
            let mut messages = self.records.read(&run);
            messages.truncate(most);
            self.loaded.push((run.first.0, messages.len() as u32));
            assert!(queue.page_in(&run, messages, out) > 0);
            queue.check_invariants();
            queue.dispatch(*now, out);
        }
    }

    fn get(&mut self) -> Option<u64> {
        let Host { queue, now, out, .. } = &mut self.host;
        while let Some(run) = queue.page_wanted_for_get(*now, out).or_else(|| queue.page_wanted()) {
            self.loaded.push((run.first.0, run.count));
            queue.page_in(&run, self.records.read(&run), out);
        }
        self.host.get()
    }

    fn paged(&self) -> u64 {
        self.host.queue.stats().paged
    }

    fn settled(&mut self) -> Vec<StoredRun> {
        std::mem::take(&mut self.host.out.settled)
    }
}

fn run(first: u64, count: u32, offset: u32) -> StoredRun {
    StoredRun { first: Lsn(first), count, location: at(offset) }
}

#[test]
fn paged_messages_are_counted_and_cost_next_to_no_memory() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 100);
    it.publish(4000, 100);
    let before = it.host.queue.stats();
    assert_eq!(it.page_out(), 200);
    let stats = it.host.queue.stats();
    assert_eq!((stats.ready, stats.paged, stats.ready_body_bytes), (200, 200, 2000));
    assert_eq!(stats.head_enqueued, before.head_enqueued);
    assert_eq!(it.host.queue.memory_bytes(), 2 * RUN_OVERHEAD, "a run for each record");
}

#[test]
fn a_record_for_each_message_costs_a_few_bytes_and_they_come_back_in_order() {
    let mut it = paging(with_dead_letters(QueueOptions { max_priority: 2, ..QueueOptions::default() }));
    let mut wanted = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..3000u32 {
        let priority = (number % 7 % 3) as u8;
        it.publish_with(number * 222, 1, None, priority);
        wanted[usize::from(priority)].push(u64::from(number) + 1);
        if number % 50 == 0 {
            it.page_out();
        }
        it.host.pass(u64::from(number % 3));
    }
    it.page_out();
    assert_eq!(it.paged(), 3000);
    let loose = 3 * 4 * 128 * RUN_OVERHEAD;
    assert!(it.host.queue.memory_bytes() < loose + 3000 * 16, "{}", it.host.queue.memory_bytes());
    let got: Vec<_> = std::iter::from_fn(|| it.get()).collect();
    wanted.reverse();
    assert_eq!(got, wanted.concat());
    assert_eq!(it.host.queue.memory_bytes(), 0);
}

#[test]
fn they_come_back_in_order_when_a_consumer_has_room() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 3);
    it.publish(400, 3);
    it.page_out();
    assert_eq!(it.host.queue.page_wanted(), None, "nobody is there");
    it.host.add(ConsumerSpec { prefetch: 2, ..spec(1) });
    it.host.queue.dispatch(it.host.now, &mut it.host.out);
    it.load(usize::MAX);
    assert_eq!((it.host.deliveries(), it.paged()), (vec![(1, vec![1, 2])], 3));
    it.host.settle(1, 1..=2, Settle::Ack).unwrap();
    assert_eq!(it.settled(), [run(1, 2, 0)]);
    it.host.queue.dispatch(it.host.now, &mut it.host.out);
    it.load(usize::MAX);
    assert_eq!(it.host.deliveries(), [(1, vec![3, 4])]);
    assert_eq!(it.loaded, [(1, 3), (4, 3)]);
}

#[test]
fn a_large_run_is_loaded_in_pieces() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 10);
    it.page_out();
    it.host.add(ConsumerSpec { prefetch: 5, ..spec(1) });
    it.load(2);
    assert_eq!(it.host.deliveries(), [(1, vec![1, 2, 3, 4, 5])]);
    assert_eq!((it.loaded.clone(), it.paged()), (vec![(1, 2), (3, 2), (5, 2)], 4));
    assert_eq!(it.host.queue.stats().ready_body_bytes, 50);
}

#[test]
fn the_last_messages_of_the_lowest_priority_go_first() {
    let mut it = paging(QueueOptions { max_priority: 9, ..QueueOptions::default() });
    it.publish_with(0, 2, None, 0);
    it.publish_with(400, 2, None, 9);
    let each = it.host.queue.memory_bytes() / 4;
    assert_eq!(it.host.queue.page_out(3 * each, |_| true), 1);
    assert_eq!(it.host.queue.page_out(3 * each, |_| true), 0, "no more than asked for");
    assert_eq!(it.get(), Some(3));
    assert_eq!(it.get(), Some(4));
    assert_eq!(it.get(), Some(1));
    assert_eq!(it.loaded, [], "all in memory");
    assert_eq!((it.get(), it.loaded.clone()), (Some(2), vec![(2, 1)]));
}

#[test]
fn what_is_not_written_or_not_stored_stays() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 3);
    it.publish(400, 500);
    it.host.publish_many(3);
    let written = |location: Location| location.offset < 400;
    let mut out = 0;
    for _ in 0..10 {
        out += it.host.queue.page_out(0, written);
        it.host.queue.check_invariants();
    }
    assert!((1..=3).contains(&out), "found, without a look at each: {out}");
    out += it.host.queue.page_out(0, |_| true);
    assert!((490..=503).contains(&out), "all but a few: {out}");
    assert_eq!(it.host.queue.stats().ready, 506);
    let order = std::iter::from_fn(|| it.get()).collect::<Vec<_>>();
    assert_eq!(order, (1..=506).collect::<Vec<_>>());
}

#[test]
fn the_journals_bytes_are_no_use_to_a_queue_that_the_journal_does_not_know() {
    for options in
        [QueueOptions::default(), QueueOptions { durable: true, exclusive: true, ..Default::default() }]
    {
        let mut it = Paging { host: host(options), records: Records::default(), loaded: Vec::new() };
        it.publish(0, 3);
        assert_eq!(it.page_out(), 0);
        assert_eq!((it.host.drain(), it.settled()), (vec![1, 2, 3], vec![]));
    }
}

#[test]
fn parts_of_a_record_that_are_paged_out_one_by_one_are_one_run() {
    let mut it = paging(QueueOptions { message_ttl_ms: Some(1000), ..QueueOptions::default() });
    it.publish(0, 10);
    let each = it.host.queue.memory_bytes() / 10;
    for kept in (0..10).rev() {
        assert_eq!(it.host.queue.page_out(kept * each, |_| true), 1);
        it.host.queue.check_invariants();
    }
    assert_eq!(it.host.queue.memory_bytes(), RUN_OVERHEAD);
}

#[test]
fn a_message_that_comes_back_takes_its_place_before_paged_ones() {
    let mut it = paging(QueueOptions::default());
    it.host.add(ConsumerSpec { prefetch: 3, ..spec(1) });
    it.publish(0, 6);
    it.page_out();
    assert_eq!(it.host.deliveries(), [(1, vec![1, 2, 3])]);
    it.host.settle(1, 1..=1, Settle::Ack).unwrap();
    it.host.remove(1, RemoveMode::Gone);
    assert_eq!(it.page_out(), 2, "they can be paged out, too");
    let got: Vec<_> = std::iter::from_fn(|| it.get()).collect();
    assert_eq!(got, [2, 3, 4, 5, 6]);
}

#[test]
fn without_dead_letters_expiry_needs_no_bytes() {
    let mut it = paging(QueueOptions::default());
    it.publish_with(0, 3, Some(10), 0);
    it.publish_with(400, 3, None, 0);
    it.page_out();
    assert_eq!(it.host.queue.next_deadline(), Some(it.host.now.plus_millis(10)));
    it.host.pass(10);
    it.host.tick();
    assert_eq!(it.host.queue.page_wanted(), None);
    assert_eq!((it.settled(), it.paged()), (vec![run(1, 3, 0)], 3));
    assert_eq!(it.host.queue.stats().totals.expired, 3);
}

#[test]
fn dead_letters_are_loaded_and_keep_their_order() {
    let mut it = paging(with_dead_letters(QueueOptions::default()));
    it.publish_with(0, 3, Some(10), 0);
    it.page_out();
    it.publish_with(400, 2, Some(10), 0);
    it.host.pass(10);
    it.host.tick();
    assert_eq!((it.host.queue.stats().ready, it.host.queue.messages()), (0, 5), "nobody gets them");
    assert_eq!((it.get(), it.loaded.clone()), (None, vec![(1, 3)]));
    let expired = DeathReason::Expired;
    assert_eq!(it.host.dead(), (1..=5).map(|lsn| (lsn, expired)).collect::<Vec<_>>());
    assert_eq!((it.host.queue.messages(), it.settled()), (0, vec![]), "the caller moves them");
}

#[test]
fn dead_letters_are_loaded_in_pieces_too() {
    let mut it = paging(with_dead_letters(QueueOptions::default()));
    it.publish_with(0, 5, Some(10), 0);
    it.page_out();
    it.host.pass(10);
    it.host.tick();
    it.load(2);
    assert_eq!(it.host.dead().len(), 5);
    assert_eq!(it.loaded, [(1, 2), (3, 2), (5, 1)]);
}

#[test]
fn only_so_many_expire_in_a_tick_however_often_the_queue_is_asked() {
    let limits = QueueLimits { expired_each_time: 2, ..QueueLimits::default() };
    let mut it = paging(with_dead_letters(QueueOptions::default()));
    let (name, options) = (it.host.queue.name().clone(), it.host.queue.options().clone());
    it.host.queue = Queue::new(name, options, limits, it.host.now);
    for n in 0..5 {
        it.publish_with(n * 400, 1, Some(10), 0);
    }
    it.page_out();
    it.host.pass(10);
    for left in [3, 1, 0] {
        it.host.tick();
        it.load(usize::MAX);
        assert_eq!(it.host.queue.stats().ready, left);
    }
    assert_eq!(it.host.dead().iter().map(|dead| dead.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_policy_that_ends_dead_letters_drops_what_is_dying() {
    let mut it = paging(with_dead_letters(QueueOptions::default()));
    it.publish_with(0, 3, Some(10), 0);
    it.page_out();
    it.host.pass(10);
    it.host.tick();
    it.host.queue.set_options(QueueOptions::default(), it.host.now, &mut it.host.out);
    assert_eq!((it.host.queue.page_wanted(), it.settled()), (None, vec![run(1, 3, 0)]));
}

#[test]
fn a_shorter_time_to_live_holds_for_paged_messages() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 3);
    it.page_out();
    it.host.pass(5);
    let options = QueueOptions { message_ttl_ms: Some(10), ..QueueOptions::default() };
    it.host.queue.set_options(options, it.host.now, &mut it.host.out);
    it.host.queue.check_invariants();
    assert_eq!(it.host.queue.next_deadline(), Some(it.host.now.plus_millis(5)));
    it.host.pass(5);
    assert_eq!((it.get(), it.loaded.is_empty()), (None, true));
}

#[test]
fn drop_head_loads_a_run_only_if_a_part_of_it_stays() {
    let mut it = paging(QueueOptions { max_length: Some(5), ..QueueOptions::default() });
    it.publish(0, 3);
    it.publish(400, 2);
    it.page_out();
    it.publish(800, 2);
    it.load(usize::MAX);
    assert_eq!(it.settled(), [run(1, 2, 0)], "some of the run");
    assert_eq!(it.loaded, [(1, 3)]);
    it.page_out();
    it.publish(1200, 5);
    it.load(usize::MAX);
    it.host.queue.check_invariants();
    assert_eq!(it.settled(), [run(3, 1, 0), run(4, 2, 400), run(6, 2, 800)], "whole runs");
    assert_eq!(it.loaded, [(1, 3)], "without a look at them");
    assert_eq!(it.host.queue.stats().totals.max_length, 7);
}

#[test]
fn a_purge_and_the_end_of_the_queue_load_nothing() {
    let mut it = paging(with_dead_letters(QueueOptions::default()));
    it.publish(0, 3);
    it.page_out();
    assert_eq!(it.host.queue.purge(it.host.now, &mut it.host.out), 3);
    assert_eq!(it.settled(), [run(1, 3, 0)]);

    it.host.add(ConsumerSpec { prefetch: 2, ..spec(1) });
    it.publish_with(400, 5, Some(10), 0);
    it.page_out();
    it.host.deliveries();
    it.host.pass(10);
    it.host.tick();
    let closed = it.host.queue.close(&mut it.host.out);
    assert_eq!((closed.ready, closed.unacked), (0, 2));
    assert_eq!(it.settled(), [run(4, 5, 400)], "unacknowledged, and dying");
    assert_eq!((it.host.queue.memory_bytes(), it.host.queue.messages(), it.host.dead()), (0, 0, vec![]));
}

#[test]
fn messages_that_cannot_be_read_are_given_up_and_counted() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 3);
    it.publish(400, 1);
    it.page_out();
    let wanted = it.host.queue.page_wanted_for_get(it.host.now, &mut it.host.out).unwrap();
    assert_eq!(it.host.queue.page_lost(&wanted, &mut it.host.out), 3);
    assert_eq!((it.get(), it.settled()), (Some(4), vec![run(4, 1, 400)]), "the journal keeps them");
    assert_eq!(it.host.queue.stats().totals.lost, 3);
}

#[test]
fn what_was_loaded_too_late_is_passed_over() {
    let mut it = paging(QueueOptions::default());
    it.publish(0, 3);
    it.page_out();
    let wanted = it.host.queue.page_wanted_for_get(it.host.now, &mut it.host.out).unwrap();
    it.host.queue.purge(it.host.now, &mut it.host.out);
    let messages = it.records.read(&wanted);
    assert_eq!(it.host.queue.page_in(&wanted, messages, &mut it.host.out), 0);
    assert_eq!(it.get(), None);
}

#[test]
fn messages_that_wait_for_another_try_can_be_paged_out() {
    let delayed_retry = Some(DelayedRetry { which: DelayedRetryType::All, min_ms: 100, max_ms: 100 });
    let mut it = paging(QueueOptions { delayed_retry, ..QueueOptions::default() });
    it.host.add(spec(1));
    it.publish(0, 2);
    it.host.deliveries();
    it.host.settle(1, 1..=2, Settle::Requeue).unwrap();
    it.host.remove(1, RemoveMode::Gone);
    assert_eq!(it.page_out(), 2);
    let stats = it.host.queue.stats();
    assert_eq!((stats.delayed, stats.paged), (2, 2));
    assert_eq!(it.get(), None);
    it.host.pass(100);
    it.host.tick();
    assert_eq!((it.host.queue.stats().ready, it.loaded.is_empty()), (2, true), "nobody wants them yet");
    let Host { queue, now, out, .. } = &mut it.host;
    let wanted = queue.page_wanted_for_get(*now, out).unwrap();
    queue.page_in(&wanted, it.records.read(&wanted), out);
    let got = queue.get(ConsumerId(9), true, *now, out).unwrap().delivery;
    assert_eq!((got.lsn, got.delivery_count, got.returns, got.redelivered), (Lsn(1), 1, 1, true));
}
