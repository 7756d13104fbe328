//! Publishing, the ordinary case: messages whose frames are all there, one message behind the other.
//!
//! A stretch of them is carried out with one look at the channel, the route and the broker. Invariant: what becomes of
//! a message is what `publishing` makes of it frame by frame; whatever is out of the ordinary, or wrong, is left to
//! that, before anything of the message is done.

use std::sync::Arc;

use rialto_protocol::amqp::{Assembled, BasicPublishRef, MethodId, UncheckedPublish, WholePublish};

use super::channel::{Channel, Mode};
use super::confirms::{Fate, track};
use super::{AmqpSession, ChannelSlot, Open, State};
use crate::access::VhostPass;
use crate::broker::{ExchangeCounts, PublishBatch, PublishedProperties, REPLY_TO, Targets, Vhost};
use crate::model::{ChannelId, ConnectionId, MessageRoute};
use crate::routing::{CopyKeys, Routed};
use crate::session::publish_rules;
use crate::session::route_cache::RouteCache;

impl AmqpSession {
    /// Publishes the messages that `input` begins with, as far as they are whole, and says how many bytes they take.
    /// 0: what comes there is to be read frame by frame.
    pub(super) fn take_publishes(&mut self, input: &[u8]) -> usize {
        let State::Open(open) = &mut self.state else { return 0 };
        let Some(first) = WholePublish::read(input, open.tuned.frame_max) else { return 0 };
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
        self.settle_first();
        if self.refuses_publishes().is_none() {
            let taken = self.take_ordinary(number, input, fits);
            if taken > 0 {
                return taken;
            }
        }
        if BasicPublishRef::decode(first.method).is_err() {
            return 0;
        }
        self.open().spend_allowance(first.wire_len());
        let content =
            Assembled { method: first.method, properties: first.header.property_bytes, body: first.body };
        let outcome = self.publish(number, &content);
        self.conclude(number, outcome.map_err(|refusal| refusal.at(MethodId::BASIC_PUBLISH)));
        first.wire_len()
    }

    /// Publishes messages of this channel up to the first that is not to be put into the batch just like that.
    fn take_ordinary(
        &mut self,
        number: ChannelId,
        input: &[u8],
        fits: impl Fn(&WholePublish<'_>) -> bool,
    ) -> usize {
        let State::Open(open) = &mut self.state else { return 0 };
        let Open { vhost, pass, id, tuned, channels, routes, batch, scratch, tracked, .. } = &mut **open;
        let Some(ChannelSlot::Open(channel)) = channels.get_mut(&number) else { return 0 };
        let user = pass.user();
        let is_ordinary = |publish: &WholePublish<'_>| {
            let properties = &publish.header.properties;
            publish.channel == number.0
                && fits(publish)
                && !CopyKeys::are_in(properties)
                && properties.reply_to() != Some(REPLY_TO)
                && publish_rules::check_user_id(properties, user).is_ok()
        };
        let (mut taken, mut messages) = (0, 0);
        let mut last: Option<(WholePublish<'_>, PublishedProperties<'_>, Way<'_>)> = None;
        while !batch.is_full() {
            let rest = &input[taken..];
            let like_last = last.and_then(|(last, properties, _)| {
                Some((last.with_other_method(rest, tuned.frame_max)?, properties))
            });
            let read = || {
                let read = WholePublish::read(rest, tuned.frame_max).filter(&is_ordinary)?;
                Some((read, PublishedProperties::of(read.header.properties).ok()?))
            };
            let Some((publish, properties)) = like_last.or_else(read) else { break };
            let known = match last {
                Some((last, _, way)) if last.method == publish.method => Some(way),
                _ => find_way(&publish, routes, (vhost, pass, *id), scratch).map(|(way, counts)| {
                    counts.into_iter().for_each(|counts| batch.from_exchange(counts));
                    way
                }),
            };
            let Some(way) = known else { break };
            last = Some((publish, properties, way));
            let (route, targets) = way;
            if taken == 0 {
                reserve(batch, rest, &publish, tuned.frame_max);
            }
            let position = batch.len() as u32;
            let property_bytes = publish.header.property_bytes;
            batch.push_body(route, targets, (property_bytes, &properties), publish.body);
            taken += publish.wire_len();
            let alike = batch.push_bodies(property_bytes, publish.repeated(&input[taken..]));
            taken += alike as usize * publish.wire_len();
            let count = alike + 1;
            if let Mode::Confirm { next } = &mut channel.mode {
                track(tracked, number, *next, Fate::Batched { position }, count);
                *next += u64::from(count);
                batch.count_confirms(count);
            }
            messages += u64::from(count);
        }
        channel.info.messages.published.add(messages);
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

/// Where messages go, which is known.
type Way<'a> = (&'a MessageRoute, &'a Arc<Targets>);

/// Where messages with the `basic.publish` of this one go, if some queue gets them and no header changes that, and what
/// their exchange counts.
fn find_way<'a>(
    message: &WholePublish<'_>,
    routes: &'a mut RouteCache,
    (vhost, pass, by): (&Vhost, &VhostPass, ConnectionId),
    scratch: &mut Routed,
) -> Option<(Way<'a>, Option<&'a Arc<ExchangeCounts>>)> {
    let UncheckedPublish { exchange, routing_key, immediate } = UncheckedPublish::read(message.method)?;
    if immediate {
        return None;
    }
    let slot = routes.slot_of_bytes(exchange, routing_key).ok()?;
    slot.learn((vhost, pass, by), message.header.properties, scratch);
    let targets = slot.known_targets(vhost, pass)?;
    (!targets.queues.is_empty()).then_some(((&slot.route, targets), slot.counts.as_ref()))
}

/// Makes room for the messages of a stretch, if the second or the last one has the size of the first: then most have. What
/// is reserved is less than the input, as an entry is shorter than its frames. A message that had begun in the read
/// before may be in the batch already.
fn reserve(batch: &mut PublishBatch, input: &[u8], first: &WholePublish<'_>, frame_max: u32) {
    let (len, properties, body) = (first.wire_len(), first.header.property_bytes.len(), first.body.len());
    let count = input.len() / len;
    let goes_on = || {
        let second = WholePublish::read(&input[len..], frame_max);
        second.is_some_and(|second| second.body.len() == body)
            || first.again(&input[(count - 1) * len..]).is_some()
    };
    if count == 1 || goes_on() {
        batch.reserve(count, count * PublishBatch::content_len(properties, body));
    }
}
