//! What is left in one queue, in LSN order: compact while it waits to be handed over.

use std::collections::BinaryHeap;
use std::sync::Arc;

use ahash::AHashMap;

use crate::model::{
    Location, Lsn, PackedRows, Priority, RestoredRun, Returned, SegmentId, Timestamp, Unpack,
};

/// Bytes that a run costs at most until it is handed over; among many that are alike it costs about four.
pub const RESTORED_RUN_MEMORY: usize = size_of::<CompactRun>();

/// Numbers that a run is packed as.
const COLUMNS: usize = 9;

/// What messages of a run have in common besides their place; mostly nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    pub(super) priority: Option<Priority>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) delay_ms: Option<u64>,
}

/// The facts that there are, each once.
#[derive(Debug)]
pub(super) struct FactsTable {
    rows: Vec<Facts>,
    numbers: AHashMap<Facts, u32>,
}

impl FactsTable {
    pub(super) fn new() -> Self {
        let none = Facts::default();
        FactsTable { rows: vec![none], numbers: AHashMap::from([(none, 0)]) }
    }

    pub(super) fn number(&mut self, facts: Facts) -> u32 {
        if facts == Facts::default() {
            return 0;
        }
        *self.numbers.entry(facts).or_insert_with(|| {
            self.rows.push(facts);
            // There are fewer than messages in a journal of 2^32 segments would need; never that many in memory.
            (self.rows.len() - 1) as u32
        })
    }

    pub(super) fn into_rows(self) -> Arc<[Facts]> {
        self.rows.into()
    }
}

/// A [`RestoredRun`] in as few bytes as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompactRun {
    pub(super) first: u64,
    pub(super) location: Location,
    pub(super) at: Timestamp,
    pub(super) from: u32,
    pub(super) len: u32,
    pub(super) count: u32,
    pub(super) body_bytes: u32,
    pub(super) facts: u32,
}

impl CompactRun {
    /// As numbers that mostly go on evenly from one run to the next, those first that do so least.
    fn to_row(self) -> [u64; COLUMNS] {
        let CompactRun { first, location, at, from, len, count, body_bytes, facts } = self;
        let numbers =
            [location.offset, len, from, count, len.wrapping_sub(body_bytes), facts, location.segment.0];
        let [offset, len, from, count, around_bodies, facts, segment] = numbers.map(u64::from);
        [at.as_micros(), offset, first, len, from, count, around_bodies, facts, segment]
    }

    fn from_row(row: [u64; COLUMNS]) -> CompactRun {
        let [at, _, first, ..] = row;
        let [_, offset, _, len, from, count, around_bodies, facts, segment] = row.map(|number| number as u32);
        CompactRun {
            first,
            location: Location { segment: SegmentId(segment), offset },
            at: Timestamp::from_micros(at),
            from,
            len,
            count,
            body_bytes: len.wrapping_sub(around_bodies),
            facts,
        }
    }
}

/// The messages that are left in a queue.
#[derive(Debug, Default)]
pub struct RestoredQueue {
    /// Of each segment, in LSN order; none is empty.
    chunks: Vec<PackedRows<COLUMNS>>,
    pub(super) returned: AHashMap<u64, Returned>,
    pub(super) facts: Arc<[Facts]>,
    messages: u64,
    body_bytes: u64,
}

impl RestoredQueue {
    /// How many messages are left.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of their bodies.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// How many runs they are.
    pub fn runs(&self) -> usize {
        self.chunks.iter().map(PackedRows::len).sum()
    }

    pub(super) fn add(&mut self, mut chunk: Vec<CompactRun>) {
        if chunk.is_empty() {
            return;
        }
        self.messages += chunk.iter().map(|run| u64::from(run.count)).sum::<u64>();
        self.body_bytes += chunk.iter().map(|run| u64::from(run.body_bytes)).sum::<u64>();
        if !chunk.is_sorted_by_key(|run| run.first) {
            chunk.sort_unstable_by_key(|run| run.first);
        }
        self.chunks.push(PackedRows::pack(chunk.into_iter().map(CompactRun::to_row)));
    }
}

impl IntoIterator for RestoredQueue {
    type Item = RestoredRun;
    type IntoIter = RestoredRuns;

    fn into_iter(self) -> RestoredRuns {
        let RestoredQueue { chunks, returned, facts, .. } = self;
        let chunks = chunks.into_iter().filter_map(Chunk::new).collect();
        RestoredRuns { chunks, returned, facts }
    }
}

/// Gives the runs of a queue in LSN order, and the memory of each segment's back when they are through.
#[derive(Debug)]
pub struct RestoredRuns {
    chunks: BinaryHeap<Chunk>,
    returned: AHashMap<u64, Returned>,
    facts: Arc<[Facts]>,
}

impl Iterator for RestoredRuns {
    type Item = RestoredRun;

    fn next(&mut self) -> Option<RestoredRun> {
        // Segments hardly overlap, so the chunk in front stays there and the heap has nothing to do.
        let mut front = self.chunks.peek_mut()?;
        let run = front.next;
        match front.rest.next() {
            Some(next) => front.next = CompactRun::from_row(next),
            None => _ = std::collections::binary_heap::PeekMut::pop(front),
        }
        let facts = self.facts[run.facts as usize];
        let returned = if run.count == 1 { self.returned.remove(&run.first) } else { None };
        Some(RestoredRun {
            first: Lsn(run.first),
            count: run.count,
            location: run.location,
            from: run.from,
            len: run.len,
            body_bytes: run.body_bytes.into(),
            at: run.at,
            priority: facts.priority,
            ttl_ms: facts.ttl_ms,
            delay_ms: facts.delay_ms,
            returned: returned.map(|returned| Returned { location: run.location, ..returned }),
        })
    }
}

/// Runs of one segment. The one whose first LSN is the lowest is the greatest, as a heap wants it.
#[derive(Debug)]
struct Chunk {
    next: CompactRun,
    rest: Unpack<COLUMNS, Box<[u8]>>,
}

impl Chunk {
    /// None: it has no runs.
    fn new(rows: PackedRows<COLUMNS>) -> Option<Chunk> {
        let mut rest = rows.into_iter();
        Some(Chunk { next: CompactRun::from_row(rest.next()?), rest })
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.next.first == other.next.first
    }
}

impl Eq for Chunk {}

impl PartialOrd for Chunk {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Chunk {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.next.first.cmp(&self.next.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64) -> CompactRun {
        CompactRun {
            first,
            location: Location { segment: SegmentId(7), offset: 128 + first as u32 % 300_000 * 222 },
            at: Timestamp::from_micros(1_767_225_600_000_000 + first * 5 / 2),
            from: 0,
            len: 139,
            count: 1,
            body_bytes: 128,
            facts: 0,
        }
    }

    #[test]
    fn a_run_comes_back_from_its_numbers_whatever_they_are() {
        let most = CompactRun {
            first: u64::MAX,
            location: Location::from_u64(u64::MAX),
            at: Timestamp::NEVER,
            from: u32::MAX,
            len: u32::MAX,
            count: u32::MAX,
            body_bytes: u32::MAX,
            facts: u32::MAX,
        };
        for run in [run(0), run(77), most, CompactRun { body_bytes: 200, ..run(1) }] {
            assert_eq!(CompactRun::from_row(run.to_row()), run);
        }
    }

    #[test]
    fn messages_with_a_record_each_cost_a_few_bytes_and_come_in_order_of_their_places() {
        let mut queue = RestoredQueue { facts: [Facts::default()].into(), ..RestoredQueue::default() };
        // Segments overlap a little, and records are written in nearly the order of their places.
        for segment in [2u64, 0, 1] {
            queue.add((0..10_000).map(|number| run((segment * 10_000 + number) ^ 1)).collect());
        }
        let bytes: usize = queue.chunks.iter().map(PackedRows::bytes).sum();
        assert!(bytes < 30_000 * 6, "{bytes} bytes");
        assert_eq!((queue.runs(), queue.messages()), (30_000, 30_000));
        let order: Vec<u64> = queue.into_iter().map(|run| run.first.0).collect();
        assert_eq!(order, (0..30_000).collect::<Vec<_>>());
    }
}
