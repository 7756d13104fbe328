//! Recovery from segments that are made byte by byte. Here: what asks a disk what is left.

mod damage;
mod mending;
mod runs;

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
