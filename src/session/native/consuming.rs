//! Consuming over the native protocol: consumers, `Get`, credit, settlements.

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::native::{
    self, Consume, DeliveredRun, EntryFlags, Kind, Place, Response, Settle, put_entry_head,
};
use rialto_protocol::types::ShortStr;

use super::channel::{ChannelSlot, Consumer};
use super::{Fault, NativeSession, Open, State, channel_fault, fault_closing, place_of};
use crate::access::Operation;
use crate::broker::{BrokerError, LocalConsumer, Settled};
use crate::model::{ChannelId, ConsumerTag};
use crate::queue::{self, ChannelWindow, ConsumerSpec, Credit, Delivery, SettleError};
use crate::session::consumer_arguments;
use crate::session::speaker::Speaker;

impl NativeSession {
    pub(super) fn handle_settle(&mut self, place: Place, settle: Settle) -> Result<(), Fault> {
        let number = ChannelId(place.channel);
        let settlement = match settle.settlement {
            native::Settlement::Ack => queue::Settle::Ack,
            native::Settlement::Requeue => queue::Settle::Requeue,
            native::Settlement::Reject { reason } => {
                queue::Settle::Reject { reason: Some(reason).filter(|reason| !reason.is_empty()) }
            }
        };
        if settle.consumer == 0 {
            return self.settle_gets(place, &settle.ranges, &settlement);
        }
        if self.open_channel_mut(place)?.is_none() {
            return Ok(());
        }
        let Open { channels, settles, .. } = self.open();
        let Some(ChannelSlot::Open(channel)) = channels.get(&number) else { return Ok(()) };
        let Some(consumer) = channel.consumers.get(&settle.consumer) else {
            if settle.consumer <= channel.highest_consumer {
                // It has ended with its queue, and this was under way.
                return Ok(());
            }
            let text = format!("there has been no consumer {} on this channel", settle.consumer);
            return Err(channel_fault(ReplyCode::PreconditionFailed, text, place));
        };
        for &range in &settle.ranges {
            settles.push(number, settle.consumer, (consumer.id, &consumer.queue), range, &settlement);
        }
        Ok(())
    }

    /// Carries out the settlements that were collected, with one lock for each consumer's.
    pub(super) fn flush_settles(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let mut settles = open.settles.take();
        let mut faults = Vec::new();
        for settle in settles.drain(..) {
            let result = settle.queue.settle(settle.id, &settle.ranges, &mut self.turn.0);
            match result {
                Ok(count) => {
                    self.after_settle(settle.channel, settle.consumer, count, true);
                    let State::Open(open) = &self.state else { return };
                    if let Some(ChannelSlot::Open(channel)) = open.channels.get(&settle.channel) {
                        channel.info.messages.acked.add(settle.acked(count));
                    }
                }
                // A cancelled consumer that had settled everything: late, not wrong.
                Err(SettleError::UnknownConsumer) => {}
                Err(error @ SettleError::NeverDelivered) => faults.push((settle.channel, error.to_string())),
            }
        }
        if let State::Open(open) = &mut self.state {
            open.settles.give_back(settles);
        }
        for (channel, text) in faults {
            let place = place_of(Kind::Settle, channel);
            self.close_channel_with(channel, fault_closing(ReplyCode::PreconditionFailed, text, place));
        }
    }

    /// A consumer holds so many messages fewer, which matters if it was cancelled: it goes with its last message. A
    /// channel-wide prefetch has room again.
    pub(super) fn after_settle(&mut self, number: ChannelId, consumer: u32, count: u64, of_cancelled: bool) {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else { return };
        channel.settled(consumer, count, of_cancelled);
        channel.has_room(turn);
    }

    pub(super) fn handle_credit(
        &mut self,
        place: Place,
        consumer: u32,
        messages: u32,
        bytes: u32,
    ) -> Result<(), Fault> {
        let Some(channel) = self.open_channel_mut(place)? else { return Ok(()) };
        let Some(found) = channel.consumers.get(&consumer) else {
            if consumer <= channel.highest_consumer {
                return Ok(());
            }
            let text = format!("there has been no consumer {consumer} on this channel");
            return Err(channel_fault(ReplyCode::PreconditionFailed, text, place));
        };
        let (queue, id) = (found.queue.clone(), found.id);
        queue.add_credit(id, messages, bytes, &mut self.turn.0);
        Ok(())
    }

    pub(super) fn consume(&mut self, number: ChannelId, consume: Consume) -> Result<Response, BrokerError> {
        let limits = self.broker.limits().clone();
        let consumers_max = self.options.consumers_max;
        let id = self.broker.next_consumer_id();
        let State::Open(open) = &mut self.state else { return Ok(Response::Done) };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else {
            return Ok(Response::Done);
        };
        if consume.consumer == 0 || channel.consumers.contains_key(&consume.consumer) {
            let text = format!("consumer number {} is in use or 0; choose another from 1", consume.consumer);
            return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        }
        if channel.consumers.len() >= consumers_max {
            let text = format!(
                "a channel has at most {consumers_max} consumers (protocol.consumers_per_channel_max)"
            );
            return Err(BrokerError::refused(ReplyCode::NotAllowed, text));
        }
        let max = self.options.connection_consumers_max;
        if open.consumers >= max {
            let text =
                format!("a connection has at most {max} consumers (protocol.consumers_per_connection_max)");
            return Err(BrokerError::refused(ReplyCode::NotAllowed, text));
        }
        if !consume.tag.is_empty() && channel.consumers.values().any(|other| other.tag == consume.tag) {
            let text = format!("attempt to reuse consumer tag '{}'", consume.tag);
            return Err(BrokerError::refused(ReplyCode::NotAllowed, text));
        }
        open.pass.check(&Operation::Consume { queue: &consume.queue })?;
        let queue = open.vhost.queue(&consume.queue, open.id)?;
        let tag = match consume.tag.is_empty() {
            true => ShortStr::truncated(format!("ctag-{}.{}", open.id, id)),
            false => consume.tag,
        };
        let window = limits.consumer_window(open.consumers + 1);
        let spec = ConsumerSpec {
            id,
            tag: ConsumerTag::from(tag.clone()),
            auto_ack: consume.auto_ack,
            exclusive: consume.exclusive,
            priority: consumer_arguments::priority(&consume.arguments, queue.name(), &open.vhost)?,
            prefetch: consume.prefetch,
            credit: consume
                .credit
                .map(|(messages, bytes)| Credit { messages: messages.into(), bytes: bytes.into() }),
            window,
            channel_window: channel.window.clone(),
            timeout: None,
        };
        let local = LocalConsumer { channel: number, number: consume.consumer };
        match queue.consume(spec, local, &self.outbox, &mut self.turn.0) {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(consumer_arguments::refused(&error, &queue, &open.vhost)),
            None => return Err(open.vhost.no_queue(queue.name())),
        }
        open.consumers += 1;
        channel.highest_consumer = channel.highest_consumer.max(consume.consumer);
        let (auto_ack, tag_of) = (consume.auto_ack, tag.clone());
        let consumer =
            Consumer { id, tag: tag_of, queue, auto_ack, unacked: 0, sent: 0, window, cancelled: None };
        channel.consumers.insert(consume.consumer, consumer);
        channel.info.consumers.add(1);
        Ok(Response::Consuming { tag })
    }

    pub(super) fn cancel(&mut self, number: ChannelId, consumer: u32) -> Response {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return Response::Done };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else { return Response::Done };
        if let Some(found) = channel.consumers.get_mut(&consumer)
            && found.cancelled.is_none()
        {
            open.consumers -= 1;
            let unacked = found.queue.cancel_consumer(found.id, turn);
            found.cancelled = Some(unacked);
            channel.info.consumers.sub(1);
            if unacked == 0 {
                channel.remove_consumer(consumer);
            }
            // An auto-delete queue goes with its last consumer, and with it what that held for the channel.
            channel.has_room(turn);
        }
        // What was assigned before the cancel goes out before its answer.
        self.encode_sending();
        Response::Done
    }

    pub(super) fn set_prefetch(&mut self, number: ChannelId, messages: u32) -> Response {
        if let State::Open(open) = &mut self.state
            && let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number)
        {
            channel.info.global_prefetch.set(messages.into());
            match &channel.window {
                Some(window) => window.set_limit(messages),
                None => {
                    let window = channel.window.insert(Arc::new(ChannelWindow::new(messages)));
                    for consumer in channel.consumers.values() {
                        consumer.queue.join_channel_window(consumer.id, window, &mut self.turn.0);
                    }
                }
            }
            channel.window_has_changed(&mut self.turn.0);
        }
        Response::Done
    }

    pub(super) fn get(
        &mut self,
        number: ChannelId,
        queue: &str,
        auto_ack: bool,
    ) -> Result<Response, BrokerError> {
        let new_id = self.broker.next_consumer_id();
        let State::Open(open) = &mut self.state else { return Ok(Response::Done) };
        open.pass.check(&Operation::Get { queue })?;
        let queue = open.vhost.queue(queue, open.id)?;
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else {
            return Ok(Response::Done);
        };
        let gets = &mut channel.gets;
        let getter = gets.getters.get(&queue.id()).map_or(new_id, |(id, _)| *id);
        let Some(got) = queue.get(getter, auto_ack, &mut self.turn.0) else {
            return Err(open.vhost.no_queue(queue.name()));
        };
        channel.info.messages.got(auto_ack, got.as_ref().map(|got| got.delivery.redelivered));
        let Some(got) = got else { return Ok(Response::Empty) };
        gets.last_tag += 1;
        if !auto_ack {
            let before = gets.unacked.len();
            gets.remember(getter, &queue, got.delivery.tag);
            channel.info.unacked.add(gets.unacked.len() as u64);
            channel.info.unacked.sub(before as u64);
        }
        let (tag, remaining) = (gets.last_tag, got.remaining);
        Ok(Response::Got { tag, remaining, run: delivered_run(&got.delivery) })
    }

    fn settle_gets(
        &mut self,
        place: Place,
        ranges: &[(u64, u64)],
        settlement: &queue::Settle,
    ) -> Result<(), Fault> {
        let number = ChannelId(place.channel);
        if self.open_channel_mut(place)?.is_none() {
            return Ok(());
        }
        // These are not collected, so what was collected before them comes first.
        self.flush();
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&number) else { return Ok(()) };
        let gets = &mut channel.gets;
        for &(first, last) in ranges {
            if last > gets.last_tag || first == 0 {
                let text = format!("unknown delivery tag {last} of Get");
                return Err(channel_fault(ReplyCode::PreconditionFailed, text, place));
            }
            let from = gets.unacked.partition_point(|(tag, ..)| *tag < first);
            let to = gets.unacked.partition_point(|(tag, ..)| *tag <= last).max(from);
            channel.info.unacked.sub((to - from) as u64);
            let mut taken = gets.unacked.drain(from..to).map(|(_, queue, tag)| (queue, tag)).peekable();
            while let Some((queue, first)) = taken.next() {
                // A queue counts its tags for this channel by one, so most ranges stay ranges.
                let mut last = first;
                while taken.next_if_eq(&(queue, last + 1)).is_some() {
                    last += 1;
                }
                let Some((getter, queue)) = gets.getters.get(&queue) else { continue };
                let settled = Settled { first, last, settlement: settlement.clone() };
                // They were delivered: the tags come from the queue itself.
                let _ = queue.settle(*getter, &[settled], &mut self.turn.0);
            }
        }
        Ok(())
    }
}

/// What an entry of a delivery says about it.
pub(super) fn entry_flags(delivery: &Delivery) -> EntryFlags {
    let mut flags = EntryFlags::NONE;
    if delivery.redelivered {
        flags = flags.with(EntryFlags::REDELIVERED);
    }
    if delivery.delivery_count > 0 {
        flags = flags.with(EntryFlags::DELIVERY_COUNT);
    }
    flags
}

fn delivered_run(delivery: &Delivery) -> DeliveredRun {
    let message = &delivery.message;
    let mut entries = bytes::BytesMut::with_capacity(message.len() + 4);
    let (properties, body) = (message.properties_bytes(), message.body());
    put_entry_head(
        entry_flags(delivery),
        delivery.delivery_count,
        properties.len(),
        body.len(),
        &mut entries,
    );
    entries.extend_from_slice(properties);
    entries.extend_from_slice(body);
    DeliveredRun {
        exchange: message.exchange().short().clone(),
        routing_key: message.routing_key().short().clone(),
        count: 1,
        entries: entries.freeze(),
    }
}
