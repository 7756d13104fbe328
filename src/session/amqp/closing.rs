//! All ways in which an AMQP connection or one of its channels ends.

use std::time::Duration;

use rialto_protocol::amqp::{ChannelClose, ConnectionClose, Method};

use super::channel::{Channel, ChannelSlot, Mode};
use super::fault::Fault;
use super::{AmqpSession, CLOSE_TIMEOUT, State};
use crate::broker::Turn;
use crate::model::ChannelId;
use crate::session::departure::leave_queues;
use crate::session::speaker::Speaker;

/// What a connection ends with.
#[derive(Debug)]
pub(super) enum LastWords {
    /// We end it.
    Close(ConnectionClose),
    /// The client has.
    CloseOk,
}

impl AmqpSession {
    /// Ends the connection with a reason. What was read before the reason arose is carried out.
    pub(super) fn close(&mut self, fault: &Fault) {
        if matches!(self.state, State::Leaving { .. } | State::Closing { .. } | State::Finished) {
            return;
        }
        let text = fault.reply_text();
        tracing::info!(peer = %self.link.peer(), code = fault.code.number(), %text, method = fault.method.name(), "closing connection");
        self.leave(LastWords::Close(ConnectionClose {
            reply_code: fault.code.number(),
            reply_text: text,
            class_id: fault.method.class,
            method_id: fault.method.method,
        }));
    }

    /// Gives everything back and says the last words, behind the answers and confirms that wait for the disk: a
    /// publisher that closes in order still hears what became of its messages. If that takes too long, it does not.
    pub(super) fn leave(&mut self, last_words: LastWords) {
        let frame_max = self.frame_max().unwrap_or(self.options.login_frame_max);
        self.flush();
        self.hold_output();
        self.release();
        if self.broker.log_stopped().is_some() {
            self.out.forget_held();
        }
        let until = self.now.plus(CLOSE_TIMEOUT);
        self.state = State::Leaving { until, frame_max, last_words };
        if !self.out.is_held() {
            self.end_leaving();
        }
    }

    /// Ends the connection, if it only waits for that.
    pub(super) fn end_leaving(&mut self) {
        let State::Leaving { last_words, .. } = &mut self.state else { return };
        match std::mem::replace(last_words, LastWords::CloseOk) {
            LastWords::Close(close) => {
                self.say_now(Method::ConnectionClose(close));
                self.await_end(CLOSE_TIMEOUT, false);
            }
            LastWords::CloseOk => {
                self.say_now(Method::ConnectionCloseOk(Default::default()));
                self.finish();
            }
        }
    }

    /// Hears and says nothing for a while, then ends.
    pub(super) fn close_silently(&mut self, delay: Duration) {
        self.await_end(delay, true);
    }

    fn await_end(&mut self, time: Duration, silent: bool) {
        let frame_max = self.frame_max().unwrap_or(self.options.login_frame_max);
        self.state = State::Closing { until: self.now.plus(time), frame_max, silent };
    }

    /// Nothing more is heard; what is in the output is still written.
    pub(super) fn finish(&mut self) {
        self.out.forget_held();
        self.state = State::Finished;
    }

    /// Gives back everything that the connection holds. Its confirms wait in the output from here on.
    pub(super) fn release(&mut self) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        self.flush();
        let turn = &mut self.turn.0;
        if let State::Open(open) = &mut self.state {
            let slots: Vec<_> = open.channels.drain().map(|(_, slot)| slot).collect();
            let channels = slots.into_iter().filter_map(|slot| match slot {
                ChannelSlot::Open(channel) => Some(*channel),
                ChannelSlot::Closing => None,
            });
            leave(channels, turn);
            open.consumers = 0;
            open.uncommitted = 0;
            open.vhost.delete_exclusive_queues(open.id, turn);
        }
        self.sending = Default::default();
        self.held.move_to(&mut self.out, &self.broker);
    }

    /// Closes a channel because of an error. The connection goes on.
    pub(super) fn close_channel_with(&mut self, number: ChannelId, fault: &Fault) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        let text = fault.reply_text();
        tracing::info!(
            peer = %self.link.peer(), channel = number.0, code = fault.code.number(), %text, method = fault.method.name(),
            "closing channel"
        );
        self.flush();
        self.release_channel(number);
        self.open().channels.insert(number, ChannelSlot::Closing);
        self.say(
            number.0,
            Method::ChannelClose(ChannelClose {
                reply_code: fault.code.number(),
                reply_text: text,
                class_id: fault.method.class,
                method_id: fault.method.method,
            }),
        );
    }

    /// Gives back everything that a channel holds: consumers end, unacked messages return, and what was neither
    /// published nor committed is forgotten. Confirms that wait for the disk are not told any more: the client may open
    /// another channel with the number.
    pub(super) fn release_channel(&mut self, number: ChannelId) {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.remove(&number) else { return };
        open.guard.close_channel(number);
        open.consumers -= channel.tags.len();
        open.uncommitted -= channel.uncommitted();
        leave([*channel], turn);
        self.held.forget_channel(number);
        // Nothing more can arrive for it; what has arrived is back in its queue.
        self.forget_deliveries_of(number);
    }
}

impl Channel {
    /// Bytes of its messages that no queue has yet.
    pub(super) fn uncommitted(&self) -> u64 {
        let transaction = match &self.mode {
            Mode::Transaction(transaction) => transaction.bytes,
            Mode::Plain | Mode::Confirm { .. } => 0,
        };
        self.arriving.incomplete_bytes() as u64 + transaction
    }
}

/// Takes the consumers of channels out of their queues.
fn leave(channels: impl IntoIterator<Item = Channel>, turn: &mut Turn) {
    let consumers = channels.into_iter().flat_map(|channel| channel.consumers.into_values());
    leave_queues(consumers.map(|consumer| (consumer.queue, consumer.id)), turn);
}
