//! A channel of a native connection: its publish sequence, its routes, its consumers.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use rialto_protocol::types::ShortStr;

use crate::broker::{ChannelInfo, ChannelMode, QueueCell, Turn};
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
    /// What others see of it.
    pub(super) info: Arc<ChannelInfo>,
    /// The sequence number that the next published message must have.
    pub(super) next_sequence: u64,
    /// Routes by number. Not a vector: one small frame could make a client's channel a vector of 65 536 places.
    pub(super) routes: AHashMap<u32, RouteSlot>,
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
    pub(super) auto_ack: bool,
    /// Messages that it has been sent and has not settled.
    pub(super) unacked: u64,
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
    /// Getters from which on those of deleted queues are looked for.
    sweep_at: usize,
    /// By tag, growing: the channel's tag, the queue, the getter's own tag.
    pub(super) unacked: VecDeque<(u64, QueueId, u64)>,
}

impl Gets {
    /// Queues that are remembered before those that were deleted are looked for.
    const FEW: usize = 64;

    /// Remembers a message that is to be settled, and who took it from its queue.
    pub(super) fn remember(&mut self, getter: ConsumerId, queue: &Arc<QueueCell>, tag: u64) {
        if !self.getters.contains_key(&queue.id()) {
            self.forget_ended();
            self.getters.insert(queue.id(), (getter, queue.clone()));
        }
        self.unacked.push_back((self.last_tag, queue.id(), tag));
    }

    /// Forgets what was taken from queues that are gone, each time twice as many are remembered: a client can make
    /// and delete a queue for each message it takes.
    fn forget_ended(&mut self) {
        if self.getters.len() < self.sweep_at.max(Self::FEW) {
            return;
        }
        self.getters.retain(|_, (_, queue)| !queue.is_closed());
        self.sweep_at = self.getters.len() * 2;
        let getters = &self.getters;
        self.unacked.retain(|(_, queue, _)| getters.contains_key(queue));
    }
}

impl Channel {
    pub(super) fn new(info: Arc<ChannelInfo>) -> Self {
        // Whoever wants to know what becomes of its messages is told.
        info.set_mode(ChannelMode::Confirm);
        Channel {
            info,
            next_sequence: 1,
            routes: AHashMap::new(),
            consumers: AHashMap::new(),
            highest_consumer: 0,
            window: None,
            gets: Gets::default(),
        }
    }

    /// Takes a consumer out: its queue has ended, or it has nothing left to settle.
    pub(super) fn remove_consumer(&mut self, number: u32) -> Option<Consumer> {
        let removed = self.consumers.remove(&number)?;
        self.info.unacked.sub(removed.unacked);
        Some(removed)
    }

    /// So many messages fewer of a consumer are unsettled. Whether it is gone with them: it was cancelled before.
    pub(super) fn settled(&mut self, number: u32, count: u64, of_cancelled: bool) {
        let Some(consumer) = self.consumers.get_mut(&number) else { return };
        let fewer = count.min(consumer.unacked);
        consumer.unacked -= fewer;
        self.info.unacked.sub(fewer);
        if let Some(unacked) = consumer.cancelled.as_mut().filter(|_| of_cancelled) {
            *unacked = unacked.saturating_sub(count);
            if *unacked == 0 {
                self.remove_consumer(number);
            }
        }
    }

    /// Tells the channel's consumers that there is room in its window, if one of them waits for that.
    pub(super) fn has_room(&self, turn: &mut Turn) {
        if self.window.as_ref().is_some_and(|window| window.take_waiting()) {
            self.window_has_changed(turn);
        }
    }

    /// Tells the channel's consumers that its window may have room.
    pub(super) fn window_has_changed(&self, turn: &mut Turn) {
        let consumers = self.consumers.values().map(|consumer| (&consumer.queue, consumer.id));
        QueueCell::channel_has_room(consumers, turn);
    }
}
