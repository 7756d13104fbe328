//! All ways in which a native connection or one of its channels ends.

use std::sync::Arc;

use rialto_protocol::native::{Closing, Command};

use super::channel::{Channel, ChannelSlot};
use super::{NativeSession, State};
use crate::broker::QueueCell;
use crate::model::{ChannelId, ConsumerId};
use crate::session::SessionOptions;
use crate::session::departure::leave_queues;

impl NativeSession {
    /// Ends the connection with a reason. What was read before the reason arose is carried out.
    pub(super) fn close(&mut self, closing: Closing) {
        match self.state {
            State::Closing { .. } | State::Finished => return,
            State::Login { .. } | State::Open(_) => {}
        }
        tracing::info!(peer = %self.peer, code = closing.code, text = %closing.text, "closing connection");
        let Some(frame_max) = self.frame_max() else { return };
        self.release();
        Command::Close(closing).encode(0, self.out.buffer());
        let until = self.now.plus(SessionOptions::CLOSE_TIMEOUT);
        self.state = State::Closing { until, frame_max };
    }

    /// Nothing more is heard; what is in the output is still written.
    pub(super) fn finish(&mut self) {
        self.state = State::Finished;
    }

    /// Gives back everything that the connection holds.
    pub(super) fn release(&mut self) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        self.flush();
        let turn = &mut self.turn.0;
        if let State::Open(open) = &mut self.state {
            let channels = open.channels.drain().map(|(_, slot)| slot);
            leave_queues(
                channels.flat_map(|slot| match slot {
                    ChannelSlot::Open(channel) => consumers_of(*channel),
                    ChannelSlot::ClosedByServer => Vec::new(),
                }),
                turn,
            );
            open.consumers = 0;
            open.vhost.delete_exclusive_queues(open.id, turn);
        }
        self.sending = Default::default();
    }

    /// Closes a channel because of an error. The connection goes on.
    pub(super) fn close_channel_with(&mut self, number: ChannelId, closing: Closing) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        tracing::info!(peer = %self.peer, channel = number.0, code = closing.code, text = %closing.text, "closing channel");
        self.flush();
        self.release_channel(number);
        let open = self.open();
        open.channels.insert(number, ChannelSlot::ClosedByServer);
        open.count_channels();
        Command::ChannelClosed(closing).encode(number.0, self.out.buffer());
    }

    /// Gives back everything that a channel holds: consumers end, unacked messages return.
    pub(super) fn release_channel(&mut self, number: ChannelId) {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else { return };
        open.defined_routes -= channel.routes.len();
        let channel = std::mem::replace(&mut **channel, Channel::new());
        open.consumers -= channel.consumers.values().filter(|consumer| consumer.cancelled.is_none()).count();
        leave_queues(consumers_of(channel), turn);
        // Nothing more can arrive for it; what has arrived is back in its queue.
        self.forget_deliveries_of(number);
    }
}

/// A channel's consumers, those behind its `Get`s included, with their queues.
fn consumers_of(channel: Channel) -> Vec<(Arc<QueueCell>, ConsumerId)> {
    let consumers = channel.consumers.into_values().map(|consumer| (consumer.queue, consumer.id));
    let getters = channel.gets.getters.into_values().map(|(getter, queue)| (queue, getter));
    consumers.chain(getters).collect()
}
