//! Publishing, the ordinary case: messages whose frames are all there, one message behind the other.
//!
//! A stretch of them is carried out with one look at the channel, the route and the broker. Invariant: what becomes of
//! a message is what `publishing` makes of it frame by frame; whatever is out of the ordinary, or wrong, is left to
//! that, before anything of the message is done.

use std::sync::Arc;

use rialto_protocol::amqp::{Assembled, BasicPublishRef, MethodId, WholePublish};

use super::channel::{Channel, Mode};
use super::confirms::{Fate, track};
use super::{AmqpSession, ChannelSlot, Open, State};
use crate::broker::{PublishBatch, REPLY_TO, Targets};
use crate::model::{ChannelId, MessageRoute};
use crate::routing::CopyKeys;
use crate::session::publish_rules;

/// Bytes at the beginning of a message that are the same in all that one publisher sends to one route: the header of
/// the method's frame and the method's id.
const ALIKE: usize = 11;

impl AmqpSession {
    /// Publishes the messages that `input` begins with, as far as they are whole, and says how many bytes they take.
    /// 0: what comes there is to be read frame by frame.
    pub(super) fn take_publishes(&mut self, input: &[u8]) -> usize {
        let State::Open(open) = &mut self.state else { return 0 };
        let Some((first, len)) = WholePublish::split(input, open.tuned.frame_max) else { return 0 };
        let (number, room) = (ChannelId(first.channel), open.room(self.options.amqp.uncommitted_max));
        let size_max = u64::from(self.options.message_size_max);
        let fits = |publish: &WholePublish<'_>| {
            publish.header.body_size <= size_max && publish.header.property_bytes.len() as u64 <= room
        };
        let Some(channel) = open.channel_mut(number) else { return 0 };
        if !fits(&first) || !channel.takes_whole_publishes() {
            return 0;
        }
        channel.arriving.trim();
        if self.refuses_publishes().is_none() {
            let taken = self.take_ordinary(number, input, fits);
            if taken > 0 {
                return taken;
            }
        }
        if BasicPublishRef::decode(first.method).is_err() {
            return 0;
        }
        self.open().spend_allowance(len);
        let WholePublish { channel: _, method, header, body } = first;
        let outcome = self.publish(number, &Assembled { method, properties: header.property_bytes, body });
        self.conclude(number, outcome.map_err(|refusal| refusal.at(MethodId::BASIC_PUBLISH)));
        len
    }

    /// Publishes messages of this channel up to the first that is not to be put into the batch just like that.
    fn take_ordinary(
        &mut self,
        number: ChannelId,
        input: &[u8],
        fits: impl Fn(&WholePublish<'_>) -> bool,
    ) -> usize {
        let State::Open(open) = &mut self.state else { return 0 };
        let Open { vhost, guard, tuned, channels, routes, batch, tracked, .. } = &mut **open;
        let Some(ChannelSlot::Open(channel)) = channels.get_mut(&number) else { return 0 };
        let mut taken = 0;
        let mut way: Option<(&[u8], &MessageRoute, &Arc<Targets>)> = None;
        while let Some((publish, len)) = WholePublish::split(&input[taken..], tuned.frame_max) {
            let properties = &publish.header.properties;
            let is_ordinary = publish.channel == number.0
                && fits(&publish)
                && !CopyKeys::are_in(properties)
                && properties.reply_to() != Some(REPLY_TO)
                && publish_rules::check_user_id(properties, &guard.info().user).is_ok();
            if !is_ordinary {
                break;
            }
            let (_, route, targets) = match way {
                Some(way) if way.0 == publish.method => way,
                _ => {
                    let Ok(read) = BasicPublishRef::decode(publish.method) else { break };
                    let slot = routes.slot(read.exchange, read.routing_key);
                    let Some(targets) = slot.known_targets(vhost) else { break };
                    if read.immediate || targets.queues.is_empty() {
                        break;
                    }
                    (publish.method, &slot.route, targets)
                }
            };
            way = Some((publish.method, route, targets));
            if batch.is_empty() {
                reserve(batch, &input[taken..], &publish, len);
            }
            let position = batch.len() as u32;
            if batch.push_content(route, targets, publish.header.property_bytes, publish.body).is_err() {
                break;
            }
            if let Mode::Confirm { next } = &mut channel.mode {
                track(tracked, number, *next, Fate::Batched { position });
                *next += 1;
            }
            taken += len;
            if batch.is_full() {
                break;
            }
        }
        let is_full = batch.is_full();
        open.spend_allowance(taken);
        if is_full {
            self.flush_publishes();
            self.turn.0.follow_up(&self.broker);
        }
        taken
    }
}

impl Open {
    /// Bytes that a message may have while it arrives, before the limit is passed.
    fn room(&self, uncommitted_max: u64) -> u64 {
        uncommitted_max.saturating_sub(self.uncommitted)
    }
}

impl Channel {
    /// Whether a publish may come now, and needs no more than to be put into the batch.
    fn takes_whole_publishes(&self) -> bool {
        self.arriving.is_idle() && !matches!(self.mode, Mode::Transaction(_))
    }
}

/// Makes room for the messages that `input` consists of, if they are all like the first. What is reserved is less than
/// the input, as an entry is shorter than its frames.
fn reserve(batch: &mut PublishBatch, input: &[u8], first: &WholePublish<'_>, len: usize) {
    let count = input.len() / len;
    let last = &input[(count - 1) * len..];
    if last[..ALIKE] == input[..ALIKE] {
        let entry = PublishBatch::content_len(first.header.property_bytes.len(), first.body.len());
        batch.reserve(count, count * entry);
    }
}
