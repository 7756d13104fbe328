use std::cell::Cell;

use super::testing::{AT, START, SegmentMaker, write_file};
use super::*;
use crate::model::{Location, Priority, RestoredRun, Timestamp};
use crate::store::check::check;
use crate::store::{Disk, SimDisk, StoredTarget};

fn try_recover(disk: &SimDisk, on_damage: OnDamage) -> Result<Recovered, RecoveryError> {
    let options = RecoveryOptions { on_damage, exists: &|queue| queue.0 < 100 };
    recover(disk, &options, &mut |_| {})
}

fn recovered(disk: &SimDisk) -> Recovered {
    try_recover(disk, OnDamage::Refuse).unwrap()
}

fn runs(recovered: &mut Recovered, queue: u64) -> Vec<RestoredRun> {
    recovered.queues.remove(&QueueId(queue)).unwrap_or_default().into_iter().collect()
}

/// The LSNs that are left in a queue, in order.
fn left(recovered: &mut Recovered, queue: u64) -> Vec<u64> {
    let lsns = |run: RestoredRun| run.first.0..run.first.0 + u64::from(run.count);
    runs(recovered, queue).into_iter().flat_map(lsns).collect()
}

fn disk_with(segments: &[&SegmentMaker]) -> SimDisk {
    let disk = SimDisk::new();
    segments.iter().for_each(|segment| segment.write(&disk).unwrap());
    disk
}

/// The first segment, but with these bytes.
fn with_bytes(bytes: &[u8]) -> SegmentMaker {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.bytes = bytes.to_vec();
    segment
}

fn at(segment: u32, offset: u32) -> Location {
    Location { segment: SegmentId(segment), offset }
}

fn came_back(segment: u32, lsn: u64, returns: u32) -> Returned {
    let location = at(segment, 0);
    Returned { lsn: Lsn(lsn), location, delivery_count: 1, returns, until: None }
}

fn damage_of(result: Result<Recovered, RecoveryError>) -> Vec<Damage> {
    match result {
        Err(RecoveryError::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

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

/// Two segments with a bit of everything.
fn history() -> [SegmentMaker; 2] {
    let mut first = SegmentMaker::new(1, (0, 0), 1);
    first.publish(1, &[10, 20, 30], &[1, 2]);
    first.commit();
    first.settle(1, &[(1, 2, 1)]);
    first.skip(100);
    first.publish(4, &[5], &[2]);
    first.commit();
    first.returned(2, &[came_back(1, 3, 2)]);
    let mut second = SegmentMaker::new(2, first.as_previous(), 5);
    second.publish(5, &[1; 40], &[1]);
    second.safe = second.end();
    second.settle(2, &[(1, 1, 1)]);
    second.publish(45, &[3, 3], &[1, 2]);
    second.commit();
    [first, second]
}

fn state(recovered: &mut Recovered) -> [Vec<RestoredRun>; 2] {
    [runs(recovered, 1), runs(recovered, 2)]
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
fn room_allocated_ahead_is_no_tail() {
    let [first, mut second] = history();
    let wanted = state(&mut recovered(&disk_with(&[&first, &second])));
    let end = second.end();
    second.bytes.resize(1 << 20, 0);
    let mut recovered = recovered(&disk_with(&[&first, &second]));
    assert_eq!(state(&mut recovered), wanted);
    assert_eq!((recovered.newest, recovered.cut), (Some((SegmentId(2), end)), None));
}

#[test]
fn torn_tail_is_cut_at_the_last_whole_record_wherever_it_tears() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    for lsn in 1..5 {
        segment.publish(lsn, &[20], &[1]);
    }
    let whole = segment.bytes.clone();
    for len in START as usize..whole.len() {
        for zeros in [0, 500] {
            segment.bytes = whole[..len].to_vec();
            segment.bytes.resize(len + zeros, 0);
            let mut recovered = recovered(&disk_with(&[&segment]));
            let ends = segment.records.iter().copied().skip(1).chain([whole.len() as u32]);
            let count = ends.filter(|end| *end as usize <= len).count();
            let lsns: Vec<_> = (1..).take(count).collect();
            assert_eq!(left(&mut recovered, 1), lsns, "cut at {len}, {zeros} zeros");
            let start = segment.records[count.min(3)];
            let wanted = (start as usize != len).then_some(start);
            assert_eq!(recovered.cut.map(|cut| cut.offset), wanted, "cut at {len}, {zeros} zeros");
        }
    }
}

#[test]
fn records_behind_a_hole_that_was_never_safe_go_with_it() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    for lsn in 1..5 {
        segment.publish(lsn, &[20], &[1]);
    }
    // Written in another order: the third record is there, the second is not, or only its message is not.
    for range in [
        segment.records[1] as usize..segment.records[2] as usize - 1,
        segment.records[2] as usize - 3..segment.records[2] as usize,
    ] {
        let mut torn = segment.bytes.clone();
        torn[range].fill(0);
        let disk = SimDisk::new();
        write_file(&disk, &file_name(SegmentId(1)), &torn).unwrap();
        let mut recovered = recovered(&disk);
        assert_eq!(left(&mut recovered, 1), [1]);
        let cut = recovered.cut.clone().unwrap();
        assert_eq!((cut.segment, cut.offset), (SegmentId(1), segment.records[1]));
        assert_eq!(cut.bytes, (segment.bytes.len() as u32 - segment.records[1]) as u64);
    }
}

#[test]
fn a_hole_that_was_safe_is_damage_and_skipping_goes_on_behind_it() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.publish(1, &[20], &[1]);
    segment.publish(2, &[20], &[1]);
    segment.commit();
    segment.publish(3, &[20], &[1]);
    let [_, second, third] = segment.records[..] else { panic!("three records") };
    for place in second as usize..third as usize - 29 {
        let mut flipped = segment.bytes.clone();
        flipped[place] ^= 4;
        let disk = SimDisk::new();
        write_file(&disk, &file_name(SegmentId(1)), &flipped).unwrap();
        let damage = damage_of(try_recover(&disk, OnDamage::Refuse));
        assert_eq!((damage[0].segment, damage[0].offset), (SegmentId(1), second), "byte {place}");
        assert_eq!(damage[0].len, u64::from(third - second));
        let mut skipped = try_recover(&disk, OnDamage::Skip).unwrap();
        assert_eq!(left(&mut skipped, 1), [1, 3], "byte {place}");
        assert_eq!((skipped.damage.len(), skipped.cut), (1, None));
    }
}

#[test]
fn what_damage_is_says_file_place_and_what_to_do() {
    let mut segment = SegmentMaker::new(7, (0, 0), 1);
    segment.publish(1, &[20], &[1]);
    segment.commit();
    segment.publish(2, &[20], &[1]);
    segment.bytes[START as usize + 33] ^= 1;
    let error = try_recover(&disk_with(&[&segment]), OnDamage::Refuse).unwrap_err();
    let text = error.to_string();
    for part in ["journal-0000000007.seg", "record at 128", "metadata", "on_damage"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_tail_that_a_newer_segment_knows_to_be_safe_is_damage_even_if_nothing_is_behind_it() {
    let [first, mut second] = history();
    let end = first.end();
    let last = *first.records.last().unwrap();
    for len in last as usize..first.bytes.len() {
        let short = with_bytes(&first.bytes[..len]);
        let damage = damage_of(try_recover(&disk_with(&[&short, &second]), OnDamage::Refuse));
        assert_eq!((damage[0].segment, damage[0].offset), (SegmentId(1), last), "{len} of {end}");
    }
    // So is the newest one, once it is sealed.
    second.seal();
    let short = with_bytes(&first.bytes[..last as usize]);
    let damage = damage_of(try_recover(&disk_with(&[&short, &second]), OnDamage::Refuse));
    assert_eq!((damage[0].kind, damage[0].len), (DamageKind::Missing, u64::from(end - last)));
}

#[test]
fn a_torn_tail_takes_newer_segments_that_were_not_safe_either() {
    let mut first = SegmentMaker::new(1, (0, 0), 1);
    first.publish(1, &[20], &[1]);
    let end = first.end();
    first.publish(2, &[20], &[1]);
    let mut second = SegmentMaker::new(2, first.as_previous(), 3);
    second.publish(3, &[20], &[1]);
    let third = SegmentMaker::new(3, second.as_previous(), 4);
    // Torn, or not there at all though the next one says how far it went.
    for len in [first.bytes.len() - 1, end as usize] {
        let torn = with_bytes(&first.bytes[..len]);
        let disk = disk_with(&[&torn, &second, &third]);
        let mut found = recovered(&disk);
        assert_eq!(left(&mut found, 1), [1]);
        let cut = found.cut.clone().unwrap();
        assert_eq!((cut.segment, cut.offset), (SegmentId(1), end));
        assert_eq!(cut.removed, [SegmentId(2), SegmentId(3)]);
        assert_eq!(found.next_segment, SegmentId(4));
        found.mend(&disk).unwrap();
        let names: Vec<_> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [file_name(SegmentId(1))]);
    }
}

#[test]
fn a_file_that_was_just_being_made_is_removed() {
    for bytes in [vec![], vec![0; 40], vec![0; 5000]] {
        let [first, second] = history();
        let disk = disk_with(&[&first, &second]);
        let wanted = state(&mut recovered(&disk));
        write_file(&disk, &file_name(SegmentId(3)), &bytes).unwrap();
        let mut found = recovered(&disk);
        assert_eq!(state(&mut found), wanted);
        assert_eq!((found.next_segment, found.segments.len()), (SegmentId(4), 2));
        found.mend(&disk).unwrap();
        assert_eq!(disk.list().unwrap().len(), 2);
    }
}

#[test]
fn a_segment_whose_header_is_lost_is_damage_and_is_set_aside() {
    let [mut first, second] = history();
    first.bytes[..128].fill(0xff);
    let disk = disk_with(&[&first, &second]);
    let damage = damage_of(try_recover(&disk, OnDamage::Refuse));
    assert!(matches!(damage[0].kind, DamageKind::Header(_)), "{damage:?}");
    let mut skipped = try_recover(&disk, OnDamage::Skip).unwrap();
    assert_eq!(left(&mut skipped, 1), (5..47).collect::<Vec<_>>());
    skipped.mend(&disk).unwrap();
    let names: Vec<_> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["journal-0000000001.seg.damaged", "journal-0000000002.seg"]);
    assert_eq!(recovered(&disk).segments.len(), 1);
}

#[test]
fn a_header_under_another_name_is_damage() {
    let [first, second] = history();
    let disk = disk_with(&[&second]);
    write_file(&disk, &file_name(SegmentId(1)), &second.bytes).unwrap();
    let damage = damage_of(try_recover(&disk, OnDamage::Refuse));
    assert_eq!(damage[0].kind, DamageKind::OtherSegment(SegmentId(2)));
    drop(first);
}

#[test]
fn one_copy_of_a_header_is_enough_and_the_loss_is_told() {
    let [mut first, second] = history();
    let wanted = state(&mut recovered(&disk_with(&[&first, &second])));
    first.bytes[20] ^= 1;
    let mut recovered = recovered(&disk_with(&[&first, &second]));
    assert_eq!(state(&mut recovered), wanted);
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.damage[0].kind, DamageKind::SpareHeader);
}

#[test]
fn a_damaged_index_costs_nothing_but_time() {
    let [mut first, second] = history();
    let wanted = state(&mut recovered(&disk_with(&[&first, &second])));
    let end = first.end() as usize;
    first.seal();
    let whole = first.bytes.clone();
    for place in end..whole.len() {
        first.bytes = whole.clone();
        first.bytes[place] ^= 0x20;
        let disk = disk_with(&[&first, &second]);
        let mut recovered = recovered(&disk);
        assert_eq!(state(&mut recovered), wanted, "byte {place}");
        // Without its trailer it is not known to have an index.
        if place < whole.len() - 16 {
            assert_eq!(recovered.damage[0].kind, DamageKind::Index, "byte {place}");
            assert_eq!(recovered.damage[0].offset as usize, end);
        }
    }
}

#[test]
fn a_newer_program_is_named_and_nothing_is_changed() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.publish(1, &[20], &[1]);
    segment.bytes[START as usize + 4] = 2;
    let nonce = segment.header.nonce;
    let head = &mut segment.bytes[START as usize..];
    let meta_len = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
    let (head, entries) = head.split_at_mut(32 + meta_len);
    crate::store::record::seal(head, nonce, START, 0, [&*entries]);
    for on_damage in [OnDamage::Refuse, OnDamage::Skip] {
        let error = try_recover(&disk_with(&[&segment]), on_damage).unwrap_err();
        assert!(matches!(error, RecoveryError::Newer { offset: START, .. }), "{error}");
    }
}

#[test]
fn skipped_room_at_the_end_need_not_have_been_written() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.publish(1, &[20], &[1]);
    let offset = segment.skip(1000);
    segment.bytes.truncate(offset as usize + 32);
    let disk = disk_with(&[&segment]);
    let mut found = recovered(&disk);
    assert_eq!(left(&mut found, 1), [1]);
    assert_eq!((found.newest, found.cut.take()), (Some((SegmentId(1), offset + 1000)), None));
    found.mend(&disk).unwrap();
    assert_eq!(check(&disk, &mut |_| {}).unwrap().damage, []);
}

#[test]
fn a_mended_folder_is_whole_and_gives_the_same_again() {
    let [first, mut second] = history();
    second.publish(60, &[9], &[1]);
    let whole = second.bytes.clone();
    for lost in [0, 1, 30] {
        second.bytes = whole[..whole.len() - lost].to_vec();
        let disk = disk_with(&[&first, &second]);
        let mut before = recovered(&disk);
        before.mend(&disk).unwrap();
        let mut after = recovered(&disk);
        assert_eq!(state(&mut after), state(&mut before));
        assert_eq!((after.cut.take(), after.damage.len()), (None, 0));
        let checked = check(&disk, &mut |_| {}).unwrap();
        assert!(checked.damage.is_empty() && checked.cut.is_none(), "{checked:?}");
        // A new process says of it that it is safe: no tail can be found torn any more.
        let mut third = SegmentMaker::new(3, (2, before.newest.unwrap().1), 100);
        third.safe = START;
        third.publish(100, &[1], &[3]);
        third.write(&disk).unwrap();
        assert_eq!(state(&mut recovered(&disk)), state(&mut recovered(&disk)));
    }
}

#[test]
fn a_crash_at_any_moment_of_mending_changes_nothing() {
    let mut first = SegmentMaker::new(1, (0, 0), 1);
    for lsn in 1..20 {
        first.publish(lsn, &[100], &[1]);
    }
    let mut second = SegmentMaker::new(2, first.as_previous(), 20);
    second.publish(20, &[100], &[1]);
    first.bytes.truncate(first.records[15] as usize + 50);
    first.bytes.resize(1 << 14, 0);
    let disk = disk_with(&[&first, &second]);
    let start = disk.operations();
    let mut before = recovered(&disk);
    before.mend(&disk).unwrap();
    let wanted = left(&mut before, 1);
    assert_eq!(wanted, (1..16).collect::<Vec<_>>());
    for operation in start..=disk.operations() {
        for seed in 0..20 {
            let image = disk.image_at(operation, &mut fastrand::Rng::with_seed(seed));
            let mut again = recovered(&image);
            assert_eq!(left(&mut again, 1), wanted, "after operation {operation}, seed {seed}");
            again.mend(&image).unwrap();
            assert_eq!(left(&mut recovered(&image), 1), wanted, "after operation {operation}, seed {seed}");
        }
    }
}

#[test]
fn a_full_disk_does_not_stop_mending() {
    let [first, mut second] = history();
    second.publish(60, &[9], &[1]);
    second.bytes.pop();
    let disk = disk_with(&[&first, &second]);
    let used = disk.list().unwrap().iter().map(|(_, len)| len).sum();
    disk.set_capacity(Some(used));
    let mut before = recovered(&disk);
    before.mend(&disk).unwrap();
    let mut after = recovered(&disk);
    assert_eq!(state(&mut after), state(&mut before));
    assert_eq!(after.cut, None);
}

#[test]
fn what_was_left_out_once_is_left_out_for_good() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    segment.publish(1, &[20], &[1]);
    segment.publish(2, &[20], &[1]);
    segment.commit();
    segment.publish(3, &[20], &[1]);
    segment.bytes[segment.records[1] as usize] ^= 1;
    let disk = disk_with(&[&segment]);
    let mut skipped = try_recover(&disk, OnDamage::Skip).unwrap();
    skipped.mend(&disk).unwrap();
    let mut again = recovered(&disk);
    assert_eq!(left(&mut again, 1), [1, 3]);
    assert_eq!(again.damage[0].kind, DamageKind::LeftOut);
    assert_eq!((again.damage[0].offset, again.damage.len()), (segment.records[1], 1));
}

#[test]
fn check_names_segment_and_record_of_every_flipped_byte() {
    let [mut first, mut second] = history();
    let records = first.records.clone();
    let end = first.end();
    first.seal();
    second.seal();
    let whole = first.bytes.clone();
    let skipped = records[2] as usize + 32..records[3] as usize;
    for place in (0..whole.len()).filter(|place| !skipped.contains(place)) {
        first.bytes = whole.clone();
        first.bytes[place] ^= 0x40;
        let disk = disk_with(&[&first, &second]);
        let checked = check(&disk, &mut |_| {}).unwrap();
        // A trailer that is none: the segment counts as not sealed, and the next start seals it again.
        let is_trailer = place >= whole.len() - 16;
        if is_trailer {
            continue;
        }
        let [damage] = &checked.damage[..] else { panic!("byte {place}: {:?}", checked.damage) };
        let starts = records.iter().chain([&end]).copied();
        let wanted = starts.filter(|start| *start as usize <= place).max().unwrap_or(0);
        assert_eq!((damage.segment, damage.offset), (SegmentId(1), wanted), "byte {place}: {damage}");
        if place >= START as usize && place < end as usize {
            let has_messages = wanted == records[0] || wanted == records[3];
            assert_eq!(damage.messages.is_some(), has_messages, "byte {place}: {damage}");
        }
    }
}

#[test]
fn check_finds_messages_that_are_none_behind_right_checksums() {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    let all = [StoredTarget { queue: QueueId(1), first: 0, count: 1 }];
    segment.publish_with(1, &[20], &all, |messages| messages[0].body_len -= 1);
    segment.seal();
    let checked = check(&disk_with(&[&segment]), &mut |_| {}).unwrap();
    assert_eq!(checked.damage[0].kind, DamageKind::Entry);
    assert!(checked.damage[0].to_string().contains("record at 128"), "{}", checked.damage[0]);
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
