//! What should be in the queues: a plain map, and who made it so.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Pair;
use crate::model::{Location, Lsn, Priority, QueueId, Returned, StoredRun};
use crate::store::Position;

/// Something appended; its number among all of its history.
pub(super) type Event = usize;

/// A message as it was published, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) body: Rc<[u8]>,
    pub(super) key: Rc<str>,
    pub(super) priority: Option<Priority>,
    pub(super) location: Location,
    pub(super) from: u32,
    pub(super) len: u32,
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct PairState {
    pub(super) message: Published,
    /// What published it; none: it was there when the history began.
    pub(super) published_by: Option<Event>,
    pub(super) settled_by: Option<Event>,
    /// How often it had come back when the history began, and what brought it back since.
    pub(super) returns: u32,
    pub(super) returned_by: Vec<(Event, u32)>,
}

impl PairState {
    pub(super) fn returns_now(&self) -> u32 {
        self.returned_by.last().map_or(self.returns, |(_, returns)| *returns)
    }
}

/// The queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) pairs: BTreeMap<Pair, PairState>,
    /// Positions of what was appended.
    pub(super) events: Vec<Position>,
    /// Queues, and after how many operations of the disk they were removed.
    pub(super) queues: BTreeMap<QueueId, Option<usize>>,
    pub(super) next_queue: u64,
}

impl Model {
    pub(super) fn new() -> Self {
        let queues = (1..=4).map(|queue| (QueueId(queue), None)).collect();
        Model { queues, next_queue: 5, ..Model::default() }
    }

    /// Queues that are there now.
    pub(super) fn open_queues(&self) -> Vec<QueueId> {
        self.queues.iter().filter(|(_, removed)| removed.is_none()).map(|(queue, _)| *queue).collect()
    }

    /// Messages that are in a queue now, in order.
    pub(super) fn alive(&self, queue: QueueId) -> impl DoubleEndedIterator<Item = (Lsn, &PairState)> {
        let all = self.pairs.range((queue, Lsn(0))..=(queue, Lsn(u64::MAX)));
        all.filter(|(_, pair)| pair.settled_by.is_none()).map(|((_, lsn), pair)| (*lsn, pair))
    }

    /// How many are alive in queues that are there.
    pub(super) fn alive_count(&self) -> u64 {
        self.open_queues().into_iter().map(|queue| self.alive(queue).count() as u64).sum()
    }

    /// Settles messages of a queue, by an event, and gives their runs.
    pub(super) fn settle(&mut self, queue: QueueId, lsns: &[Lsn], event: Event) -> Vec<StoredRun> {
        let mut runs = Vec::new();
        for lsn in lsns {
            let pair = self.pairs.get_mut(&(queue, *lsn)).expect("it was chosen among those that are alive");
            pair.settled_by = Some(event);
            StoredRun::push(&mut runs, StoredRun { first: *lsn, count: 1, location: pair.message.location });
        }
        runs
    }

    /// Brings messages of a queue back once more, by an event.
    pub(super) fn give_back(&mut self, queue: QueueId, lsns: &[Lsn], event: Event) -> Vec<Returned> {
        let mut returned = Vec::new();
        for lsn in lsns {
            let pair = self.pairs.get_mut(&(queue, *lsn)).expect("it was chosen among those that are alive");
            let returns = pair.returns_now() + 1;
            pair.returned_by.push((event, returns));
            let location = pair.message.location;
            returned.push(Returned { lsn: *lsn, location, delivery_count: returns, returns, until: None });
        }
        returned
    }
}
