//! What this protocol's [`Speaker`] does of its own: from the outbox to bytes, and what is heard from there.
//!
//! A channel's delivery tags are given out here, where the order on the wire is decided. Once a consumer's deliveries
//! have left the outbox, its queue is told, so that it may give more: in halves of the window, so that the queue is
//! locked rarely.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use rialto_protocol::amqp::{BasicCancel, FRAME_END, Method, MethodId, body_part_max, put_body_frame_head};
use rialto_protocol::types::ShortStr;

use super::channel::{Channel, Consumer};
use super::confirms::Confirm;
use super::fault::{Fault, Refusal};
use super::{AmqpSession, ChannelSlot, Open, State};
use crate::access::Protocol;
use crate::broker::{LocalConsumer, Notice, QueueCell};
use crate::model::QueueType;
use crate::queue::Delivery;
use crate::session::held_answers::{HeldAnswers, Told};
use crate::session::speaker::{Parts, Speaker};
use crate::session::{SLICE_LEAST, WriteQueue, publish_rules};

/// The headers that tell a quorum queue's consumer how often a delivery of the message has failed, and how often it
/// has come back.
const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// Room that is kept for the heads of deliveries, in bytes: properties can be long.
const HEAD_KEPT_MAX: usize = 1024;

impl Speaker for AmqpSession {
    type Answer = Confirm;

    const DELIVERIES_MAX: usize = 256;

    fn parts(&mut self) -> Parts<'_, Confirm> {
        Parts {
            broker: &self.broker,
            outbox: &self.outbox,
            turn: &mut self.turn.0,
            out: &mut self.out,
            sending: &mut self.sending,
            held: &mut self.held,
        }
    }

    fn waiting(&self) -> (&WriteQueue, &HeldAnswers<Confirm>) {
        (&self.out, &self.held)
    }

    fn handle_notice(&mut self, notice: Notice) {
        let State::Open(open) = &mut self.state else { return };
        match notice {
            Notice::PressureLifted(queue) => {
                open.held_by.remove(&queue);
                self.last_heard = self.now;
                self.tell_blocked();
            }
            // The client is not told: what it says about them later is passed over.
            Notice::MessagesTakenBack { consumer, count, was_cancelled } => {
                let count = if was_cancelled { count } else { 0 };
                self.after_settle(consumer.channel, consumer.number, count);
            }
            Notice::ConsumerCancelled { consumer } => self.consumer_cancelled(consumer),
            Notice::Close { reason } => self.close_wanted = Some(reason),
        }
    }

    fn consumer_cancelled(&mut self, consumer: LocalConsumer) {
        let State::Open(open) = &mut self.state else { return };
        let tell = open.client.consumer_cancel_notify;
        let Some(channel) = open.channel_mut(consumer.channel) else { return };
        let ended = channel.consumers.remove(&consumer.number);
        // What it held counts no more for its channel, so others may have more. Also if the client has cancelled
        // it since.
        if let Some(ended) = &ended
            && ended.cancelled.is_none()
        {
            channel.tags.remove(&ended.tag);
        }
        let turn = &mut self.turn.0;
        let Some(channel) = open.channel_mut(consumer.channel) else { return };
        channel.has_room(turn);
        channel.tell_figures();
        let Some(ended) = ended.filter(|ended| ended.cancelled.is_none()) else { return };
        open.consumers -= 1;
        if tell {
            let cancel = BasicCancel { consumer_tag: ended.tag, no_wait: true };
            self.say(consumer.channel.0, Method::BasicCancel(cancel));
        }
    }

    fn log_has_stopped(&mut self, why: &str) {
        let mut closes = self.out.is_held();
        self.out.forget_held();
        let mut told = Told::new(self.out.buffer());
        while let Some((_, channel, confirm)) = self.held.pop() {
            match confirm {
                Confirm::Acked { first, last } | Confirm::Nacked { first, last } => {
                    told.put(channel, Confirm::Nacked { first, last });
                }
                Confirm::Committed => closes = true,
            }
        }
        drop(told);
        if closes {
            let Refusal { code, text } = publish_rules::not_stored(why).into();
            self.close(&Fault::new(code, text, MethodId::NONE));
        }
    }

    fn encode_deliveries(&mut self, local: LocalConsumer, count: usize) {
        let mut deliveries = self.sending.deliveries.drain(..count).peekable();
        let State::Open(open) = &mut self.state else { return };
        let Open { channels, tuned, head, .. } = &mut **open;
        let Some(ChannelSlot::Open(channel)) = channels.get_mut(&local.channel) else { return };
        let Channel { info, consumers, last_tag, unacked, .. } = &mut **channel;
        let Some(consumer) = consumers.get_mut(&local.number) else { return };
        // A queue numbers what one consumer gets without gaps.
        let own = deliveries.peek().map_or(0, |delivery| delivery.tag);
        let first = *last_tag + 1;
        let mut last: Option<Delivery> = None;
        let mut again = 0;
        for delivery in deliveries {
            *last_tag += 1;
            again += u64::from(delivery.redelivered);
            match &last {
                Some(last) if has_same_head(last, &delivery) => consumer.writer.set_tag(*last_tag, head),
                _ => make_head(consumer, *last_tag, &delivery, tuned.frame_max, head),
            }
            put_delivery(consumer, head, &delivery, tuned.frame_max, &mut self.out);
            consumer.sent += delivery.message.len() as u64;
            last = Some(delivery);
        }
        if head.capacity() > HEAD_KEPT_MAX {
            *head = BytesMut::new();
        }
        info.messages.delivered(consumer.auto_ack, *last_tag + 1 - first, again);
        if !consumer.auto_ack {
            unacked.delivered(local.number, (first, *last_tag), own);
            info.unacked.set(unacked.len());
        }
        if consumer.sent >= consumer.window / 2 && consumer.cancelled.is_none() {
            let bytes = std::mem::take(&mut consumer.sent);
            consumer.queue.refill(consumer.id, bytes, &mut self.turn.0);
        }
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
            open.vhost.count_confirmed(Protocol::Amqp, confirmed);
        }
    }

    fn say_last_words(&mut self) {
        self.end_leaving();
    }
}

/// Whether these differ in nothing but what their bodies say and in their delivery tags.
fn has_same_head(one: &Delivery, other: &Delivery) -> bool {
    one.message.differs_in_body_from(&other.message)
        && one.redelivered == other.redelivered
        // Those that came back are told how often, in their properties.
        && (one.returns, other.returns) == (0, 0)
}

/// Makes what stands in front of a delivery's body, with the head of the body's frame if there is one and no more.
fn make_head(consumer: &Consumer, tag: u64, delivery: &Delivery, frame_max: u32, head: &mut BytesMut) {
    let (route, body_len) = (delivery.message.route(), delivery.message.body_len());
    head.clear();
    consumer.writer.put_head(
        tag,
        delivery.redelivered,
        &route.exchange,
        &route.routing_key,
        body_len,
        &delivered_properties(delivery, &consumer.queue),
        head,
    );
    if (1..=body_part_max(frame_max)).contains(&body_len) {
        put_body_frame_head(consumer.writer.channel(), body_len, head);
    }
}

/// Writes one delivery, which has this head.
fn put_delivery(consumer: &Consumer, head: &[u8], delivery: &Delivery, frame_max: u32, out: &mut WriteQueue) {
    let part_max = body_part_max(frame_max);
    let body = delivery.message.body();
    let buffer = out.buffer();
    if (1..SLICE_LEAST.min(part_max + 1)).contains(&body.len()) {
        buffer.reserve(head.len() + body.len() + 1);
        buffer.put_slice(head);
        buffer.put_slice(body);
        buffer.put_u8(FRAME_END);
        return;
    }
    buffer.put_slice(head);
    let mut rest = delivery.message.body_slice();
    let is_whole = rest.len() <= part_max;
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(part_max));
        if !is_whole {
            put_body_frame_head(consumer.writer.channel(), part.len(), out.buffer());
        }
        out.insert(part);
        out.buffer().put_u8(FRAME_END);
    }
}

/// The properties a message is delivered with: as published, but a quorum queue says how often it came back, as in
/// RabbitMQ.
pub(super) fn delivered_properties<'a>(delivery: &'a Delivery, queue: &QueueCell) -> Cow<'a, [u8]> {
    let message = &delivery.message;
    if delivery.returns == 0 || queue.options().queue_type != QueueType::Quorum {
        return Cow::Borrowed(message.properties_bytes());
    }
    let mut properties = message.properties().decode();
    let headers = properties.headers.get_or_insert_default();
    for (name, count) in [(ACQUIRED_COUNT, delivery.returns), (DELIVERY_COUNT, delivery.delivery_count)] {
        if count > 0 {
            headers.insert(ShortStr::truncated(name), i64::from(count));
        }
    }
    Cow::Owned(properties.encoded().into())
}
