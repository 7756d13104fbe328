//! Which messages of a batch go to which queue.
//!
//! A queue is locked once for a batch, whichever routes lead to it: the ranges that go there are gathered first.
//! Invariant: nothing is allocated for a message or a range once the lists have grown. Not here: what queues do.

use std::sync::Arc;

use ahash::AHashMap;

use super::QueueCell;
use super::publish::Targets;
use crate::model::QueueId;

/// The messages of a batch by their targets, in order.
#[derive(Debug, Default)]
pub(super) struct TargetRuns {
    /// Those of some run, mostly each once.
    targets: Vec<Arc<Targets>>,
    /// Where in `targets` some were seen last, by their address: to share them costs more than to find them here.
    seen: [u32; SEEN],
    runs: Vec<Run>,
    gathered: Gathered,
}

const SEEN: usize = 32;

/// Room that each list keeps from batch to batch. More is needed where many messages go to many queues each: then it
/// costs little next to them.
pub(super) const KEPT: usize = 4096;

/// Neighbouring messages with the same targets.
#[derive(Clone, Copy, Debug)]
struct Run {
    targets: u32,
    count: u32,
}

/// The runs of each queue. Empty between batches, and kept for its memory.
#[derive(Debug, Default)]
struct Gathered {
    chains: Vec<Chain>,
    links: Vec<Link>,
    /// Places in `chains`.
    by_queue: AHashMap<QueueId, u32>,
    /// Places in `chains`, of each queue of each targets, and where those of each targets begin.
    of_targets: Vec<u32>,
    starts: Vec<u32>,
}

/// The ranges that go to a queue: links from the first to the last. The queue is the one there in those targets.
#[derive(Clone, Copy, Debug)]
struct Chain {
    targets: u32,
    queue: u32,
    first: u32,
    last: u32,
}

/// A range of the batch, and where the next one is.
#[derive(Clone, Copy, Debug)]
struct Link {
    from: u32,
    to: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl TargetRuns {
    /// So many more messages go to these queues.
    pub(super) fn add(&mut self, targets: &Arc<Targets>, count: u32) {
        if let Some(last) = self.runs.last_mut()
            && Arc::ptr_eq(&self.targets[last.targets as usize], targets)
        {
            last.count += count;
            return;
        }
        let seen = &mut self.seen[place_in_seen(targets)];
        if !self.targets.get(*seen as usize).is_some_and(|known| Arc::ptr_eq(known, targets)) {
            *seen = self.targets.len() as u32;
            self.targets.push(targets.clone());
        }
        self.runs.push(Run { targets: *seen, count });
    }

    /// So many more messages go where the last one goes. Says to how many queues.
    pub(super) fn add_alike(&mut self, count: u32) -> usize {
        let Some(last) = self.runs.last_mut() else { return 0 };
        last.count += count;
        self.targets[last.targets as usize].queues.len()
    }

    /// How many neighbouring messages go where, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Targets, u32)> {
        self.runs.iter().map(|run| (&*self.targets[run.targets as usize], run.count))
    }

    /// Of all targets.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Targets> {
        self.targets.iter().map(|targets| &**targets)
    }

    pub(super) fn clear(&mut self) {
        self.targets.clear();
        self.runs.clear();
        self.targets.shrink_to(KEPT);
        self.runs.shrink_to(KEPT);
        self.gathered.clear();
    }

    /// Tells each queue what goes there: the places in the batch, which grow.
    pub(super) fn hand_out(&mut self, mut publish: impl FnMut(&Arc<QueueCell>, Places<'_>)) {
        let TargetRuns { targets, runs, gathered, .. } = self;
        gathered.gather(targets, runs);
        for chain in &gathered.chains {
            let places = Places { links: &gathered.links, next: chain.first, at: 0, end: 0 };
            publish(&targets[chain.targets as usize].queues[chain.queue as usize], places);
        }
    }
}

fn place_in_seen(targets: &Arc<Targets>) -> usize {
    // Knuth's multiplicative hash: addresses of neighbours differ in few bits.
    let hash = (Arc::as_ptr(targets) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> (u64::BITS - SEEN.ilog2())) as usize
}

impl Gathered {
    fn clear(&mut self) {
        self.chains.clear();
        self.links.clear();
        self.by_queue.clear();
        self.of_targets.clear();
        self.starts.clear();
        self.chains.shrink_to(KEPT);
        self.links.shrink_to(KEPT);
        self.by_queue.shrink_to(KEPT);
        self.of_targets.shrink_to(KEPT);
        self.starts.shrink_to(KEPT);
    }

    /// To be called once; [`Gathered::clear`] must follow.
    fn gather(&mut self, all: &[Arc<Targets>], runs: &[Run]) {
        for (number, targets) in (0..).zip(all) {
            self.starts.push(self.of_targets.len() as u32);
            for (queue, cell) in (0..).zip(&targets.queues) {
                let next = self.chains.len() as u32;
                // Of one targets, each queue is another.
                let chain =
                    if all.len() == 1 { next } else { *self.by_queue.entry(cell.id()).or_insert(next) };
                if chain == next {
                    self.chains.push(Chain { targets: number, queue, first: NONE, last: NONE });
                }
                self.of_targets.push(chain);
            }
        }
        let mut from = 0;
        for run in runs {
            let (start, to) = (self.starts[run.targets as usize] as usize, from + run.count);
            let queues = all[run.targets as usize].queues.len();
            for &chain in &self.of_targets[start..start + queues] {
                append(&mut self.chains[chain as usize], &mut self.links, from, to);
            }
            from = to;
        }
    }
}

fn append(chain: &mut Chain, links: &mut Vec<Link>, from: u32, to: u32) {
    let next = links.len() as u32;
    match links.get_mut(chain.last as usize) {
        Some(last) if last.to == from => {
            last.to = to;
            return;
        }
        Some(last) => last.next = next,
        None => chain.first = next,
    }
    chain.last = next;
    links.push(Link { from, to, next: NONE });
}

/// Where in a batch the messages of a queue are.
pub(super) struct Places<'a> {
    links: &'a [Link],
    next: u32,
    at: u32,
    end: u32,
}

impl Iterator for Places<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.at == self.end {
            let link = self.links.get(self.next as usize)?;
            (self.at, self.end, self.next) = (link.from, link.to, link.next);
        }
        let at = self.at;
        self.at += 1;
        Some(at)
    }
}
