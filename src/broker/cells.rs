//! The queues of a vhost by their identity, as routing names them.
//!
//! Invariant: beside each queue stands what a publish to it alone has as its targets: made once, so that routes that are
//! looked up for every message cost no memory, and neighbours with different keys are known to go to the same queue.

use std::sync::Arc;

use ahash::AHashMap;

use super::{QueueCell, Targets};
use crate::model::QueueId;

#[derive(Debug, Default)]
pub(super) struct Cells(AHashMap<QueueId, Cell>);

#[derive(Debug)]
struct Cell {
    queue: Arc<QueueCell>,
    alone: Arc<Targets>,
}

impl Cells {
    pub(super) fn insert(&mut self, queue: Arc<QueueCell>) {
        let alone = Arc::new(Targets::new(vec![queue.clone()], None));
        self.0.insert(queue.id(), Cell { queue, alone });
    }

    /// False: there is no such queue.
    pub(super) fn remove(&mut self, id: QueueId) -> bool {
        self.0.remove(&id).is_some()
    }

    pub(super) fn get(&self, id: QueueId) -> Option<&Arc<QueueCell>> {
        self.0.get(&id).map(|cell| &cell.queue)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<QueueCell>> {
        self.0.values().map(|cell| &cell.queue)
    }

    /// What a message goes to that routing has found these queues for.
    pub(super) fn targets(&self, found: &[QueueId]) -> Arc<Targets> {
        match found {
            [only] => self.0.get(only).map_or_else(Arc::default, |cell| cell.alone.clone()),
            several => Arc::new(Targets::new(self.queues(several), None)),
        }
    }

    /// Those of these that exist.
    pub(super) fn queues(&self, found: &[QueueId]) -> Vec<Arc<QueueCell>> {
        found.iter().filter_map(|id| self.get(*id)).cloned().collect()
    }
}
