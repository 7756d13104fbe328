//! Settlements of one read, in order, neighbours of one consumer together: each group is one lock of its queue.

use std::sync::Arc;

use crate::broker::{QueueCell, Settled};
use crate::model::{ChannelId, ConsumerId};
use crate::queue::Settle;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PendingSettles {
    all: Vec<PendingSettle>,
    /// Not all of them are acknowledgements.
    return_some: bool,
}

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
        let acked = acks.map(|range| (range.last - range.first).saturating_add(1));
        acked.fold(0u64, u64::saturating_add).min(count)
    }
}

impl PendingSettles {
    /// Whether they must be carried out before anything that comes behind them is published: they give messages back, or away
    /// as dead letters, whose places are in front of it, and in a queue that is full they take what room there is.
    pub(super) fn go_first(&self) -> bool {
        self.return_some
    }

    /// Takes all of them, to be carried out.
    pub(super) fn take(&mut self) -> Vec<PendingSettle> {
        self.return_some = false;
        std::mem::take(&mut self.all)
    }

    /// Gives back the memory of those that were taken.
    pub(super) fn give_back(&mut self, emptied: Vec<PendingSettle>) {
        debug_assert!(emptied.is_empty() && self.all.is_empty());
        self.all = emptied;
    }

    /// Adds a range of a consumer's own tags. One that goes on where the last one ended makes that longer.
    pub(super) fn push(
        &mut self,
        channel: ChannelId,
        consumer: u32,
        (id, queue): (ConsumerId, &Arc<QueueCell>),
        (first, last): (u64, u64),
        settlement: &Settle,
    ) {
        self.return_some |= *settlement != Settle::Ack;
        let ranges = match self.all.last_mut() {
            Some(pending) if pending.id == id => &mut pending.ranges,
            _ => {
                let queue = queue.clone();
                self.all.push(PendingSettle { channel, consumer, id, queue, ranges: Vec::new() });
                &mut self.all.last_mut().expect("just pushed").ranges
            }
        };
        match ranges.last_mut() {
            Some(before) if before.last.checked_add(1) == Some(first) && before.settlement == *settlement => {
                before.last = last
            }
            _ => ranges.push(Settled { first, last, settlement: settlement.clone() }),
        }
    }
}
