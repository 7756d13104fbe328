//! How consumers leave when their channel or connection ends.

use std::sync::Arc;

use crate::broker::{QueueCell, Turn};
use crate::model::ConsumerId;

/// Takes consumers out of their queues, with one step for each queue.
pub(super) fn leave_queues(leaving: impl IntoIterator<Item = (Arc<QueueCell>, ConsumerId)>, turn: &mut Turn) {
    let mut leaving: Vec<_> = leaving.into_iter().collect();
    leaving.sort_unstable_by_key(|(queue, id)| (queue.id(), *id));
    for same in leaving.chunk_by(|(one, _), (other, _)| one.id() == other.id()) {
        let ids: Vec<_> = same.iter().map(|(_, id)| *id).collect();
        same[0].0.consumers_gone(&ids, turn);
    }
}
