//! Dead segments, survivors, overflow, the end.

use super::*;
use crate::model::{RestoredRun, Returned};

/// Publishes and settles this many segments of messages to a queue, with everything a journal's threads would do.
fn traffic(rig: &Rig, queue: u64, segments: u32, mut each: impl FnMut()) {
    let body = vec![8; SEGMENT as usize / 8];
    for _ in 0..segments * 8 {
        let published = rig.publish(&[queue], &[&body]);
        rig.pump();
        rig.settle(queue, &[published.all()]);
        rig.pump();
        while rig.journal.maintain() != Maintained::Idle {
            rig.pump();
        }
        each();
    }
}

/// What is left in the queues after a start on the same disk.
fn restored(rig: &Rig) -> Vec<(QueueId, RestoredRun)> {
    let exists = |_| true;
    let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &exists };
    let found = recover(&rig.disk.killed(), &options, &mut |_| {}).unwrap();
    let all = found.queues.into_iter();
    all.flat_map(|(queue, runs)| runs.into_iter().map(move |run| (queue, run))).collect()
}

#[test]
fn dead_segments_are_removed() {
    let rig = Rig::new();
    traffic(&rig, 1, 6, || {});
    let stats = rig.journal.stats();
    assert!(stats.removed_segments >= 5, "{stats:?}");
    assert!(rig.files().len() <= 2, "{:?}", rig.files());
    assert!(restored(&rig).is_empty());
}

#[test]
fn one_old_message_does_not_pin_the_disk() {
    let rig = Rig::new();
    let filler = vec![1; 300];
    let old = rig.publish(&[2], &[b"old"]);
    let others: Vec<_> = (0..40).map(|_| rig.publish(&[1], &[&filler])).collect();
    rig.pump();
    others.iter().for_each(|published| _ = rig.settle(1, &[published.all()]));
    let mut most = 0;
    traffic(&rig, 1, 30, || {
        let bytes: u64 = rig.disk.list().unwrap().iter().map(|(_, len)| len).sum();
        most = most.max(bytes);
    });
    assert!(most < 3 * u64::from(SEGMENT) + 200, "{most} bytes");
    let stats = rig.journal.stats();
    assert!(stats.copied_bytes > 0 && stats.copied_bytes < 1000, "{stats:?}");
    assert_eq!((stats.live_pairs, stats.forwarded_records > 0), (1, true));
    // It moved, and is found by its first place.
    assert!(!rig.files().contains(&"journal-0000000001.seg".to_owned()));
    assert_eq!(rig.bodies_of(&old), [b"old".to_vec()]);
    let left = restored(&rig);
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0, left[0].1.first), (QueueId(2), old.first));
    // And is settled by it.
    rig.settle(2, &[old.all()]);
    rig.pump();
    let stats = rig.journal.stats();
    assert_eq!((stats.live_pairs, stats.forwarded_records), (0, 0));
    assert!(restored(&rig).is_empty());
}

#[test]
fn survivors_are_copied_when_too_much_is_garbage() {
    let rig = Rig::new();
    let body = vec![3; 900];
    let mut kept = Vec::new();
    for number in 0..150 {
        let published = rig.publish(&[1], &[&body, &body]);
        // Some are dead by two thirds: none is mostly dead, the whole is garbage by more than half.
        match number % 3 {
            0 => kept.push(published),
            _ => _ = rig.settle(1, &[published.all()]),
        }
        rig.pump();
    }
    let before = rig.journal.stats();
    for _ in 0..200 {
        rig.pump();
        if rig.journal.maintain() == Maintained::Idle {
            break;
        }
    }
    let after = rig.journal.stats();
    let garbage = after.bytes - after.live_bytes;
    assert!(
        after.reclaimable_bytes < before.reclaimable_bytes || before.elided_records > 0,
        "{before:?} {after:?}"
    );
    assert!(garbage <= after.bytes / 2 || garbage <= 2 * u64::from(SEGMENT), "{after:?}");
    for published in &kept {
        assert_eq!(rig.bodies_of(published), [body.clone(), body.clone()]);
    }
}

#[test]
fn a_message_that_came_back_keeps_its_count_when_it_moves() {
    let rig = Rig::new();
    let old = rig.publish(&[2], &[b"old"]);
    rig.pump();
    let (lsn, location) = (old.first, old.location());
    let others: Vec<_> = (0..40).map(|_| rig.publish(&[1], &[&[1; 300]])).collect();
    rig.pump();
    others.iter().for_each(|published| _ = rig.settle(1, &[published.all()]));
    let returned = [Returned { lsn, location, delivery_count: 2, returns: 3, until: None }];
    rig.journal.append(&[Part::Return { queue: QueueId(2), returned: &returned }]).unwrap();
    traffic(&rig, 1, 6, || {});
    assert_ne!(restored(&rig)[0].1.location, location, "it moved");
    let found = restored(&rig)[0].1.returned.unwrap();
    assert_eq!((found.delivery_count, found.returns), (2, 3));
}

#[test]
fn what_was_settled_stays_so_when_the_copies_could_not_be_finished() {
    let rig = Rig::new();
    let (settled, stays) = (rig.publish(&[2], &[b"settled"]), rig.publish(&[2], &[b"stays"]));
    let others: Vec<_> = (0..40).map(|_| rig.publish(&[1], &[&[1; 300]])).collect();
    rig.pump();
    let file = rig.disk.open("journal-0000000001.seg").unwrap();
    let (position, len) = (others[0].location().offset, stays.messages[0].body_len() as u32);
    // The last byte of the record before the others.
    assert!(position > len);
    file.write_at(&[std::io::IoSlice::new(b"!")], u64::from(position) - 1).unwrap();
    others.iter().for_each(|published| _ = rig.settle(1, &[published.all()]));
    traffic(&rig, 1, 6, || {});
    assert_eq!(rig.journal.stats().live_pairs, 2);

    let rig = Rig::on(rig.disk.killed(), JournalOptions::default());
    let found = restored(&rig);
    let run = found.iter().find(|(_, run)| run.first == settled.first).expect("it lives").1;
    assert_ne!(run.location, settled.location());
    rig.settle(2, &[StoredRun { first: run.first, count: 1, location: run.location }]);
    rig.pump();
    traffic(&rig, 1, 12, || {});
    let left: Vec<_> = restored(&rig).into_iter().map(|(queue, run)| (queue, run.first)).collect();
    assert_eq!(left, [(QueueId(2), stays.first)]);
}

#[test]
fn a_queue_that_is_gone_needs_nothing() {
    let rig = Rig::new();
    let body = vec![1; 4000];
    let published: Vec<_> = (0..20).map(|_| rig.publish(&[3], &[&body])).collect();
    rig.journal.rotate();
    rig.publish(&[1], &[b"x"]);
    rig.pump();
    let runs: Vec<_> = published.iter().map(Published::all).collect();
    rig.journal.remove_queue(QueueId(3), &runs);
    rig.pump();
    rig.journal.maintain();
    assert_eq!(rig.journal.stats().live_pairs, 1);
    assert_eq!(rig.files().len(), 1, "{:?}", rig.files());
}

#[test]
fn nothing_is_removed_while_somebody_holds_it() {
    let rig = Rig::new();
    let hold = rig.journal.hold_deletions();
    traffic(&rig, 1, 4, || {});
    let files = rig.files();
    assert!(files.len() >= 4, "{files:?}");
    drop(hold);
    rig.journal.maintain();
    assert!(rig.files().len() < files.len());
}

#[test]
fn little_free_space_blocks_publishers_until_there_is_more() {
    let rig = Rig::with(JournalOptions { free_space_min: 10 << 20, ..JournalOptions::default() });
    rig.disk.set_capacity(Some(100 << 20));
    rig.journal.maintain();
    assert_eq!(rig.journal.is_full(), None);
    rig.disk.set_capacity(Some(5 << 20));
    rig.journal.maintain();
    let reason = rig.journal.is_full().unwrap();
    assert!(reason.contains("MiB left"), "{reason}");
    let published = rig.publish(&[1], &[b"what is sent all the same is taken"]);
    rig.pump();
    assert!(rig.journal.committed() >= published.position);
    rig.disk.set_capacity(Some(100 << 20));
    rig.journal.maintain();
    assert_eq!(rig.journal.is_full(), None);
}

#[test]
fn a_full_disk_is_made_roomy_by_what_is_settled() {
    let rig = Rig::with(JournalOptions { free_space_min: 0, ..JournalOptions::default() });
    let body = vec![1; 12 << 10];
    let old: Vec<_> = (0..8).map(|_| rig.publish(&[1], &[&body])).collect();
    rig.pump();
    let used: u64 = rig.disk.list().unwrap().iter().map(|(_, len)| len).sum();
    rig.disk.set_capacity(Some(used + 100));
    let new: Vec<_> = (0..3).map(|_| rig.publish(&[1], &[&body])).collect();
    assert_eq!(rig.journal.pump(), Pumped::Full);
    // Their settlement cannot be written either, but nobody needs them.
    rig.settle(1, &old.iter().map(Published::all).collect::<Vec<_>>());
    assert_eq!(rig.journal.pump(), Pumped::Full);
    rig.journal.maintain();
    rig.disk.set_capacity(Some(used + (1 << 20)));
    rig.pump();
    assert_eq!(rig.journal.is_full(), None);
    assert!(rig.journal.committed() >= new[2].position);
    assert!(!rig.files().contains(&"journal-0000000001.seg".to_owned()));
}

#[test]
fn a_full_disk_keeps_what_has_a_copy_that_is_not_written_yet() {
    let rig = Rig::with(JournalOptions { free_space_min: 0, ..JournalOptions::default() });
    let body = vec![1; 12 << 10];
    let old = rig.publish(&[1], &[&body]);
    (0..3).for_each(|_| drop(rig.publish(&[1], &[&body])));
    rig.pump();
    let used: u64 = rig.disk.list().unwrap().iter().map(|(_, len)| len).sum();
    rig.disk.set_capacity(Some(used + 100));
    let copy = rig.publish(&[2], &[&body]);
    rig.journal.keep_until(old.location(), copy.position);
    rig.settle(1, &[old.all()]);
    assert_eq!(rig.journal.pump(), Pumped::Full);
    rig.journal.maintain();
    let first = "journal-0000000001.seg".to_owned();
    assert!(rig.files().contains(&first), "{:?}", rig.files());
    rig.disk.set_capacity(None);
    rig.pump();
    while rig.journal.maintain() != Maintained::Idle {
        rig.pump();
    }
    assert!(!rig.files().contains(&first));
    assert_eq!(rig.bodies_of(&copy), [body]);
}

#[test]
fn after_a_close_nothing_has_to_be_mended() {
    let rig = Rig::with(JournalOptions { sync: SyncMode::Never, ..JournalOptions::default() });
    let published = rig.publish(&[1], &[b"last"]);
    rig.journal.close().unwrap();
    assert!(matches!(rig.try_publish(&[1], &[b"late"], &[]), Err(LogError::Stopped(_))));
    let disk = rig.disk.only_synced();
    let before = disk.list().unwrap();
    let again = Rig::on(disk, JournalOptions::default());
    assert_eq!(again.disk.list().unwrap(), before, "nothing was mended, and nothing begun yet");
    assert_eq!(again.bodies_of(&published), [b"last".to_vec()]);
    assert!(again.journal.reserve(1) > published.first);
    let next = again.publish(&[1], &[b"next"]);
    again.pump();
    assert_eq!(next.location().segment, SegmentId(2), "never appends to what an earlier process wrote");
}

#[test]
fn what_was_recovered_is_settled_and_removed_as_what_was_not() {
    let rig = Rig::new();
    let body = vec![1; 4000];
    let published: Vec<_> = (0..12).map(|_| rig.publish(&[1, 2], &[&body])).collect();
    rig.pump();
    let again = Rig::on(rig.disk.killed(), JournalOptions::default());
    assert_eq!(again.journal.stats().live_pairs, 24);
    for published in &published {
        again.settle(1, &[published.all()]);
        again.settle(2, &[published.all()]);
    }
    again.pump();
    while again.journal.maintain() != Maintained::Idle {
        again.pump();
    }
    assert_eq!(again.files().len(), 1, "{:?}", again.files());
}

#[test]
fn spilled_messages_are_read_back_until_they_are_released() {
    let rig = Rig::new();
    let big = vec![4; 3 * SEGMENT as usize / 4];
    let messages = batch(&[b"one", &big, b"three"]);
    let first = rig.journal.spill(&messages).unwrap();
    let second = rig.journal.spill(&messages).unwrap();
    assert_ne!(first.segment, second.segment, "no room in the first file");
    assert!(first.segment.0 >> 31 == 1, "not one of the journal's");
    let len: usize = messages.iter().map(Message::len).sum();
    for location in [first, second] {
        assert_eq!(rig.bodies(location, 0, len as u32), [b"one".to_vec(), big.clone(), b"three".to_vec()]);
        let from = messages[0].len() + messages[1].len();
        assert_eq!(rig.bodies(location, from as u32, messages[2].len() as u32), [b"three".to_vec()]);
    }
    assert_eq!(rig.journal.stats().overflow_segments, 2);
    let run = |location, count| StoredRun { first: Lsn(1), count, location };
    rig.journal.release(&[run(first, 2)]);
    assert_eq!(rig.files().len(), 2);
    rig.journal.release(&[run(first, 1), run(second, 3)]);
    rig.journal.maintain();
    assert!(rig.files().is_empty(), "{:?}", rig.files());
}

#[test]
fn a_record_with_more_routes_than_it_can_number_is_not_written() {
    let rig = Rig::new();
    let [one, other] = ["a", "b"].map(|key| {
        let routing_key = RoutingKey::new(key).unwrap();
        let route = MessageRoute { exchange: ExchangeName::new("orders").unwrap(), routing_key };
        Message::new(route, &[], b"", &MemoryGauge::new())
    });
    let messages: Vec<_> = (0..40_000).flat_map(|_| [one.clone(), other.clone()]).collect();
    assert!(rig.journal.spill(&messages).is_err());
    assert!(rig.journal.spill(&messages[..65_536]).is_ok());
}

#[test]
fn what_was_spilled_is_gone_with_the_process() {
    let rig = Rig::new();
    rig.journal.spill(&batch(&[b"transient"])).unwrap();
    let again = Rig::on(rig.disk.killed(), JournalOptions::default());
    assert!(again.files().is_empty(), "{:?}", again.files());
}

#[test]
fn threads_commit_what_many_append() {
    let rig = Rig::new();
    let (tell, told) = std::sync::mpsc::channel();
    rig.journal.on_progress(Box::new(move || _ = tell.send(())));
    let threads = JournalThreads::spawn(rig.journal.clone()).unwrap();
    let last = std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..4)
            .map(|queue| {
                let rig = &rig;
                scope.spawn(move || {
                    (0..50).map(|_| rig.publish(&[queue + 1], &[b"x"]).position).max().unwrap()
                })
            })
            .collect();
        appenders.into_iter().map(|appender| appender.join().unwrap()).max().unwrap()
    });
    while rig.journal.committed() < last {
        told.recv_timeout(Duration::from_secs(60)).expect("progress is told until everything is committed");
    }
    threads.close().unwrap();
    assert_eq!(restored(&rig).iter().map(|(_, run)| run.count).sum::<u32>(), 200);
}
