//! The consumers of one queue, and whose turn it is.
//!
//! Consumers with room stand in a ring for their priority: the first is served and goes to the back, so the
//! round is strict and a message costs O(1) with thousands of consumers. A lower priority is served only when
//! nobody of a higher one has room.
//!
//! Single active consumer: the one with the highest priority, then the oldest. When a consumer with a higher
//! priority comes, the active one gets nothing more, and hands over once it holds nothing: messages are never
//! processed by two at a time because of a hand-over (RabbitMQ's quorum queues).
//!
//! Invariants: a consumer stands in its ring exactly once if it is `Ready`, else not at all; only the active
//! consumer can be ready if the queue has one. Not here: when a consumer has room (`consumer`).

use std::collections::{BTreeSet, VecDeque};

use crate::model::{ConsumerId, Timestamp};

use super::consumer::{Consumer, PauseReason, Readiness, Role};

/// Capacity, in deliveries, that a consumer keeps after a burst.
const OUTGOING_KEPT: usize = 1024;

/// A consumer's place in the table, valid until it is removed.
pub(super) type Slot = u32;

#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    free: Vec<Slot>,
    /// Sorted by identity: settling finds its consumer without hashing.
    index: Vec<(ConsumerId, Slot)>,
    /// Highest priority first.
    levels: Vec<Level>,
    /// Rings before this one are empty.
    first: usize,
    single_active: bool,
    active: Option<Slot>,
    /// The one that should be active.
    best: Option<Slot>,
    /// The active one gets nothing more: a better one takes over once it holds nothing.
    handing_over: bool,
    /// Consumers that were given something since the last [`Consumers::take_deliveries`].
    touched: Vec<Slot>,
    /// When consumers that hold messages are to be looked at for late ones; each once at most.
    holds: BTreeSet<(Timestamp, ConsumerId)>,
    /// Nobody gets anything for now, whoever has room.
    pub(super) paused: bool,
    /// How many consume.
    consuming: usize,
    /// How many are paused because their outboxes are full.
    outboxes_full: usize,
    /// One of them does so exclusively; then it is the only one.
    exclusive: bool,
    next_age: u64,
}

#[derive(Debug)]
struct Level {
    priority: i32,
    /// Consumers with this priority, with room or without.
    members: usize,
    ring: VecDeque<Slot>,
}

impl Consumers {
    pub(super) fn new(single_active: bool) -> Self {
        Consumers { single_active, ..Self::default() }
    }

    /// How many consume; `get`s and cancelled ones don't count.
    pub(super) fn consuming(&self) -> usize {
        self.consuming
    }

    pub(super) fn has_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(super) fn find(&self, id: ConsumerId) -> Option<Slot> {
        match *self.index {
            // What most queues have.
            [(only, slot)] => (only == id).then_some(slot),
            _ => self.position(id).ok().map(|at| self.index[at].1),
        }
    }

    fn position(&self, id: ConsumerId) -> Result<usize, usize> {
        self.index.binary_search_by_key(&id, |(id, _)| *id)
    }

    pub(super) fn get(&self, slot: Slot) -> &Consumer {
        self.slots[slot as usize].as_ref().expect("a slot in use has a consumer")
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Consumer {
        self.slots[slot as usize].as_mut().expect("a slot in use has a consumer")
    }

    /// All there are, whatever their role, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.slots.iter().flatten()
    }

    /// Those from this identity on, whatever their role, in order.
    pub(super) fn in_order(&self, from: ConsumerId) -> impl Iterator<Item = &Consumer> {
        let at = self.index.partition_point(|(id, _)| *id < from);
        self.index[at..].iter().map(|(_, slot)| self.get(*slot))
    }

    /// Changes when messages that are out expire, given when they came.
    pub(super) fn change_expiry(&mut self, change: impl Fn(Timestamp, &mut Timestamp)) {
        let consumers = self.slots.iter_mut().flatten();
        let held = consumers.flat_map(|consumer| consumer.unacked.iter_mut()).map(|entry| &mut entry.held);
        held.for_each(|held| change(held.enqueued, &mut held.expires));
    }

    pub(super) fn next_age(&mut self) -> u64 {
        self.next_age += 1;
        self.next_age
    }

    /// Adds a consumer whose identity is new.
    pub(super) fn add(&mut self, consumer: Consumer) -> Slot {
        let Consumer { id, role, priority, exclusive, .. } = consumer;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(consumer);
                slot
            }
            None => {
                self.slots.push(Some(consumer));
                (self.slots.len() - 1) as Slot
            }
        };
        let at = self.position(id).unwrap_or_else(|at| at);
        self.index.insert(at, (id, slot));
        if role == Role::Consuming {
            self.consuming += 1;
            self.exclusive |= exclusive;
            self.join_level(priority);
            // The newest wins by priority only.
            if self.best.is_none_or(|best| self.get(best).priority < priority) {
                self.best = Some(slot);
            }
            self.elect();
            self.update(slot);
        }
        slot
    }

    /// It consumes no more, but keeps what it holds.
    pub(super) fn cancel(&mut self, slot: Slot) {
        let consumer = self.get_mut(slot);
        if consumer.role != Role::Consuming {
            return;
        }
        consumer.role = Role::Cancelled;
        let priority = consumer.priority;
        self.update(slot);
        self.leave_level(priority);
        self.consuming -= 1;
        self.exclusive = false;
        if self.active == Some(slot) {
            self.active = None;
        }
        if self.best == Some(slot) {
            self.best = self.find_best();
        }
        self.elect();
    }

    /// Forgets a consumer with all it holds.
    pub(super) fn remove(&mut self, slot: Slot) -> Consumer {
        self.cancel(slot);
        self.touched.retain(|touched| *touched != slot);
        let consumer = self.slots[slot as usize].take().expect("a slot in use has a consumer");
        if let Ok(at) = self.position(consumer.id) {
            self.index.remove(at);
        }
        if let Some(hold) = &consumer.hold {
            self.holds.remove(&(hold.armed, consumer.id));
        }
        self.free.push(slot);
        consumer
    }

    /// Forgets a cancelled consumer that holds nothing more.
    pub(super) fn remove_if_spent(&mut self, slot: Slot) {
        if self.get(slot).is_spent() {
            self.remove(slot);
        }
    }

    /// A consumer was given the message with this tag, which it holds from now on.
    pub(super) fn start_hold(&mut self, slot: Slot, tag: u64, now: Timestamp) {
        let consumer = self.slots[slot as usize].as_mut().expect("a slot in use has a consumer");
        let Some(hold) = &mut consumer.hold else { return };
        hold.given(tag, now);
        if hold.armed == Timestamp::NEVER
            && let Some(at) = hold.next(consumer.unacked.first_tag())
        {
            hold.armed = at;
            self.holds.insert((at, consumer.id));
        }
    }

    /// When some consumer has to be looked at for late messages; perhaps it has none then.
    pub(super) fn next_hold(&self) -> Option<Timestamp> {
        self.holds.first().map(|(at, _)| *at)
    }

    /// The next consumer that holds late messages, and the last tag of them. In order of how late they are, then
    /// of identity.
    pub(super) fn next_late(&mut self, now: Timestamp) -> Option<(Slot, u64)> {
        while self.next_hold().is_some_and(|at| at <= now) {
            let (at, id) = self.holds.pop_first()?;
            let slot = self.find(id).expect("a consumer that is gone is not looked at");
            let consumer = self.slots[slot as usize].as_mut().expect("a slot in use has a consumer");
            let hold = consumer.hold.as_mut().expect("it was looked at because its time is limited");
            hold.armed = Timestamp::NEVER;
            // Most often they have been settled since.
            let Some(next) = hold.next(consumer.unacked.first_tag()) else { continue };
            if next > at {
                hold.armed = next;
                self.holds.insert((next, id));
            } else if let Some(last) = hold.take_due(now) {
                // What it holds besides.
                if let Some(next) = hold.next(consumer.unacked.first_tag()) {
                    hold.armed = next;
                    self.holds.insert((next, id));
                }
                return Some((slot, last));
            }
        }
        None
    }

    /// Decides who is active: to be called when a consumer came or went, or the active one holds nothing more.
    fn elect(&mut self) {
        if !self.single_active {
            return;
        }
        let best = self.best;
        let old = self.active;
        self.handing_over = old != best && old.is_some_and(|old| !self.get(old).unacked.is_empty());
        if !self.handing_over {
            self.active = best;
        }
        old.into_iter().chain(best).for_each(|slot| self.update(slot));
    }

    /// The one with the highest priority, then the oldest.
    fn find_best(&self) -> Option<Slot> {
        if !self.single_active {
            return None;
        }
        let candidates = self.index.iter().map(|(_, slot)| *slot);
        let candidates = candidates.filter(|slot| self.get(*slot).role == Role::Consuming);
        candidates.min_by_key(|slot| {
            let consumer = self.get(*slot);
            (std::cmp::Reverse(consumer.priority), consumer.age)
        })
    }

    /// Whether the single active consumer rule lets this one receive.
    pub(super) fn is_active(&self, slot: Slot) -> bool {
        !self.single_active || (self.active == Some(slot) && !self.handing_over)
    }

    /// To be called when a consumer holds less than before or has more credit: it may have room now.
    pub(super) fn update(&mut self, slot: Slot) {
        let active = self.is_active(slot);
        let consumer = self.get_mut(slot);
        let readiness = match consumer.pause_reason(active) {
            None => Readiness::Ready,
            Some(reason) => Readiness::Paused(reason),
        };
        let before = std::mem::replace(&mut consumer.readiness, readiness);
        let priority = consumer.priority;
        self.count_full(before, readiness);
        match (before, readiness) {
            (Readiness::Paused(_), Readiness::Ready) => self.join_round(slot, priority),
            (Readiness::Ready, Readiness::Paused(_)) => self.leave_round(slot, priority),
            _ => {}
        }
    }

    /// How many wait for nothing but their connections.
    pub(super) fn outboxes_full(&self) -> usize {
        self.outboxes_full
    }

    fn count_full(&mut self, before: Readiness, after: Readiness) {
        const FULL: Readiness = Readiness::Paused(PauseReason::OutboxFull);
        self.outboxes_full += usize::from(after == FULL);
        self.outboxes_full -= usize::from(before == FULL);
    }

    /// To be called when a consumer has settled all it held.
    pub(super) fn hand_over(&mut self, slot: Slot) {
        if self.handing_over && self.active == Some(slot) && self.get(slot).unacked.is_empty() {
            self.elect();
        }
    }

    /// Where the level of this priority is, or should be.
    fn level(&self, priority: i32) -> usize {
        self.levels.partition_point(|level| level.priority > priority)
    }

    fn join_level(&mut self, priority: i32) {
        let at = self.level(priority);
        if self.levels.get(at).is_none_or(|level| level.priority != priority) {
            self.levels.insert(at, Level { priority, members: 0, ring: VecDeque::new() });
        }
        self.levels[at].members += 1;
    }

    fn leave_level(&mut self, priority: i32) {
        let at = self.level(priority);
        self.levels[at].members -= 1;
        if self.levels[at].members == 0 {
            self.levels.remove(at);
            // Those behind have moved by one.
            self.first = self.first.saturating_sub(1);
        }
    }

    fn join_round(&mut self, slot: Slot, priority: i32) {
        let at = self.level(priority);
        self.levels[at].ring.push_back(slot);
        self.first = self.first.min(at);
    }

    fn leave_round(&mut self, slot: Slot, priority: i32) {
        let at = self.level(priority);
        self.levels[at].ring.retain(|member| *member != slot);
    }

    /// Whether somebody has room, unless its channel is found to be full.
    pub(super) fn has_room(&mut self) -> bool {
        if self.paused {
            return false;
        }
        while let Some(level) = self.levels.get(self.first) {
            if !level.ring.is_empty() {
                return true;
            }
            self.first += 1;
        }
        false
    }

    /// The consumer whose turn it is, out of the round, with a place taken in its channel's window.
    /// [`Consumers::served`] must follow.
    pub(super) fn next(&mut self) -> Option<Slot> {
        if self.paused {
            return None;
        }
        while let Some(level) = self.levels.get_mut(self.first) {
            let Some(slot) = level.ring.pop_front() else {
                self.first += 1;
                continue;
            };
            let consumer = self.get_mut(slot);
            if consumer.take_channel_place() {
                return Some(slot);
            }
            // It stood in the round, so its outbox was not full.
            consumer.readiness = Readiness::Paused(PauseReason::ChannelPrefetch);
        }
        None
    }

    /// The consumer that [`Consumers::next`] named has been given its message: back to the end of the round
    /// if it still has room.
    pub(super) fn served(&mut self, slot: Slot) {
        // It was active a moment ago, and giving does not change that.
        let consumer = self.get_mut(slot);
        let first = consumer.outgoing.len() == 1;
        match consumer.pause_reason(true) {
            None => {
                let priority = consumer.priority;
                let level = &mut self.levels[self.first];
                if level.priority == priority {
                    level.ring.push_back(slot);
                } else {
                    self.join_round(slot, priority);
                }
            }
            Some(reason) => {
                consumer.readiness = Readiness::Paused(reason);
                self.count_full(Readiness::Ready, Readiness::Paused(reason));
            }
        }
        if first {
            self.touched.push(slot);
        }
    }

    /// Gives what was assigned to the broker; see [`super::Queue::take_deliveries`].
    pub(super) fn take_deliveries(
        &mut self,
        mut take: impl FnMut(ConsumerId, &mut Vec<super::effects::Delivery>),
    ) {
        // Handing out may forget a consumer, which must not disturb the list.
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            let consumer = self.get_mut(slot);
            take(consumer.id, &mut consumer.outgoing);
            consumer.outgoing.clear();
            consumer.outgoing.shrink_to(OUTGOING_KEPT);
            self.remove_if_spent(slot);
        }
        self.touched = touched;
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        assert!(self.index.is_sorted(), "the index is out of order");
        assert_eq!(self.index.len(), self.slots.iter().flatten().count());
        assert!(self.levels.is_sorted_by(|a, b| a.priority > b.priority), "levels out of order");
        assert!(self.levels[..self.first].iter().all(|level| level.ring.is_empty()));
        assert_eq!(self.iter().filter(|c| c.role == Role::Consuming).count(), self.consuming);
        let full = Readiness::Paused(PauseReason::OutboxFull);
        assert_eq!(self.iter().filter(|c| c.readiness == full).count(), self.outboxes_full);
        for (id, slot) in &self.index {
            let consumer = self.get(*slot);
            assert_eq!(consumer.id, *id);
            consumer.unacked.check_invariants();
            let rings = self.levels.iter().flat_map(|level| level.ring.iter().map(|s| (level.priority, *s)));
            let places: Vec<_> = rings.filter(|(_, member)| member == slot).collect();
            match consumer.readiness {
                Readiness::Ready => assert_eq!(places, [(consumer.priority, *slot)], "consumer {id}"),
                Readiness::Paused(_) => assert!(places.is_empty(), "consumer {id} waits in the round"),
            }
            assert_eq!(self.touched.contains(slot), !consumer.outgoing.is_empty(), "consumer {id}");
            assert!(!consumer.is_spent(), "consumer {id} should be forgotten");
        }
        for level in &self.levels {
            let members = self.iter().filter(|c| c.role == Role::Consuming && c.priority == level.priority);
            assert_eq!(members.count(), level.members);
            assert!(level.members > 0, "a level without consumers");
        }
        if self.single_active {
            assert_eq!(self.best, self.find_best());
            assert_eq!(self.active.is_some(), self.consuming > 0, "nobody is active");
        }
    }
}
