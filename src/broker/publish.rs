//! Publishing: from messages and routes to queues, a batch at a time.
//!
//! Each queue is locked once for a whole batch, whichever routes lead to it. A route is looked up once for each
//! generation of the vhost's topology; publishers keep the result ([`Targets`]).

use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;
use rialto_protocol::native::ENTRY_HEADER_LEN;
use rialto_protocol::types::RawProperties;

use super::counters::{ExchangeCounts, PublishTally};
use super::deduplication::{Claim, Seen};
use super::journalling::StoredBatch;
use super::published_properties::PublishedProperties;
use super::purpose::Purpose;
use super::target_runs::{KEPT, TargetRuns};
use super::{Broker, BrokerError, Commit, Outbox, QueueCell, Turn, Vhost};
use crate::access::Protocol;
use crate::model::{
    BadExpiration, BatchBuilder, ConnectionId, Lsn, MemoryGauge, MessageRoute, Priority, Publication, QueueId,
};
use crate::queue::{Admission, RejectReason};
use crate::routing::{CopyKeys, NoSuchExchange, RouteInput, Routed};
use crate::store::LogError;

/// The queues that a route leads to. Empty: unroutable.
#[derive(Debug, Default)]
pub struct Targets {
    /// Each queue once.
    pub queues: Vec<Arc<QueueCell>>,
    /// Whether the journal has the persistent messages of any.
    journalled: bool,
    /// Whether messages wait for their time in any.
    delays: bool,
    /// Of one message that carries a key by which its repetitions are known.
    claim: Option<Claim>,
}

/// What looking up a route has found.
#[derive(Debug)]
pub struct Resolved {
    /// The queues.
    pub targets: Arc<Targets>,
    /// What the exchange counts.
    pub counts: Option<Arc<ExchangeCounts>>,
    /// The topology it holds for. None: it depended on the message's headers and holds for that message only.
    pub generation: Option<u64>,
    /// The properties to store in place of those published: without `BCC`, which is nobody else's business.
    pub stored: Option<Bytes>,
    /// Whether the exchange has seen the message before: then there are no targets. It is not unroutable, so it does not come
    /// back if it is mandatory.
    pub repeats: Repeats,
}

/// What a message repeats, if its exchange drops duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing.
    Nothing,
    /// One that is there, or was: its publisher is told that it is there.
    Kept,
    /// One of the same connection that may yet come to nothing: it is in a batch or a transaction.
    Own,
    /// One of another connection that may yet come to nothing: its publisher is told to publish it again later.
    Others,
}

/// What a publisher is told of a message that may or may not be there already: see [`Repeats`].
pub const UNDECIDED: &str =
    "a message with its deduplication key is being published by another connection; publish it again";

/// Messages on their way into queues, collected over one read.
#[derive(Debug, Default)]
pub struct PublishBatch {
    /// Of messages that the journal does not get.
    passing: BatchBuilder,
    /// Of messages that it gets: their bytes are its record.
    stored: BatchBuilder,
    /// Which of the two the last message went to, in this batch or the one before: the next is most likely alike.
    last_was_stored: bool,
    /// What it gets.
    entering: StoredBatch,
    /// Of all messages, in order.
    facts: Vec<FactsRun>,
    len: u32,
    runs: TargetRuns,
    /// Whether something was left out because it came before.
    left_out: bool,
    /// On which way all of it comes.
    admission: Admission,
    /// What is counted when it is published.
    tally: PublishTally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    priority: Option<Priority>,
    ttl_ms: Option<u64>,
    delay_ms: Option<u64>,
    /// Length of its body, or a little more.
    body_len: u32,
    stored: bool,
}

/// Neighbouring messages of which the same is true.
#[derive(Clone, Copy, Debug)]
struct FactsRun {
    facts: Facts,
    count: u32,
    /// The number of the first in its builder; the others follow it there.
    first: u32,
}

impl PublishBatch {
    /// An empty batch for messages of a publisher that speaks `protocol`: they are counted as such.
    pub fn of(protocol: Protocol) -> Self {
        PublishBatch { tally: PublishTally::of(protocol), ..PublishBatch::default() }
    }

    /// A batch of messages that do not come from a publisher.
    pub(super) fn coming(admission: Admission) -> Self {
        PublishBatch { admission, ..PublishBatch::default() }
    }

    /// Adds a message whose entry has been checked.
    ///
    /// # Errors
    /// Its expiration is no number; it is not added.
    pub fn push(
        &mut self,
        route: &MessageRoute,
        targets: &Arc<Targets>,
        entry: &[u8],
        properties: &RawProperties<'_>,
    ) -> Result<(), BadExpiration> {
        let properties = PublishedProperties::of(*properties)?;
        let facts = Facts::of(&properties, entry.len(), targets);
        self.builder(facts).push_entry(route, entry, properties.is_persistent);
        self.add(targets, facts);
        Ok(())
    }

    /// Adds a message from its properties, which have been checked, and its body.
    ///
    /// # Errors
    /// Its expiration is no number; it is not added.
    pub fn push_content(
        &mut self,
        route: &MessageRoute,
        targets: &Arc<Targets>,
        properties: &[u8],
        body: &[u8],
    ) -> Result<(), BadExpiration> {
        let read = PublishedProperties::of(RawProperties::trusted(properties))?;
        self.push_body(route, targets, (properties, &read), body);
        Ok(())
    }

    /// [`PublishBatch::push_content`] for properties that have been read already.
    pub fn push_body(
        &mut self,
        route: &MessageRoute,
        targets: &Arc<Targets>,
        (properties, read): (&[u8], &PublishedProperties<'_>),
        body: &[u8],
    ) {
        let facts = Facts::of(read, body.len(), targets);
        self.builder(facts).push_content(route, properties, body, read.is_persistent);
        self.add(targets, facts);
    }

    /// Adds messages with these bodies that differ in nothing else from the one that was added last, with these properties,
    /// until the batch is full. Says how many.
    pub fn push_bodies<'a>(&mut self, properties: &[u8], bodies: impl Iterator<Item = &'a [u8]>) -> u32 {
        let Some(FactsRun { facts, .. }) = self.facts.last().copied() else { return 0 };
        let bodies = bodies.take(BatchBuilder::MESSAGES_MAX.saturating_sub(self.len()));
        let count = self.builder(facts).push_bodies(properties, bodies);
        self.count_alike(count);
        count
    }

    /// Adds so many messages, from their entries, that differ from the one that was added last in nothing but what their
    /// bodies say.
    pub fn push_alike(&mut self, entries: &[u8], count: u32) {
        let Some(FactsRun { facts, .. }) = self.facts.last().copied() else { return };
        self.builder(facts).push_alike(entries, count);
        self.count_alike(count);
    }

    /// So many more are like the last one.
    fn count_alike(&mut self, count: u32) {
        let copies = self.runs.add_alike(count) as u64;
        if let Some(last) = self.facts.last_mut() {
            last.count += count;
        }
        self.len += count;
        if let Some(published) = self.tally.count() {
            published.received += u64::from(count);
            published.routed += u64::from(count) * copies;
        }
    }

    fn builder(&mut self, facts: Facts) -> &mut BatchBuilder {
        match facts.stored {
            true => &mut self.stored,
            false => &mut self.passing,
        }
    }

    fn add(&mut self, targets: &Arc<Targets>, facts: Facts) {
        if let Some(published) = self.tally.count() {
            published.received += 1;
            published.routed += targets.queues.len() as u64;
        }
        self.last_was_stored = facts.stored;
        self.len += 1;
        match self.facts.last_mut() {
            Some(last) if last.facts == facts => last.count += 1,
            _ => {
                let first = self.builder(facts).count() as u32 - 1;
                self.facts.push(FactsRun { facts, count: 1, first });
            }
        }
        self.runs.add(targets, 1);
    }

    /// Bytes that [`PublishBatch::push_content`] takes for a message with so many bytes of properties and body.
    pub const fn content_len(properties: usize, body: usize) -> usize {
        ENTRY_HEADER_LEN + properties + body
    }

    /// Makes room for a run of messages that are about to be added, if they are like those before them.
    pub fn reserve(&mut self, messages: usize, bytes: usize) {
        match self.last_was_stored {
            false => self.passing.reserve(messages, bytes),
            true => self.stored.reserve(messages, bytes),
        }
    }

    /// What comes next, in the batch or left out of it, is published to the exchange that counts here.
    pub fn from_exchange(&mut self, counts: &Arc<ExchangeCounts>) {
        self.tally.exchange(counts);
    }

    /// Counts a message that no queue wants; `returned` to its publisher, or dropped.
    pub fn count_unroutable(&mut self, returned: bool) {
        if let Some(published) = self.tally.count() {
            published.received += 1;
            published.unroutable_returned += u64::from(returned);
            published.unroutable_dropped += u64::from(!returned);
        }
    }

    /// Counts that the publisher wants confirms of so many messages that were added or counted last.
    pub fn count_confirms(&mut self, count: u32) {
        if let Some(published) = self.tally.count() {
            published.received_confirm += u64::from(count);
        }
    }

    /// Notes that a message is not in the batch because one like it was published before: whoever is told that it is
    /// there waits until that one is safe.
    pub fn leave_out_duplicate(&mut self) {
        self.left_out = true;
        if let Some(published) = self.tally.count() {
            published.received += 1;
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it should be published before more is added.
    pub fn is_full(&self) -> bool {
        let builders = [&self.passing, &self.stored];
        builders.iter().any(|builder| builder.is_full()) || self.len() >= BatchBuilder::MESSAGES_MAX
    }
}

impl Facts {
    fn of(properties: &PublishedProperties<'_>, body_len: usize, targets: &Targets) -> Self {
        let &PublishedProperties { priority, ttl_ms, is_persistent, .. } = properties;
        let delay_ms = if targets.delays { properties.delay_ms() } else { None };
        let stored = targets.journalled && is_persistent;
        Facts { priority, ttl_ms, delay_ms, body_len: body_len as u32, stored }
    }
}

impl Targets {
    pub(super) fn new(queues: Vec<Arc<QueueCell>>, claim: Option<Claim>) -> Self {
        let journalled = queues.iter().any(|queue| queue.is_journalled());
        let delays = queues.iter().any(|queue| queue.purpose() == Purpose::Delays);
        Targets { queues, journalled, delays, claim }
    }
}

impl Vhost {
    /// Finds the queues that a publish to this exchange with this key, and with the keys in the message's `CC` and
    /// `BCC` headers, reaches. `by` is who publishes it.
    ///
    /// # Errors
    /// There is no such exchange, or it takes messages from other exchanges only; or one of those headers is no
    /// list of keys.
    pub fn resolve(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: RawProperties<'_>,
        by: ConnectionId,
        scratch: &mut Routed,
    ) -> Result<Resolved, BrokerError> {
        let topology = self.topology.read();
        let Some(found) = topology.routing.exchange(exchange) else {
            return Err(self.no_exchange(exchange));
        };
        if found.options().internal {
            let (exchange, vhost) = (found.name().clone(), self.name().clone());
            return Err(BrokerError::ExchangeInternal { exchange, vhost });
        }
        let copies = CopyKeys::read(&properties)
            .map_err(|error| BrokerError::refused(error.reply_code(), error.to_string()))?;
        let all_keys = copies.as_ref().map(|copies| copies.with(routing_key));
        let routing_keys = all_keys.as_deref().unwrap_or(std::slice::from_ref(&routing_key));
        let input = RouteInput { exchange, routing_keys, properties };
        if topology.routing.route(&input, scratch).is_err() {
            return Err(self.no_exchange(exchange));
        }
        let counts = topology.exchanges.get(exchange).cloned();
        let mut targets = topology.cells.targets(&scratch.queues);
        let queues = &targets.queues;
        let cacheable = scratch.cacheable && copies.is_none();
        // A message that waits needs all of its keys when it goes on.
        let waits = !queues.is_empty() && queues.iter().all(|queue| queue.purpose() == Purpose::Delays);
        let copies = copies.filter(|_| !waits);
        let stored = copies.and_then(|copies| copies.stored(&properties));
        let cacheable = cacheable && found.options().deduplication.is_none();
        if !queues.is_empty() {
            match topology.claim(found, &properties, by, || self.core().clock.now()) {
                Seen::NoMatter => {}
                Seen::First(claim) => targets = Arc::new(Targets::new(queues.clone(), Some(claim))),
                Seen::Before(repeats) => {
                    let targets = Arc::default();
                    return Ok(Resolved { targets, counts, generation: None, stored: None, repeats });
                }
            }
        }
        let generation = cacheable.then(|| topology.routing.generation());
        Ok(Resolved { targets, counts, generation, stored, repeats: Repeats::Nothing })
    }

    /// The queues that a message goes to which the broker itself sends on.
    pub(super) fn lookup(
        &self,
        input: &RouteInput<'_>,
        scratch: &mut Routed,
    ) -> Result<Vec<Arc<QueueCell>>, NoSuchExchange> {
        let topology = self.topology.read();
        topology.routing.route(input, scratch)?;
        Ok(topology.cells.queues(&scratch.queues))
    }
}

impl Broker {
    /// Publishes a batch and leaves it empty. `rejected` gets the positions of messages that some queue refused,
    /// in order and each once. Whoever confirms them waits for what is returned.
    pub fn publish(
        &self,
        batch: &mut PublishBatch,
        publisher: &Arc<Outbox>,
        rejected: &mut Vec<(u32, RejectReason)>,
        turn: &mut Turn,
    ) -> Commit {
        batch.tally.tell();
        let before = self.before_duplicates(std::mem::take(&mut batch.left_out));
        if batch.is_empty() {
            return before;
        }
        let first = self.log().reserve(batch.len() as u64);
        batch.number(first, self.gauge());
        let appended = match batch.entering.part(turn.now) {
            Some(part) => self.append(&[part], batch.entering.kept_at()),
            None => Ok(Commit::NONE),
        };
        match appended {
            Ok(commit) => {
                batch.enter(first, publisher, rejected, turn);
                commit.join(before)
            }
            Err(error) => {
                batch.refuse(&error, rejected);
                Commit::NONE
            }
        }
    }

    /// Whether every queue would take all of these messages now.
    pub fn would_take(&self, batches: &[PublishBatch]) -> bool {
        let mut wanted: AHashMap<QueueId, (&Arc<QueueCell>, u64, u64)> = AHashMap::new();
        for batch in batches {
            let each = |run: &FactsRun| std::iter::repeat_n(run.facts, run.count as usize);
            let mut facts = batch.facts.iter().flat_map(each);
            for (targets, count) in batch.runs.iter() {
                let of_run = facts.by_ref().take(count as usize);
                let bytes: u64 = of_run.map(|facts| u64::from(facts.body_len)).sum();
                for queue in targets.queues.iter().filter(|queue| queue.may_refuse()) {
                    let (_, messages, body_bytes) = wanted.entry(queue.id()).or_insert((queue, 0, 0));
                    *messages += u64::from(count);
                    *body_bytes += bytes;
                }
            }
        }
        wanted.into_values().all(|(queue, messages, body_bytes)| queue.has_room_for(messages, body_bytes))
    }

    /// Publishes batches, and with them everything that this turn has done to queues so far: for the journal, that is
    /// one thing. Whoever says that it is done waits for what is returned.
    pub fn publish_together(
        &self,
        mut batches: Vec<PublishBatch>,
        publisher: &Arc<Outbox>,
        rejected: &mut Vec<(u32, RejectReason)>,
        turn: &mut Turn,
    ) -> Commit {
        let before = self.before_duplicates(batches.iter().any(|batch| batch.left_out));
        batches.iter_mut().for_each(|batch| batch.tally.tell());
        batches.retain(|batch| !batch.is_empty());
        let number = |batch: &mut PublishBatch| {
            let first = self.log().reserve(batch.len() as u64);
            batch.number(first, self.gauge());
            first
        };
        let firsts: Vec<Lsn> = batches.iter_mut().map(number).collect();
        let kept_at = batches.iter().map(|batch| batch.entering.kept_at()).max().unwrap_or(0);
        let entering = batches.iter().filter_map(|batch| batch.entering.part(turn.now));
        let parts: Vec<_> = entering.chain(turn.notes.parts()).collect();
        let appended = match parts.is_empty() {
            true => Ok(Commit::NONE),
            false => self.append(&parts, kept_at),
        };
        drop(parts);
        turn.notes.clear();
        for (mut batch, first) in batches.into_iter().zip(firsts) {
            match &appended {
                Ok(_) => batch.enter(first, publisher, rejected, turn),
                Err(error) => batch.refuse(error, rejected),
            }
        }
        appended.unwrap_or_default().join(before)
    }

    /// What must be safe before anybody is told that a message need not be published again. Nobody knows any more where
    /// the one before it is in the journal, but it is there.
    fn before_duplicates(&self, any: bool) -> Commit {
        // If nothing is appended any more, what is not safe never will be: then the publisher must not be told.
        let kept_at = self.catalog_commit().catalog;
        if any { self.append(&[], kept_at).unwrap_or(Commit::NEVER) } else { Commit::NONE }
    }
}

impl PublishBatch {
    /// Gives the messages, which are numbered from `first` on and in the journal as far as they must, to their queues.
    fn enter(
        &mut self,
        first: Lsn,
        publisher: &Arc<Outbox>,
        rejected: &mut Vec<(u32, RejectReason)>,
        turn: &mut Turn,
    ) {
        let PublishBatch { passing, stored, facts, runs, admission, .. } = self;
        runs.hand_out(|queue, places| {
            let mut messages = Messages { passing, stored, first, rest: facts, from: 0 };
            let publications = places.map(|place| (place, messages.at(place)));
            queue.publish(publications, *admission, Some(publisher), rejected, turn);
        });
        rejected.sort_by_key(|(position, _)| *position);
        rejected.dedup_by_key(|(position, _)| *position);
        if self.runs.targets().any(|targets| targets.claim.is_some()) {
            self.keep_claims(rejected);
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.passing.clear();
        self.stored.clear();
        self.entering.clear();
        self.facts.clear();
        self.facts.shrink_to(KEPT);
        self.len = 0;
        self.runs.clear();
    }

    /// Messages that no queue has refused are known by their keys from now on.
    fn keep_claims(&self, rejected: &[(u32, RejectReason)]) {
        let mut position = 0;
        for (targets, count) in self.runs.iter() {
            // A run with a claim is one message.
            if let Some(claim) = &targets.claim
                && rejected.binary_search_by_key(&position, |(at, _)| *at).is_err()
            {
                claim.keep();
            }
            position += count;
        }
    }

    /// The journal does not take them. Of a read that has durable messages nothing is taken then: half of it would be
    /// out of order.
    fn refuse(&mut self, error: &LogError, rejected: &mut Vec<(u32, RejectReason)>) {
        tracing::debug!(%error, "messages are refused");
        rejected.extend((0..self.len).map(|at| (at, RejectReason::JournalStopped)));
        self.clear();
    }

    /// Ends the batch, whose messages are numbered from `first` on, and notes which of them the journal gets.
    fn number(&mut self, first: Lsn, gauge: &MemoryGauge) {
        let PublishBatch { passing, stored, entering, facts, runs, .. } = self;
        passing.seal(gauge);
        stored.seal(gauge);
        if stored.is_empty() {
            return;
        }
        let mut messages = Messages { passing, stored, first, rest: facts, from: 0 };
        let mut place = 0;
        for (targets, count) in runs.iter() {
            let first_entering = entering.len();
            for place in place..place + count {
                if messages.facts_at(place).stored {
                    entering.push(&messages.at(place));
                }
            }
            place += count;
            entering.enter(&targets.queues, first_entering);
        }
    }
}

/// The messages of a batch that has been numbered, asked for in order.
struct Messages<'a> {
    passing: &'a BatchBuilder,
    stored: &'a BatchBuilder,
    first: Lsn,
    /// The run of the message that was asked for last, which begins at this place, and those behind it.
    rest: &'a [FactsRun],
    from: u32,
}

impl Messages<'_> {
    #[inline]
    fn facts_at(&mut self, place: u32) -> Facts {
        while place - self.from >= self.rest[0].count {
            self.from += self.rest[0].count;
            self.rest = &self.rest[1..];
        }
        self.rest[0].facts
    }

    #[inline]
    fn at(&mut self, place: u32) -> Publication {
        let Facts { priority, ttl_ms, delay_ms, body_len: _, stored } = self.facts_at(place);
        let builder = if stored { self.stored } else { self.passing };
        let message = builder.message(self.rest[0].first + (place - self.from));
        let lsn = Lsn(self.first.0 + u64::from(place));
        Publication { message, lsn, priority, ttl_ms, delay_ms }
    }
}
