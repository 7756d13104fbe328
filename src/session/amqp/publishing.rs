//! Publishing: from frames to a batch, frame by frame. The ordinary case has a shorter way: `whole_publishes`.
//!
//! A message that is whole in one read is copied once, into the batch. See `confirms` for what its publisher hears.

use bytes::{Bytes, BytesMut};
use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    Assembled, BasicPublishRef, BasicReturn, ContentAssembler, ContentHeader, Method, MethodId, put_body,
    put_content_header,
};
use rialto_protocol::types::{RawProperties, ShortStr};

use super::channel::{Channel, Mode};
use super::confirms::{Fate, tell_confirms, track};
use super::fault::{Fault, Refusal};
use super::{AmqpSession, ChannelSlot, Open, State};
use crate::broker::{Commit, Hold, PublishBatch, REPLY_TO, Repeats, UNDECIDED};
use crate::model::{ChannelId, QueueId, expiration};
use crate::queue::RejectReason;
use crate::session::publish_rules;
use crate::session::speaker::Speaker;

impl AmqpSession {
    /// A publish begins; its content follows.
    pub(super) fn begin_publish(
        &mut self,
        number: ChannelId,
        payload: &[u8],
        wire_len: usize,
    ) -> Result<(), Fault> {
        BasicPublishRef::decode(payload)?;
        let open = self.open();
        open.spend_allowance(wire_len);
        if let Some(channel) = open.channel_mut(number) {
            channel.arriving.begin(payload);
        }
        Ok(())
    }

    pub(super) fn handle_content_header(
        &mut self,
        number: ChannelId,
        header: &ContentHeader<'_>,
        wire_len: usize,
    ) -> Result<(), Fault> {
        let size_max = u64::from(self.options.message_size_max);
        let size = header.body_size;
        self.assemble(number, wire_len, |arriving| {
            let whole = arriving.header(header)?;
            match size > size_max {
                true => {
                    let text = format!("message size {size} is larger than configured max size {size_max}");
                    Err(Refusal::new(ReplyCode::PreconditionFailed, text))
                }
                false => Ok(whole),
            }
        })
    }

    pub(super) fn handle_content_body(
        &mut self,
        number: ChannelId,
        payload: &[u8],
        wire_len: usize,
    ) -> Result<(), Fault> {
        let Some(mut arriving) = self.take_arriving(number, wire_len) else { return Ok(()) };
        let before = arriving.incomplete_bytes();
        let outcome = match arriving.body(payload) {
            Ok(Some(content)) => self.publish(number, &content),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.put_arriving(number, arriving, before, outcome)
    }

    fn assemble(
        &mut self,
        number: ChannelId,
        wire_len: usize,
        step: impl FnOnce(&mut ContentAssembler) -> Result<Option<Assembled<'_>>, Refusal>,
    ) -> Result<(), Fault> {
        let Some(mut arriving) = self.take_arriving(number, wire_len) else { return Ok(()) };
        let before = arriving.incomplete_bytes();
        let outcome = match step(&mut arriving) {
            Ok(Some(content)) => self.publish(number, &content),
            Ok(None) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        self.put_arriving(number, arriving, before, outcome)
    }

    fn take_arriving(&mut self, number: ChannelId, wire_len: usize) -> Option<ContentAssembler> {
        let open = self.open();
        open.spend_allowance(wire_len);
        open.channel_mut(number).map(|channel| std::mem::take(&mut channel.arriving))
    }

    fn put_arriving(
        &mut self,
        number: ChannelId,
        arriving: ContentAssembler,
        before: usize,
        outcome: Result<(), Refusal>,
    ) -> Result<(), Fault> {
        let max = self.options.amqp.uncommitted_max;
        let open = self.open();
        let held = arriving.incomplete_bytes();
        if let Some(channel) = open.channel_mut(number) {
            channel.arriving = arriving;
            open.uncommitted = open.uncommitted + held as u64 - before as u64;
        }
        outcome.map_err(|refusal| refusal.at(MethodId::BASIC_PUBLISH))?;
        match held > before && open.uncommitted > max {
            true => Err(too_much_uncommitted(max).at(MethodId::BASIC_PUBLISH)),
            false => Ok(()),
        }
    }

    pub(super) fn publish(&mut self, number: ChannelId, content: &Assembled<'_>) -> Result<(), Refusal> {
        let publish = BasicPublishRef::decode(content.method)
            .map_err(|error| Refusal::new(error.reply_code(), error.to_string()))?;
        if publish.immediate {
            return Err(Refusal::new(ReplyCode::NotImplemented, "immediate=true"));
        }
        self.settle_first();
        let mut refused = self.refuses_publishes();
        let uncommitted_max = self.options.amqp.uncommitted_max;
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let Open {
            vhost,
            pass,
            id,
            tuned,
            channels,
            routes,
            batch,
            scratch,
            tracked,
            rejected,
            uncommitted,
            ..
        } = &mut **open;
        let slot = routes.slot(publish.exchange, publish.routing_key);
        let given = RawProperties::trusted(content.properties);
        let mut resolved = slot.find((vhost, pass, *id), given, scratch)?;
        if resolved.repeats == Repeats::Own && !batch.is_empty() {
            // Of a message that may be refused yet: that must be known before this one is confirmed.
            let commit = self.broker.publish(batch, &self.outbox, rejected, &mut self.turn.0);
            tell_confirms(tracked, rejected, commit, channels, &mut self.held, &mut self.out, &self.broker);
            resolved = slot.find((vhost, pass, *id), given, scratch)?;
        }
        publish_rules::check_user_id(&given, pass.user())?;
        let Some(ChannelSlot::Open(channel)) = channels.get_mut(&number) else { return Ok(()) };
        let is_undecided = match (resolved.repeats, &channel.mode) {
            // Nobody is told anything: it goes nowhere, as other duplicates do.
            (_, Mode::Plain) | (Repeats::Nothing | Repeats::Kept, _) => false,
            // A transaction that repeats itself is committed as a whole, or not at all.
            (Repeats::Own, mode) => !matches!(mode, Mode::Transaction(_)),
            (Repeats::Others, _) => true,
        };
        if is_undecided {
            refused = Some(Refusal::new(ReplyCode::ResourceLocked, UNDECIDED));
        }
        let is_duplicate = resolved.repeats != Repeats::Nothing;
        let targets = &resolved.targets;
        let mut properties = resolved.stored.as_deref().unwrap_or(content.properties);
        let with_reply_queue;
        if given.reply_to() == Some(REPLY_TO) {
            with_reply_queue = reply_to_queue(channel, properties)?;
            properties = &with_reply_queue;
        }
        if let Some(refusal) = refused {
            if let Mode::Confirm { next } = &mut channel.mode {
                track(tracked, number, *next, Fate::Refused, 1);
                *next += 1;
                return Ok(());
            }
            // Nobody waits for a confirm, so the connection says it: nothing is dropped silently.
            return Err(refusal);
        }
        let is_confirmed = matches!(channel.mode, Mode::Confirm { .. });
        let transaction = match &mut channel.mode {
            Mode::Transaction(transaction) => Some(&mut **transaction),
            Mode::Plain | Mode::Confirm { .. } => None,
        };
        let is_transaction = transaction.is_some();
        let (batch, returns) = match transaction {
            Some(transaction) => {
                let places = targets.queues.len() * size_of::<usize>();
                let len = (content.body.len() + properties.len() + places) as u64 + MESSAGE_COST;
                transaction.bytes += len;
                transaction.published += 1;
                channel.info.uncommitted.set(transaction.published);
                *uncommitted += len;
                if *uncommitted > uncommitted_max {
                    return Err(too_much_uncommitted(uncommitted_max));
                }
                transaction.buffers()
            }
            None => (batch, self.out.buffer()),
        };
        resolved.counts.iter().for_each(|counts| batch.from_exchange(counts));
        if is_duplicate {
            batch.leave_out_duplicate();
        }
        let fate = if targets.queues.is_empty() {
            expiration(&given).map_err(|error| Refusal::new(error.reply_code(), error.to_string()))?;
            if publish.mandatory && !is_duplicate {
                put_return(number, &publish, properties, content.body, tuned.frame_max, returns);
            }
            if !is_duplicate {
                batch.count_unroutable(publish.mandatory);
                channel.info.messages.unroutable(publish.mandatory, 1);
            }
            Fate::Unroutable
        } else {
            let position = batch.len() as u32;
            batch
                .push_content(&slot.route, targets, properties, content.body)
                .map_err(|error| Refusal::new(error.reply_code(), error.to_string()))?;
            Fate::Batched { position }
        };
        if is_confirmed {
            batch.count_confirms(1);
        }
        channel.info.messages.published.add(1);
        let is_full = !is_transaction && batch.is_full();
        if let Mode::Confirm { next } = &mut channel.mode {
            track(tracked, number, *next, fate, 1);
            *next += 1;
        }
        if is_full {
            self.flush_publishes();
        }
        Ok(())
    }

    /// Why the broker takes no messages at all now.
    pub(super) fn refuses_publishes(&self) -> Option<Refusal> {
        if self.broker.memory_exhausted() {
            let text = "the broker's memory is exhausted; publish again later";
            return Some(Refusal::new(ReplyCode::ResourceError, text));
        }
        self.broker.log_stopped().map(|why| publish_rules::not_stored(&why).into())
    }

    /// Publishes what was collected and confirms it.
    pub(super) fn flush_publishes(&mut self) {
        let window = self.options.publish_window;
        let State::Open(open) = &mut self.state else { return };
        let Open { batch, rejected, tracked, channels, .. } = &mut **open;
        let commit = self.broker.publish(batch, &self.outbox, rejected, &mut self.turn.0);
        tell_confirms(tracked, rejected, commit, channels, &mut self.held, &mut self.out, &self.broker);
        open.hold_back(self.turn.0.take_congested(), window);
        self.count_confirmed();
    }

    /// Publishes what a transaction has collected, each batch for itself. None if some queue refused something; else
    /// what its commit waits for.
    pub(super) fn publish_apart(&mut self, batches: Vec<PublishBatch>) -> Option<Commit> {
        let window = self.options.publish_window;
        let State::Open(open) = &mut self.state else { return None };
        let (mut all_taken, mut commit) = (true, Commit::NONE);
        for mut batch in batches {
            let of_batch =
                self.broker.publish(&mut batch, &self.outbox, &mut open.rejected, &mut self.turn.0);
            commit = commit.join(of_batch);
            all_taken &= open.rejected.is_empty();
            open.rejected.clear();
            open.hold_back(self.turn.0.take_congested(), window);
        }
        all_taken.then_some(commit)
    }

    /// Publishes what a transaction has collected, as one with what the turn has settled: what its commit waits for, or
    /// why something was not taken after all.
    pub(super) fn publish_committed(&mut self, batches: Vec<PublishBatch>) -> Result<Commit, RejectReason> {
        let window = self.options.publish_window;
        let State::Open(open) = &mut self.state else { return Ok(Commit::NONE) };
        let commit =
            self.broker.publish_together(batches, &self.outbox, &mut open.rejected, &mut self.turn.0);
        let refused = open.rejected.drain(..).next();
        open.hold_back(self.turn.0.take_congested(), window);
        match refused {
            Some((_, reason)) => Err(reason),
            None => Ok(commit),
        }
    }

    pub(super) fn select_confirms(&mut self, number: ChannelId, no_wait: bool) -> Result<(), Refusal> {
        if let Some(channel) = self.open().channel_mut(number) {
            match &channel.mode {
                Mode::Plain => channel.mode = Mode::Confirm { next: 1 },
                Mode::Confirm { .. } => {}
                Mode::Transaction(_) => {
                    let text = "cannot switch from tx to confirm mode";
                    return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
                }
            }
        }
        self.answer(number, no_wait, Method::ConfirmSelectOk(Default::default()));
        Ok(())
    }
}

/// What a message in a transaction counts for besides its bytes and its queues: its place in the batch, and the names
/// that its return would repeat.
const MESSAGE_COST: u64 = 640;

fn too_much_uncommitted(max: u64) -> Refusal {
    let text = format!(
        "more than {max} bytes of messages that are still arriving or not committed (amqp.uncommitted_max); \
         commit more often"
    );
    Refusal::new(ReplyCode::ResourceError, text)
}

impl Open {
    pub(super) fn spend_allowance(&mut self, wire_len: usize) {
        if !self.held_by.is_empty() {
            self.held_allowance = self.held_allowance.saturating_sub(wire_len as u32);
        }
    }

    fn hold_back(&mut self, congested: impl Iterator<Item = (QueueId, Hold)>, window: u32) {
        let was_free = self.held_by.is_empty();
        self.held_by.extend(congested);
        if was_free {
            self.held_allowance = window;
        }
    }
}

/// The properties with the channel's own reply address instead of the name that stands for it.
fn reply_to_queue(channel: &Channel, properties: &[u8]) -> Result<Bytes, Refusal> {
    let Some(queue) = &channel.reply_queue else {
        let text = "fast reply consumer does not exist";
        return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
    };
    let mut properties = RawProperties::trusted(properties).decode();
    properties.reply_to = Some(queue.name().short().clone());
    Ok(properties.encoded())
}

fn put_return(
    channel: ChannelId,
    publish: &BasicPublishRef<'_>,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
    out: &mut BytesMut,
) {
    let returned = BasicReturn {
        reply_code: ReplyCode::NoRoute.number(),
        reply_text: ShortStr::truncated(ReplyCode::NoRoute.name()),
        exchange: ShortStr::truncated(publish.exchange),
        routing_key: ShortStr::truncated(publish.routing_key),
    };
    Method::BasicReturn(returned).encode(channel.0, out);
    put_content_header(channel.0, body.len() as u64, properties, out);
    put_body(channel.0, body, frame_max, out);
}
