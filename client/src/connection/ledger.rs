//! What is being published: messages that wait to be written, and messages that wait for their outcome.
//!
//! A plain machine: no IO, no clock; it sits behind one short lock. A message is encoded once, into the frame
//! that will carry it, and the sent frame is kept until every message in it has its outcome, so that it can
//! be published again over a new connection.
//!
//! ```text
//!  push -> [open batch] -> [queued batches] -> take -> [sent frames] -> outcomes -> slots -> wakers
//!                                  ^                        |
//!                                  +------- restart --------+
//! ```
//!
//! Invariants: messages leave in the order in which they were pushed, also over a new connection; wire
//! sequence numbers are consecutive per connection; a slot is freed once, by who reads or forgets it; after
//! [`Ledger::close`] nothing waits any more.
//! Not here: how much may be held (the window, `Shared`), who writes (`writer`).

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use ahash::AHashMap;
use bytes::Bytes;
use rialto_protocol::native::{self as wire};
use rialto_protocol::native::{Entry, OutcomeRange, Welcome};
use rialto_protocol::types::{Properties, ShortStr};

use super::publish_frame::{FrameBuilder, Target, entry_len, for_each_message};
use super::slots::{RESOLVED, SlotKey, Slots, Ticket, Verdict};
use crate::confirm::{Outcome, Returned};
use crate::error::{Error, Result};
use crate::message::marked_maybe_duplicate;

/// A frame is closed when it has grown to this, in bytes: large enough to make headers and syscalls cheap,
/// small enough that its memory is given back soon and that other frames get their turn.
const FRAME_TARGET: usize = 128 * 1024;

/// The channels of the two lanes: messages without outcomes, and with. A lane has two, because the broker
/// closes a channel when a message without an outcome cannot be published: the other one takes over, so that
/// what is on its way to a closed channel never reaches an open one. Messages with outcomes are on a lane of
/// their own, so that such an end never costs them anything.
const LANE_CHANNELS: [[u16; 2]; 2] = [[3, 4], [5, 6]];

/// A message about to be published.
pub(crate) struct Outgoing<'a> {
    pub(crate) target: &'a Target,
    pub(crate) mandatory: bool,
    pub(crate) properties: &'a [u8],
    pub(crate) body: &'a [u8],
    /// What it holds of the window.
    pub(crate) cost: usize,
}

/// A frame that is being filled or waits to be written.
struct Batch {
    frame: FrameBuilder,
    /// One for each message; none when outcomes are not wanted.
    tickets: Vec<Ticket>,
    outcomes: bool,
    cost: usize,
    again: bool,
}

/// A frame that was written and whose outcomes are not all known.
struct Sent {
    first: u64,
    bytes: Bytes,
    tickets: Vec<Ticket>,
    unresolved: usize,
    cost: usize,
    again: bool,
}

impl Sent {
    /// The sequence number after the last.
    fn end(&self) -> u64 {
        self.first + self.tickets.len() as u64
    }
}

/// What the caller has to do once the lock is released.
#[derive(Default)]
pub(crate) struct Effects {
    /// To be woken.
    pub(crate) wakers: Vec<Waker>,
    /// To be given back to the window.
    pub(crate) released: usize,
}

/// A channel that messages are published on.
struct Lane {
    channel: u16,
    next_sequence: u64,
    /// False between the end of one channel and the opening of the other.
    open: bool,
}

/// See the module.
pub(crate) struct Ledger {
    open: Option<Batch>,
    queued: VecDeque<Batch>,
    sent: VecDeque<Sent>,
    slots: Slots,
    /// Indexed by whether outcomes are wanted.
    lanes: [Lane; 2],
    /// Bytes that may be sent; below zero after a frame larger than what was left.
    credit: i64,
    online: bool,
    /// The writer has found nothing to do and waits to be told.
    writer_waits: bool,
    /// Length of the last frame: a good guess for the next.
    last_frame: usize,
    frame_max: usize,
    body_max: usize,
    /// Highest number that is defined on this connection, on both lanes.
    route_limit: u32,
    routes: Vec<Target>,
    route_numbers: AHashMap<(ShortStr, ShortStr), u32>,
    closed: Option<Error>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Ledger {
            open: None,
            queued: VecDeque::new(),
            sent: VecDeque::new(),
            slots: Slots::default(),
            lanes: first_lanes(),
            credit: 0,
            online: false,
            writer_waits: false,
            last_frame: 0,
            frame_max: wire::FRAME_MAX_DEFAULT as usize,
            body_max: usize::MAX,
            route_limit: 0,
            routes: Vec::new(),
            route_numbers: AHashMap::new(),
            closed: None,
        }
    }

    // Publishing.

    /// Gives a number to an exchange and key. Says whether it is new and must be defined on the connection.
    /// When the numbers are used up, the target is spelt out in every frame instead.
    pub(crate) fn intern(&mut self, target: Target) -> (Target, bool) {
        let Target::Inline { exchange, routing_key } = &target else { return (target, false) };
        let key = (exchange.clone(), routing_key.clone());
        if let Some(&number) = self.route_numbers.get(&key) {
            return (Target::Defined(number), false);
        }
        if self.routes.len() >= self.route_limit as usize {
            return (target, false);
        }
        // Numbers are never redefined: definitions overtake publishes that wait for credit.
        self.routes.push(target);
        let number = self.routes.len() as u32;
        self.route_numbers.insert(key, number);
        (Target::Defined(number), true)
    }

    /// Every route that may be defined, to be defined again on a new connection.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (u32, &ShortStr, &ShortStr)> {
        self.routes.iter().zip(1..=self.route_limit).filter_map(|(target, number)| match target {
            Target::Inline { exchange, routing_key } => Some((number, exchange, routing_key)),
            Target::Defined(_) => None,
        })
    }

    /// Whether a message fits, so that it is refused before anything is waited for.
    pub(crate) fn check(&self, properties: &[u8], body: &[u8]) -> Result<()> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        let size = FrameBuilder::LONGEST_HEAD + entry_len(properties, body);
        if body.len() > self.body_max {
            return Err(Error::MessageTooLarge { size: body.len(), limit: self.body_max });
        }
        if size > self.frame_max {
            return Err(Error::MessageTooLarge { size, limit: self.frame_max });
        }
        Ok(())
    }

    /// Makes a slot for the outcomes of the next `messages` messages.
    pub(crate) fn open_slot(&mut self, messages: usize, base: usize) -> SlotKey {
        self.slots.open(messages, base)
    }

    /// Takes a message that [`Ledger::check`] has passed. True: the writer must be woken.
    pub(crate) fn push(&mut self, message: &Outgoing<'_>, ticket: Option<(SlotKey, usize)>) -> bool {
        let ticket = ticket.map(|(slot, index)| Ticket { slot, index: index as u32 });
        self.append(message, ticket, false);
        self.online && self.credit > 0 && std::mem::take(&mut self.writer_waits)
    }

    fn append(&mut self, message: &Outgoing<'_>, ticket: Option<Ticket>, again: bool) {
        let outcomes = ticket.is_some();
        let spelt_out = self.spelt_out(message.target);
        let grown = entry_len(message.properties, message.body) + FrameBuilder::LONGEST_RUN_HEAD;
        let target = FRAME_TARGET.min(self.frame_max);
        let fits = |batch: &Batch| {
            batch.outcomes == outcomes && batch.again == again && batch.frame.len() + grown <= target
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.queued.extend(self.open.take());
        }
        let batch = self.open.get_or_insert_with(|| Batch {
            frame: FrameBuilder::new(self.last_frame),
            tickets: Vec::new(),
            outcomes,
            cost: 0,
            again,
        });
        let target = spelt_out.as_ref().unwrap_or(message.target);
        batch.frame.push(target, message.mandatory, message.properties, message.body);
        batch.tickets.extend(ticket);
        batch.cost += message.cost;
    }

    /// A route whose number is from an earlier connection, and too high for this one.
    fn spelt_out(&self, target: &Target) -> Option<Target> {
        match target {
            Target::Defined(number) if *number > self.route_limit => {
                Some(self.routes[*number as usize - 1].clone())
            }
            _ => None,
        }
    }

    // Writing.

    /// Takes frames to write, up to about `max` bytes, as far as credit goes. Nothing to take: the writer
    /// counts as waiting. Returns what unconfirmed messages held of the window.
    pub(crate) fn take(&mut self, max: usize, out: &mut VecDeque<Bytes>) -> usize {
        let (mut taken, mut released) = (0, 0);
        while self.online && self.credit > 0 && taken < max {
            let Some(next) = self.queued.front().or(self.open.as_ref()) else { break };
            let lane = &mut self.lanes[usize::from(next.outcomes)];
            if !lane.open {
                // What waits behind it could go, but would overtake.
                break;
            }
            let Some(batch) = self.queued.pop_front().or_else(|| self.open.take()) else { break };
            let first = lane.next_sequence;
            lane.next_sequence += u64::from(batch.frame.count());
            let bytes = batch.frame.finish(lane.channel, first, batch.outcomes);
            self.last_frame = bytes.len();
            taken += bytes.len();
            self.credit -= bytes.len() as i64;
            out.push_back(bytes.clone());
            if batch.outcomes {
                let unresolved = batch.tickets.len();
                let (tickets, cost, again) = (batch.tickets, batch.cost, batch.again);
                self.sent.push_back(Sent { first, bytes, tickets, unresolved, cost, again });
            } else {
                released += batch.cost;
            }
        }
        self.writer_waits = taken == 0;
        released
    }

    /// More credit. True: the writer must be woken.
    pub(crate) fn add_credit(&mut self, bytes: u32) -> bool {
        self.credit = self.credit.saturating_add(i64::from(bytes));
        let waiting = self.open.is_some() || !self.queued.is_empty();
        self.credit > 0 && waiting && std::mem::take(&mut self.writer_waits)
    }

    // Outcomes.

    /// The broker's word on a range of messages.
    pub(crate) fn outcomes(
        &mut self,
        channel: u16,
        range: &OutcomeRange,
        effects: &mut Effects,
    ) -> Result<()> {
        let lane = &self.lanes[1];
        if channel != lane.channel {
            // The last outcomes of a channel that is closed by now are void.
            return Ok(());
        }
        if range.first > range.last || range.first == 0 || range.last >= lane.next_sequence {
            let problem = format!(
                "outcomes for messages {}-{}, and {} were published",
                range.first,
                range.last,
                lane.next_sequence - 1
            );
            return Err(Error::Protocol { problem });
        }
        let outcome = match &range.outcome {
            wire::Outcome::Confirmed => None,
            wire::Outcome::Unroutable => Some(Outcome::Unroutable { returned: None }),
            wire::Outcome::Rejected { code, reason } => {
                Some(Outcome::Rejected { code: *code, reason: reason.clone() })
            }
            wire::Outcome::Duplicate => Some(Outcome::Duplicate),
        };
        let mut at = self.sent.partition_point(|sent| sent.end() <= range.first);
        while let Some(sent) = self.sent.get_mut(at).filter(|sent| sent.first <= range.last) {
            let from = range.first.saturating_sub(sent.first) as usize;
            let to = (range.last + 1).min(sent.end()) - sent.first;
            for ticket in &mut sent.tickets[from..to as usize] {
                if ticket.slot == RESOLVED {
                    continue;
                }
                self.slots.resolve(*ticket, outcome.clone().map(Ok), sent.again, &mut effects.wakers);
                ticket.slot = RESOLVED;
                sent.unresolved -= 1;
            }
            at += 1;
        }
        while self.sent.front().is_some_and(|sent| sent.unresolved == 0) {
            effects.released += self.sent.pop_front().map_or(0, |sent| sent.cost);
        }
        Ok(())
    }

    /// A message came back; its outcome follows. Handed out again if nobody waits for the outcome.
    pub(crate) fn returned(&mut self, channel: u16, sequence: u64, message: Returned) -> Option<Returned> {
        if channel != self.lanes[1].channel {
            return Some(message);
        }
        let at = self.sent.partition_point(|sent| sent.end() <= sequence);
        let Some(sent) = self.sent.get(at).filter(|sent| sent.first <= sequence) else {
            return Some(message);
        };
        let ticket = sent.tickets[(sequence - sent.first) as usize];
        match ticket.slot {
            RESOLVED => Some(message),
            _ => self.slots.returned(ticket, message),
        }
    }

    /// The verdict of a slot, once it is complete; frees the slot.
    pub(crate) fn poll_slot(&mut self, key: SlotKey, waker: &Waker) -> Poll<Result<Verdict>> {
        self.slots.poll(key, waker)
    }

    /// Nobody waits for this slot any more.
    pub(crate) fn forget_slot(&mut self, key: SlotKey) {
        self.slots.forget(key);
    }

    /// Whether everything published has been written and has its outcome.
    pub(crate) fn is_settled(&self) -> bool {
        self.open.is_none() && self.queued.is_empty() && self.sent.is_empty()
    }

    // The connection.

    /// The connection is gone: nothing is written until [`Ledger::restart`].
    pub(crate) fn go_offline(&mut self) {
        (self.online, self.credit) = (false, 0);
    }

    /// A new connection with these limits. What was sent and has no outcome comes first again, in its order.
    /// Returns how many messages those are. Nothing is written until [`Ledger::go_online`].
    pub(crate) fn restart(&mut self, welcome: &Welcome, effects: &mut Effects) -> usize {
        let frame_max = welcome.frame_max as usize + wire::LENGTH_LEN;
        // The broker counts the routes of all channels, and each of ours is defined on both lanes.
        self.route_limit = welcome.route_max / LANE_CHANNELS.len() as u32;
        let shrunk = frame_max < self.frame_max || (self.route_limit as usize) < self.routes.len();
        self.frame_max = frame_max;
        self.body_max = welcome.message_size_max as usize;
        self.lanes = first_lanes();
        self.credit = i64::from(welcome.publish_window);

        let mut waiting = std::mem::take(&mut self.queued);
        waiting.extend(self.open.take());
        let mut republished = 0;
        for sent in std::mem::take(&mut self.sent) {
            republished += sent.unresolved;
            effects.released += sent.cost;
            let tickets = sent.tickets.into_iter().map(Some).collect();
            effects.released -= self.rebuild(sent.bytes, tickets, sent.cost, true, effects);
        }
        if shrunk {
            for batch in waiting {
                let (cost, again) = (batch.cost, batch.again);
                let tickets = match batch.outcomes {
                    true => batch.tickets.into_iter().map(Some).collect(),
                    false => vec![None; batch.frame.count() as usize],
                };
                let bytes = batch.frame.finish(0, 0, batch.outcomes);
                effects.released += cost;
                effects.released -= self.rebuild(bytes, tickets, cost, again, effects);
            }
        } else {
            self.queued.extend(self.open.take());
            self.queued.append(&mut waiting);
        }
        republished
    }

    /// Writing may begin. True: the writer must be woken.
    pub(crate) fn go_online(&mut self) -> bool {
        self.online = true;
        self.add_credit(0)
    }

    /// The channels that messages are published on.
    pub(crate) fn channels(&self) -> [u16; 2] {
        [self.lanes[0].channel, self.lanes[1].channel]
    }

    /// A channel that has taken over is open. True: the writer must be woken.
    pub(crate) fn lane_opened(&mut self, channel: u16) -> bool {
        for lane in self.lanes.iter_mut().filter(|lane| lane.channel == channel) {
            lane.open = true;
        }
        self.add_credit(0)
    }

    /// Encodes the unresolved messages of a frame again, at the end of the queue. Returns their cost.
    fn rebuild(
        &mut self,
        bytes: Bytes,
        tickets: Vec<Option<Ticket>>,
        cost: usize,
        again: bool,
        effects: &mut Effects,
    ) -> usize {
        let share = cost / tickets.len().max(1);
        let mut kept = 0;
        let mut tickets = tickets.into_iter();
        for_each_message(bytes, |target, mandatory, entry| {
            let ticket = tickets.next().flatten();
            if ticket.is_some_and(|ticket| ticket.slot == RESOLVED) {
                return;
            }
            match self.fitting(&entry, again && ticket.is_some()) {
                Ok(marked) => {
                    kept += share;
                    let message = Outgoing {
                        target,
                        mandatory,
                        properties: marked.as_deref().unwrap_or(entry.properties),
                        body: entry.body,
                        cost: share,
                    };
                    self.append(&message, ticket, again);
                }
                Err(error) => {
                    if let Some(ticket) = ticket {
                        self.slots.resolve(ticket, Some(Err(error)), again, &mut effects.wakers);
                    }
                }
            }
        });
        kept
    }

    /// The marked properties of a message that is published again, if it still fits with them.
    fn fitting(&self, entry: &Entry<'_>, mark: bool) -> Result<Option<Bytes>> {
        if mark {
            let marked = marked_maybe_duplicate(entry.properties);
            let fits = marked.len() <= wire::PROPERTIES_BYTES_MAX;
            if fits && self.check(&marked, entry.body).is_ok() {
                return Ok(Some(marked));
            }
        }
        self.check(entry.properties, entry.body).map(|()| None)
    }

    /// The broker closed a channel. If messages are published on it, the channel that takes over is returned,
    /// to be opened. What was sent with outcomes has none now and must not be sent again, because some of it
    /// may be what closed the channel; what was not sent waits for [`Ledger::lane_opened`].
    pub(crate) fn channel_closed(
        &mut self,
        channel: u16,
        error: &Error,
        effects: &mut Effects,
    ) -> Option<u16> {
        let index = self.lanes.iter().position(|lane| lane.channel == channel)?;
        let [one, other] = LANE_CHANNELS[index];
        let next = if channel == one { other } else { one };
        self.lanes[index] = Lane { channel: next, next_sequence: 1, open: false };
        if index == 1 {
            for sent in std::mem::take(&mut self.sent) {
                effects.released += sent.cost;
                for ticket in sent.tickets.into_iter().filter(|ticket| ticket.slot != RESOLVED) {
                    let error = Some(Err(error.clone()));
                    self.slots.resolve(ticket, error, sent.again, &mut effects.wakers);
                }
            }
        }
        Some(next)
    }

    /// The end: every slot ends with `error`, and so does every later publish.
    pub(crate) fn close(&mut self, error: &Error, effects: &mut Effects) {
        self.go_offline();
        self.closed = Some(error.clone());
        (self.open, self.queued, self.sent) = (None, VecDeque::new(), VecDeque::new());
        self.slots.close(error, &mut effects.wakers);
    }
}

/// The lanes of a new connection.
fn first_lanes() -> [Lane; 2] {
    LANE_CHANNELS.map(|[channel, _]| Lane { channel, next_sequence: 1, open: true })
}

/// A returned message as the user sees it.
pub(crate) fn returned_message(returned: &wire::Returned) -> Result<Returned> {
    let broken = |error| Error::Protocol { problem: format!("a returned message: {error}") };
    let entry = Entry::read(&returned.run.entries).map_err(broken)?;
    let properties = Properties::decode(entry.properties).map_err(broken)?;
    Ok(Returned {
        code: returned.code,
        reason: returned.text.clone(),
        exchange: returned.run.exchange.clone(),
        routing_key: returned.run.routing_key.clone(),
        properties,
        body: returned.run.entries.slice_ref(entry.body),
    })
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
