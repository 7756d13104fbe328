//! All ways in which a native connection or one of its channels ends.

use std::sync::Arc;

use rialto_protocol::native::{Closing, Command};

use super::channel::{Channel, ChannelSlot};
use super::{NativeSession, State};
use crate::broker::QueueCell;
use crate::model::{ChannelId, ConsumerId};
use crate::session::SessionOptions;
use crate::session::departure::leave_queues;
use crate::session::speaker::Speaker;

/// What a connection ends with.
#[derive(Debug)]
pub(super) enum LastWords {
    /// We end it.
    Close(Closing),
    /// The client has.
    CloseOk,
}

impl NativeSession {
    /// Ends the connection with a reason. What was read before the reason arose is carried out.
    pub(super) fn close(&mut self, closing: Closing) {
        match self.state {
            State::Leaving { .. } | State::Closing { .. } | State::Finished => return,
            State::Login { .. } | State::Open(_) => {}
        }
        tracing::info!(peer = %self.link.peer(), code = closing.code, text = %closing.text, "closing connection");
        self.leave(LastWords::Close(closing));
    }

    /// Gives everything back and says the last words, behind the answers and outcomes that wait for the disk: a
    /// publisher that closes in order still hears what became of its messages. If that takes too long, it does not.
    pub(super) fn leave(&mut self, last_words: LastWords) {
        let Some(frame_max) = self.frame_max() else { return };
        self.flush();
        self.hold_output();
        self.release();
        if self.broker.log_stopped().is_some() {
            self.out.forget_held();
        }
        let until = self.now.plus(SessionOptions::CLOSE_TIMEOUT);
        self.state = State::Leaving { until, frame_max, last_words };
        if !self.out.is_held() {
            self.end_leaving();
        }
    }

    /// Ends the connection, if it only waits for that.
    pub(super) fn end_leaving(&mut self) {
        let State::Leaving { last_words, frame_max, .. } = &mut self.state else { return };
        let frame_max = *frame_max;
        match std::mem::replace(last_words, LastWords::CloseOk) {
            LastWords::Close(closing) => {
                Command::Close(closing).encode(0, self.out.buffer());
                let until = self.now.plus(SessionOptions::CLOSE_TIMEOUT);
                self.state = State::Closing { until, frame_max };
            }
            LastWords::CloseOk => {
                Command::CloseOk.encode(0, self.out.buffer());
                self.finish();
            }
        }
    }

    /// Nothing more is heard; what is in the output is still written.
    pub(super) fn finish(&mut self) {
        self.out.forget_held();
        self.state = State::Finished;
    }

    /// Gives back everything that the connection holds. Its outcomes wait in the output from here on.
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
        self.held.move_to(&mut self.out, &self.broker);
    }

    /// Closes a channel because of an error. The connection goes on.
    pub(super) fn close_channel_with(&mut self, number: ChannelId, closing: Closing) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        tracing::info!(peer = %self.link.peer(), channel = number.0, code = closing.code, text = %closing.text, "closing channel");
        self.flush();
        // What was wrong with a settlement that had not been carried out yet may have closed it already.
        let State::Open(open) = &self.state else { return };
        if !matches!(open.channels.get(&number), Some(ChannelSlot::Open(_))) {
            return;
        }
        self.release_channel(number);
        self.open().channels.insert(number, ChannelSlot::ClosedByServer);
        Command::ChannelClosed(closing).encode(number.0, self.out.buffer());
    }

    /// Gives back everything that a channel holds: consumers end, unacked messages return. Outcomes that wait for the
    /// disk are not told any more: the client may open another channel with the number.
    pub(super) fn release_channel(&mut self, number: ChannelId) {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.remove(&number) else { return };
        open.guard.close_channel(number);
        open.defined_routes -= channel.routes.len();
        open.consumers -= channel.consumers.values().filter(|consumer| consumer.cancelled.is_none()).count();
        leave_queues(consumers_of(*channel), turn);
        self.held.forget_channel(number);
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
