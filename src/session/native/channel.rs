//! A channel of a native connection: its publish sequence, its routes, its consumers.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use rialto_protocol::types::ShortStr;

use crate::broker::QueueCell;
use crate::model::{ConsumerId, QueueId};
use crate::queue::ChannelWindow;
use crate::session::route_cache::RouteSlot;

/// A channel number's state.
///
/// ```text
/// (unknown) --OpenChannel--> Open --CloseChannel--> (unknown)
///                             |
///                           error --> ClosedByServer --OpenChannel--> Open
/// ```
#[derive(Debug)]
pub(super) enum ChannelSlot {
    Open(Box<Channel>),
    /// Closed by an error: what was under way for it is passed over until the client opens it again.
    ClosedByServer,
}

#[derive(Debug)]
pub(super) struct Channel {
    /// The sequence number that the next published message must have.
    pub(super) next_sequence: u64,
    /// Routes by number; number 1 is the first.
    pub(super) routes: Vec<Option<RouteSlot>>,
    pub(super) consumers: AHashMap<u32, Consumer>,
    /// The highest consumer number that was ever used: settling for one that is gone is late, not wrong.
    pub(super) highest_consumer: u32,
    /// Unacked messages of all consumers together, once the client has limited them.
    pub(super) window: Option<Arc<ChannelWindow>>,
    pub(super) gets: Gets,
}

/// A consumer as its channel knows it.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) tag: ShortStr,
    pub(super) queue: Arc<QueueCell>,
    /// Bytes that have left the outbox and that the queue has not been told of.
    pub(super) sent: u64,
    pub(super) window: u64,
    /// Cancelled by the client; kept while messages of it are unacked.
    pub(super) cancelled: Option<u64>,
}

/// What a channel took with `Get` and has not settled.
#[derive(Debug, Default)]
pub(super) struct Gets {
    pub(super) getters: AHashMap<QueueId, (ConsumerId, Arc<QueueCell>)>,
    pub(super) last_tag: u64,
    /// By tag, growing.
    pub(super) unacked: VecDeque<(u64, QueueId, u64)>,
}

impl Gets {
    /// Queues that are remembered before those that were deleted are looked for.
    const FEW: usize = 16;

    /// Remembers who took messages from this queue. Forgets deleted queues, each time twice as many are
    /// remembered, so that a channel that lives long does not keep them.
    pub(super) fn remember(&mut self, getter: ConsumerId, queue: &Arc<QueueCell>) {
        if self.getters.contains_key(&queue.id()) {
            return;
        }
        if self.getters.len() >= Self::FEW && self.getters.len() == self.getters.capacity() {
            self.getters.retain(|_, (_, queue)| !queue.is_closed());
        }
        self.getters.insert(queue.id(), (getter, queue.clone()));
    }
}

impl Channel {
    pub(super) fn new() -> Self {
        Channel {
            next_sequence: 1,
            routes: Vec::new(),
            consumers: AHashMap::new(),
            highest_consumer: 0,
            window: None,
            gets: Gets::default(),
        }
    }

    pub(super) fn define_route(&mut self, route: u32, slot: RouteSlot) {
        let index = route as usize - 1;
        if self.routes.len() <= index {
            self.routes.resize_with(index + 1, || None);
        }
        self.routes[index] = Some(slot);
    }

    pub(super) fn route(&mut self, route: u32) -> Option<&mut RouteSlot> {
        self.routes.get_mut((route as usize).checked_sub(1)?)?.as_mut()
    }
}
