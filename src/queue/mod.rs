//! The queue machine: what one queue holds, who gets it, and when it goes.
//!
//! A plain value. Every entry point takes the time and appends what the caller has to do to [`Effects`];
//! the broker hosts it behind a short lock and owns timers, sockets and files.
//!
//! ```text
//!             publish                                      x-max-length: refused
//!                | \______________________________________> (Verdict::Rejected)
//!      nobody    |  \  a consumer has room
//!      has room  v   \
//!            +-------+ \      dispatch, get         +---------+   ack
//!            | ready |--+------------------------>  | unacked | ------> done
//!            +-------+ <--------------------------  +---------+
//!                |      requeue, consumer gone or        |
//!                |      too slow (delivery count + 1)    |
//!                |                                       |
//!                | expired, over x-max-length            | rejected, over x-delivery-limit,
//!                v                                       v expired while it was out
//!           dead letter (routed by the caller if the queue has an exchange for it, else dropped)
//! ```
//!
//! While a queue is paused, nobody has room. An operator may look at what waits, and take it out (`browse`).
//!
//! A consumer with auto-ack, and a `get` with it, lead from ready to done.
//!
//! With `x-delayed-retry-type`, a message that comes back waits for some time before it is ready again.
//!
//! Messages that are ready or delayed need not be in memory: runs of them stand in their places (`paged`), and the caller
//! loads what the queue says it cannot go on without (`paging`). Those that die before they are loaded are dying until
//! they can be dead letters. Unacknowledged messages are in memory.
//!
//! Invariants: a message is in exactly one of ready, delayed, dying or unacked; it is delivered in order of priority, then LSN,
//! and never after its deadline; whatever happens to it, it leaves the queue once, and that is told once.
//! Memory is proportional to the messages held, and nothing is allocated or hashed per message.
//! Not here: which queue (`routing`), how it is hosted (`broker`), where it is stored (`store`).

mod admission;
mod browse;
mod changes;
mod channel_window;
mod consumer;
mod consumers;
pub mod death;
mod delayed;
mod dispatch;
mod duplicates;
pub mod durations;
mod dying;
mod effects;
mod entry;
mod expiry;
mod given_times;
mod hold_times;
mod lane;
#[doc(hidden)]
pub mod model;
pub mod origin;
mod overflow;
mod paged;
mod paging;
mod ready;
mod restore;
mod run_list;
mod settlement;
mod spare;
mod spill;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unacked;

use std::sync::Arc;

use crate::model::{ConsumerId, Deduplication, QueueName, QueueOptions, Timestamp};

use consumer::{Consumer, Role};
use consumers::Consumers;
use delayed::Delayed;
use dying::Dying;
use entry::Entry;
use paged::Item;
use ready::Ready;
use stats::UnackedTotal;

pub use browse::{BrowsePlace, Browsed, BrowsedMessage, UnackedMessage};
pub use channel_window::ChannelWindow;
pub use consumer::{ConsumerSpec, Credit, PauseReason, Readiness};
pub use durations::Durations;
pub use effects::{
    Admission, ConsumeError, DeadLetter, DeathReason, DeleteReason, Delivery, Effects, Got, RejectReason,
    RemoveMode, Settle, SettleError, Verdict,
};
pub use paged::{PagedRun, RUN_OVERHEAD};
pub use paging::RUNS_TOGETHER_MAX;
pub use spill::Spill;
pub use stats::{Closed, ConsumerInfo, Deaths, MESSAGE_OVERHEAD, QueueStats, Totals};

/// What a queue's peers can make grow, limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Consumers on one queue. Keeps a mad client from filling memory with consumers.
    pub consumers_max: u32,
    /// Entries in a message's `x-death`: queues in which it died, times reasons. A message beyond it ends, so
    /// that chains of dead-letter exchanges cannot make a message grow for ever.
    pub deaths_max: usize,
    /// Messages that expire from one tick to the next, runs that are not in memory as a whole; the others are left for
    /// the tick after it, which is due already. Only for queues that nobody takes messages from: they could be given
    /// what is past its deadline.
    pub expired_each_time: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits { consumers_max: 65_536, deaths_max: 64, expired_each_time: usize::MAX }
    }
}

/// One queue. See the module's description.
#[derive(Debug)]
pub struct Queue {
    name: QueueName,
    options: QueueOptions,
    limits: QueueLimits,
    ready: Ready,
    delayed: Delayed,
    dying: Dying,
    consumers: Consumers,
    unacked: UnackedTotal,
    totals: Totals,
    /// Keys of messages seen lately, if duplicates are dropped.
    seen: Option<Box<Deduplication>>,
    /// Messages on their way from a consumer; empty between calls, kept for its memory.
    taken: Vec<Entry>,
    /// Since when the queue has been unused, if it has no consumers.
    idle_since: Timestamp,
    /// How many more messages may expire before the next tick.
    expiring: usize,
    /// Whether messages were ever put into overflow files.
    spills: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(name: QueueName, options: QueueOptions, limits: QueueLimits, now: Timestamp) -> Self {
        let consumers = Consumers::new(options.single_active_consumer);
        let seen = duplicates::window(&options);
        Queue {
            name,
            options,
            limits,
            ready: Ready::default(),
            delayed: Delayed::default(),
            dying: Dying::default(),
            consumers,
            unacked: UnackedTotal::default(),
            totals: Totals::default(),
            seen,
            taken: Vec::new(),
            idle_since: now,
            expiring: limits.expired_each_time,
            spills: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Its options: as declared, or as [`Queue::set_options`] has changed them.
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// What its peers can make grow.
    pub fn limits(&self) -> &QueueLimits {
        &self.limits
    }

    /// Adds a consumer; [`Queue::dispatch`] should follow, once the consumer knows that it is one.
    ///
    /// # Errors
    /// If it cannot be added; then nothing has changed.
    pub fn add_consumer(&mut self, spec: ConsumerSpec, _now: Timestamp) -> Result<(), ConsumeError> {
        if self.consumers.find(spec.id).is_some() {
            return Err(ConsumeError::AlreadyThere);
        }
        if self.options.single_active_consumer && spec.exclusive {
            return Err(ConsumeError::SingleActive);
        }
        if self.consumers.has_exclusive() {
            return Err(ConsumeError::InExclusiveUse);
        }
        if spec.exclusive && self.consumers.consuming() > 0 {
            return Err(ConsumeError::NotAlone);
        }
        let max = self.limits.consumers_max;
        if self.consumers.consuming() >= max as usize {
            return Err(ConsumeError::TooMany { max });
        }
        let age = self.consumers.next_age();
        self.consumers.add(Consumer::new(spec, self.options.consumer_timeout(), age));
        Ok(())
    }

    /// Removes a consumer, or the stand-in for a channel's `get`s. Unknown ones are none of our business:
    /// nothing happens. [`Queue::dispatch`] should follow.
    pub fn remove_consumer(&mut self, id: ConsumerId, mode: RemoveMode, now: Timestamp, out: &mut Effects) {
        let Some(slot) = self.consumers.find(id) else { return };
        let was_consuming = self.consumers.get(slot).role == Role::Consuming;
        match mode {
            RemoveMode::Cancel => {
                self.consumers.cancel(slot);
                self.consumers.remove_if_spent(slot);
            }
            RemoveMode::Gone => {
                let consumer = self.consumers.get(slot);
                // First, so that a consumer of the same channel can take its turn.
                consumer.give_back_channel_places(consumer.unacked.len());
                let mut consumer = self.consumers.remove(slot);
                let unacked = &mut self.unacked;
                consumer.unacked.take(0, u64::MAX, |entry| {
                    unacked.remove(&entry);
                    self.taken.push(entry);
                });
                self.put_back(true, now, out);
            }
        }
        if was_consuming && self.consumers.consuming() == 0 {
            self.idle_since = now;
            if self.options.auto_delete {
                out.deleted = Some(DeleteReason::AutoDelete);
            }
        }
    }

    /// Takes the next message for a channel's `get`. The channel's `getter` is remembered with the first
    /// message it has to settle, until [`Queue::remove_consumer`]. What [`Queue::page_wanted_for_get`] says has to be
    /// loaded before, else there seems to be none. There is none while the queue is paused.
    pub fn get(
        &mut self,
        getter: ConsumerId,
        auto_ack: bool,
        now: Timestamp,
        out: &mut Effects,
    ) -> Option<Got> {
        self.touch(now);
        self.pass_time(now, out);
        if self.is_paused() || !self.ready.has_front() {
            self.totals.get_empty += 1;
            return None;
        }
        let mut entry = self.ready.pop()?;
        entry.count_wait(now, out);
        let remaining = self.ready.len() as u64;
        self.totals.got += 1;
        self.totals.redelivered += u64::from(entry.held.returns > 0);
        if auto_ack {
            self.totals.auto_acked += 1;
            self.totals.got_auto_acked += 1;
            self.note_settled(&entry, out);
            return Some(Got { delivery: Delivery::new(entry, 0), remaining });
        }
        let timeout = self.options.consumer_timeout();
        let slot = self.consumers.find(getter).unwrap_or_else(|| {
            let age = self.consumers.next_age();
            self.consumers.add(Consumer::getter(getter, timeout, age))
        });
        let consumer = self.consumers.get_mut(slot);
        let tag = consumer.unacked.next_tag();
        entry.held.give(now);
        let delivery = Delivery::sharing(&entry, tag);
        self.unacked.add(&entry);
        consumer.unacked.push(entry);
        consumer.given.given(tag, now);
        self.consumers.start_hold(slot, tag, now);
        Some(Got { delivery, remaining })
    }

    /// Stops deliveries, and `get`s, until it is called with false: the queue takes messages, and ends them, as ever.
    /// [`Queue::dispatch`] should follow.
    pub fn set_paused(&mut self, paused: bool) {
        self.consumers.paused = paused;
    }

    /// Whether nothing is delivered for now: see [`Queue::set_paused`].
    pub fn is_paused(&self) -> bool {
        self.consumers.paused
    }

    /// Messages that a consumer, cancelled or not, has to settle; 0 for unknown ones.
    pub fn unacked_of(&self, id: ConsumerId) -> u64 {
        self.consumers.find(id).map_or(0, |slot| self.consumers.get(slot).unacked.len() as u64)
    }

    /// Drops all ready and all delayed messages; they are no dead letters. Answers how many.
    pub fn purge(&mut self, now: Timestamp, out: &mut Effects) -> u64 {
        self.pass_time(now, out);
        let purged = (self.ready.len() + self.delayed.len()) as u64;
        self.totals.purged += purged;
        let mut delayed = std::mem::take(&mut self.delayed);
        for item in self.ready.drain().chain(std::iter::from_fn(|| delayed.pop())) {
            self.note_item_settled(item, out);
        }
        purged
    }

    fn note_item_settled(&self, item: Item, out: &mut Effects) {
        match item {
            Item::Message(entry) => self.note_settled(&entry, out),
            Item::Run(run) => out.note_settled(run.stored(), self.is_journalled()),
        }
    }

    /// The consumer's outbox has sent this many bytes of its messages.
    pub fn refill(&mut self, consumer: ConsumerId, bytes: u64) {
        self.change(consumer, |consumer| consumer.refill(bytes));
    }

    /// The consumer is ready to receive more. Nothing happens if its credit is unlimited.
    pub fn add_credit(&mut self, consumer: ConsumerId, messages: u64, bytes: u64) {
        self.change(consumer, |consumer| consumer.add_credit(messages, bytes));
    }

    /// Changes how many messages the consumer may hold; 0 is unlimited.
    pub fn set_prefetch(&mut self, consumer: ConsumerId, prefetch: u32) {
        self.change(consumer, |consumer| consumer.prefetch = prefetch);
    }

    /// The consumer's channel has got a limit after the consumer was started.
    pub fn join_channel_window(&mut self, consumer: ConsumerId, window: &Arc<ChannelWindow>) {
        self.change(consumer, |consumer| consumer.join_channel_window(window));
    }

    /// Whether some consumer waits for nothing but its connection: it takes messages as fast as it can be written
    /// to, so more of them would not reach it any sooner.
    pub fn is_limited_by_outboxes(&self) -> bool {
        self.consumers.outboxes_full() > 0
    }

    /// The consumer's channel may hold more messages than when the consumer was paused for it.
    pub fn channel_has_room(&mut self, consumer: ConsumerId) {
        self.change(consumer, |_| ());
    }

    fn change(&mut self, id: ConsumerId, change: impl FnOnce(&mut Consumer)) {
        if let Some(slot) = self.consumers.find(id) {
            change(self.consumers.get_mut(slot));
            self.consumers.update(slot);
        }
    }

    /// Does what is due: messages expire, those held for too long come back, and the queue itself ends if it has
    /// been unused for too long. [`Queue::dispatch`] should follow.
    pub fn tick(&mut self, now: Timestamp, out: &mut Effects) {
        self.expiring = self.limits.expired_each_time;
        self.pass_time(now, out);
        if self.expires_at().is_some_and(|at| at <= now) {
            out.deleted = Some(DeleteReason::Expired);
        }
    }

    /// When to call [`Queue::tick`] next. Never later than the first thing that is due; it may be earlier,
    /// since a message that was delivered in the meantime is only found out then.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [
            self.ready.next_deadline(),
            self.delayed.next_deadline(),
            self.consumers.next_hold(),
            self.expires_at(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// When the queue itself expires.
    fn expires_at(&self) -> Option<Timestamp> {
        let expires_ms = self.options.expires_ms.filter(|_| self.consumers.consuming() == 0)?;
        Some(self.idle_since.plus_millis(expires_ms))
    }

    /// The queue was used: its time to expire starts anew. To be called when it is declared again.
    pub fn touch(&mut self, now: Timestamp) {
        self.idle_since = self.idle_since.max(now);
    }

    /// Does to the messages what time does: those held for too long come back, those delayed for long enough are
    /// ready, those past their deadline end. What is too much then goes last: those that end make room first, whether
    /// the head is in memory, so that it could be dropped at once, or not.
    fn pass_time(&mut self, now: Timestamp, out: &mut Effects) {
        let are_back = self.take_back_late(now, out);
        while let Some(item) = self.delayed.pop_due(now) {
            // Those that have waited for too long to live are the next to expire.
            match item {
                Item::Message(entry) => self.ready.insert(entry),
                Item::Run(run) => self.ready.insert_run(run),
            }
        }
        self.expire(now, out);
        if are_back {
            self.drop_overflow(out);
        }
    }

    /// Ends the messages that are past their deadline.
    fn expire(&mut self, now: Timestamp, out: &mut Effects) {
        if self.ready.may_be_due(now) {
            while self.expiring > 0 {
                match self.ready.pop_expired(now) {
                    Some(Item::Message(entry)) => {
                        self.expiring -= 1;
                        self.bury(entry, DeathReason::Expired, None, out);
                    }
                    Some(Item::Run(run)) => {
                        self.expiring = self.expiring.saturating_sub(run.count as usize);
                        self.bury_run(run, DeathReason::Expired, out);
                    }
                    None => break,
                }
            }
        }
    }

    /// Hands out what was assigned since the last time: one call for each consumer concerned, with its
    /// deliveries in order. The callee moves them out and leaves the vector for its memory.
    pub fn take_deliveries(&mut self, take: impl FnMut(ConsumerId, &mut Vec<Delivery>)) {
        self.consumers.take_deliveries(take);
    }

    /// Its numbers.
    pub fn stats(&self) -> QueueStats {
        QueueStats {
            ready: self.ready.len() as u64,
            delayed: self.delayed.len() as u64,
            unacked: self.unacked.count,
            paged: self.paged(),
            ready_bytes: self.ready.memory(),
            ready_body_bytes: self.ready.body_bytes(),
            delayed_bytes: self.delayed.memory(),
            delayed_body_bytes: self.delayed.body_bytes(),
            unacked_bytes: self.unacked.memory,
            unacked_body_bytes: self.unacked.content_bytes(),
            consumers: self.consumers.consuming() as u64,
            head_enqueued: self.ready.head_enqueued(),
            totals: self.totals,
        }
    }

    /// Bytes of all messages it holds in memory, with [`MESSAGE_OVERHEAD`] for each, and what is remembered of
    /// others: [`RUN_OVERHEAD`] for each run of them, less where they are many.
    pub fn memory_bytes(&self) -> u64 {
        self.ready.memory() + self.delayed.memory() + self.dying.memory() + self.unacked.memory
    }

    /// All messages it holds, ready, delayed, dying or unacked, in memory or not.
    pub fn messages(&self) -> u64 {
        (self.ready.len() + self.delayed.len()) as u64 + self.dying.messages() + self.unacked.count
    }

    /// Ready messages.
    pub fn ready_len(&self) -> u64 {
        self.ready.len() as u64
    }

    /// Consumers; `get`s and cancelled ones don't count.
    pub fn consumer_count(&self) -> u64 {
        self.consumers.consuming() as u64
    }

    /// Its consumers, in no particular order.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerInfo> {
        let consuming = self.consumers.iter().filter(|consumer| consumer.role == Role::Consuming);
        consuming.map(|consumer| ConsumerInfo {
            id: consumer.id,
            tag: consumer.tag.clone(),
            auto_ack: consumer.auto_ack,
            exclusive: consumer.exclusive,
            priority: consumer.priority,
            prefetch: consumer.prefetch,
            timeout: consumer.hold.as_ref().map(|hold| hold.timeout()),
            unacked: consumer.unacked.len() as u64,
            held_since: consumer.unacked.first_tag().and_then(|first| consumer.given.at(first)),
            readiness: consumer.readiness,
        })
    }

    /// Ends the queue: its consumers are cancelled, its messages dropped (a deleted queue makes no dead
    /// letters). All that was stored of them is in [`Effects::settled`] and [`Effects::released`].
    pub fn close(&mut self, out: &mut Effects) -> Closed {
        let closed = Closed {
            ready: self.ready.len() as u64,
            delayed: self.delayed.len() as u64,
            unacked: self.unacked.count,
            consumers: self.consumers.consuming() as u64,
        };
        for consumer in self.consumers.iter() {
            consumer.give_back_channel_places(consumer.unacked.len());
            if consumer.role == Role::Consuming {
                out.cancelled.push(consumer.id);
            }
            consumer.unacked.iter().for_each(|entry| self.note_settled(entry, out));
        }
        self.consumers = Consumers::new(self.options.single_active_consumer);
        let mut delayed = std::mem::take(&mut self.delayed);
        for item in self.ready.drain().chain(std::iter::from_fn(|| delayed.pop())) {
            self.note_item_settled(item, out);
        }
        self.forget_dying(out);
        self.unacked = UnackedTotal::default();
        closed
    }

    /// Asserts what the machine promises. For tests: it looks at everything.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.ready.check_invariants();
        self.delayed.check_invariants();
        self.dying.check_invariants();
        self.consumers.check_invariants();
        assert!(self.taken.is_empty(), "messages are neither ready nor unacked");
        let mut unacked = UnackedTotal::default();
        for entry in self.consumers.iter().flat_map(|consumer| consumer.unacked.iter()) {
            unacked.add(entry);
        }
        assert_eq!(self.unacked, unacked);
    }
}
