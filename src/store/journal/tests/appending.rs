//! Appending, writing, committing, reading back.

use super::*;
use crate::store::record::{HEADER_LEN, RecordHeader, RecordKind};
use crate::store::segment::{RECORDS_START, SegmentHeader, TRAILER_LEN, Trailer};

#[test]
fn positions_grow_and_are_committed_by_the_sync() {
    let rig = Rig::new();
    let one = rig.publish(&[1], &[b"one"]);
    let two = rig.publish(&[1, 2], &[b"two", b"three"]);
    let settled = rig.settle(2, &[two.run(0, 1)]);
    assert!(one.position < two.position && two.position < settled);
    assert!(rig.journal.committed() < one.position, "nothing is safe yet");
    assert_eq!(rig.journal.pump(), Pumped::Wrote);
    assert!(rig.journal.committed() >= settled);
    assert_eq!(rig.journal.pump(), Pumped::Idle);
    let syncs = rig.journal.stats().syncs;
    assert_eq!(syncs, 2, "one for the header of the segment, one for everybody who waited");
}

#[test]
fn a_message_knows_its_place_before_it_is_written() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[b"a", b"b"]);
    let location = published.messages[0].location().unwrap();
    assert_eq!(location, Location { segment: SegmentId(1), offset: RECORDS_START });
    assert_eq!(published.messages[1].entry_offset(), published.messages[0].len() as u32);
    let next = rig.publish(&[1], &[b"c"]);
    assert_eq!(Position(next.location().as_u64()), published.position, "records stand back to back");
}

#[test]
fn entries_are_read_back_from_memory_from_the_open_segment_and_from_sealed_ones() {
    let rig = Rig::new();
    let body = vec![7; 3000];
    let mut all = Vec::new();
    for round in 0..20 {
        all.push(rig.publish(&[1], &[b"small", &body, &[round; 10]]));
        if round % 3 == 0 {
            rig.pump();
        }
    }
    assert!(rig.files().len() > 3, "several segments: {:?}", rig.files());
    for (round, published) in all.iter().enumerate() {
        assert_eq!(rig.bodies_of(published), [b"small".to_vec(), body.clone(), vec![round as u8; 10]]);
        let message = &published.messages[2];
        let only = rig.bodies(published.location(), message.entry_offset(), message.len() as u32);
        assert_eq!(only, [vec![round as u8; 10]]);
    }
}

#[test]
fn what_is_read_back_has_its_route_and_its_time() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[b"0", b"1", b"2", b"3", b"4"]);
    for _ in 0..2 {
        let from = published.messages[1].entry_offset();
        let len: usize = published.messages[1..4].iter().map(Message::len).sum();
        let slice = rig.journal.read(published.location(), from, len as u32).unwrap();
        assert_eq!(slice.at, Timestamp::from_millis(1));
        let keys: Vec<_> =
            slice.routes.iter().map(|(end, route)| (*end, route.routing_key.as_str())).collect();
        let ends = [2, 4].map(|number: usize| published.messages[number].entry_offset());
        assert_eq!(keys, [(ends[0], "key 0"), (ends[1], "key 1")]);
        rig.pump();
    }
}

#[test]
fn parts_of_one_record_share_its_place() {
    let rig = Rig::new();
    let (one, two) = (batch(&[b"first"]), batch(&[b"second", b"third"]));
    let (lsn_one, lsn_two) = (rig.journal.reserve(1), rig.journal.reserve(2));
    let (stored_one, stored_two) = (stored(&one, lsn_one), stored(&two, lsn_two));
    let at = Timestamp::default();
    let targets = [StoredTarget { queue: QueueId(1), first: 0, count: 1 }];
    let part = |batch, messages| Part::Publish(PublishPart { batch, at, messages, targets: &targets });
    rig.journal.append(&[part(one[0].batch(), &stored_one), part(two[0].batch(), &stored_two)]).unwrap();
    assert_eq!(one[0].location(), two[0].location());
    assert_eq!(two[0].entry_offset(), one[0].len() as u32);
    for _ in 0..2 {
        let location = one[0].location().unwrap();
        assert_eq!(rig.bodies(location, two[1].entry_offset(), two[1].len() as u32), [b"third".to_vec()]);
        assert_eq!(rig.bodies(location, 0, one[0].len() as u32), [b"first".to_vec()]);
        rig.pump();
    }
}

#[test]
fn neighbours_in_two_parts_of_one_record_are_read_together() {
    let rig = Rig::new();
    let (one, other) = (batch(&[b"a", b"b", b"c"]), batch(&[b"d", b"e"]));
    let first = rig.journal.reserve(5);
    let (stored_one, stored_other) = (stored(&one, first), stored(&other, Lsn(first.0 + 3)));
    let targets = |count| [StoredTarget { queue: QueueId(1), first: 0, count }];
    let (to_one, to_other) = (targets(3), targets(2));
    let at = Timestamp::from_millis(1);
    let parts = [
        Part::Publish(PublishPart { batch: one[0].batch(), at, messages: &stored_one, targets: &to_one }),
        Part::Publish(PublishPart {
            batch: other[0].batch(),
            at,
            messages: &stored_other,
            targets: &to_other,
        }),
    ];
    rig.journal.append(&parts).unwrap();
    let location = one[0].location().unwrap();
    assert_eq!(other[0].location(), Some(location));
    let entry = one[0].len() as u32;
    let check = || {
        assert_eq!(rig.bodies(location, 0, 5 * entry), [b"a", b"b", b"c", b"d", b"e"]);
        assert_eq!(rig.bodies(location, 2 * entry, 2 * entry), [b"c", b"d"]);
        assert_eq!(rig.bodies(location, 3 * entry, 2 * entry), [b"d", b"e"]);
        let slice = rig.journal.read(location, entry, 3 * entry).unwrap();
        let routes: Vec<_> = slice.routes.iter().map(|(end, route)| (*end, &*route.routing_key)).collect();
        assert_eq!(routes, [(2 * entry, "key 0"), (3 * entry, "key 1"), (5 * entry, "key 0")]);
    };
    check();
    rig.pump();
    check();
}

#[test]
fn a_record_longer_than_a_segment_has_one_of_its_own() {
    let rig = Rig::new();
    let small = rig.publish(&[1], &[b"small"]);
    let huge_body = vec![1; 3 * SEGMENT as usize];
    let huge = rig.publish(&[1], &[&huge_body]);
    let after = rig.publish(&[1], &[b"after"]);
    rig.pump();
    let segments = [&small, &huge, &after].map(|published| published.location().segment.0);
    assert_eq!(segments, [1, 2, 3]);
    assert_eq!(rig.bodies_of(&huge), [huge_body]);
    assert_eq!(rig.bodies_of(&after), [b"after".to_vec()]);
}

#[test]
fn a_full_segment_ends_with_its_index_and_the_next_one_names_it() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[&[5; 9000]]);
    rig.journal.rotate();
    rig.publish(&[1], &[b"next"]);
    rig.pump();
    let file = rig.disk.open("journal-0000000001.seg").unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let header = SegmentHeader::read(&bytes).unwrap();
    let trailer = Trailer::read(&bytes[bytes.len() - TRAILER_LEN..], header.nonce).unwrap();
    assert_eq!((trailer.records, u64::from(trailer.index_offset)), (1, published.position.0 & 0xffff_ffff));
    let next = rig.disk.open("journal-0000000002.seg").unwrap();
    let mut bytes = vec![0; 1 << 10];
    next.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(SegmentHeader::read(&bytes).unwrap().previous, (SegmentId(1), trailer.index_offset));
}

#[test]
fn what_is_settled_before_it_is_written_never_is() {
    let rig = Rig::new();
    let elided = rig.publish(&[1, 2], &[b"secret", b"secret"]);
    let kept = rig.publish(&[1, 2], &[b"kept"]);
    rig.settle(1, &[elided.all(), kept.all()]);
    rig.settle(2, &[elided.run(1, 1)]);
    let last = rig.settle(2, &[elided.run(0, 1)]);
    rig.pump();
    assert!(rig.journal.committed() >= last);
    let stats = rig.journal.stats();
    assert_eq!((stats.elided_records, stats.live_pairs), (1, 1));
    let file = rig.disk.open("journal-0000000001.seg").unwrap();
    let mut bytes = vec![0; 4 << 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(!bytes.windows(6).any(|six| six == b"secret"));
    let header = SegmentHeader::read(&bytes).unwrap();
    let kinds: Vec<_> = [elided.location().offset, kept.location().offset, kept.position.0 as u32]
        .iter()
        .map(|offset| RecordHeader::read(&bytes[*offset as usize..], header.nonce, *offset).unwrap())
        .map(|header| (header.kind, header.meta_len > 0))
        .collect();
    let unit = (RecordKind::Unit, true);
    assert_eq!(kinds, [(RecordKind::Skip, false), unit, unit], "the last one settles what was kept");
}

#[test]
fn everything_elided_is_committed_all_the_same() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[b"x"]);
    let settled = rig.settle(1, &[published.all()]);
    rig.pump();
    assert!(rig.journal.committed() >= settled);
    let next = rig.publish(&[1], &[b"y"]);
    assert!(next.position > rig.journal.committed(), "what comes later is not");
    rig.pump();
    assert!(rig.journal.committed() >= next.position);
    assert_eq!(rig.bodies_of(&next), [b"y".to_vec()]);
}

#[test]
fn a_settlement_is_not_committed_by_the_batch_before_it() {
    let rig = Rig::new();
    let old = rig.publish(&[1], &[b"old"]);
    rig.pump();
    let elided = rig.publish(&[1], &[b"x"]);
    rig.settle(1, &[elided.all()]);
    rig.pump();
    let settled = rig.settle(1, &[old.all()]);
    assert!(settled > rig.journal.committed());
    rig.pump();
    assert!(settled <= rig.journal.committed());
}

#[test]
fn a_settlement_told_twice_elides_nothing_that_lives() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[b"a", b"b"]);
    rig.settle(1, &[published.run(0, 1)]);
    rig.settle(1, &[published.run(0, 1)]);
    rig.pump();
    let stats = rig.journal.stats();
    assert_eq!((stats.elided_records, stats.live_pairs), (0, 1));
}

#[test]
fn what_an_elided_move_settled_stays_settled() {
    let rig = Rig::new();
    let source = rig.publish(&[1], &[b"dead letter"]);
    rig.pump();
    let runs = [source.all()];
    let settle = Part::Settle { queue: QueueId(1), runs: &runs };
    let moved = rig.try_publish(&[2], &[b"dead letter"], &[settle]).unwrap();
    rig.settle(2, &[moved.all()]);
    rig.pump();
    let stats = rig.journal.stats();
    assert_eq!((stats.elided_records, stats.live_pairs), (1, 0));
}

#[test]
fn settlements_alone_share_one_small_record() {
    let rig = Rig::new();
    let published: Vec<_> = (0..100).map(|_| rig.publish(&[1], &[b"x"])).collect();
    rig.pump();
    let before = rig.journal.stats().appended_bytes;
    for published in &published {
        rig.settle(1, &[published.all()]);
    }
    rig.pump();
    let after = rig.journal.stats().appended_bytes;
    assert!(after - before <= HEADER_LEN as u64 + 16, "{} bytes", after - before);
}

#[test]
fn memory_is_held_until_it_is_written() {
    let rig = Rig::new();
    let gauge = MemoryGauge::new();
    let route = MessageRoute {
        exchange: ExchangeName::new("e").unwrap(),
        routing_key: RoutingKey::new("k").unwrap(),
    };
    let messages = [Message::new(route, &[], &[0; 5000], &gauge)];
    let stored = stored(&messages, rig.journal.reserve(1));
    let targets = [StoredTarget { queue: QueueId(1), first: 0, count: 1 }];
    let at = Timestamp::default();
    let part = PublishPart { batch: messages[0].batch(), at, messages: &stored, targets: &targets };
    rig.journal.append(&[Part::Publish(part)]).unwrap();
    drop(messages);
    assert!(gauge.bytes() > 5000, "the journal still needs them");
    rig.pump();
    assert_eq!(gauge.bytes(), 0);
}

#[test]
fn modes_that_do_not_wait_for_the_sync_commit_what_is_written() {
    for sync in [SyncMode::Never, SyncMode::Interval(Duration::from_secs(3600))] {
        let rig = Rig::with(JournalOptions { sync, ..JournalOptions::default() });
        let published = rig.publish(&[1], &[b"x"]);
        rig.pump();
        assert!(rig.journal.committed() >= published.position);
        assert_eq!(rig.journal.stats().syncs, 0, "{sync:?}");
    }
}

#[test]
fn progress_is_told() {
    let rig = Rig::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    rig.journal.on_progress(Box::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    rig.publish(&[1], &[b"x"]);
    rig.pump();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
