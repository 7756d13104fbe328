//! The naive twin: every rule in its most literal form, over plain vectors that are searched from end to end.
//!
//! It shares no code with the machine, only the types of what is asked and answered.

use crate::model::{OverflowRule, QueueOptions};
use crate::queue::{DeathReason, DeleteReason, PauseReason, RemoveMode};

/// A bug planted in the twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A requeued message goes to the end of the queue.
    RequeueAtTail,
    /// Messages expire only at the head of the queue.
    ExpireAtHeadOnly,
    /// A consumer that was served is served again before the others.
    RoundRestarts,
    /// The newest message is dropped from a full queue.
    DropTail,
    /// A message that comes back is not counted.
    ReturnsNotCounted,
    /// A consumer may hold one message more than its prefetch.
    PrefetchPlusOne,
    /// Consumers are served whatever their priority.
    ConsumerPriorityIgnored,
    /// The single active consumer hands over while it still holds messages.
    HastyHandOver,
    /// A requeued message gets a new time to live.
    RequeueRenewsExpiry,
    /// A message without a priority has priority 0 in every queue.
    DefaultPriorityIgnored,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 10] = [
        Mutation::RequeueAtTail,
        Mutation::ExpireAtHeadOnly,
        Mutation::RoundRestarts,
        Mutation::DropTail,
        Mutation::ReturnsNotCounted,
        Mutation::PrefetchPlusOne,
        Mutation::ConsumerPriorityIgnored,
        Mutation::HastyHandOver,
        Mutation::RequeueRenewsExpiry,
        Mutation::DefaultPriorityIgnored,
    ];
}

/// A message as the twin knows it.
#[derive(Clone, Debug)]
pub(super) struct NaiveMessage {
    pub(super) lsn: u64,
    pub(super) place: u64,
    pub(super) own_priority: Option<u8>,
    pub(super) priority: u8,
    pub(super) ttl_ms: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) returns: u32,
    pub(super) body_len: u64,
    pub(super) len: u64,
    pub(super) persistent: bool,
    pub(super) enqueued: u64,
}

/// A consumer as the twin knows it.
#[derive(Clone, Debug)]
pub(super) struct NaiveConsumer {
    pub(super) id: u64,
    pub(super) getter: bool,
    pub(super) cancelled: bool,
    pub(super) auto_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i32,
    pub(super) prefetch: u32,
    pub(super) credit: Option<(u64, i64)>,
    pub(super) window: i64,
    pub(super) window_left: i64,
    pub(super) channel: Option<usize>,
    pub(super) next_tag: u64,
    pub(super) held: Vec<(u64, NaiveMessage)>,
    pub(super) outgoing: Vec<Given>,
    pub(super) paused: Option<PauseReason>,
}

/// A delivery: LSN, tag, how often it came back.
pub(super) type Given = (u64, u64, u32);

/// What the twin says has to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) dead: Vec<(u64, DeathReason, Option<String>, u32)>,
    pub(super) settled: Vec<u64>,
    /// Sorted.
    pub(super) returned: Vec<(u64, u32)>,
    pub(super) deleted: Option<DeleteReason>,
}

#[derive(Debug)]
pub(super) struct Naive {
    options: QueueOptions,
    mutation: Option<Mutation>,
    /// In no order.
    pub(super) ready: Vec<NaiveMessage>,
    /// Oldest first.
    pub(super) consumers: Vec<NaiveConsumer>,
    /// Those with room, in the order in which they are served.
    round: Vec<u64>,
    active: Option<u64>,
    handing_over: bool,
    /// Taken and limit.
    pub(super) channels: Vec<(u32, u32)>,
    idle_since: u64,
    next_tail: u64,
    pub(super) told: Told,
}

impl Naive {
    pub(super) fn new(
        options: QueueOptions,
        channels: Vec<u32>,
        mutation: Option<Mutation>,
        now: u64,
    ) -> Self {
        Naive {
            options,
            mutation,
            ready: Vec::new(),
            consumers: Vec::new(),
            round: Vec::new(),
            active: None,
            handing_over: false,
            channels: channels.into_iter().map(|limit| (0, limit)).collect(),
            idle_since: now,
            next_tail: 1 << 40,
            told: Told::default(),
        }
    }

    /// Whether it was accepted.
    pub(super) fn publish(&mut self, mut message: NaiveMessage, now: u64) -> bool {
        let priority = match self.mutation {
            Some(Mutation::DefaultPriorityIgnored) => message.own_priority.unwrap_or(0),
            _ => message.own_priority.unwrap_or(self.options.default_priority),
        };
        message.priority = priority.min(self.options.max_priority);
        message.ttl_ms = [message.ttl_ms, self.options.message_ttl_ms].into_iter().flatten().min();
        message.expires = message.ttl_ms.map(|ttl| now + ttl * 1000);
        self.dispatch(now);
        if self.ready.is_empty()
            && let Some(id) = self.next()
        {
            self.give(id, message);
            return true;
        }
        let count = self.ready.len() as u64 + 1;
        let bytes = self.body_bytes() + message.body_len;
        if self.options.overflow != OverflowRule::DropHead && self.too_much(count, bytes) {
            if self.options.overflow == OverflowRule::RejectPublishDeadLetter {
                self.bury(message, DeathReason::MaxLength, None);
            }
            return false;
        }
        if message.expires.is_some_and(|at| at <= now) {
            self.bury(message, DeathReason::Expired, None);
        } else {
            self.ready.push(message);
            self.drop_overflow();
        }
        true
    }

    pub(super) fn dispatch(&mut self, now: u64) {
        self.expire(now);
        while !self.ready.is_empty() {
            let Some(id) = self.next() else { break };
            let message = self.take_head().expect("not empty");
            self.give(id, message);
        }
    }

    fn next(&mut self) -> Option<u64> {
        while !self.round.is_empty() {
            let priority = |id: &u64| match self.mutation {
                Some(Mutation::ConsumerPriorityIgnored) => 0,
                _ => self.consumer(*id).priority,
            };
            let highest = self.round.iter().map(priority).max()?;
            let at = self.round.iter().position(|id| priority(id) == highest)?;
            let id = self.round.remove(at);
            match self.consumer(id).channel {
                Some(channel) if !self.channel_has_room(channel) => {
                    self.consumer_mut(id).paused = Some(PauseReason::ChannelPrefetch);
                }
                Some(channel) => {
                    self.channels[channel].0 += 1;
                    return Some(id);
                }
                None => return Some(id),
            }
        }
        None
    }

    fn give(&mut self, id: u64, message: NaiveMessage) {
        if self.consumer(id).auto_ack {
            self.settled(&message);
        }
        let consumer = self.consumer_mut(id);
        consumer.window_left -= message.len as i64;
        if let Some((messages, bytes)) = &mut consumer.credit {
            *messages -= 1;
            *bytes -= message.len as i64;
        }
        let tag = consumer.next_tag;
        consumer.next_tag += 1;
        consumer.outgoing.push((message.lsn, tag, message.returns));
        if !consumer.auto_ack {
            consumer.held.push((tag, message));
        }
        consumer.paused = Some(PauseReason::NotActive);
        self.refresh(id);
        if self.mutation == Some(Mutation::RoundRestarts) && self.round.last() == Some(&id) {
            self.round.rotate_right(1);
        }
    }

    pub(super) fn add(&mut self, consumer: NaiveConsumer) -> Result<(), &'static str> {
        let sac = self.options.single_active_consumer;
        if sac && consumer.exclusive {
            return Err("SingleActive");
        }
        let consuming: Vec<_> = self.consumers.iter().filter(|c| !c.getter && !c.cancelled).collect();
        if consuming.iter().any(|c| c.exclusive) {
            return Err("InExclusiveUse");
        }
        if consumer.exclusive && !consuming.is_empty() {
            return Err("NotAlone");
        }
        let id = consumer.id;
        self.consumers.push(consumer);
        self.elect();
        self.refresh(id);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: u64, mode: RemoveMode, now: u64) {
        let Some(at) = self.consumers.iter().position(|c| c.id == id) else { return };
        let was_consuming = !self.consumers[at].getter && !self.consumers[at].cancelled;
        self.round.retain(|member| *member != id);
        if self.active == Some(id) && (was_consuming || mode == RemoveMode::Gone) {
            self.active = None;
        }
        match mode {
            RemoveMode::Cancel if was_consuming => {
                self.consumers[at].cancelled = true;
                self.elect();
            }
            RemoveMode::Cancel => {}
            RemoveMode::Gone => {
                let consumer = self.consumers.remove(at);
                self.give_back(consumer.channel, consumer.held.len());
                if was_consuming {
                    self.elect();
                }
                let held = consumer.held.into_iter().map(|(_, message)| message).collect();
                self.put_back(held, now);
            }
        }
        if was_consuming && self.consumers.iter().all(|c| c.getter || c.cancelled) {
            self.idle_since = now;
            if self.options.auto_delete {
                self.told.deleted = Some(DeleteReason::AutoDelete);
            }
        }
        self.forget();
    }

    /// How many, or an error. `kind`: 0 ack, 1 requeue, 2 reject.
    pub(super) fn settle(
        &mut self,
        id: u64,
        first: u64,
        last: u64,
        kind: u64,
        text: Option<&str>,
        now: u64,
    ) -> Result<u64, &'static str> {
        let Some(at) = self.consumers.iter().position(|c| c.id == id) else {
            return Err("UnknownConsumer");
        };
        let consumer = &mut self.consumers[at];
        if first == 0 || last >= consumer.next_tag {
            return Err("NeverDelivered");
        }
        let (taken, held) = consumer.held.drain(..).partition(|(tag, _)| (first..=last).contains(tag));
        consumer.held = held;
        let taken: Vec<(u64, NaiveMessage)> = taken;
        let (channel, count) = (consumer.channel, taken.len());
        self.give_back(channel, count);
        self.refresh(id);
        if self.handing_over {
            self.elect();
        }
        let taken = taken.into_iter().map(|(_, message)| message);
        match kind {
            0 => taken.for_each(|message| self.settled(&message)),
            1 => self.put_back(taken.collect(), now),
            _ => taken.for_each(|message| self.bury(message, DeathReason::Rejected, text)),
        }
        self.forget();
        Ok(count as u64)
    }

    /// LSN, tag, returns, and how many remain.
    pub(super) fn get(&mut self, getter: u64, auto_ack: bool, now: u64) -> Option<(Given, u64)> {
        self.idle_since = now;
        self.expire(now);
        let message = self.take_head()?;
        let remaining = self.ready.len() as u64;
        if auto_ack {
            self.settled(&message);
            return Some(((message.lsn, 0, message.returns), remaining));
        }
        if self.consumers.iter().all(|c| c.id != getter) {
            self.consumers.push(NaiveConsumer {
                id: getter,
                getter: true,
                cancelled: false,
                auto_ack: false,
                exclusive: false,
                priority: 0,
                prefetch: 0,
                credit: None,
                window: 0,
                window_left: 0,
                channel: None,
                next_tag: 1,
                held: Vec::new(),
                outgoing: Vec::new(),
                paused: Some(PauseReason::NotActive),
            });
        }
        let consumer = self.consumer_mut(getter);
        let tag = consumer.next_tag;
        consumer.next_tag += 1;
        let given = (message.lsn, tag, message.returns);
        consumer.held.push((tag, message));
        Some((given, remaining))
    }

    pub(super) fn purge(&mut self, now: u64) -> u64 {
        self.expire(now);
        let mut count = 0;
        while let Some(message) = self.take_head() {
            self.settled(&message);
            count += 1;
        }
        count
    }

    pub(super) fn change(&mut self, id: u64, change: impl FnOnce(&mut NaiveConsumer)) {
        if let Some(consumer) = self.consumers.iter_mut().find(|c| c.id == id) {
            change(consumer);
            self.refresh(id);
        }
    }

    pub(super) fn touch(&mut self, now: u64) {
        self.idle_since = now;
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.expire(now);
        if self.queue_deadline().is_some_and(|at| at <= now) {
            self.told.deleted = Some(DeleteReason::Expired);
        }
    }

    /// Exactly when the next thing is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.ready.iter().filter_map(|message| message.expires).chain(self.queue_deadline()).min()
    }

    fn queue_deadline(&self) -> Option<u64> {
        let unused = self.consumers.iter().all(|c| c.getter || c.cancelled);
        self.options.expires_ms.filter(|_| unused).map(|ms| self.idle_since + ms * 1000)
    }

    pub(super) fn take_deliveries(&mut self) -> Vec<(u64, Vec<Given>)> {
        let taken = self.consumers.iter_mut().filter(|c| !c.outgoing.is_empty());
        let mut taken: Vec<_> = taken.map(|c| (c.id, std::mem::take(&mut c.outgoing))).collect();
        taken.sort();
        self.forget();
        taken
    }

    pub(super) fn head(&self) -> Option<&NaiveMessage> {
        self.ready.iter().min_by_key(|message| (std::cmp::Reverse(message.priority), message.place))
    }

    fn take_head(&mut self) -> Option<NaiveMessage> {
        let lsn = self.head()?.lsn;
        let at = self.ready.iter().position(|message| message.lsn == lsn)?;
        Some(self.ready.remove(at))
    }

    fn expire(&mut self, now: u64) {
        if self.mutation == Some(Mutation::ExpireAtHeadOnly) {
            while self.head().is_some_and(|head| head.expires.is_some_and(|at| at <= now)) {
                let message = self.take_head().expect("there is a head");
                self.bury(message, DeathReason::Expired, None);
            }
            return;
        }
        let ready = std::mem::take(&mut self.ready);
        let due = |message: &NaiveMessage| message.expires.is_some_and(|at| at <= now);
        let (mut expired, ready): (Vec<_>, Vec<_>) = ready.into_iter().partition(due);
        self.ready = ready;
        expired.sort_by_key(|message| (message.expires, message.lsn));
        expired.into_iter().for_each(|message| self.bury(message, DeathReason::Expired, None));
    }

    fn put_back(&mut self, mut messages: Vec<NaiveMessage>, now: u64) {
        messages.sort_by_key(|message| message.lsn);
        for mut message in messages {
            if self.mutation != Some(Mutation::ReturnsNotCounted) {
                message.returns += 1;
            }
            if self.mutation == Some(Mutation::RequeueAtTail) {
                self.next_tail += 1;
                message.place = self.next_tail;
            }
            if self.mutation == Some(Mutation::RequeueRenewsExpiry) {
                message.expires = message.ttl_ms.map(|ttl| now + ttl * 1000);
            }
            if self.options.delivery_limit.is_some_and(|limit| message.returns > limit) {
                self.bury(message, DeathReason::DeliveryLimit, None);
            } else if message.expires.is_some_and(|at| at <= now) {
                self.bury(message, DeathReason::Expired, None);
            } else {
                if self.options.durable && message.persistent {
                    self.told.returned.push((message.lsn, message.returns));
                }
                self.ready.push(message);
            }
        }
        self.drop_overflow();
    }

    fn drop_overflow(&mut self) {
        while self.options.overflow == OverflowRule::DropHead
            && self.too_much(self.ready.len() as u64, self.body_bytes())
        {
            let message = match self.mutation {
                Some(Mutation::DropTail) => self.ready.pop(),
                _ => self.take_head(),
            };
            self.bury(message.expect("too many are some"), DeathReason::MaxLength, None);
        }
    }

    fn too_much(&self, count: u64, bytes: u64) -> bool {
        self.options.max_length.is_some_and(|max| count > max)
            || self.options.max_length_bytes.is_some_and(|max| bytes > max)
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.ready.iter().map(|message| message.body_len).sum()
    }

    fn bury(&mut self, message: NaiveMessage, reason: DeathReason, text: Option<&str>) {
        if self.options.dead_letter.is_some() {
            self.told.dead.push((message.lsn, reason, text.map(str::to_owned), message.returns));
        } else {
            self.settled(&message);
        }
    }

    fn settled(&mut self, message: &NaiveMessage) {
        if self.options.durable && message.persistent {
            self.told.settled.push(message.lsn);
        }
    }

    fn elect(&mut self) {
        if !self.options.single_active_consumer {
            return;
        }
        let mut best: Option<&NaiveConsumer> = None;
        for consumer in self.consumers.iter().filter(|c| !c.getter && !c.cancelled) {
            if best.is_none_or(|best| consumer.priority > best.priority) {
                best = Some(consumer);
            }
        }
        let best = best.map(|best| best.id);
        let old = self.active;
        let busy = old.is_some_and(|old| !self.consumer(old).held.is_empty())
            && self.mutation != Some(Mutation::HastyHandOver);
        self.handing_over = old != best && busy;
        if !self.handing_over {
            self.active = best;
        }
        old.into_iter().chain(best).for_each(|id| self.refresh(id));
    }

    /// Whether it has room decides whether it stands in the round.
    fn refresh(&mut self, id: u64) {
        let active = !self.options.single_active_consumer || (self.active == Some(id) && !self.handing_over);
        let consumer = self.consumer(id);
        let more = u32::from(self.mutation == Some(Mutation::PrefetchPlusOne));
        let held = consumer.held.len() as u32;
        let paused = if !active || consumer.getter || consumer.cancelled {
            Some(PauseReason::NotActive)
        } else if !consumer.auto_ack && consumer.prefetch > 0 && held >= consumer.prefetch + more {
            Some(PauseReason::Prefetch)
        } else if consumer.credit.is_some_and(|(messages, bytes)| messages == 0 || bytes <= 0) {
            Some(PauseReason::Credit)
        } else if consumer.window_left <= 0 {
            Some(PauseReason::OutboxFull)
        } else if consumer.channel.is_some_and(|channel| !self.channel_has_room(channel)) {
            Some(PauseReason::ChannelPrefetch)
        } else {
            None
        };
        self.consumer_mut(id).paused = paused;
        let member = self.round.contains(&id);
        if paused.is_some() {
            self.round.retain(|member| *member != id);
        } else if !member {
            self.round.push(id);
        }
    }

    /// A cancelled consumer is forgotten with the last it holds.
    fn forget(&mut self) {
        self.consumers.retain(|c| !c.cancelled || !c.held.is_empty() || !c.outgoing.is_empty());
    }

    fn channel_has_room(&self, channel: usize) -> bool {
        let (taken, limit) = self.channels[channel];
        limit == 0 || taken < limit
    }

    fn give_back(&mut self, channel: Option<usize>, count: usize) {
        if let Some(channel) = channel {
            self.channels[channel].0 -= count as u32;
        }
    }

    fn consumer(&self, id: u64) -> &NaiveConsumer {
        self.consumers.iter().find(|c| c.id == id).expect("a consumer that is there")
    }

    fn consumer_mut(&mut self, id: u64) -> &mut NaiveConsumer {
        self.consumers.iter_mut().find(|c| c.id == id).expect("a consumer that is there")
    }
}
