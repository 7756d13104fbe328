//! Disks that are full, or fail.

use super::*;

#[test]
fn a_full_disk_keeps_what_waits_and_goes_on_when_there_is_room() {
    let rig = Rig::new();
    rig.publish(&[1], &[b"before"]);
    rig.pump();
    let committed = rig.journal.committed();
    rig.disk.set_capacity(Some(20 << 10));
    let bodies = vec![3; 12 << 10];
    let waiting: Vec<_> = (0..4).map(|_| rig.publish(&[1], &[&bodies])).collect();
    assert_eq!(rig.journal.pump(), Pumped::Full);
    assert_eq!(rig.journal.pump(), Pumped::Full);
    let reason = rig.journal.is_full().unwrap();
    assert!(reason.contains("full"), "{reason}");
    assert!(rig.journal.committed() < waiting[3].position, "not confirmed");
    assert!(rig.journal.committed() >= committed);
    assert_eq!(rig.bodies_of(&waiting[3]), std::slice::from_ref(&bodies), "still there for consumers");
    let settled = rig.settle(1, &[waiting[3].all()]);
    rig.disk.set_capacity(None);
    rig.pump();
    assert_eq!(rig.journal.is_full(), None);
    assert!(rig.journal.committed() >= settled);
    for published in &waiting {
        assert_eq!(rig.bodies_of(published), std::slice::from_ref(&bodies));
    }
}

#[test]
fn a_failed_sync_stops_the_journal_for_good() {
    let rig = Rig::new();
    rig.publish(&[1], &[b"before"]);
    rig.pump();
    let committed = rig.journal.committed();
    rig.disk.fail_syncs(1);
    let lost = rig.publish(&[1], &[b"lost"]);
    assert_eq!(rig.journal.pump(), Pumped::Stopped);
    assert_eq!(rig.journal.pump(), Pumped::Stopped, "not tried again");
    assert_eq!(*rig.journal.role().borrow(), Role::Stopped);
    assert_eq!(rig.journal.committed(), committed);
    assert!(rig.journal.committed() < lost.position);
    let Err(LogError::Stopped(text)) = rig.try_publish(&[1], &[b"more"], &[]) else {
        panic!("nothing more is accepted");
    };
    assert!(text.contains("journal-0000000001.seg"), "{text}");
    let refused = rig.journal.append(&[Part::Settle { queue: QueueId(1), runs: &[lost.all()] }]);
    assert!(matches!(refused, Err(LogError::Stopped(_))));
}

#[test]
fn a_failed_write_stops_the_journal_for_good() {
    let rig = Rig::new();
    rig.disk.fail_writes(true);
    rig.publish(&[1], &[b"lost"]);
    assert_eq!(rig.journal.pump(), Pumped::Stopped);
    rig.disk.fail_writes(false);
    assert_eq!(rig.journal.pump(), Pumped::Stopped);
    assert!(rig.journal.stopped().is_some());
}

#[test]
fn a_damaged_message_is_not_given_to_anybody() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[&[9; 5000]]);
    rig.pump();
    let file = rig.disk.open("journal-0000000001.seg").unwrap();
    let offset = u64::from(published.location().offset) + 3000;
    file.write_at(&[std::io::IoSlice::new(b"!")], offset).unwrap();
    let len = published.messages[0].len() as u32;
    let error = rig.journal.read(published.location(), 0, len).unwrap_err();
    let LogError::Damaged { location, what } = error else { panic!("{error}") };
    assert_eq!(location, published.location());
    assert!(what.contains("checksum"), "{what}");
}

#[test]
fn a_disk_that_cannot_be_read_says_nothing_of_what_it_holds() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[b"there"]);
    rig.pump();
    assert_eq!(rig.bodies_of(&published), [b"there"], "its file is open");
    let len = published.messages[0].len() as u32;
    rig.disk.fail_reads(true);
    let error = rig.journal.read(published.location(), 0, len).unwrap_err();
    assert!(matches!(error, LogError::Disk(_)), "{error}");
    rig.disk.fail_reads(false);
    assert_eq!(rig.bodies_of(&published), [b"there"]);
}

#[test]
fn nothing_is_stored_where_nothing_was_appended() {
    let rig = Rig::new();
    let published = rig.publish(&[1], &[b"x"]);
    rig.pump();
    let nowhere = Location { segment: SegmentId(9), offset: 128 };
    assert_eq!(rig.journal.read(nowhere, 0, 5).unwrap_err(), LogError::NotStored(nowhere));
    let location = published.location();
    assert_eq!(rig.journal.read(location, 0, 500).unwrap_err(), LogError::NotStored(location));
}

#[test]
fn when_the_writers_thread_fails_nobody_waits_for_it() {
    let rig = Rig::new();
    let (tell, told) = std::sync::mpsc::channel();
    let has_failed = AtomicBool::new(false);
    rig.journal.on_progress(Box::new(move || {
        assert!(has_failed.swap(true, Ordering::Relaxed), "on purpose");
        let _ = tell.send(());
    }));
    let threads = JournalThreads::spawn(rig.journal.clone()).unwrap();
    rig.publish(&[1], &[b"x"]);
    told.recv_timeout(Duration::from_secs(60)).expect("that it has stopped is told");
    assert!(rig.journal.stopped().is_some() && *rig.journal.role().borrow() == Role::Stopped);
    assert!(threads.close().is_err());
}
