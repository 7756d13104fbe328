//! Acknowledgements: from a channel's delivery tags to the queues whose messages they settle.

use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{BasicAck, BasicNack, BasicReject, Method};

use super::channel::{Channel, ChannelSlot, Consumer, Mode};
use super::fault::Refusal;
use super::unacked::Taken;
use super::{AmqpSession, Open, State};
use crate::model::ChannelId;
use crate::queue::Settle;
use crate::session::settles::PendingSettles;

impl AmqpSession {
    pub(super) fn ack(&mut self, number: ChannelId, ack: &BasicAck) -> Result<(), Refusal> {
        self.settle(number, ack.delivery_tag, ack.multiple, &Settle::Ack)
    }

    pub(super) fn nack(&mut self, number: ChannelId, nack: &BasicNack) -> Result<(), Refusal> {
        self.settle(number, nack.delivery_tag, nack.multiple, &negative(nack.requeue))
    }

    pub(super) fn reject(&mut self, number: ChannelId, reject: &BasicReject) -> Result<(), Refusal> {
        self.settle(number, reject.delivery_tag, false, &negative(reject.requeue))
    }

    /// Gives everything unacknowledged on the channel back to its queues.
    pub(super) fn recover(&mut self, number: ChannelId, requeue: bool, answer: bool) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        let open = self.open();
        let taken = open.channel_mut(number).map(|channel| channel.unacked.take_all()).unwrap_or_default();
        for taken in by_consumer(taken) {
            open.collect_settle(number, taken, &Settle::Requeue);
        }
        self.flush_settles();
        self.answer(number, !answer, Method::BasicRecoverOk(Default::default()));
        Ok(())
    }

    fn settle(
        &mut self,
        number: ChannelId,
        tag: u64,
        multiple: bool,
        settlement: &Settle,
    ) -> Result<(), Refusal> {
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let Open { channels, settles, .. } = &mut **open;
        let Some(ChannelSlot::Open(channel)) = channels.get_mut(&number) else { return Ok(()) };
        if multiple {
            let taken = match tag {
                0 => channel.unacked.take_all(),
                tag => channel.unacked.take_up_to(tag),
            };
            // "All" may be none; a tag must be one that is outstanding, as in RabbitMQ.
            if taken.is_empty() && tag != 0 {
                return Err(unknown_tag(tag));
            }
            for taken in by_consumer(taken) {
                collect(channel, settles, number, taken, settlement);
            }
        } else {
            let taken = channel.unacked.take_one(tag).ok_or_else(|| unknown_tag(tag))?;
            collect(channel, settles, number, taken, settlement);
        }
        if let Mode::Transaction(_) = channel.mode {
            channel.tell_figures();
        }
        Ok(())
    }

    /// Carries out the settlements that were collected, with one lock for each consumer's.
    pub(super) fn flush_settles(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let mut settles = open.settles.take();
        for settle in settles.drain(..) {
            // The tags come from the queue itself: it can have forgotten their consumer, but not refuse them.
            let count = settle.queue.settle(settle.id, &settle.ranges, &mut self.turn.0).unwrap_or(0);
            self.after_settle(settle.channel, settle.consumer, count);
            if let State::Open(open) = &mut self.state
                && let Some(channel) = open.channel_mut(settle.channel)
            {
                channel.info.messages.acked.add(settle.acked(count));
            }
        }
        if let State::Open(open) = &mut self.state {
            open.settles.give_back(settles);
        }
    }

    /// A consumer holds so many messages fewer, which matters if it was cancelled: it goes with its last message. A
    /// channel-wide prefetch has room again.
    pub(super) fn after_settle(&mut self, number: ChannelId, consumer: u32, count: u64) {
        let turn = &mut self.turn.0;
        let State::Open(open) = &mut self.state else { return };
        let Some(channel) = open.channel_mut(number) else { return };
        if let Some(Consumer { cancelled: Some(unacked), .. }) = channel.consumers.get_mut(&consumer) {
            *unacked = unacked.saturating_sub(count);
            if *unacked == 0 {
                channel.consumers.remove(&consumer);
            }
        }
        channel.info.unacked.set(channel.unacked.len());
        channel.has_room(turn);
    }
}

impl Open {
    /// Collects a settlement outside of any transaction.
    pub(super) fn collect_settle(&mut self, number: ChannelId, taken: Taken, settlement: &Settle) {
        if let Some(ChannelSlot::Open(channel)) = self.channels.get_mut(&number) {
            push(channel, &mut self.settles, number, taken, settlement);
        }
    }
}

fn collect(
    channel: &mut Channel,
    settles: &mut PendingSettles,
    number: ChannelId,
    taken: Taken,
    settlement: &Settle,
) {
    match &mut channel.mode {
        Mode::Transaction(transaction) => transaction.settle(taken, settlement.clone()),
        Mode::Plain | Mode::Confirm { .. } => push(channel, settles, number, taken, settlement),
    }
}

fn push(
    channel: &Channel,
    settles: &mut PendingSettles,
    number: ChannelId,
    taken: Taken,
    settlement: &Settle,
) {
    // A consumer that has ended with its queue has nothing left to settle.
    if let Some(consumer) = channel.consumers.get(&taken.consumer) {
        settles.push(number, taken.consumer, (consumer.id, &consumer.queue), taken.own, settlement);
    }
}

/// What one consumer holds comes together, in order: its queue takes back all of it before it gives any of it again.
fn by_consumer(mut taken: Vec<Taken>) -> Vec<Taken> {
    taken.sort_by_key(|taken| taken.consumer);
    taken
}

fn negative(requeue: bool) -> Settle {
    match requeue {
        true => Settle::Requeue,
        false => Settle::Reject { reason: None },
    }
}

fn unknown_tag(tag: u64) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, format!("unknown delivery tag {tag}"))
}
