//! What a start mends stays so; `check` finds what there is to mend.

use super::*;

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
