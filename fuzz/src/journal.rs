//! Targets for recovery: any bytes as segments, and a real log with damage in it.

use std::collections::BTreeSet;

use rialto::model::{QueueId, RestoredRun, Returned, SegmentId};
use rialto::store::check::{DataStats, check};
use rialto::store::record::{HEADER_LEN, MetaReader, MetaScratch, Nonce, RecordHeader, seal};
use rialto::store::recovery::testing::{START, SegmentMaker, write_file};
use rialto::store::recovery::{OnDamage, Recovered, RecoveryError, RecoveryOptions, recover};
use rialto::store::segment::{SegmentHeader, file_name};
use rialto::store::{Disk, SimDisk};

/// Most files of one input.
const FILES_MAX: usize = 8;

/// The first byte says what follows: 0: any bytes as files, each with its length in two bytes in front of it; 1: metadata of a
/// record, sealed so that they count; others: bytes behind a whole header.
pub fn journal_recovery(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let disk = SimDisk::without_history();
    match kind % 3 {
        0 => files(data, &disk),
        1 => metadata(data, &disk),
        _ => {
            let mut segment = SegmentMaker::new(1, (0, 0), 1);
            segment.bytes.extend_from_slice(data);
            put(&disk, 1, &segment.bytes);
        }
    }
    settle_down(&disk);
}

fn files(mut data: &[u8], disk: &SimDisk) {
    for id in 1..=FILES_MAX as u32 {
        let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        put(disk, id, bytes);
        data = rest;
    }
}

fn metadata(data: &[u8], disk: &SimDisk) {
    let Some((entries_len, meta)) = data.split_first_chunk::<2>() else { return };
    let entries_len = u32::from(u16::from_be_bytes(*entries_len));
    // Reading alone must be total, whatever the header says.
    for entries_len in [entries_len, 0, u32::MAX] {
        let mut reader = MetaReader::new(meta, entries_len);
        let mut scratch = MetaScratch::default();
        while let Ok(Some(_)) = reader.next(&mut scratch) {}
    }
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    let nonce: Nonce = segment.header.nonce;
    let mut head = vec![0; HEADER_LEN];
    head[4..6].copy_from_slice(&[1, 1]);
    head[8..12].copy_from_slice(&(meta.len() as u32).to_be_bytes());
    head[12..16].copy_from_slice(&entries_len.to_be_bytes());
    head.extend_from_slice(meta);
    let entries = vec![0; entries_len as usize];
    seal(&mut head, nonce, START, 0, [&entries[..]]);
    assert!(RecordHeader::read(&head, nonce, START).is_ok());
    segment.bytes.extend_from_slice(&head);
    segment.bytes.extend_from_slice(&entries);
    put(disk, 1, &segment.bytes);
}

fn put(disk: &SimDisk, id: u32, bytes: &[u8]) {
    write_file(disk, &file_name(SegmentId(id)), bytes).expect("a simulated disk takes it");
}

fn recovered(disk: &SimDisk, on_damage: OnDamage) -> Result<Recovered, RecoveryError> {
    recover(disk, &RecoveryOptions { on_damage, exists: &|queue| queue.0 % 8 != 7 }, &mut |_| {})
}

/// What is left, and whether it is as a queue may expect it.
fn left(recovered: &mut Recovered) -> Vec<(QueueId, RestoredRun)> {
    let mut found = Vec::new();
    for (id, queue) in recovered.queues.drain() {
        let mut end = 0;
        let messages = queue.messages();
        let mut count = 0;
        for run in queue {
            assert!(run.first.0 >= end && run.count > 0, "{run:?} behind {end}");
            end = run.first.0 + u64::from(run.count);
            assert!(end <= recovered.next_lsn.0, "{run:?}: {}", recovered.next_lsn);
            assert!(run.body_bytes <= run.len.into(), "{run:?}");
            let is_alone = |returned: Returned| run.count == 1 && returned.lsn == run.first;
            assert!(run.returned.is_none_or(is_alone), "{run:?}");
            count += u64::from(run.count);
            found.push((id, run));
        }
        assert_eq!(count, messages);
    }
    found.sort_by_key(|(id, run)| (*id, run.first));
    found
}

/// Whatever is on the disk: the same comes out twice, mending makes it whole, and nothing changes by that.
fn settle_down(disk: &SimDisk) {
    let checked = check(disk, &mut |_| {});
    let refused = recovered(disk, OnDamage::Refuse);
    let mut before = match recovered(disk, OnDamage::Skip) {
        Ok(recovered) => recovered,
        Err(RecoveryError::Newer { .. }) => {
            assert!(refused.is_err());
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let checked = checked.expect("what can be recovered can be checked");
    let is_lost = before.damage.iter().any(|damage| damage.is_loss());
    assert_eq!(refused.is_err(), is_lost);
    assert!(!is_lost || checked.damage.iter().any(|damage| damage.is_loss()), "{:?}", before.damage);
    let stats = DataStats::of(&before);
    let wanted = left(&mut before);
    assert_eq!(stats.queues.iter().map(|queue| queue.runs).sum::<u64>(), wanted.len() as u64);
    before.mend(disk).expect("a simulated disk can be written");
    let mut after = recovered(disk, OnDamage::Skip).expect("a mended folder can be recovered");
    assert!(after.cut.is_none(), "{:?}", after.cut);
    assert_eq!(left(&mut after), wanted);
    after.mend(disk).expect("a simulated disk can be written");
}

/// A log of three segments with a bit of everything: what the other target damages, and what the fixtures hold.
pub const DAMAGE_FILES: fn() -> Vec<SegmentMaker> = || {
    let mut first = SegmentMaker::new(1, (0, 0), 1);
    first.publish(1, &[10, 20, 30], &[1, 2]);
    first.commit();
    first.settle(1, &[(1, 2, 1)]);
    first.skip(100);
    first.publish(4, &[5], &[2]);
    first.commit();
    first.publish(5, &[0; 30], &[1]);
    let mut second = SegmentMaker::new(2, first.as_previous(), 35);
    first.seal();
    second.commit();
    second.publish(35, &[1; 40], &[1, 7]);
    second.settle(2, &[(1, 1, 1)]);
    second.publish(75, &[3, 3], &[1, 2]);
    second.commit();
    second.settle(1, &[(1, 5, 10), (2, 40, 2)]);
    let mut third = SegmentMaker::new(3, second.as_previous(), 77);
    third.commit();
    third.publish(77, &[60], &[3]);
    third.commit();
    third.publish(78, &[60, 1], &[3]);
    third.settle(3, &[(3, 78, 1)]);
    vec![first, second, third]
};

/// Operations on the bytes of that log: each is a kind, a file, a place in two bytes and a value. The messages that are left are
/// among those that were published, and those that nothing touched are left.
pub fn journal_damage(data: &[u8]) {
    let segments = (DAMAGE_FILES)();
    let mut files: Vec<Vec<u8>> = segments.iter().map(|segment| segment.bytes.clone()).collect();
    for operation in data.chunks_exact(5).take(32) {
        let [kind, file, high, low, value] = operation else { unreachable!("chunks of five") };
        let bytes = &mut files[usize::from(*file) % segments.len()];
        if bytes.is_empty() {
            continue;
        }
        let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        let len = usize::from(*value).min(bytes.len() - place);
        match kind % 6 {
            0 => bytes[place] ^= value,
            1 => bytes.truncate(place),
            2 => bytes[place..place + len].fill(0),
            3 => bytes.extend_from_within(place..place + len),
            4 => drop(bytes.drain(place..place + len)),
            _ => bytes.extend(std::iter::repeat_n(0, usize::from(*value) * 16)),
        }
    }
    let disk = SimDisk::without_history();
    for (id, bytes) in (1..).zip(&files) {
        put(&disk, id, bytes);
    }
    if let Ok(mut recovered) = recovered(&disk, OnDamage::Skip) {
        let published: BTreeSet<u64> = (1..=79).collect();
        for (_, run) in left(&mut recovered) {
            let lsns = run.first.0..run.first.0 + u64::from(run.count);
            assert!(lsns.into_iter().all(|lsn| published.contains(&lsn)), "{run:?}");
        }
        assert!(files.iter().all(|bytes| SegmentHeader::read(bytes).is_err()) || recovered.next_lsn.0 <= 80);
    }
    settle_down(&disk);
    assert!(disk.list().is_ok());
}
