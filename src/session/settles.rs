//! Settlements of one read, in order, neighbours of one consumer together: each group is one lock of its queue.

use std::sync::Arc;

use crate::broker::{QueueCell, Settled};
use crate::model::{ChannelId, ConsumerId};
use crate::queue::Settle;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PendingSettles(pub(super) Vec<PendingSettle>);

/// What one consumer settles.
#[derive(Debug)]
pub(super) struct PendingSettle {
    pub(super) channel: ChannelId,
    /// The consumer's number on its channel.
    pub(super) consumer: u32,
    pub(super) id: ConsumerId,
    pub(super) queue: Arc<QueueCell>,
    pub(super) ranges: Vec<Settled>,
}

impl PendingSettle {
    /// How many messages it acknowledges, of the `count` that it has settled.
    pub(super) fn acked(&self, count: u64) -> u64 {
        let acks = self.ranges.iter().filter(|range| range.settlement == Settle::Ack);
        let acked: u64 = acks.map(|range| range.last - range.first + 1).sum();
        acked.min(count)
    }
}

impl PendingSettles {
    /// Adds a range of a consumer's own tags. One that goes on where the last one ended makes that longer.
    pub(super) fn push(
        &mut self,
        channel: ChannelId,
        consumer: u32,
        (id, queue): (ConsumerId, &Arc<QueueCell>),
        (first, last): (u64, u64),
        settlement: &Settle,
    ) {
        let ranges = match self.0.last_mut() {
            Some(pending) if pending.id == id => &mut pending.ranges,
            _ => {
                let queue = queue.clone();
                self.0.push(PendingSettle { channel, consumer, id, queue, ranges: Vec::new() });
                &mut self.0.last_mut().expect("just pushed").ranges
            }
        };
        match ranges.last_mut() {
            Some(before) if before.last + 1 == first && before.settlement == *settlement => {
                before.last = last
            }
            _ => ranges.push(Settled { first, last, settlement: settlement.clone() }),
        }
    }
}
