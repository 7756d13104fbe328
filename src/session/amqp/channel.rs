//! A channel of an AMQP connection: its mode, its consumers, what it holds unacknowledged.

use std::sync::Arc;

use ahash::AHashMap;
use rialto_protocol::amqp::{ContentAssembler, DeliverWriter};
use rialto_protocol::types::ShortStr;

use super::transactions::Transaction;
use super::unacked::Unacked;
use crate::broker::{ChannelInfo, ChannelMode, QueueCell, Turn};
use crate::model::{ChannelId, ConsumerId, QueueId};
use crate::queue::ChannelWindow;

/// A channel number's state.
///
/// ```text
/// (unknown) --channel.open--> Open --channel.close--> (unknown)
///                              |
///                            error --> Closing --channel.close-ok--> (unknown)
/// ```
#[derive(Debug)]
pub(super) enum ChannelSlot {
    Open(Box<Channel>),
    /// We have said `channel.close`: what was under way for it is passed over until the client has heard.
    Closing,
}

#[derive(Debug)]
pub(super) struct Channel {
    /// What others see of it.
    pub(super) info: Arc<ChannelInfo>,
    /// The publish that is arriving.
    pub(super) arriving: ContentAssembler,
    pub(super) mode: Mode,
    /// The last delivery tag that was given out.
    pub(super) last_tag: u64,
    pub(super) unacked: Unacked,
    /// Consumers and the stand-ins for `basic.get` by their numbers, the cancelled ones with unacked messages included.
    pub(super) consumers: AHashMap<u32, Consumer>,
    /// Numbers of the consumers that are not cancelled.
    pub(super) tags: AHashMap<ShortStr, u32>,
    /// Stand-ins for `basic.get`.
    pub(super) getters: AHashMap<QueueId, u32>,
    /// Getters from which on those of deleted queues are looked for.
    getters_sweep_at: usize,
    last_number: u32,
    /// Prefetch of consumers to come; 0 is unlimited.
    pub(super) prefetch: u32,
    /// Unacked messages of all consumers together, once the client has limited them.
    pub(super) window: Option<Arc<ChannelWindow>>,
    /// What an empty queue name stands for.
    pub(super) last_queue: ShortStr,
    /// The queue behind `amq.rabbitmq.reply-to`, once the channel consumes from that.
    pub(super) reply_queue: Option<Arc<QueueCell>>,
}

/// What becomes of publishes and acknowledgements.
#[derive(Debug, Default)]
pub(super) enum Mode {
    /// They are carried out, and nobody is told.
    #[default]
    Plain,
    /// Publishes are confirmed; the number of the next one.
    Confirm { next: u64 },
    /// They wait for `tx.commit`.
    Transaction(Box<Transaction>),
}

/// A consumer as its channel knows it.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    /// Empty for a stand-in for `basic.get`.
    pub(super) tag: ShortStr,
    pub(super) queue: Arc<QueueCell>,
    pub(super) auto_ack: bool,
    /// Bytes that have left the outbox and that the queue has not been told of.
    pub(super) sent: u64,
    pub(super) window: u64,
    pub(super) writer: DeliverWriter,
    /// Cancelled by the client; kept while messages of it are unacked.
    pub(super) cancelled: Option<u64>,
}

impl Consumer {
    /// Whether it stands for `basic.get`: those count for no prefetch.
    pub(super) fn is_getter(&self) -> bool {
        self.tag.is_empty()
    }
}

impl Channel {
    /// Queues that are remembered before those that were deleted are looked for.
    const FEW_GETTERS: usize = 64;

    pub(super) fn new(info: Arc<ChannelInfo>) -> Self {
        Channel {
            info,
            arriving: ContentAssembler::default(),
            mode: Mode::default(),
            last_tag: 0,
            unacked: Unacked::default(),
            consumers: AHashMap::new(),
            tags: AHashMap::new(),
            getters: AHashMap::new(),
            getters_sweep_at: 0,
            last_number: 0,
            prefetch: 0,
            window: None,
            last_queue: ShortStr::default(),
            reply_queue: None,
        }
    }

    /// Tells others what may have changed. Not for each of many: see [`ChannelInfo`].
    pub(super) fn tell_figures(&self) {
        let Channel { info, .. } = self;
        info.consumers.set(self.tags.len() as u64);
        info.unacked.set(self.unacked.len());
        let (mode, publishes, acks) = match &self.mode {
            Mode::Plain => (ChannelMode::Plain, 0, 0),
            Mode::Confirm { .. } => (ChannelMode::Confirm, 0, 0),
            Mode::Transaction(transaction) => {
                (ChannelMode::Transaction, transaction.published, transaction.settled)
            }
        };
        info.set_mode(mode);
        info.uncommitted.set(publishes);
        info.acks_uncommitted.set(acks);
    }

    pub(super) fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// Remembers who stands for the `basic.get`s from a queue.
    pub(super) fn add_getter(&mut self, id: ConsumerId, queue: &Arc<QueueCell>, channel: ChannelId) -> u32 {
        self.forget_ended_getters();
        let number = self.next_number();
        let getter = Consumer {
            id,
            tag: ShortStr::default(),
            queue: queue.clone(),
            auto_ack: false,
            sent: 0,
            window: 0,
            writer: DeliverWriter::new(channel.0, ""),
            cancelled: None,
        };
        self.consumers.insert(number, getter);
        self.getters.insert(queue.id(), number);
        number
    }

    /// Forgets what was taken from queues that are gone, each time twice as many are remembered: a client can make
    /// and delete a queue for each message it takes.
    fn forget_ended_getters(&mut self) {
        if self.getters.len() < self.getters_sweep_at.max(Self::FEW_GETTERS) {
            return;
        }
        let consumers = &mut self.consumers;
        self.getters.retain(|_, number| {
            let alive = consumers.get(number).is_some_and(|getter| !getter.queue.is_closed());
            if !alive {
                consumers.remove(number);
            }
            alive
        });
        self.getters_sweep_at = self.getters.len() * 2;
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
