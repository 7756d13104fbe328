//! How long a journal takes to recover, and the memory for it: `cargo bench --bench recovery -- [messages] [folder]`.
//!
//! The files are in the cache of the system: what is measured is the program, not the disk. Memory is the most that the process
//! had while it recovered, beyond what it had before.

use std::fs;
use std::time::Instant;

use rialto::model::QueueId;
use rialto::store::recovery::testing::SegmentMaker;
use rialto::store::recovery::{OnDamage, RecoveryOptions, recover};
use rialto::store::{FileDisk, StoredTarget};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEGMENT: u32 = 64 << 20;
const BODY: usize = 128;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let messages = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let root = arguments.get(1).map_or_else(std::env::temp_dir, Into::into);
    println!("{messages} messages of {BODY} bytes");
    for (per_record, settled, text) in [
        (1000, 0, "1000 a record, none settled"),
        (100, 0, "100 a record, none settled"),
        (100, 2, "100 a record, every second one settled by itself"),
        (1, 1, "one a record, all settled"),
        (1, 0, "one a record, none settled"),
    ] {
        let folder = root.join(format!("rialto-recovery-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder can be made");
        let disk = FileDisk::open(&folder).expect("the folder is ours");
        write(&disk, messages, per_record, settled);
        // Forgets the highest memory so far: the segments that were just made.
        fs::write("/proc/self/clear_refs", "5").ok();
        let before = memory_max_mib();
        let started = Instant::now();
        let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists: &|_| true };
        let mut recovered = recover(&disk, &options, &mut |_| {}).expect("it is whole");
        let read = started.elapsed();
        let queue = recovered.queues.remove(&QueueId(1)).unwrap_or_default();
        let (left, runs) = (queue.messages(), queue.runs());
        let handed: u64 = queue.into_iter().map(|run| u64::from(run.count)).sum();
        assert_eq!(handed, left);
        println!(
            "{text}: {left} left in {runs} runs and {} segments; read {read:.2?}, handed over {:.2?}; {} MiB",
            recovered.segments.len(),
            started.elapsed() - read,
            memory_max_mib().saturating_sub(before)
        );
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}

/// Messages in records of so many, and every `settled`th of them settled by a record of its own.
fn write(disk: &FileDisk, messages: u64, per_record: u64, settled: u64) {
    let mut segment = SegmentMaker::new(1, (0, 0), 1);
    let bodies = vec![BODY; per_record as usize];
    let targets = [StoredTarget { queue: QueueId(1), first: 0, count: per_record as u32 }];
    for first in (1..=messages).step_by(per_record as usize) {
        segment.publish_with(first, &bodies, &targets, |_| {});
        let id = segment.header.id.0;
        for lsn in (first..first + per_record).filter(|lsn| settled > 0 && lsn % settled == 0) {
            segment.settle(1, &[(id, lsn, 1)]);
        }
        segment.commit();
        if segment.end() > SEGMENT {
            let mut next = SegmentMaker::new(id + 1, segment.as_previous(), first + per_record);
            std::mem::swap(&mut segment, &mut next);
            next.seal();
            next.write(disk).expect("the disk takes it");
        }
    }
    segment.write(disk).expect("the disk takes it");
}

fn memory_max_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
