//! Every version of the journal's format that was ever written can be read: files of each are kept in
//! `tests/fixtures/store`.
//!
//! Of the present version the files are also what is written today, byte by byte: a change of the format that nobody meant shows
//! here. One that is meant gets a version, and a folder, of its own (`write_the_fixtures`).

use std::fs;
use std::path::PathBuf;

use rialto::model::{Location, Lsn, Priority, QueueId, Returned, SegmentId, StoredRun, Timestamp};
use rialto::store::check::check;
use rialto::store::record::PublishFields;
use rialto::store::record::RecordKind;
use rialto::store::recovery::testing::{AT, SegmentMaker, plain_messages};
use rialto::store::recovery::{OnDamage, RecoveryOptions, recover};
use rialto::store::segment::file_name;
use rialto::store::{FileDisk, StoredTarget};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store/v1")
}

fn target(queue: u64, first: u32, count: u32) -> StoredTarget {
    StoredTarget { queue: QueueId(queue), first, count }
}

fn returned() -> Returned {
    Returned {
        lsn: Lsn(12),
        location: Location { segment: SegmentId(1), offset: 0 },
        delivery_count: 2,
        returns: 3,
        until: Some(AT.plus_millis(60_000)),
    }
}

/// A sealed segment, and one that a crash left open: every kind of record and part.
fn version_1() -> [SegmentMaker; 2] {
    let mut first = SegmentMaker::new(1, (0, 0), 10);
    // 10 to 15: each fact once, two routes, two queues.
    let (mut messages, entries) = plain_messages(10, &[100, 100, 7, 0, 3, 3]);
    messages[1].priority = Some(Priority(9));
    messages[2].ttl_ms = Some(30_000);
    messages[3].delay_ms = Some(500);
    messages[4].route = 1;
    messages[5].route = 2;
    let targets = [target(1, 0, 6), target(2, 4, 1)];
    let routes = [("orders", "a"), ("orders", "b"), ("events", "")];
    let publish = PublishFields {
        at: AT,
        producer: Some((77, 1)),
        routes: routes.into_iter(),
        messages: &messages,
        targets: &targets,
    };
    first.record(RecordKind::Unit, |record| _ = record.publish(publish), &entries);
    first.skip(64);
    first.commit();
    first.returned(1, &[returned()]);
    // A dead letter: 14 leaves queue 2, and 16 enters queue 3.
    let (dead, dead_entries) = plain_messages(16, &[3]);
    let targets = [target(3, 0, 1)];
    let move_dead = PublishFields {
        at: AT.plus_millis(1000),
        producer: None,
        routes: [("dead", "b")].into_iter(),
        messages: &dead,
        targets: &targets,
    };
    let run = StoredRun {
        first: Lsn(14),
        count: 1,
        location: Location { segment: SegmentId(1), offset: first.records[0] },
    };
    first.record(
        RecordKind::Unit,
        |record| {
            record.publish(move_dead);
            record.settle(QueueId(2), [run]);
        },
        &dead_entries,
    );
    let mut second = SegmentMaker::new(2, first.as_previous(), 17);
    first.seal();
    second.commit();
    second.settle(1, &[(1, 10, 1), (1, 15, 1)]);
    let run = StoredRun { first: Lsn(13), count: 1, location: Location { segment: SegmentId(1), offset: 0 } };
    second.record(RecordKind::Snapshot, |record| record.settle(QueueId(1), [run]), &[]);
    second.commit();
    second.publish(17, &[1, 2, 3], &[3]);
    // Cut by a crash: 20 was not confirmed.
    second.publish(20, &[50], &[3]);
    second.bytes.truncate(second.bytes.len() - 10);
    [first, second]
}

#[test]
fn version_1_is_read() {
    let disk = FileDisk::read_only(folder()).unwrap();
    let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &|_| true };
    let mut recovered = recover(&disk, &options, &mut |_| {}).unwrap();
    assert_eq!((recovered.next_lsn, recovered.next_segment), (Lsn(20), SegmentId(3)));
    assert_eq!(recovered.cut.as_ref().map(|cut| cut.segment), Some(SegmentId(2)));
    let mut left = |queue: u64| -> Vec<_> {
        let runs = recovered.queues.remove(&QueueId(queue)).unwrap_or_default().into_iter();
        runs.map(|run| (run.first.0, run.count, run.from, run.len, run.priority, run.ttl_ms)).collect()
    };
    assert_eq!(
        left(1),
        [
            (11, 1, 109, 109, Some(Priority(9)), None),
            (12, 1, 218, 16, None, Some(30_000)),
            (14, 1, 243, 12, None, None),
        ]
    );
    assert_eq!(left(2), []);
    assert_eq!(left(3), [(16, 1, 0, 12, None, None), (17, 3, 0, 33, None, None)]);
    let offset = recovered.segments[0].returned[0].1.location.offset;
    assert_eq!(offset, 128);
    let wanted = Returned { location: Location { segment: SegmentId(1), offset }, ..returned() };
    assert_eq!(recovered.segments[0].returned, [(QueueId(1), wanted)]);
    assert_eq!(recovered.segments[0].header.created_at, Timestamp::from_millis(1_767_225_600_000));
    let checked = check(&disk, &mut |_| {}).unwrap();
    assert_eq!((checked.damage.len(), checked.segments, checked.records), (0, 2, 7));
}

#[test]
fn version_1_is_what_is_written() {
    for segment in version_1() {
        let path = folder().join(file_name(segment.header.id));
        assert!(fs::read(&path).unwrap() == segment.bytes, "{}", path.display());
    }
}

#[test]
#[ignore = "writes what the others read; for a new version of the format"]
fn write_the_fixtures() {
    fs::create_dir_all(folder()).unwrap();
    for segment in version_1() {
        fs::write(folder().join(file_name(segment.header.id)), &segment.bytes).unwrap();
    }
}
