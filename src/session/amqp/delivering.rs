//! From the outbox to bytes.
//!
//! A channel's delivery tags are given out here, where the order on the wire is decided. Once a consumer's deliveries
//! have left the outbox, its queue is told, so that it may give more: in halves of the window, so that the queue is
//! locked rarely.

use std::borrow::Cow;

use bytes::BufMut;
use rialto_protocol::amqp::{FRAME_END, body_part_max, put_body, put_body_frame_head};
use rialto_protocol::types::ShortStr;

use super::channel::{Channel, Consumer};
use super::{AmqpSession, Open, State};
use crate::broker::{DeliveryRun, Notice, QueueCell};
use crate::model::{ChannelId, QueueType};
use crate::queue::Delivery;
use crate::session::{OUTPUT_HIGH, SLICE_LEAST, WriteQueue};

/// Deliveries taken from a run at a time, so that large messages do not fill the output far past its mark.
const CHUNK_MAX: usize = 256;

/// The headers that tell a quorum queue's consumer how often a delivery of the message has failed, and how often it
/// has come back.
const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";

impl AmqpSession {
    /// Encodes deliveries until enough waits to be written; none while the output is held, for they would only wait
    /// there.
    pub(super) fn fill_output(&mut self) {
        if self.out.is_held() {
            return;
        }
        loop {
            while self.out.len() < OUTPUT_HIGH {
                if !self.encode_some() {
                    break;
                }
            }
            if self.out.len() >= OUTPUT_HIGH || !self.take_outbox() {
                return;
            }
        }
    }

    /// Encodes everything that others have put into the outbox up to now, whatever its size: what follows must
    /// come after it. The outbox is bounded by its consumers' windows.
    pub(super) fn encode_sending(&mut self) {
        while self.encode_some() {}
        self.take_outbox();
        while self.encode_some() {}
    }

    /// Forgets the deliveries of a channel and keeps the others.
    pub(super) fn forget_deliveries_of(&mut self, channel: ChannelId) {
        self.sending.forget_channel(channel);
        let mut rest = Default::default();
        if self.sending.is_empty() {
            if self.take_outbox() {
                self.sending.forget_channel(channel);
            }
        } else if self.outbox.take(&mut rest) {
            rest.forget_channel(channel);
            self.sending.runs.extend(rest.runs);
            self.sending.deliveries.extend(rest.deliveries);
            for notice in rest.notices {
                self.handle_notice(notice);
            }
        }
    }

    /// Encodes a stretch of deliveries for one consumer, or which consumers are gone when all deliveries have been
    /// encoded. False if there was nothing.
    fn encode_some(&mut self) -> bool {
        let Some(run) = self.sending.runs.front_mut() else {
            let notices = std::mem::take(&mut self.sending.notices);
            for notice in &notices {
                if let Notice::ConsumerCancelled { consumer } = notice {
                    self.consumer_cancelled(*consumer);
                }
            }
            return !notices.is_empty();
        };
        let DeliveryRun { consumer: local, count } = *run;
        let take = count.min(CHUNK_MAX);
        run.count -= take;
        if run.count == 0 {
            self.sending.runs.pop_front();
        }
        let mut deliveries = self.sending.deliveries.drain(..take).peekable();
        let State::Open(open) = &mut self.state else { return true };
        let Open { channels, tuned, .. } = &mut **open;
        let Some(super::ChannelSlot::Open(channel)) = channels.get_mut(&local.channel) else { return true };
        let Channel { consumers, last_tag, unacked, .. } = &mut **channel;
        let Some(consumer) = consumers.get_mut(&local.number) else { return true };
        // A queue numbers what one consumer gets without gaps.
        let own = deliveries.peek().map_or(0, |delivery| delivery.tag);
        let first = *last_tag + 1;
        for delivery in deliveries {
            *last_tag += 1;
            consumer.sent += encode(consumer, *last_tag, &delivery, tuned.frame_max, &mut self.out);
        }
        if !consumer.auto_ack {
            unacked.delivered(local.number, (first, *last_tag), own);
        }
        if consumer.sent >= consumer.window / 2 && consumer.cancelled.is_none() {
            let bytes = std::mem::take(&mut consumer.sent);
            consumer.queue.refill(consumer.id, bytes, &mut self.turn.0);
        }
        true
    }
}

/// Encodes one delivery and says how many bytes of the outbox it was.
fn encode(consumer: &Consumer, tag: u64, delivery: &Delivery, frame_max: u32, out: &mut WriteQueue) -> u64 {
    let message = &delivery.message;
    let channel = consumer.writer.channel();
    let body_len = message.body_len();
    let route = message.route();
    consumer.writer.put_head(
        tag,
        delivery.redelivered,
        &route.exchange,
        &route.routing_key,
        body_len,
        &delivered_properties(delivery, &consumer.queue),
        out.buffer(),
    );
    if body_len < SLICE_LEAST {
        put_body(channel, message.body(), frame_max, out.buffer());
    } else {
        let mut body = message.body_bytes();
        while !body.is_empty() {
            let part = body.split_to(body.len().min(body_part_max(frame_max)));
            put_body_frame_head(channel, part.len(), out.buffer());
            out.insert(part);
            out.buffer().put_u8(FRAME_END);
        }
    }
    message.len() as u64
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
