//! What is left in one queue, in LSN order: compact while it waits to be handed over.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::vec;

use ahash::AHashMap;

use crate::model::{Location, Lsn, Priority, RestoredRun, Returned, Timestamp};

/// Bytes that a run costs until it is handed over.
pub const RESTORED_RUN_MEMORY: usize = size_of::<CompactRun>();

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
#[derive(Clone, Copy, Debug)]
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

/// The messages that are left in a queue.
#[derive(Debug, Default)]
pub struct RestoredQueue {
    /// Of each segment, in LSN order; none is empty.
    chunks: Vec<Vec<CompactRun>>,
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
        self.chunks.iter().map(Vec::len).sum()
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
        chunk.shrink_to_fit();
        self.chunks.push(chunk);
    }
}

impl IntoIterator for RestoredQueue {
    type Item = RestoredRun;
    type IntoIter = RestoredRuns;

    fn into_iter(self) -> RestoredRuns {
        let RestoredQueue { chunks, returned, facts, .. } = self;
        let chunks = chunks.into_iter().map(|chunk| Chunk(chunk.into_iter())).collect();
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
        let run = front.0.next()?;
        if front.0.as_slice().is_empty() {
            std::collections::binary_heap::PeekMut::pop(front);
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
struct Chunk(vec::IntoIter<CompactRun>);

impl Chunk {
    fn first(&self) -> u64 {
        self.0.as_slice().first().map_or(u64::MAX, |run| run.first)
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.first() == other.first()
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
        other.first().cmp(&self.first())
    }
}
