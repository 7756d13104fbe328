//! What this protocol's [`Speaker`] does of its own: from the outbox to bytes, and what is heard from there.
//!
//! Neighbouring messages of a batch are copied (or, when large, sent) as one slice. Once a consumer's deliveries
//! have left the outbox, its queue is told, so that it may give more: in halves of the window, so that the
//! queue is locked rarely.

use rialto_protocol::native::{Command, DeliverWriter};
use rialto_protocol::types::ShortStr;

use super::channel::ChannelSlot;
use super::consuming::entry_flags;
use super::outcomes::Outcomes;
use super::{NOWHERE, NativeSession, State, fault_closing};
use crate::access::Protocol;
use crate::broker::{LocalConsumer, Notice};
use crate::model::{Message, MessageRoute};
use crate::queue::Delivery;
use crate::session::held_answers::{HeldAnswers, Told};
use crate::session::speaker::{Parts, Speaker};
use crate::session::{SLICE_LEAST, WriteQueue, publish_rules};

/// A delivery frame is ended when it has become this long: the client can start on it.
const FRAME_TARGET: usize = 128 << 10;

impl Speaker for NativeSession {
    type Answer = Outcomes;

    const DELIVERIES_MAX: usize = 1024;

    fn parts(&mut self) -> Parts<'_, Outcomes> {
        Parts {
            broker: &self.broker,
            outbox: &self.outbox,
            turn: &mut self.turn.0,
            out: &mut self.out,
            sending: &mut self.sending,
            held: &mut self.held,
        }
    }

    fn waiting(&self) -> (&WriteQueue, &HeldAnswers<Outcomes>) {
        (&self.out, &self.held)
    }

    fn handle_notice(&mut self, notice: Notice) {
        let State::Open(open) = &mut self.state else { return };
        match notice {
            Notice::PressureLifted(queue) => {
                open.held_by.remove(&queue);
                self.grant_credit();
            }
            // The client is not told: what it says about them later is passed over.
            Notice::MessagesTakenBack { consumer, count, was_cancelled } => {
                self.after_settle(consumer.channel, consumer.number, count, was_cancelled);
            }
            Notice::ConsumerCancelled { consumer } => self.consumer_cancelled(consumer),
            Notice::Close { reason } => self.close_wanted = Some(reason),
        }
    }

    fn consumer_cancelled(&mut self, consumer: LocalConsumer) {
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&consumer.channel) else { return };
        let ended = channel.remove_consumer(consumer.number);
        // What it held counts no more for its channel, so others may have more. Also if the client has cancelled
        // it since.
        channel.has_room(&mut self.turn.0);
        let Some(ended) = ended else { return };
        if ended.cancelled.is_some() {
            return;
        }
        open.consumers -= 1;
        channel.info.consumers.sub(1);
        let reason = ShortStr::truncated(format!("queue '{}' was deleted", ended.queue.name()));
        let cancelled = Command::ConsumerCancelled { consumer: consumer.number, reason };
        cancelled.encode(consumer.channel.0, self.out.buffer());
    }

    fn log_has_stopped(&mut self, why: &str) {
        let closes = self.out.is_held();
        self.out.forget_held();
        let error = publish_rules::not_stored(why);
        let mut told = Told::new(self.out.buffer());
        while let Some((_, channel, outcomes)) = self.held.pop() {
            told.put(channel, outcomes.not_confirmed(&error));
        }
        drop(told);
        if closes {
            self.close(fault_closing(error.reply_code(), error.to_string(), NOWHERE));
        }
    }

    fn encode_deliveries(&mut self, consumer: LocalConsumer, count: usize) {
        let encoded = encode(consumer, self.sending.deliveries.drain(..count), &mut self.out);
        self.sent(consumer, count as u64, encoded);
    }

    fn count_confirmed(&mut self) {
        let State::Open(open) = &self.state else { return };
        let mut confirmed = 0;
        for (channel, count) in self.held.take_told() {
            confirmed += count;
            if let Some(ChannelSlot::Open(channel)) = open.channels.get(&channel) {
                channel.info.messages.confirmed.add(count);
            }
        }
        if confirmed > 0 {
            open.vhost.count_confirmed(Protocol::Native, confirmed);
        }
    }

    fn say_last_words(&mut self) {
        self.end_leaving();
    }
}

impl NativeSession {
    /// Counts what has left the outbox for a consumer, and tells its queue when it is enough.
    fn sent(&mut self, consumer: LocalConsumer, count: u64, Encoded { bytes, again }: Encoded) {
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&consumer.channel) else { return };
        let Some(found) = channel.consumers.get_mut(&consumer.number) else { return };
        found.sent += bytes;
        channel.info.messages.delivered(found.auto_ack, count, again);
        if !found.auto_ack {
            found.unacked += count;
            channel.info.unacked.add(count);
        }
        if found.sent >= found.window / 2 && found.cancelled.is_none() {
            let bytes = std::mem::take(&mut found.sent);
            found.queue.refill(found.id, bytes, &mut self.turn.0);
        }
    }
}

/// Encodes deliveries for one consumer into as many frames as their tags and lengths ask for, and says how
/// many bytes of messages they were.
fn encode(
    consumer: LocalConsumer,
    deliveries: impl Iterator<Item = Delivery>,
    out: &mut WriteQueue,
) -> Encoded {
    let mut deliveries = deliveries.peekable();
    let (mut bytes, mut again) = (0, 0);
    while let Some(first) = deliveries.peek() {
        let mut next_tag = first.tag;
        let mut frame = DeliverWriter::begin(consumer.channel.0, consumer.number, next_tag, out.buffer());
        let mut route: Option<MessageRoute> = None;
        while frame.len(out.buffer()) < FRAME_TARGET {
            let Some(delivery) = deliveries.next_if(|next| next.tag == next_tag) else { break };
            next_tag += 1;
            if route.as_ref() != Some(delivery.message.route()) {
                let this = delivery.message.route();
                frame.run(&this.exchange, &this.routing_key, out.buffer());
                route = Some(this.clone());
            }
            if is_plain(&delivery) {
                let (first, mut last) = (&delivery.message, None::<Message>);
                let (mut count, mut len) = (1, first.len());
                while len < FRAME_TARGET
                    && let Some(next) = deliveries.next_if(|next| {
                        let end = last.as_ref().unwrap_or(first);
                        next.tag == next_tag && is_plain(next) && end.is_followed_by(&next.message)
                    })
                {
                    next_tag += 1;
                    count += 1;
                    len += next.message.len();
                    last = Some(next.message);
                }
                bytes += len as u64;
                let last = last.as_ref().unwrap_or(first);
                if len >= SLICE_LEAST {
                    frame.elsewhere(count, len);
                    out.insert(first.entries_slice_to(last));
                } else {
                    frame.entries(count, first.entries_to(last), out.buffer());
                }
            } else {
                bytes += encode_flagged(&delivery, &mut frame, out);
                again += u64::from(delivery.redelivered);
            }
        }
        frame.finish(out.buffer());
    }
    Encoded { bytes, again }
}

/// What was encoded.
#[derive(Clone, Copy, Debug)]
struct Encoded {
    /// Bytes of messages.
    bytes: u64,
    /// Messages that had been delivered before.
    again: u64,
}

/// Encodes a message whose entry differs from the one published.
fn encode_flagged(delivery: &Delivery, frame: &mut DeliverWriter, out: &mut WriteQueue) -> u64 {
    let Delivery { message, delivery_count, .. } = delivery;
    let (properties, body_len) = (message.properties_bytes(), message.body_len());
    frame.entry_head(entry_flags(delivery), *delivery_count, properties, body_len, out.buffer());
    if body_len >= SLICE_LEAST {
        frame.elsewhere(0, body_len);
        out.insert(message.body_slice());
    } else {
        out.buffer().extend_from_slice(message.body());
    }
    message.len() as u64
}

/// Whether a delivery's entry is the very bytes that were published.
fn is_plain(delivery: &Delivery) -> bool {
    !delivery.redelivered && delivery.delivery_count == 0
}
