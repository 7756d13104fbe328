//! Torn tails, which are cut, and damage, which is told.

use super::*;

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
