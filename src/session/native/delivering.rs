//! From the outbox to bytes.
//!
//! Neighbouring messages of a batch are copied (or, when large, sent) as one slice. Once a consumer's deliveries
//! have left the outbox, its queue is told, so that it may give more: in halves of the window, so that the
//! queue is locked rarely.

use rialto_protocol::native::DeliverWriter;

use super::channel::ChannelSlot;
use super::consuming::entry_flags;
use super::{NativeSession, State};
use crate::broker::{DeliveryRun, LocalConsumer, Notice};
use crate::model::{ChannelId, Message, MessageRoute};
use crate::queue::Delivery;
use crate::session::{OUTPUT_HIGH, SLICE_LEAST, WriteQueue};

/// A delivery frame is ended when it has become this long: the client can start on it.
const FRAME_TARGET: usize = 128 << 10;

/// Deliveries taken from a run at a time, so that large messages do not fill the output far past its mark.
const CHUNK_MAX: usize = 1024;

impl NativeSession {
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
        let DeliveryRun { consumer, count } = *run;
        let take = count.min(CHUNK_MAX);
        run.count -= take;
        if run.count == 0 {
            self.sending.runs.pop_front();
        }
        let bytes = encode(consumer, self.sending.deliveries.drain(..take), &mut self.out);
        self.sent(consumer, bytes);
        true
    }

    /// Counts what has left the outbox for a consumer, and tells its queue when it is enough.
    fn sent(&mut self, consumer: LocalConsumer, bytes: u64) {
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&consumer.channel) else { return };
        let Some(found) = channel.consumers.get_mut(&consumer.number) else { return };
        found.sent += bytes;
        if found.sent >= found.window / 2 && found.cancelled.is_none() {
            let bytes = std::mem::take(&mut found.sent);
            found.queue.refill(found.id, bytes, &mut self.turn.0);
        }
    }
}

/// Encodes deliveries for one consumer into as many frames as their tags and lengths ask for, and says how
/// many bytes of messages they were.
fn encode(consumer: LocalConsumer, deliveries: impl Iterator<Item = Delivery>, out: &mut WriteQueue) -> u64 {
    let mut deliveries = deliveries.peekable();
    let mut bytes = 0;
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
                    out.insert(first.entries_bytes_to(last));
                } else {
                    frame.entries(count, first.entries_to(last), out.buffer());
                }
            } else {
                bytes += encode_flagged(&delivery, &mut frame, out);
            }
        }
        frame.finish(out.buffer());
    }
    bytes
}

/// Encodes a message whose entry differs from the one published.
fn encode_flagged(delivery: &Delivery, frame: &mut DeliverWriter, out: &mut WriteQueue) -> u64 {
    let Delivery { message, delivery_count, .. } = delivery;
    let (properties, body_len) = (message.properties_bytes(), message.body_len());
    frame.entry_head(entry_flags(delivery), *delivery_count, properties, body_len, out.buffer());
    if body_len >= SLICE_LEAST {
        frame.elsewhere(0, body_len);
        out.insert(message.body_bytes());
    } else {
        out.buffer().extend_from_slice(message.body());
    }
    message.len() as u64
}

/// Whether a delivery's entry is the very bytes that were published.
fn is_plain(delivery: &Delivery) -> bool {
    !delivery.redelivered && delivery.delivery_count == 0
}
