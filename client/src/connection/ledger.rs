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
use slab::Slab;

use super::publish_frame::{FrameBuilder, Target, entry_len, for_each_message};
use crate::confirm::{BatchFailure, BatchOutcome, Outcome, Returned};
use crate::error::{Error, Result};
use crate::message::marked_maybe_duplicate;

/// A frame is closed when it has grown to this, in bytes: large enough to make headers and syscalls cheap,
/// small enough that its memory is given back soon and that other frames get their turn.
const FRAME_TARGET: usize = 128 * 1024;

/// Finds a slot.
pub(crate) type SlotKey = u32;

/// An entry of a frame whose outcome is known or not wanted.
const RESOLVED: SlotKey = SlotKey::MAX;

/// Who waits for the outcome of one message.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    slot: SlotKey,
    /// The message's place among those of the slot.
    index: u32,
}

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

/// Where the outcomes of one message, or of one batch of messages, come together.
#[derive(Debug)]
struct Slot {
    unresolved: u32,
    forgotten: bool,
    waker: Option<Waker>,
    verdict: Verdict,
    error: Option<Error>,
}

/// All outcomes of a slot.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    again: bool,
    /// First message of the slot within its user-visible batch.
    base: usize,
    /// What was not confirmed, and what came back; nearly always absent.
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: Vec<(u32, Result<Outcome>)>,
    returned: Vec<(u32, Returned)>,
}

impl Verdict {
    /// The outcome of a slot of one message.
    pub(crate) fn into_outcome(self) -> Result<Outcome> {
        let confirmed = Outcome::Confirmed { maybe_duplicate: self.again };
        match self.into_failures().pop() {
            None => Ok(confirmed),
            Some((_, outcome)) => outcome,
        }
    }

    /// Adds the outcomes of a slot of many messages.
    pub(crate) fn add_to(self, batch: &mut BatchOutcome) -> Result<()> {
        batch.maybe_duplicates |= self.again;
        let base = self.base;
        for (index, outcome) in self.into_failures() {
            let outcome = outcome?;
            if !outcome.is_accepted() {
                batch.failures.push(BatchFailure { index: base + index as usize, outcome });
            }
        }
        Ok(())
    }

    fn into_failures(self) -> Vec<(u32, Result<Outcome>)> {
        let Some(mut trouble) = self.trouble else { return Vec::new() };
        for (at, message) in trouble.returned {
            for (index, outcome) in &mut trouble.failures {
                if let (true, Ok(Outcome::Unroutable { returned })) = (*index == at, outcome) {
                    *returned = Some(Box::new(message));
                    break;
                }
            }
        }
        trouble.failures
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

/// See the module.
pub(crate) struct Ledger {
    open: Option<Batch>,
    queued: VecDeque<Batch>,
    sent: VecDeque<Sent>,
    slots: Slab<Slot>,
    next_sequence: u64,
    /// Bytes that may be sent; below zero after a frame larger than what was left.
    credit: i64,
    online: bool,
    /// The channel that messages are published on.
    channel: u16,
    /// The writer has found nothing to do and waits to be told.
    writer_waits: bool,
    frame_max: usize,
    body_max: usize,
    route_max: u32,
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
            slots: Slab::new(),
            next_sequence: 1,
            credit: 0,
            online: false,
            channel: 0,
            writer_waits: false,
            frame_max: wire::FRAME_MAX_DEFAULT as usize,
            body_max: usize::MAX,
            route_max: 0,
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
        if self.routes.len() >= self.route_max as usize {
            return (target, false);
        }
        // Numbers are never redefined: definitions overtake publishes that wait for credit.
        self.routes.push(target);
        let number = self.routes.len() as u32;
        self.route_numbers.insert(key, number);
        (Target::Defined(number), true)
    }

    /// Every defined route, to be defined again on a new connection.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (u32, &ShortStr, &ShortStr)> {
        self.routes.iter().zip(1..=self.route_max).filter_map(|(target, number)| match target {
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
        let verdict = Verdict { base, ..Verdict::default() };
        let unresolved = messages as u32;
        let key = self.slots.insert(Slot { unresolved, forgotten: false, waker: None, verdict, error: None });
        key as SlotKey
    }

    /// Takes a message that [`Ledger::check`] has passed. True: the writer must be woken.
    pub(crate) fn push(&mut self, message: &Outgoing<'_>, ticket: Option<(SlotKey, usize)>) -> bool {
        let ticket = ticket.map(|(slot, index)| Ticket { slot, index: index as u32 });
        self.append(message, ticket, false);
        self.online && self.credit > 0 && std::mem::take(&mut self.writer_waits)
    }

    fn append(&mut self, message: &Outgoing<'_>, ticket: Option<Ticket>, again: bool) {
        let outcomes = ticket.is_some();
        let grown = entry_len(message.properties, message.body) + FrameBuilder::LONGEST_RUN_HEAD;
        let target = FRAME_TARGET.min(self.frame_max);
        let fits = |batch: &Batch| {
            batch.outcomes == outcomes && batch.again == again && batch.frame.len() + grown <= target
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.queued.extend(self.open.take());
        }
        let batch = self.open.get_or_insert_with(|| Batch {
            frame: FrameBuilder::new(),
            tickets: Vec::new(),
            outcomes,
            cost: 0,
            again,
        });
        batch.frame.push(message.target, message.mandatory, message.properties, message.body);
        batch.tickets.extend(ticket);
        batch.cost += message.cost;
    }

    // Writing.

    /// Takes frames to write, up to about `max` bytes, as far as credit goes. Nothing to take: the writer
    /// counts as waiting. Returns what unconfirmed messages held of the window.
    pub(crate) fn take(&mut self, max: usize, out: &mut VecDeque<Bytes>) -> usize {
        let (mut taken, mut released) = (0, 0);
        while self.online && self.credit > 0 && taken < max {
            let Some(batch) = self.queued.pop_front().or_else(|| self.open.take()) else { break };
            let first = self.next_sequence;
            self.next_sequence += u64::from(batch.frame.count());
            let bytes = batch.frame.finish(self.channel, first, batch.outcomes);
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
    pub(crate) fn outcomes(&mut self, range: &OutcomeRange, effects: &mut Effects) -> Result<()> {
        if range.first > range.last || range.first == 0 || range.last >= self.next_sequence {
            let problem = format!(
                "outcomes for messages {}-{}, and {} were published",
                range.first,
                range.last,
                self.next_sequence - 1
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
                resolve(&mut self.slots, *ticket, outcome.clone().map(Ok), sent.again, &mut effects.wakers);
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
    pub(crate) fn returned(&mut self, sequence: u64, message: Returned) -> Option<Returned> {
        let at = self.sent.partition_point(|sent| sent.end() <= sequence);
        let Some(sent) = self.sent.get(at).filter(|sent| sent.first <= sequence) else {
            return Some(message);
        };
        let ticket = sent.tickets[(sequence - sent.first) as usize];
        match self.slots.get_mut(ticket.slot as usize).filter(|slot| !slot.forgotten) {
            Some(slot) if ticket.slot != RESOLVED => {
                slot.verdict.trouble.get_or_insert_default().returned.push((ticket.index, message));
                None
            }
            _ => Some(message),
        }
    }

    /// The verdict of a slot, once it is complete; frees the slot.
    pub(crate) fn poll_slot(&mut self, key: SlotKey, waker: &Waker) -> Poll<Result<Verdict>> {
        let slot = &mut self.slots[key as usize];
        if slot.unresolved > 0 {
            match &mut slot.waker {
                Some(old) => old.clone_from(waker),
                None => slot.waker = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        let slot = self.slots.remove(key as usize);
        Poll::Ready(match slot.error {
            Some(error) => Err(error),
            None => Ok(slot.verdict),
        })
    }

    /// Nobody waits for this slot any more.
    pub(crate) fn forget_slot(&mut self, key: SlotKey) {
        let slot = &mut self.slots[key as usize];
        match slot.unresolved {
            0 => drop(self.slots.remove(key as usize)),
            _ => (slot.forgotten, slot.waker) = (true, None),
        }
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
    pub(crate) fn restart(&mut self, channel: u16, welcome: &Welcome, effects: &mut Effects) -> usize {
        self.channel = channel;
        let frame_max = welcome.frame_max as usize + wire::LENGTH_LEN;
        let shrunk = frame_max < self.frame_max || (welcome.route_max as usize) < self.routes.len();
        self.frame_max = frame_max;
        self.body_max = welcome.message_size_max as usize;
        self.route_max = welcome.route_max;
        self.next_sequence = 1;
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

    /// The channel that messages are published on.
    pub(crate) fn channel(&self) -> u16 {
        self.channel
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
            let spelt_out = match target {
                Target::Defined(number) if *number > self.route_max => {
                    Some(self.routes[*number as usize - 1].clone())
                }
                _ => None,
            };
            match self.fitting(&entry, again && ticket.is_some()) {
                Ok(marked) => {
                    kept += share;
                    let message = Outgoing {
                        target: spelt_out.as_ref().unwrap_or(target),
                        mandatory,
                        properties: marked.as_deref().unwrap_or(entry.properties),
                        body: entry.body,
                        cost: share,
                    };
                    self.append(&message, ticket, again);
                }
                Err(error) => {
                    if let Some(ticket) = ticket {
                        resolve(&mut self.slots, ticket, Some(Err(error)), again, &mut effects.wakers);
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
            if self.check(&marked, entry.body).is_ok() {
                return Ok(Some(marked));
            }
        }
        self.check(entry.properties, entry.body).map(|()| None)
    }

    /// The publishing channel was closed: what was sent on it has no outcome and must not be sent again,
    /// because some of it may be what closed the channel. What was not sent waits for [`Ledger::go_online`]
    /// and leaves on the channel `next`: frames for the old one may still be on their way.
    pub(crate) fn fail_sent(&mut self, next: u16, error: &Error, effects: &mut Effects) {
        (self.online, self.channel) = (false, next);
        for sent in std::mem::take(&mut self.sent) {
            effects.released += sent.cost;
            for ticket in sent.tickets.into_iter().filter(|ticket| ticket.slot != RESOLVED) {
                resolve(&mut self.slots, ticket, Some(Err(error.clone())), sent.again, &mut effects.wakers);
            }
        }
        self.next_sequence = 1;
    }

    /// The end: every slot ends with `error`, and so does every later publish.
    pub(crate) fn close(&mut self, error: &Error, effects: &mut Effects) {
        self.go_offline();
        self.closed = Some(error.clone());
        (self.open, self.queued, self.sent) = (None, VecDeque::new(), VecDeque::new());
        self.slots.retain(|_, slot| {
            if slot.unresolved > 0 {
                (slot.unresolved, slot.error) = (0, Some(error.clone()));
                effects.wakers.extend(slot.waker.take());
            }
            !slot.forgotten
        });
    }
}

/// Counts one message of a slot as resolved; `None` is a plain confirm.
fn resolve(
    slots: &mut Slab<Slot>,
    ticket: Ticket,
    outcome: Option<Result<Outcome>>,
    again: bool,
    wakers: &mut Vec<Waker>,
) {
    let slot = &mut slots[ticket.slot as usize];
    slot.unresolved -= 1;
    slot.verdict.again |= again;
    if let Some(outcome) = outcome {
        slot.verdict.trouble.get_or_insert_default().failures.push((ticket.index, outcome));
    }
    if slot.unresolved == 0 {
        wakers.extend(slot.waker.take());
        if slot.forgotten {
            slots.remove(ticket.slot as usize);
        }
    }
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
