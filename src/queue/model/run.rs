//! Random operations, done to the machine and to its twin.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

use crate::model::{
    BatchBuilder, ConsumerId, ConsumerTag, DeadLetterTarget, DeduplicationOptions, DelayedRetry,
    DelayedRetryType, ExchangeName, Location, Lsn, MemoryGauge, MessageRoute, OverflowRule, Priority,
    Publication, QueueName, QueueOptions, RoutingKey, StoredRun, Timestamp,
};
use crate::queue::{
    BrowsePlace, Browsed, ChannelWindow, ConsumerSpec, Credit, Effects, PagedRun, PauseReason, Queue,
    QueueLimits, Readiness, RemoveMode, Settle, Spill, Verdict,
};

use super::choices::Choices;
use super::naive::{Mutation, Naive, NaiveConsumer, NaiveMessage, NaiveVerdict, Told};
use super::stored::Stored;
use super::tally::Tally;

/// Where machine and twin differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// How many operations were done before.
    pub operation: usize,
    /// What was being done, and what both say.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}: {}", self.operation, self.what)
    }
}

const START_MS: u64 = 1_000_000;
const GETTERS: [u64; 2] = [900_001, 900_002];
const CONSUMERS_MAX: usize = 8;
const NAME: &str = "model";
const KEY: &str = "id";
/// More runs than a queue here ever has.
const LOADS_MAX: usize = 100_000;

/// Does up to `operations` random operations to a random queue and its twin, and compares after each.
///
/// # Errors
/// The first difference.
///
/// # Panics
/// If the machine's own invariants are broken.
pub fn run(
    choices: &mut impl Choices,
    operations: usize,
    mutation: Option<Mutation>,
) -> Result<Tally, Difference> {
    let mut pair = Pair::new(choices, mutation);
    for operation in 0..operations {
        if choices.is_spent() {
            break;
        }
        let at = |what| Difference { operation, what };
        pair.step(choices).map_err(at)?;
        pair.compare().map_err(at)?;
    }
    pair.finish(choices).map_err(|what| Difference { operation: operations, what })
}

/// The machine and its twin, at the same time in the same state.
struct Pair {
    machine: Queue,
    naive: Naive,
    windows: Vec<Arc<ChannelWindow>>,
    stored: Stored,
    /// Whether messages are paged out in this run.
    pages: bool,
    /// Messages that are being written to an overflow file, and where.
    spilling: Option<(Spill, Location)>,
    now: Timestamp,
    next_lsn: u64,
    /// LSNs that were passed over: their messages come late.
    late: Vec<u64>,
    /// Messages published at once: some runs have short queues, some have long ones.
    burst: u64,
    next_consumer: u64,
    out: Effects,
    route: MessageRoute,
    gauge: MemoryGauge,
    tally: Tally,
}

/// What both must say.
fn same<T: PartialEq + fmt::Debug>(what: &str, machine: T, naive: T) -> Result<(), String> {
    match machine == naive {
        true => Ok(()),
        false => Err(format!("{what}: the machine says {machine:?}, the twin says {naive:?}")),
    }
}

fn options(choices: &mut impl Choices) -> QueueOptions {
    let target = DeadLetterTarget { exchange: ExchangeName::default(), routing_key: None };
    QueueOptions {
        durable: choices.one_in(2),
        auto_delete: choices.one_in(8),
        max_priority: choices.one_of(&[0, 0, 0, 1, 3, 255]),
        default_priority: choices.one_of(&[0, 0, 4]),
        message_ttl_ms: choices.one_of(&[None, None, None, None, Some(0), Some(15), Some(60)]),
        expires_ms: choices.one_of(&[None, None, None, Some(1), Some(40)]),
        max_length: choices.one_of(&[None, None, None, Some(0), Some(1), Some(5), Some(20)]),
        max_length_bytes: choices.one_of(&[None, None, None, Some(10), Some(200)]),
        overflow: choices.one_of(&[
            OverflowRule::DropHead,
            OverflowRule::DropHead,
            OverflowRule::RejectPublish,
            OverflowRule::RejectPublishDeadLetter,
        ]),
        dead_letter: (!choices.one_in(3)).then_some(target),
        single_active_consumer: choices.one_in(4),
        delivery_limit: choices.one_of(&[None, None, Some(0), Some(1), Some(3)]),
        deduplication: choices
            .one_of(&[None, None, None, None, Some((3, None)), Some((4, Some(25)))])
            .map(|(size, ttl_ms)| DeduplicationOptions { size, ttl_ms, header: ShortStr::truncated(KEY) }),
        delayed_retry: choices.one_of(&[
            None,
            None,
            None,
            Some(DelayedRetry { which: DelayedRetryType::All, min_ms: 3, max_ms: 20 }),
            Some(DelayedRetry { which: DelayedRetryType::Failed, min_ms: 8, max_ms: 100 }),
            Some(DelayedRetry { which: DelayedRetryType::Returned, min_ms: 10, max_ms: 10 }),
        ]),
        consumer_timeout_ms: choices.one_of(&[None, None, None, Some(25)]),
        ..QueueOptions::default()
    }
}

impl Pair {
    fn new(choices: &mut impl Choices, mutation: Option<Mutation>) -> Pair {
        let now = Timestamp::from_millis(START_MS);
        let options = options(choices);
        let limits: Vec<u32> = vec![choices.one_of(&[0, 1, 3]), choices.one_of(&[2, 5])];
        let name = QueueName::new(NAME).expect("short");
        Pair {
            machine: Queue::new(name, options.clone(), QueueLimits::default(), now),
            windows: limits.iter().map(|limit| Arc::new(ChannelWindow::new(*limit))).collect(),
            naive: Naive::new(options, limits, mutation, now.as_micros()),
            stored: Stored::default(),
            pages: choices.one_in(2),
            spilling: None,
            now,
            next_lsn: 1,
            late: Vec::new(),
            burst: choices.one_of(&[1, 1, 1, 4, 12]),
            next_consumer: 1,
            out: Effects::new(),
            route: MessageRoute { exchange: ExchangeName::default(), routing_key: RoutingKey::default() },
            gauge: MemoryGauge::new(),
            tally: Tally::default(),
        }
    }

    /// One random operation, done to both.
    fn step(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        self.tally.operations += 1;
        match choices.below(if self.pages { 76 } else { 68 }) {
            0..21 => self.publish(choices)?,
            21..33 => self.dispatch(choices)?,
            33..44 => self.settle(choices)?,
            44..47 => self.get(choices)?,
            47..50 => self.add(choices)?,
            50..52 => self.remove(choices),
            52 => self.refill(choices),
            53..55 => self.add_credit(choices),
            55 => self.set_prefetch(choices),
            56 => self.set_channel_limit(choices),
            57 => self.wake_channels(),
            58..61 => self.now = self.now.plus_millis(choices.below(12)),
            61..63 => self.tick()?,
            63 if choices.one_in(4) => self.purge()?,
            63 if choices.one_in(4) => self.set_options(choices),
            64 => self.take_out(choices)?,
            65..67 => self.look(choices)?,
            67 => self.pause(choices),
            68..72 => self.page_out(choices),
            72..75 => self.spill(choices),
            75 if self.machine.options().durable && choices.one_in(3) => self.restart()?,
            _ => {
                self.machine.touch(self.now);
                self.naive.touch(self.now.as_micros());
            }
        }
        self.load(choices, false)
    }

    /// Publishes what came with one read: a batch that the journal has, or that it does not have.
    fn publish(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let persistent = choices.one_in(2);
        let alike = choices.one_in(2).then(|| facts(choices));
        let mut builder = BatchBuilder::default();
        let mut twins = Vec::new();
        for _ in 0..self.burst {
            let (priority, ttl_ms) = alike.unwrap_or_else(|| facts(choices));
            twins.push(self.message(persistent, priority, ttl_ms, &mut builder, choices));
        }
        let messages: Vec<_> = builder.finish(&self.gauge).collect();
        if persistent {
            self.stored.append(messages[0].batch());
        }
        for (mut naive, message) in twins.into_iter().zip(messages) {
            let (lsn, ttl_ms) = (naive.lsn, naive.own_ttl_ms);
            let priority = naive.own_priority.map(Priority);
            naive.len = message.len() as u64;
            if self.machine.options().durable {
                self.stored.keep(lsn, &message, priority, ttl_ms, self.now);
            }
            if self.machine.stats().paged > 0 {
                // What is ready goes first to who has room, which may have to be loaded.
                self.drive(choices)?;
            }
            let publication = Publication { message, lsn: Lsn(lsn), priority, ttl_ms, delay_ms: None };
            let verdict = self.machine.publish(publication, self.now, &mut self.out);
            let verdict = match verdict {
                Verdict::Accepted => NaiveVerdict::Accepted,
                Verdict::Duplicate => NaiveVerdict::Duplicate,
                Verdict::Rejected(_) => NaiveVerdict::Rejected,
            };
            same("publish", verdict, self.naive.publish(naive, self.now.as_micros()))?;
            self.load(choices, false)?;
        }
        Ok(())
    }

    /// Adds a message to a batch.
    fn message(
        &mut self,
        persistent: bool,
        priority: Option<u8>,
        ttl_ms: Option<u64>,
        builder: &mut BatchBuilder,
        choices: &mut impl Choices,
    ) -> NaiveMessage {
        let lsn = if !self.late.is_empty() && choices.one_in(8) {
            self.late.swap_remove(choices.below(self.late.len() as u64) as usize)
        } else {
            if self.late.len() < 10 && choices.one_in(8) {
                self.late.push(self.next_lsn);
                self.next_lsn += 1;
            }
            self.next_lsn += 1;
            self.next_lsn - 1
        };
        let body = body(lsn, choices.below(40) as usize);
        let (mut key, mut key_ttl_ms, mut died_here) = (None, None, false);
        if self.machine.options().deduplication.is_some() {
            key = choices.one_of(&[None, Some(1), Some(2), Some(3), Some(4), Some(5)]);
            key_ttl_ms = choices.one_of(&[None, None, None, Some(5)]);
            died_here = choices.one_in(8);
        }
        let headers = key.map(|key: u64| {
            let headers = FieldTable::new().with(KEY, key as i64);
            let headers = match key_ttl_ms {
                Some(ttl) => headers.with("x-cache-ttl", ttl as i64),
                None => headers,
            };
            let death = FieldTable::new().with("queue", if died_here { NAME } else { "other" });
            headers.with("x-death", FieldValue::Array(vec![FieldValue::Table(death)]))
        });
        let delivery_mode = persistent.then_some(2);
        let properties = Properties { delivery_mode, headers, ..Properties::default() };
        builder.push_content(&self.route, &properties.encoded(), &body, persistent);
        NaiveMessage {
            lsn,
            place: lsn,
            key,
            key_ttl_ms,
            died_here,
            own_priority: priority,
            priority: 0,
            own_ttl_ms: ttl_ms,
            ttl_ms: None,
            expires: None,
            returns: 0,
            failures: 0,
            late_at: None,
            given: 0,
            body_len: body.len() as u64,
            len: 0,
            persistent,
            enqueued: self.now.as_micros(),
        }
    }

    /// Dispatches until nobody has room or nothing is left. What is to be sent stays for later.
    fn drive(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        self.machine.dispatch(self.now, &mut self.out);
        self.load(choices, true)?;
        self.naive.dispatch(self.now.as_micros());
        Ok(())
    }

    /// Loads what the machine wants, perhaps in pieces.
    fn load(&mut self, choices: &mut impl Choices, dispatch: bool) -> Result<(), String> {
        for _ in 0..LOADS_MAX {
            let Some(run) = self.machine.page_wanted() else { return Ok(()) };
            self.page_in(&run, choices)?;
            if dispatch {
                self.machine.dispatch(self.now, &mut self.out);
            }
        }
        Err("the machine wants to load something all the time".to_owned())
    }

    fn page_in(&mut self, run: &PagedRun, choices: &mut impl Choices) -> Result<(), String> {
        let stored = StoredRun { first: run.first, count: run.count, location: run.location };
        let mut messages = self.stored.read(stored, run.from, run.len, &self.gauge)?;
        let all = u64::from(run.count);
        let most = if choices.one_in(3) { 1 + choices.below(all) } else { all };
        messages.truncate(most as usize);
        self.tally.loaded += most;
        let taken = self.machine.page_in(run, messages, &mut self.out);
        same("messages taken into memory", taken as u64, most)
    }

    fn page_out(&mut self, choices: &mut impl Choices) {
        let keep_bytes = choices.one_of(&[0, 0, 150, 500, 2000]);
        let unwritten = choices.one_of(&[0, 0, 5, 30]);
        let offset = self.stored.written(unwritten);
        self.tally.paged += self.machine.page_out(keep_bytes, |location| location.offset <= offset);
    }

    /// Writes transient messages to an overflow file, at once or in two steps.
    fn spill(&mut self, choices: &mut impl Choices) {
        if let Some((spill, location)) = self.spilling.take() {
            self.tally.spilled += spill.messages().len() as u64;
            return self.machine.spilled(spill, location, &mut self.out);
        }
        let (keep_bytes, bytes_max) = (choices.one_of(&[0, 0, 500]), choices.one_of(&[1, 100, 5000]));
        if let Some(spill) = self.machine.spill_wanted(keep_bytes, bytes_max) {
            let location = self.stored.spill(spill.lsns().map(|lsn| lsn.0).zip(spill.messages()));
            self.spilling = Some((spill, location));
            if choices.one_in(2) {
                self.spill(choices);
            }
        }
    }

    /// The broker stops without a word and starts again.
    fn restart(&mut self) -> Result<(), String> {
        self.tally.count(&self.machine.stats().totals);
        self.tally.restarts += 1;
        self.spilling = None;
        let (name, options) = (self.machine.name().clone(), self.machine.options().clone());
        self.machine = Queue::new(name, options.clone(), QueueLimits::default(), self.now);
        for (window, (_, limit)) in self.windows.iter_mut().zip(&self.naive.channels) {
            *window = Arc::new(ChannelWindow::new(*limit));
        }
        for run in self.stored.restart() {
            same("restore", self.machine.restore(run), true)?;
        }
        self.machine.check_invariants();
        for (at, message) in self.stored.each(&self.gauge)? {
            self.machine.restore_key(&message, at);
        }
        self.naive.restart(self.now.as_micros());
        self.machine.set_paused(self.naive.paused);
        // As when policies are applied.
        self.machine.set_options(options.clone(), self.now, &mut self.out);
        self.naive.set_options(options, self.now.as_micros());
        Ok(())
    }

    /// As the broker does after a batch: dispatch, and take what is to be sent.
    fn dispatch(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        self.drive(choices)?;
        let mut taken = Vec::new();
        let mut bodies = Ok(());
        self.machine.take_deliveries(|consumer, deliveries| {
            let read = deliveries.drain(..).map(|delivery| {
                if delivery.redelivered != (delivery.returns > 0) {
                    bodies = Err(format!(
                        "LSN {}: redelivered, but never returned, or the other way",
                        delivery.lsn
                    ));
                }
                if delivery.message.body() != body(delivery.lsn.0, delivery.message.body_len()) {
                    bodies = Err(format!("LSN {}: another message's body", delivery.lsn));
                }
                (delivery.lsn.0, delivery.tag, delivery.delivery_count, delivery.returns)
            });
            taken.push((consumer.0, read.collect::<Vec<_>>()));
        });
        taken.sort();
        same("deliveries", taken, self.naive.take_deliveries())?;
        bodies
    }

    fn settle(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        // Mostly a consumer that holds something, and tags that it holds.
        let holding = self.naive.consumers.iter().filter(|c| !c.held.is_empty()).collect::<Vec<_>>();
        let (id, first, last) = if holding.is_empty() || choices.one_in(10) {
            let id = choices.one_of(&[1, 2, 3, GETTERS[0]]);
            (id, choices.below(4), choices.below(6))
        } else {
            let consumer = holding[choices.below(holding.len() as u64) as usize];
            let tag = consumer.held[choices.below(consumer.held.len() as u64) as usize].0;
            let first = if choices.one_in(4) { 1 } else { tag };
            (consumer.id, first, tag + choices.below(3))
        };
        let kind = choices.below(5) % 4;
        let text = choices.one_in(3).then_some("no");
        let settlement = match kind {
            0 => Settle::Ack,
            1 => Settle::Requeue,
            3 => Settle::Release,
            _ => Settle::Reject { reason: text.map(ShortStr::truncated) },
        };
        let settled = self.machine.settle(ConsumerId(id), first, last, settlement, self.now, &mut self.out);
        let naive = self.naive.settle(id, first, last, kind, text, self.now.as_micros());
        self.tally.settle_errors += u64::from(settled.is_err());
        let what = format!("settle consumer {id}, tags {first} to {last}, kind {kind}");
        let settled = settled.map_err(|error| format!("{error:?}"));
        same(&what, settled, naive.map_err(str::to_owned))
    }

    fn get(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let (getter, auto_ack) = (choices.one_of(&GETTERS), choices.one_in(2));
        self.load_for_get(choices)?;
        let got = self.machine.get(ConsumerId(getter), auto_ack, self.now, &mut self.out);
        let got = got.map(|got| {
            let delivery = got.delivery;
            ((delivery.lsn.0, delivery.tag, delivery.delivery_count, delivery.returns), got.remaining)
        });
        same("get", got, self.naive.get(getter, auto_ack, self.now.as_micros()))
    }

    /// Takes a message out that waits, or one that does not.
    fn take_out(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let waiting = self.naive.ready.iter().chain(self.naive.delayed.iter().map(|(_, message)| message));
        let waiting: Vec<_> = waiting.map(|message| message.lsn).collect();
        let lsn = match waiting.is_empty() || choices.one_in(6) {
            true => choices.below(self.next_lsn),
            false => waiting[choices.below(waiting.len() as u64) as usize],
        };
        let place = self.machine.places_of(&[Lsn(lsn)])[0];
        same("is there", place.is_some(), waiting.contains(&lsn))?;
        // Who does not know where it is may have known it before.
        let place = place.unwrap_or(BrowsePlace::Ready { priority: 0, lsn: Lsn(lsn) });
        while let Some(run) = self.machine.page_wanted_for_taking(place, self.now, &mut self.out) {
            self.page_in(&run, choices)?;
        }
        let taken = self.machine.take_out(place, self.now, &mut self.out);
        if let Some(message) = &taken
            && message.body() != body(lsn, message.body_len())
        {
            return Err(format!("LSN {lsn}: another message's body is taken out"));
        }
        same("taken out", taken.is_some(), self.naive.take_out(lsn, self.now.as_micros()))
    }

    /// Goes through all that waits, in steps, and through all that is delivered.
    fn look(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let (mut seen, mut after) = (Vec::new(), None);
        let step = 1 + choices.below(5) as usize;
        loop {
            let before = seen.len();
            for found in self.machine.browse(after, step, self.now) {
                let messages = match found {
                    Browsed::Message(message) => vec![message],
                    Browsed::Run { run, until } => {
                        let stored = StoredRun { first: run.first, count: run.count, location: run.location };
                        let messages = self.stored.read(stored, run.from, run.len, &self.gauge)?;
                        run.browsed(messages, until).collect()
                    }
                };
                for message in messages {
                    if Some(message.place) <= after {
                        continue;
                    }
                    let lsn = message.place.lsn().0;
                    if message.message.body() != body(lsn, message.message.body_len()) {
                        return Err(format!("LSN {lsn}: another message's body is seen"));
                    }
                    seen.push(lsn);
                    after = Some(message.place);
                }
            }
            if seen.len() == before {
                break;
            }
        }
        self.tally.looked_at += seen.len() as u64;
        same("seen", seen, self.naive.waiting(self.now.as_micros()))?;

        let (mut held, mut after) = (Vec::new(), None);
        loop {
            let page = self.machine.unacked(after, step, self.now, |_| true);
            let Some(last) = page.last() else { break };
            after = Some((last.consumer, last.tag));
            held.extend(
                page.into_iter().map(|it| (it.consumer.0, it.tag, it.lsn.0, it.given.as_micros() / 100_000)),
            );
        }
        same("held", held, self.naive.held())
    }

    fn pause(&mut self, choices: &mut impl Choices) {
        // Mostly it goes on.
        let paused = choices.one_in(3);
        self.tally.pauses += u64::from(paused);
        self.machine.set_paused(paused);
        self.naive.paused = paused;
    }

    fn load_for_get(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        while let Some(run) = self.machine.page_wanted_for_get(self.now, &mut self.out) {
            self.page_in(&run, choices)?;
        }
        Ok(())
    }

    fn add(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        if self.naive.consumers.len() >= CONSUMERS_MAX {
            return Ok(());
        }
        let id = self.next_consumer;
        self.next_consumer += 1;
        let auto_ack = choices.one_in(4);
        let window = choices.one_of(&[1_000_000, 1_000_000, 150]);
        let credit = choices.one_in(4).then(|| (choices.below(5), choices.below(200)));
        let channel = choices.one_of(&[None, None, Some(0), Some(1)]).filter(|_| !auto_ack);
        let timeout_ms = choices.one_of(&[None, None, None, Some(0), Some(10), Some(40)]);
        let spec = ConsumerSpec {
            id: ConsumerId(id),
            tag: ConsumerTag::default(),
            auto_ack,
            exclusive: choices.one_in(12),
            priority: choices.one_of(&[0, 0, 0, 1, -1]),
            prefetch: choices.one_of(&[0, 1, 2, 5]),
            credit: credit.map(|(messages, bytes)| Credit { messages, bytes }),
            window,
            channel_window: channel.map(|channel: usize| self.windows[channel].clone()),
            timeout: timeout_ms.map(Duration::from_millis),
        };
        let naive = NaiveConsumer {
            id,
            getter: false,
            cancelled: false,
            auto_ack,
            exclusive: spec.exclusive,
            priority: spec.priority,
            prefetch: spec.prefetch,
            credit: credit.map(|(messages, bytes)| (messages, bytes as i64)),
            window: window as i64,
            window_left: window as i64,
            channel,
            timeout: timeout_ms.or(self.machine.options().consumer_timeout_ms).map(|ms| ms * 1000),
            next_tag: 1,
            held: Vec::new(),
            outgoing: Vec::new(),
            paused: Some(PauseReason::NotActive),
        };
        let added = self.machine.add_consumer(spec, self.now).map_err(|error| format!("{error:?}"));
        self.tally.consume_errors += u64::from(added.is_err());
        same("add a consumer", added, self.naive.add(naive).map_err(str::to_owned))
    }

    fn remove(&mut self, choices: &mut impl Choices) {
        let mode = choices.one_of(&[RemoveMode::Cancel, RemoveMode::Gone]);
        if let Some(id) = self.some_consumer(choices) {
            self.machine.remove_consumer(ConsumerId(id), mode, self.now, &mut self.out);
            self.naive.remove(id, mode, self.now.as_micros());
        }
    }

    fn refill(&mut self, choices: &mut impl Choices) {
        let bytes = choices.below(200);
        if let Some(id) = self.some_consumer(choices) {
            self.machine.refill(ConsumerId(id), bytes);
            self.naive.change(id, |c| c.window_left = c.window.min(c.window_left + bytes as i64));
        }
    }

    fn add_credit(&mut self, choices: &mut impl Choices) {
        let (messages, bytes) = (choices.below(4), choices.below(150));
        if let Some(id) = self.some_consumer(choices) {
            self.machine.add_credit(ConsumerId(id), messages, bytes);
            let more = |(m, b): (u64, i64)| (m + messages, b + bytes as i64);
            self.naive.change(id, |c| c.credit = c.credit.map(more));
        }
    }

    fn set_prefetch(&mut self, choices: &mut impl Choices) {
        let prefetch = choices.below(4) as u32;
        if let Some(id) = self.some_consumer(choices) {
            self.machine.set_prefetch(ConsumerId(id), prefetch);
            self.naive.change(id, |c| c.prefetch = prefetch);
        }
    }

    fn set_channel_limit(&mut self, choices: &mut impl Choices) {
        let (channel, limit) = (choices.below(2) as usize, choices.below(5) as u32);
        self.windows[channel].set_limit(limit);
        self.naive.channels[channel].1 = limit;
    }

    /// As the channel does after a settlement: if somebody waits, tell its consumers.
    fn wake_channels(&mut self) {
        for channel in 0..self.windows.len() {
            if self.windows[channel].take_waiting() {
                let members = self.naive.consumers.iter().filter(|c| c.channel == Some(channel));
                for id in members.map(|c| c.id).collect::<Vec<_>>() {
                    self.machine.channel_has_room(ConsumerId(id));
                    self.naive.change(id, |_| ());
                }
            }
        }
    }

    fn tick(&mut self) -> Result<(), String> {
        self.machine.tick(self.now, &mut self.out);
        self.naive.tick(self.now.as_micros());
        match self.machine.next_deadline() {
            Some(at) if at <= self.now && self.out.deleted.is_none() => {
                Err(format!("the next deadline is {at:?}, which is not later than the last tick"))
            }
            _ => Ok(()),
        }
    }

    /// Other options, of which only those count that can change.
    fn set_options(&mut self, choices: &mut impl Choices) {
        let declared = self.machine.options().clone();
        let options = options(choices);
        let naive = QueueOptions {
            durable: declared.durable,
            auto_delete: declared.auto_delete,
            max_priority: declared.max_priority,
            default_priority: declared.default_priority,
            single_active_consumer: declared.single_active_consumer,
            ..options.clone()
        };
        self.machine.set_options(options, self.now, &mut self.out);
        self.naive.set_options(naive, self.now.as_micros());
    }

    fn purge(&mut self) -> Result<(), String> {
        let purged = self.machine.purge(self.now, &mut self.out);
        same("purge", purged, self.naive.purge(self.now.as_micros()))
    }

    fn some_consumer(&self, choices: &mut impl Choices) -> Option<u64> {
        let consumers = &self.naive.consumers;
        let at = choices.below(consumers.len().max(1) as u64) as usize;
        Some(consumers.get(at)?.id)
    }

    /// Compares everything that can be seen.
    fn compare(&mut self) -> Result<(), String> {
        self.machine.check_invariants();
        let text = |text: ShortStr| text.as_str().to_owned();
        self.out.returned.iter().try_for_each(|returned| self.stored.returned(*returned))?;
        self.out.settled.iter().try_for_each(|run| self.stored.settled(*run))?;
        self.out.released.drain(..).try_for_each(|run| self.stored.released(run))?;
        self.out.dead.iter().for_each(|dead| self.stored.died(dead.lsn.0));
        let dead = self.out.dead.drain(..);
        let mut told = Told {
            dead: dead.map(|d| (d.lsn.0, d.reason, d.text.map(text), d.delivery_count)).collect(),
            settled: self
                .out
                .settled
                .drain(..)
                .flat_map(|run| run.first.0..run.first.0 + u64::from(run.count))
                .collect(),
            returned: self.out.returned.drain(..).map(|r| (r.lsn.0, r.delivery_count, r.returns)).collect(),
            late: self.out.late.drain(..).map(|(id, count)| (id.0, count)).collect(),
            deleted: self.out.deleted.take(),
        };
        told.returned.sort_unstable();
        self.tally.deleted += u64::from(told.deleted.is_some());
        let mut naive = std::mem::take(&mut self.naive.told);
        naive.returned.sort_unstable();
        same("effects", told, naive)?;

        let stats = self.machine.stats();
        let naive = &self.naive;
        same("ready", stats.ready, naive.ready.len() as u64)?;
        same("delayed", stats.delayed, naive.delayed.len() as u64)?;
        self.tally.delayed += stats.delayed;
        same("ready body bytes", stats.ready_body_bytes, naive.body_bytes())?;
        let held = || naive.consumers.iter().flat_map(|c| c.held.iter().map(|(_, message)| message));
        same("unacked", stats.unacked, held().count() as u64)?;
        let memory: u64 = naive
            .ready
            .iter()
            .chain(held())
            .chain(naive.delayed.iter().map(|(_, message)| message))
            .map(|m| m.len + crate::queue::MESSAGE_OVERHEAD)
            .sum();
        if stats.paged == 0 {
            same("memory", self.machine.memory_bytes(), memory)?;
        }
        let enqueued = naive.head().map(|head| Timestamp::from_micros(head.enqueued));
        same("head's age", stats.head_enqueued, enqueued)?;
        for (channel, window) in self.windows.iter().enumerate() {
            same("channel window", window.taken(), naive.channels[channel].0)?;
        }

        let mut consumers: Vec<_> =
            self.machine.consumers().map(|c| (c.id.0, c.unacked, c.readiness)).collect();
        consumers.sort_by_key(|consumer| consumer.0);
        let consuming = naive.consumers.iter().filter(|c| !c.getter && !c.cancelled);
        let readiness = |c: &NaiveConsumer| c.paused.map_or(Readiness::Ready, Readiness::Paused);
        let twins: Vec<_> = consuming.map(|c| (c.id, c.held.len() as u64, readiness(c))).collect();
        for (_, _, readiness) in &consumers {
            if let Readiness::Paused(reason) = readiness {
                self.tally.paused[*reason as usize] += 1;
            }
        }
        same("consumers", consumers, twins)?;

        match (self.machine.next_deadline(), naive.deadline().map(Timestamp::from_micros)) {
            (None, Some(exact)) => Err(format!("no deadline, but something is due at {exact:?}")),
            (Some(at), Some(exact)) if at > exact => Err(format!("deadline {at:?} is later than {exact:?}")),
            _ => Ok(()),
        }
    }

    /// Takes what is left, message by message, and ends the queue.
    fn finish(mut self, choices: &mut impl Choices) -> Result<Tally, String> {
        self.machine.set_paused(false);
        self.naive.paused = false;
        self.dispatch(choices)?;
        self.compare()?;
        while self.machine.ready_len() > 0 {
            self.load_for_get(choices)?;
            let got = self.machine.get(ConsumerId(GETTERS[0]), true, self.now, &mut self.out);
            let naive = self.naive.get(GETTERS[0], true, self.now.as_micros());
            let got = got.map(|got| (got.delivery.lsn.0, got.remaining));
            same("the rest", got, naive.map(|(given, remaining)| (given.0, remaining)))?;
        }
        self.compare()?;
        self.tally.count(&self.machine.stats().totals);
        if self.spilling.is_some() {
            self.spill(choices);
        }

        let closed = self.machine.close(&mut self.out);
        let consuming = self.naive.consumers.iter().filter(|c| !c.getter && !c.cancelled);
        let mut consuming: Vec<_> = consuming.map(|c| ConsumerId(c.id)).collect();
        consuming.sort_unstable();
        self.out.cancelled.sort_unstable();
        same("consumers at the end", closed.consumers, consuming.len() as u64)?;
        same("cancelled", &self.out.cancelled, &consuming)?;
        self.out.settled.iter().try_for_each(|run| self.stored.settled(*run))?;
        self.out.released.iter().try_for_each(|run| self.stored.released(*run))?;
        self.stored.check_empty()?;
        same("memory of a closed queue", self.machine.memory_bytes(), 0)?;
        for window in &self.windows {
            same("places taken in a channel's window at the end", window.taken(), 0)?;
        }
        same("bytes of messages at the end", self.gauge.bytes(), 0)?;
        Ok(self.tally)
    }
}

/// The priority of a message, and its time to live.
fn facts(choices: &mut impl Choices) -> (Option<u8>, Option<u64>) {
    let ttl_ms = choices.one_of(&[None, None, None, None, Some(0), Some(5), Some(20), Some(50), Some(500)]);
    (choices.one_of(&[None, Some(0), Some(1), Some(2), Some(3), Some(9), Some(255)]), ttl_ms)
}

/// The body of the message with this LSN.
fn body(lsn: u64, len: usize) -> Vec<u8> {
    lsn.to_be_bytes().into_iter().rev().cycle().take(len).collect()
}
