//! Publishing over the native protocol: from frames to a batch. See `outcomes` for what its publisher hears.

use rialto_protocol::ReplyCode;
use rialto_protocol::native::{
    Command, DeliveredRun, Entry, FrameError, Place, Publish, PublishRunRef, Returned, RouteRef,
};
use rialto_protocol::types::{RawProperties, ShortStr};

use super::channel::ChannelSlot;
use super::outcomes::{Fate, tell_outcomes, track, track_alike};
use super::{Fault, NativeSession, Open, State, channel_fault, connection_fault};
use crate::access::User;
use crate::broker::{Hold, PublishBatch, Repeats, Resolved, UNDECIDED};
use crate::model::{ChannelId, MessageRoute};
use crate::routing::CopyKeys;
use crate::session::route_cache::RouteSlot;
use crate::session::speaker::Speaker;
use crate::session::{SessionOptions, publish_rules};

impl NativeSession {
    pub(super) fn handle_define_route(
        &mut self,
        place: Place,
        route: u32,
        exchange: ShortStr,
        routing_key: ShortStr,
    ) -> Result<(), Fault> {
        let route_max = self.options.route_max;
        let Some(channel) = self.open_channel_mut(place)? else { return Ok(()) };
        if route == 0 || route > route_max {
            let text = format!("route number {route} is not in 1..={route_max}, the limit from Welcome");
            return Err(connection_fault(ReplyCode::NotAllowed, text, place));
        }
        let known = channel.routes.contains_key(&route);
        let open = self.open();
        if !known && open.defined_routes >= route_max as usize {
            let text = format!(
                "a connection has at most {route_max} routes (protocol.route_max) over all its channels"
            );
            return Err(connection_fault(ReplyCode::NotAllowed, text, place));
        }
        if let Some(ChannelSlot::Open(channel)) = open.channels.get_mut(&ChannelId(place.channel)) {
            open.defined_routes += usize::from(!known);
            channel.routes.insert(route, RouteSlot::new(exchange, routing_key));
        }
        Ok(())
    }

    pub(super) fn handle_publish(
        &mut self,
        place: Place,
        wire_len: usize,
        publish: Publish,
    ) -> Result<(), Fault> {
        self.settle_first();
        let open = self.open();
        if open.publish_credit <= 0 {
            let text = "published without publish credit; wait for PublishCredit";
            return Err(connection_fault(ReplyCode::NotAllowed, text, place));
        }
        open.publish_credit -= wire_len as i64;
        open.owed_credit = open.owed_credit.saturating_add(wire_len as u32);
        let Some(channel) = self.open_channel_mut(place)? else { return Ok(()) };
        if publish.first != channel.next_sequence {
            let text = format!(
                "publish starts with sequence number {} where {} is next",
                publish.first, channel.next_sequence
            );
            return Err(channel_fault(ReplyCode::PreconditionFailed, text, place));
        }
        let mut sequence = publish.first;
        let mut count = 0u32;
        for run in publish.runs_ref(place.channel) {
            let run = run?;
            count = count.saturating_add(run.count);
            if count > SessionOptions::PUBLISH_MESSAGES_MAX {
                let max = SessionOptions::PUBLISH_MESSAGES_MAX;
                let text = format!("more than {max} messages in one frame");
                return Err(connection_fault(ReplyCode::SyntaxError, text, place));
            }
            self.publish_run(place, &mut sequence, publish.outcomes, &run)?;
            // Runs can be many, and a batch numbers them with 16 bits.
            if self.open().batch.is_full() {
                self.flush_publishes();
            }
        }
        if let Some(channel) = self.open_channel_mut(place)? {
            channel.next_sequence = sequence;
            channel.info.messages.published.add(sequence - publish.first);
        }
        Ok(())
    }

    fn publish_run(
        &mut self,
        place: Place,
        sequence: &mut u64,
        wanted: bool,
        run: &PublishRunRef<'_>,
    ) -> Result<(), Fault> {
        let message_size_max = self.options.message_size_max as usize;
        let number = ChannelId(place.channel);
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let Open { vhost, pass, id, channels, routes, batch, scratch, tracked, .. } = &mut **open;
        let user = pass.user();
        let slot = match run.route {
            RouteRef::Inline { exchange, routing_key } => routes.slot(exchange, routing_key),
            RouteRef::Defined(route) => {
                let Some(ChannelSlot::Open(channel)) = channels.get_mut(&number) else { return Ok(()) };
                channel.routes.get_mut(&route).ok_or_else(|| {
                    let text =
                        format!("route {route} is not defined on channel {number}; send DefineRoute first");
                    channel_fault(ReplyCode::NotFound, text, place)
                })?
            }
        };
        let exhausted = self.broker.memory_exhausted();
        let stopped = self.broker.log_stopped().map(|why| publish_rules::not_stored(&why));
        // Looked up once for the run, unless it depends on each message's headers.
        let mut fixed = None;
        let mut unroutable = 0;
        // The count is bounded by the entries' bytes, as the run's reader has checked.
        batch.reserve(run.count as usize, room_for(run.entries.len(), batch, self.behind));
        let mut entries = run.walk();
        while let Some(entry) = entries.next() {
            let (entry, properties) = entry.map_err(|error| FrameError::published_entry(number.0, error))?;
            let this = *sequence;
            *sequence += 1;
            let has_copies = CopyKeys::are_in(&properties);
            let fate = if let Some(fate) = refused_itself(&entry, &properties, message_size_max, user) {
                fate
            } else if let Some(error) = &stopped {
                Fate::refused(error)
            } else if exhausted {
                let reason = "the broker's memory is exhausted; publish again later".to_owned();
                Fate::Rejected { code: ReplyCode::ResourceError, reason }
            } else {
                let resolved;
                let (mut stored, mut repeats) = (None, Repeats::Nothing);
                let targets = match &fixed {
                    Some(targets) if !has_copies => Ok(targets),
                    _ => {
                        resolved = slot.find((vhost, pass, *id), properties, scratch);
                        if let Ok(Resolved { targets, generation: Some(_), .. }) = &resolved {
                            fixed = Some(targets.clone());
                        }
                        if let Ok(resolved) = &resolved {
                            resolved.counts.iter().for_each(|counts| batch.from_exchange(counts));
                            (stored, repeats) = (resolved.stored.as_deref(), resolved.repeats);
                        }
                        resolved.as_ref().map(|resolved| &resolved.targets)
                    }
                };
                match targets {
                    Err(error) => Fate::refused(error),
                    Ok(_) if repeats == Repeats::Others && wanted => {
                        Fate::Rejected { code: ReplyCode::ResourceLocked, reason: UNDECIDED.to_owned() }
                    }
                    // Of one's own one hears what came of it, in the same moment.
                    Ok(_) if repeats != Repeats::Nothing => {
                        batch.leave_out_duplicate();
                        Fate::Duplicate
                    }
                    Ok(targets) if targets.queues.is_empty() => Fate::Unroutable,
                    Ok(targets) => {
                        let position = batch.len() as u32;
                        let pushed = match stored {
                            None => batch.push(&slot.route, targets, entry_bytes(run, &entry), &properties),
                            Some(stored) => batch.push_content(&slot.route, targets, stored, entry.body),
                        };
                        match pushed {
                            Ok(()) => Fate::Batched { position },
                            Err(error) => {
                                Fate::Rejected { code: error.reply_code(), reason: error.to_string() }
                            }
                        }
                    }
                }
            };
            if let Fate::Unroutable = fate {
                batch.count_unroutable(run.mandatory);
                unroutable += 1;
                if run.mandatory {
                    let returned = returned(this, &slot.route, entry_bytes(run, &entry));
                    returned.encode(number.0, self.out.buffer());
                }
            }
            if wanted && !matches!(fate, Fate::Rejected { .. }) {
                batch.count_confirms(1);
            }
            if let Fate::Rejected { code, reason } = &fate
                && !wanted
            {
                // Nobody waits for an outcome, so the channel says it.
                return Err(channel_fault(*code, reason, place));
            }
            let is_ordinary = fixed.is_some() && !has_copies && matches!(fate, Fate::Batched { .. });
            track(tracked, number, this, wanted, fate);
            // What is true of this one is true of those like it, unless each is looked at for its headers.
            if is_ordinary {
                let (count, alike) = entries.pass_alike();
                batch.push_alike(alike, count);
                if wanted {
                    batch.count_confirms(count);
                }
                track_alike(tracked, count);
                *sequence += u64::from(count);
            }
        }
        if unroutable > 0
            && let Some(ChannelSlot::Open(channel)) = channels.get(&number)
        {
            channel.info.messages.unroutable(run.mandatory, unroutable);
        }
        Ok(())
    }

    /// Publishes what was collected and tells what became of it.
    pub(super) fn flush_publishes(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let Open { batch, rejected, tracked, held_by, channels, .. } = &mut **open;
        let commit = self.broker.publish(batch, &self.outbox, rejected, &mut self.turn.0);
        held_by.extend(self.turn.0.take_congested());
        tell_outcomes(tracked, rejected, commit, channels, &mut self.held, &mut self.out, &self.broker);
        self.count_confirmed();
    }

    /// Gives publish credit back, unless a queue holds this connection's publishes back.
    pub(super) fn grant_credit(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let held = !open.held_by.is_empty();
        // Who is only paced goes on in a moment, and nobody need read of it.
        let is_blocked = held && open.held_by.values().any(|hold| *hold > Hold::Paced);
        if is_blocked != open.told_blocked {
            open.told_blocked = is_blocked;
            open.guard.set_blocked(is_blocked);
            let reason = self.broker.hold_text(open.held_by.iter().map(|(queue, hold)| (*queue, *hold)));
            let told = match reason {
                Some(reason) => Command::Blocked(ShortStr::truncated(reason)),
                None => Command::Unblocked,
            };
            told.encode(0, self.out.buffer());
        }
        // Credit goes back in quarters of the window: often enough to keep it open, rarely enough to be cheap.
        if !held && open.owed_credit >= self.options.publish_window / 4 {
            let credit = std::mem::take(&mut open.owed_credit);
            open.publish_credit += i64::from(credit);
            Command::PublishCredit(credit).encode(0, self.out.buffer());
        }
    }
}

/// Bytes to make room for when a run comes: with the first of a read for all of it, if it is not too small to tell that
/// more of its kind follow. Room that is made run by run is moved each time that it doubles.
fn room_for(run: usize, batch: &PublishBatch, behind: usize) -> usize {
    const TELLING_PART: usize = 32;
    if batch.is_empty() && run >= behind / TELLING_PART { run + behind } else { run }
}

/// Whether a message is refused for what it is, wherever it is to go.
fn refused_itself(
    entry: &Entry<'_>,
    properties: &RawProperties<'_>,
    size_max: usize,
    user: &User,
) -> Option<Fate> {
    if entry.body.len() > size_max {
        let reason = format!(
            "message size {} is larger than the limit of {size_max} bytes (protocol.message_size_max)",
            entry.body.len()
        );
        return Some(Fate::Rejected { code: ReplyCode::PreconditionFailed, reason });
    }
    publish_rules::check_user_id(properties, user).err().map(|error| Fate::refused(&error))
}

/// The bytes of an entry inside its run.
fn entry_bytes<'a>(run: &PublishRunRef<'a>, entry: &Entry<'a>) -> &'a [u8] {
    let end = entry.body.as_ptr() as usize + entry.body.len() - run.entries.as_ptr() as usize;
    &run.entries[end - entry.len..end]
}

fn returned(sequence: u64, route: &MessageRoute, entry: &[u8]) -> Command {
    Command::Returned(Returned {
        sequence,
        code: ReplyCode::NoRoute.number(),
        text: ShortStr::truncated(ReplyCode::NoRoute.name()),
        run: DeliveredRun {
            exchange: route.exchange.short().clone(),
            routing_key: route.routing_key.short().clone(),
            count: 1,
            entries: bytes::Bytes::copy_from_slice(entry),
        },
    })
}
