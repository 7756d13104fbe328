//! Transient messages in overflow files.

use crate::model::{Location, MemoryGauge, Message, MessageBatch, SegmentId, StoredRun};

use super::*;

const HERE: Location = Location { segment: SegmentId(SegmentId::OVERFLOW | 1), offset: 64 };

/// Writes what the queue wants to be written, and takes it out of memory.
fn spill(host: &mut Host, keep_bytes: u64, bytes_max: u64) -> Vec<u8> {
    let Some(spill) = host.queue.spill_wanted(keep_bytes, bytes_max) else { return Vec::new() };
    let bytes = spill.messages().iter().flat_map(|message| message.entry().to_vec()).collect();
    host.queue.spilled(spill, HERE, &mut host.out);
    host.queue.check_invariants();
    bytes
}

fn read(run: &PagedRun, bytes: &[u8]) -> Vec<Message> {
    let bytes = bytes[run.from as usize..(run.from + run.len) as usize].to_vec().into();
    let routes = vec![(u32::MAX, message(b"").route().clone())];
    MessageBatch::read_back(run.location, run.from, bytes, routes, &MemoryGauge::new()).unwrap()
}

fn load(host: &mut Host, bytes: &[u8]) {
    let wanted = |host: &mut Host| {
        let front = host.queue.page_wanted_for_get(host.now, &mut host.out);
        front.or_else(|| host.queue.page_wanted())
    };
    while let Some(run) = wanted(host) {
        assert!(host.queue.page_in(&run, read(&run, bytes), &mut host.out) > 0);
    }
}

fn run(first: u64, count: u32) -> StoredRun {
    StoredRun { first: Lsn(first), count, location: HERE }
}

#[test]
fn neighbours_become_one_run_and_come_back_in_order() {
    let mut host = host(QueueOptions::default());
    host.publish_many(10);
    let each = host.queue.memory_bytes() / 10;
    let bytes = spill(&mut host, 4 * each, u64::MAX);
    let stats = host.queue.stats();
    assert_eq!((stats.ready, stats.paged, stats.ready_body_bytes), (10, 6, 100));
    assert_eq!(host.queue.memory_bytes(), 4 * each + RUN_OVERHEAD);
    let mut got = host.drain();
    load(&mut host, &bytes);
    got.extend(host.drain());
    assert_eq!(got, (1..=10).collect::<Vec<_>>());
    assert_eq!((host.out.released.clone(), host.out.settled.is_empty()), (vec![run(5, 6)], true));
}

#[test]
fn what_came_one_by_one_is_read_together() {
    let mut host = host(QueueOptions::default());
    for _ in 0..10 {
        host.publish_many(1);
        host.pass(1);
    }
    let bytes = spill(&mut host, 0, u64::MAX);
    let front = host.queue.page_wanted_for_get(host.now, &mut host.out).unwrap();
    assert_eq!((front.first, front.count), (Lsn(1), 1), "each has a time of its own");
    let firsts = |behind: Vec<PagedRun>| behind.iter().map(|run| run.first.0).collect::<Vec<_>>();
    assert_eq!(firsts(host.queue.page_behind(&front, u32::MAX)), (2..=10).collect::<Vec<_>>());
    assert_eq!(firsts(host.queue.page_behind(&front, 3 * front.len)), [2, 3, 4]);
    let third = host.queue.page_behind(&front, 2 * front.len)[1];
    host.queue.page_in(&third, read(&third, &bytes), &mut host.out);
    assert_eq!(firsts(host.queue.page_behind(&front, u32::MAX)), [2], "the third is in memory");
    let mut got = Vec::new();
    while host.queue.messages() > 0 {
        load(&mut host, &bytes);
        got.extend(host.drain());
    }
    assert_eq!(got, (1..=10).collect::<Vec<_>>());
}

#[test]
fn dead_letters_that_came_one_by_one_are_read_together() {
    let mut host = host(with_dead_letters(QueueOptions::default()));
    for _ in 0..10 {
        host.publish_with(0, Some(50));
        host.pass(1);
    }
    let bytes = spill(&mut host, 0, u64::MAX);
    host.pass(100);
    host.tick();
    let front = host.queue.page_wanted().unwrap();
    assert_eq!(host.queue.page_behind(&front, u32::MAX).len(), 9);
    load(&mut host, &bytes);
    assert_eq!(host.dead().len(), 10);
}

#[test]
fn only_so_much_is_written_at_once() {
    let mut host = host(QueueOptions::default());
    host.publish_many(10);
    let wanted = host.queue.spill_wanted(0, 30).unwrap();
    assert_eq!(wanted.lsns().map(|lsn| lsn.0).collect::<Vec<_>>(), [9, 10], "two of 19 bytes");
    assert_eq!(host.queue.spill_wanted(0, 1).unwrap().messages().len(), 1, "at least one");
    assert!(host.queue.spill_wanted(host.queue.memory_bytes(), 1000).is_none());
}

#[test]
fn however_small_they_are_no_more_are_written_at_once_than_a_record_can_tell_routes_of() {
    let mut host = host(QueueOptions::default());
    host.publish_many(40_000);
    let mut counts = Vec::new();
    while let Some(spill) = host.queue.spill_wanted(0, u64::MAX) {
        counts.push(spill.messages().len());
        let location = Location { offset: 64 + counts.len() as u32, ..HERE };
        host.queue.spilled(spill, location, &mut host.out);
    }
    assert_eq!(counts, [16_384, 16_384, 40_000 - 2 * 16_384]);
}

#[test]
fn what_came_back_can_be_paged_out_without_writing_it_again() {
    let mut host = host(QueueOptions::default());
    host.publish_many(3);
    let bytes = spill(&mut host, 0, u64::MAX);
    load(&mut host, &bytes);
    assert!(host.queue.spill_wanted(0, u64::MAX).is_none());
    assert_eq!(host.queue.page_out(0, |_| false), 3, "whatever the journal has written");
    assert_eq!(host.queue.memory_bytes(), RUN_OVERHEAD);
}

#[test]
fn messages_that_the_journal_has_are_not_spilled() {
    let mut host = host(QueueOptions { durable: true, ..QueueOptions::default() });
    let publication = host.publication();
    let location = Location { segment: SegmentId(1), offset: 64 };
    publication.message.batch().set_location(location, 0);
    host.queue.publish(publication, host.now, &mut host.out);
    assert!(host.queue.spill_wanted(0, u64::MAX).is_none());
}

#[test]
fn messages_that_the_journal_has_for_other_queues_only_are_spilled() {
    let mut host = host(QueueOptions::default());
    let publication = host.publication();
    let location = Location { segment: SegmentId(1), offset: 64 };
    publication.message.batch().set_location(location, 0);
    host.queue.publish(publication, host.now, &mut host.out);
    let bytes = spill(&mut host, 0, u64::MAX);
    load(&mut host, &bytes);
    host.drain();
    assert_eq!((host.out.released.clone(), host.out.settled.is_empty()), (vec![run(1, 1)], true));
}

#[test]
fn what_has_gone_while_it_was_written_is_released_at_once() {
    let mut host = host(QueueOptions::default());
    host.publish_many(3);
    let wanted = host.queue.spill_wanted(0, u64::MAX).unwrap();
    assert_eq!(host.get(), Some(1));
    host.queue.spilled(wanted, HERE, &mut host.out);
    assert_eq!(host.out.released, [run(1, 1)]);
    assert_eq!(host.queue.stats().paged, 2);
}

#[test]
fn a_dead_letter_is_loaded_and_then_released() {
    let mut host = host(with_dead_letters(QueueOptions::default()));
    host.publish_with(0, Some(10));
    let bytes = spill(&mut host, 0, u64::MAX);
    host.pass(10);
    host.tick();
    load(&mut host, &bytes);
    assert_eq!((host.dead(), host.out.released.clone()), (vec![(1, DeathReason::Expired)], vec![run(1, 1)]));
}

#[test]
fn a_purge_releases_without_loading() {
    let mut host = host(QueueOptions { durable: true, ..QueueOptions::default() });
    host.publish_many(3);
    spill(&mut host, 0, u64::MAX);
    assert_eq!(host.queue.purge(host.now, &mut host.out), 3);
    assert_eq!((host.out.released.clone(), host.out.settled.is_empty()), (vec![run(1, 3)], true));
}
