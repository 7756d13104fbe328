//! What is left for each queue, and what is never given twice.

use std::cell::Cell;

use super::*;

#[test]
fn an_empty_folder_is_an_empty_journal() {
    let mut recovered = recovered(&SimDisk::new());
    assert_eq!((recovered.next_lsn, recovered.next_segment), (Lsn(1), SegmentId(1)));
    assert!(recovered.queues.is_empty() && recovered.newest.is_none());
    recovered.mend(&SimDisk::new()).unwrap();
}

#[test]
fn neighbours_in_a_record_are_one_run_with_all_that_is_known() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    let offset = segment.publish(10, &[5, 0, 7], &[1]);
    let disk = disk_with(&[&segment]);
    let mut recovered = recovered(&disk);
    let wanted = RestoredRun {
        first: Lsn(10),
        count: 3,
        location: at(1, offset),
        from: 0,
        len: 3 * 9 + 12,
        body_bytes: 12,
        at: AT,
        priority: None,
        ttl_ms: None,
        delay_ms: None,
        returned: None,
    };
    assert_eq!(runs(&mut recovered, 1), [wanted]);
    assert_eq!((recovered.next_lsn, recovered.next_segment), (Lsn(13), SegmentId(2)));
    assert_eq!(recovered.newest, Some((SegmentId(1), segment.end())));
}

#[test]
fn settled_messages_split_their_run_and_entries_keep_their_places() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.publish(10, &[1, 2, 3, 4, 5], &[1, 2]);
    segment.settle(1, &[(1, 12, 1), (1, 10, 1)]);
    let mut recovered = recovered(&disk_with(&[&segment]));
    let found: Vec<_> =
        runs(&mut recovered, 1).iter().map(|run| (run.first.0, run.count, run.from, run.len)).collect();
    assert_eq!(found, [(11, 1, 10, 11), (13, 2, 10 + 11 + 12, 13 + 14)]);
    assert_eq!(left(&mut recovered, 2), [10, 11, 12, 13, 14]);
    let segment = &recovered.segments[0];
    assert_eq!((segment.total, segment.live), (10, 8));
    assert_eq!(segment.queues[&QueueId(1)].settled.iter().collect::<Vec<_>>(), [10, 12]);
    assert_eq!(segment.queues[&QueueId(1)].live.iter().collect::<Vec<_>>(), [11, 13, 14]);
    assert!(segment.queues[&QueueId(2)].settled.is_empty() && segment.about.is_empty());
}

#[test]
fn a_settlement_counts_wherever_it_stands() {
    let mut first = SegmentMaker::new(1, (0, 0), 1);
    first.settle(1, &[(2, 21, 1)]);
    first.publish(10, &[1, 1], &[1]);
    let mut second = SegmentMaker::new(2, first.as_previous(), 1);
    second.publish(20, &[1, 1], &[1]);
    second.settle(1, &[(1, 10, 1)]);
    let mut recovered = recovered(&disk_with(&[&first, &second]));
    assert_eq!(left(&mut recovered, 1), [11, 20]);
    assert_eq!(recovered.segments[0].about, [SegmentId(2)]);
    assert_eq!(recovered.segments[1].about, [SegmentId(1)]);
}

#[test]
fn facts_come_back_and_separate_runs() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    let all = [StoredTarget { queue: QueueId(1), first: 0, count: 4 }];
    segment.publish_with(1, &[1, 1, 1, 1], &all, |messages| {
        messages[0].priority = Some(Priority(3));
        messages[1].priority = Some(Priority(3));
        messages[2].ttl_ms = Some(60_000);
        messages[3].delay_ms = Some(5);
    });
    let mut recovered = recovered(&disk_with(&[&segment]));
    let facts: Vec<_> = runs(&mut recovered, 1)
        .iter()
        .map(|run| (run.count, run.priority, run.ttl_ms, run.delay_ms))
        .collect();
    let wanted =
        [(2, Some(Priority(3)), None, None), (1, None, Some(60_000), None), (1, None, None, Some(5))];
    assert_eq!(facts, wanted);
}

#[test]
fn a_returned_message_stands_alone_with_its_highest_count() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    let offset = segment.publish(1, &[1, 1, 1], &[1, 2]);
    let until = Some(Timestamp::from_millis(7));
    segment.returned(1, &[Returned { until, ..came_back(1, 2, 5) }]);
    segment.returned(1, &[came_back(1, 2, 4), came_back(1, 3, 1)]);
    segment.settle(1, &[(1, 3, 1)]);
    let mut recovered = recovered(&disk_with(&[&segment]));
    let wanted = Returned { location: at(1, offset), until, ..came_back(1, 2, 5) };
    let found: Vec<_> =
        runs(&mut recovered, 1).iter().map(|run| (run.first.0, run.count, run.returned)).collect();
    assert_eq!(found, [(1, 1, None), (2, 1, Some(wanted))]);
    assert_eq!(recovered.segments[0].returned, [(QueueId(1), wanted)]);
    assert_eq!(runs(&mut recovered, 2).len(), 1);
}

#[test]
fn a_message_that_was_being_copied_lives_in_the_newest_segment() {
    let mut old = SegmentMaker::new(1, (0, 0), 1);
    old.publish(1, &[1, 1, 1, 1], &[1]);
    let mut new = SegmentMaker::new(2, old.as_previous(), 5);
    let copy = new.publish(2, &[1, 1], &[1]);
    new.settle(1, &[(2, 3, 1)]);
    let mut recovered = recovered(&disk_with(&[&old, &new]));
    let found: Vec<_> =
        runs(&mut recovered, 1).iter().map(|run| (run.first.0, run.count, run.location)).collect();
    assert_eq!(found, [(1, 1, at(1, START)), (2, 1, at(2, copy)), (4, 1, at(1, START))]);
    let [old, new] = &recovered.segments[..] else { panic!("two segments") };
    assert_eq!((old.total, old.live, old.is_half_copied), (4, 2, true));
    assert_eq!((new.total, new.live, new.is_half_copied), (2, 1, false));
    // The copy that is left must not be taken for settled where it stood first.
    let pairs = &old.queues[&QueueId(1)];
    assert_eq!(pairs.settled.iter().collect::<Vec<_>>(), [3]);
    assert_eq!(pairs.live.iter().collect::<Vec<_>>(), [1, 4]);
    assert_eq!(pairs.copied.iter().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn messages_of_queues_that_do_not_exist_are_dead_and_each_queue_is_asked_about_once() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.publish(1, &[1], &[1, 500]);
    segment.publish(2, &[1], &[500]);
    segment.settle(500, &[(1, 2, 1)]);
    let asked = Cell::new(0);
    let exists = |queue: QueueId| {
        asked.set(asked.get() + 1);
        queue.0 == 1
    };
    let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &exists };
    let recovered = recover(&disk_with(&[&segment]), &options, &mut |_| {}).unwrap();
    assert_eq!(recovered.queues.len(), 1);
    assert_eq!((recovered.segments[0].total, recovered.segments[0].live), (1, 1));
    assert_eq!(asked.get(), 2);
}

#[test]
fn an_lsn_is_never_given_twice_even_if_only_a_settlement_or_a_header_knows_it() {
    let segment = SegmentMaker::new(3, (2, 128), 77);
    assert_eq!(recovered(&disk_with(&[&segment])).next_lsn, Lsn(77));
    let mut segment = SegmentMaker::new(3, (2, 128), 77);
    segment.settle(500, &[(1, 90, 10)]);
    assert_eq!(recovered(&disk_with(&[&segment])).next_lsn, Lsn(100));
    segment.returned(500, &[came_back(1, 200, 1)]);
    assert_eq!(recovered(&disk_with(&[&segment])).next_lsn, Lsn(201));
}

#[test]
fn a_number_of_a_segment_is_never_given_twice() {
    let segment = SegmentMaker::new(3, (9, 128), 1);
    assert_eq!(recovered(&disk_with(&[&segment])).next_segment, SegmentId(10));
}

#[test]
fn sealed_or_not_the_same_is_left() {
    let [mut first, mut second] = history();
    let wanted = state(&mut recovered(&disk_with(&[&first, &second])));
    first.seal();
    assert_eq!(state(&mut recovered(&disk_with(&[&first, &second]))), wanted);
    second.seal();
    assert_eq!(state(&mut recovered(&disk_with(&[&first, &second]))), wanted);
    assert_eq!(check(&disk_with(&[&first, &second]), &mut |_| {}).unwrap().damage, []);
}

#[test]
fn many_small_segments_are_all_looked_at_and_progress_is_told() {
    let mut previous = (0, 0);
    let disk = SimDisk::without_history();
    for id in 1..=50 {
        let mut segment = SegmentMaker::new(id, previous, 1);
        segment.publish(u64::from(id) * 10, &[3; 10], &[1]);
        previous = segment.as_previous();
        segment.seal();
        segment.write(&disk).unwrap();
    }
    let mut told = Vec::new();
    let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &|_| true };
    let mut recovered = recover(&disk, &options, &mut |progress| told.push(progress)).unwrap();
    assert_eq!(left(&mut recovered, 1), (10..510).collect::<Vec<_>>());
    assert!(told.is_sorted_by_key(|progress| progress.done));
    assert_eq!(told.last(), Some(&Progress { done: 150, of: 150, messages: 500 }));
}

#[test]
fn a_run_that_waits_to_be_handed_over_is_small() {
    const { assert!(RESTORED_RUN_MEMORY <= 48) };
}
