//! The naive twin: every rule in its most literal form, over plain vectors that are searched from end to end.
//!
//! It shares no code with the machine, only the types of what is asked and answered.

use crate::model::{DelayedRetryType, OverflowRule, QueueOptions};
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
    /// A consumer with a late message loses all it holds.
    LateTakesAll,
    /// A late message still counts for its consumer's channel.
    LateKeepsChannelPlace,
    /// A release counts for the delivery limit.
    ReleaseCounts,
    /// A message waits as long the second time as the first time.
    RetryNotDoubled,
    /// All that came back together are ready again together.
    RetryNotSpread,
    /// A message does not expire while it is delayed.
    DelayedOutlivesTtl,
    /// A delayed message does not count for the maximum length.
    DelayedNotCounted,
    /// The key of a refused message is remembered.
    RefusedIsSeen,
    /// A duplicate makes its key stay longer.
    DuplicateRenewsKey,
    /// A shorter time to live is for new messages only.
    TtlForNewOnly,
    /// A restart gives messages a new time to live.
    RestartRenewsTtl,
    /// A restart forgets how often a message came back.
    RestartForgetsReturns,
    /// A restart makes delayed messages ready.
    RestartEndsDelays,
    /// Transient messages outlive a restart.
    RestartKeepsTransient,
    /// A paused queue still answers a `get`.
    PausedGets,
    /// A paused queue still gives to consumers.
    PausedGives,
    /// What is taken out is not told the journal.
    TakenNotSettled,
    /// What is past its deadline can still be seen.
    ExpiredIsSeen,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 28] = [
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
        Mutation::LateTakesAll,
        Mutation::LateKeepsChannelPlace,
        Mutation::ReleaseCounts,
        Mutation::RetryNotDoubled,
        Mutation::RetryNotSpread,
        Mutation::DelayedOutlivesTtl,
        Mutation::DelayedNotCounted,
        Mutation::RefusedIsSeen,
        Mutation::DuplicateRenewsKey,
        Mutation::TtlForNewOnly,
        Mutation::RestartRenewsTtl,
        Mutation::RestartForgetsReturns,
        Mutation::RestartEndsDelays,
        Mutation::RestartKeepsTransient,
        Mutation::PausedGets,
        Mutation::PausedGives,
        Mutation::TakenNotSettled,
        Mutation::ExpiredIsSeen,
    ];
}

/// A message as the twin knows it.
#[derive(Clone, Debug)]
pub(super) struct NaiveMessage {
    pub(super) lsn: u64,
    pub(super) place: u64,
    pub(super) key: Option<u64>,
    pub(super) key_ttl_ms: Option<u64>,
    pub(super) died_here: bool,
    pub(super) own_priority: Option<u8>,
    pub(super) priority: u8,
    /// As its publisher asked for.
    pub(super) own_ttl_ms: Option<u64>,
    /// In this queue.
    pub(super) ttl_ms: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) returns: u32,
    pub(super) failures: u32,
    /// When a consumer has held it for too long.
    pub(super) late_at: Option<u64>,
    /// When it was given to a consumer last.
    pub(super) given: u64,
    pub(super) body_len: u64,
    pub(super) len: u64,
    pub(super) persistent: bool,
    pub(super) enqueued: u64,
}

/// What becomes of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NaiveVerdict {
    Accepted,
    Duplicate,
    Rejected,
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
    /// In microseconds.
    pub(super) timeout: Option<u64>,
    pub(super) next_tag: u64,
    pub(super) held: Vec<(u64, NaiveMessage)>,
    pub(super) outgoing: Vec<Given>,
    pub(super) paused: Option<PauseReason>,
}

impl NaiveConsumer {
    /// When a message that it is given now is late: its time later, rounded up to a 64th of that.
    fn late_at(&self, now: u64) -> Option<u64> {
        let timeout = self.timeout.filter(|timeout| *timeout > 0)?;
        let grain = (timeout / 64).max(1);
        let exact = now + timeout;
        Some(exact + (grain - exact % grain) % grain)
    }
}

/// A delivery: LSN, tag, how often it failed, how often it came back.
pub(super) type Given = (u64, u64, u32, u32);

/// What the twin says has to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) dead: Vec<(u64, DeathReason, Option<String>, u32)>,
    pub(super) settled: Vec<u64>,
    /// Sorted.
    pub(super) returned: Vec<(u64, u32, u32)>,
    pub(super) late: Vec<(u64, u64)>,
    pub(super) deleted: Option<DeleteReason>,
}

#[derive(Debug)]
pub(super) struct Naive {
    options: QueueOptions,
    mutation: Option<Mutation>,
    /// In no order.
    pub(super) ready: Vec<NaiveMessage>,
    /// With the time until when; in no order.
    pub(super) delayed: Vec<(u64, NaiveMessage)>,
    /// Keys with the time until when, oldest first.
    seen: Vec<(u64, u64)>,
    /// Oldest first.
    pub(super) consumers: Vec<NaiveConsumer>,
    /// Those with room, in the order in which they are served.
    round: Vec<u64>,
    active: Option<u64>,
    handing_over: bool,
    /// Nobody gets anything.
    pub(super) paused: bool,
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
            delayed: Vec::new(),
            seen: Vec::new(),
            consumers: Vec::new(),
            round: Vec::new(),
            active: None,
            handing_over: false,
            paused: false,
            channels: channels.into_iter().map(|limit| (0, limit)).collect(),
            idle_since: now,
            next_tail: 1 << 40,
            told: Told::default(),
        }
    }

    /// What becomes of it.
    pub(super) fn publish(&mut self, message: NaiveMessage, now: u64) -> NaiveVerdict {
        let Some(once) = self.options.deduplication.clone() else { return self.take(message, now) };
        let Some(key) = message.key else { return self.take(message, now) };
        let ttl_ms = message.key_ttl_ms.or(once.ttl_ms);
        let until = ttl_ms.map_or(u64::MAX, |ttl| now + ttl * 1000);
        let seen = self.seen.iter_mut().find(|seen| seen.0 == key && now < seen.1);
        let known = seen.is_some();
        if let Some(seen) = seen
            && !message.died_here
        {
            if self.mutation == Some(Mutation::DuplicateRenewsKey) {
                seen.1 = until;
            }
            self.settled(&message);
            return NaiveVerdict::Duplicate;
        }
        let verdict = self.take(message, now);
        let remember = verdict == NaiveVerdict::Accepted || self.mutation == Some(Mutation::RefusedIsSeen);
        if remember && !known {
            self.seen.retain(|seen| seen.0 != key);
            self.seen.push((key, until));
            if self.seen.len() > once.size {
                self.seen.remove(0);
            }
        }
        verdict
    }

    fn take(&mut self, mut message: NaiveMessage, now: u64) -> NaiveVerdict {
        let priority = match self.mutation {
            Some(Mutation::DefaultPriorityIgnored) => message.own_priority.unwrap_or(0),
            _ => message.own_priority.unwrap_or(self.options.default_priority),
        };
        message.priority = priority.min(self.options.max_priority);
        message.ttl_ms = [message.own_ttl_ms, self.options.message_ttl_ms].into_iter().flatten().min();
        message.expires = message.ttl_ms.map(|ttl| now + ttl * 1000);
        self.dispatch(now);
        let (count, bytes) = self.length();
        let (count, bytes) = (count + 1, bytes + message.body_len);
        let is_refused = self.options.overflow != OverflowRule::DropHead && self.too_much(count, bytes);
        if self.ready.is_empty()
            && !is_refused
            && let Some(id) = self.next()
        {
            self.give(id, message, now);
            return NaiveVerdict::Accepted;
        }
        if is_refused {
            match self.options.overflow {
                OverflowRule::RejectPublishDeadLetter => self.bury(message, DeathReason::MaxLength, None),
                _ => self.settled(&message),
            }
            return NaiveVerdict::Rejected;
        }
        if message.expires.is_some_and(|at| at <= now) {
            self.bury(message, DeathReason::Expired, None);
        } else {
            self.ready.push(message);
            self.drop_overflow();
        }
        NaiveVerdict::Accepted
    }

    pub(super) fn dispatch(&mut self, now: u64) {
        self.pass_time(now);
        while !self.ready.is_empty() {
            let Some(id) = self.next() else { break };
            let message = self.take_head().expect("not empty");
            self.give(id, message, now);
        }
    }

    fn next(&mut self) -> Option<u64> {
        if self.paused && self.mutation != Some(Mutation::PausedGives) {
            return None;
        }
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

    fn give(&mut self, id: u64, mut message: NaiveMessage, now: u64) {
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
        consumer.outgoing.push((message.lsn, tag, message.failures, message.returns));
        if !consumer.auto_ack {
            message.late_at = consumer.late_at(now);
            message.given = now;
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
                self.put_back(held, true, now);
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

    /// How many, or an error. `kind`: 0 ack, 1 requeue, 2 reject, 3 release.
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
            1 => self.put_back(taken.collect(), true, now),
            3 => self.put_back(taken.collect(), false, now),
            _ => taken.for_each(|message| self.bury(message, DeathReason::Rejected, text)),
        }
        self.forget();
        Ok(count as u64)
    }

    /// LSN, tag, returns, and how many remain.
    pub(super) fn get(&mut self, getter: u64, auto_ack: bool, now: u64) -> Option<(Given, u64)> {
        self.idle_since = now;
        self.pass_time(now);
        if self.paused && self.mutation != Some(Mutation::PausedGets) {
            return None;
        }
        let mut message = self.take_head()?;
        let remaining = self.ready.len() as u64;
        if auto_ack {
            self.settled(&message);
            return Some(((message.lsn, 0, message.failures, message.returns), remaining));
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
                timeout: self.options.consumer_timeout_ms.map(|ms| ms * 1000),
                next_tag: 1,
                held: Vec::new(),
                outgoing: Vec::new(),
                paused: Some(PauseReason::NotActive),
            });
        }
        let consumer = self.consumer_mut(getter);
        let tag = consumer.next_tag;
        consumer.next_tag += 1;
        let given = (message.lsn, tag, message.failures, message.returns);
        message.late_at = consumer.late_at(now);
        message.given = now;
        consumer.held.push((tag, message));
        Some((given, remaining))
    }

    /// Takes a message out that waits. Whether it was there.
    pub(super) fn take_out(&mut self, lsn: u64, now: u64) -> bool {
        self.pass_time(now);
        let ready = self.ready.iter().position(|message| message.lsn == lsn);
        let delayed = self.delayed.iter().position(|(_, message)| message.lsn == lsn);
        let message = match (ready, delayed) {
            (Some(at), _) => self.ready.remove(at),
            (None, Some(at)) => self.delayed.remove(at).1,
            (None, None) => return false,
        };
        if self.mutation != Some(Mutation::TakenNotSettled) {
            self.settled(&message);
        }
        true
    }

    /// What waits, in the order in which it is listed, by LSN.
    pub(super) fn waiting(&self, now: u64) -> Vec<u64> {
        let mut ready: Vec<_> = self.ready.iter().collect();
        ready.sort_by_key(|message| (std::cmp::Reverse(message.priority), message.lsn));
        let mut delayed: Vec<_> = self.delayed.iter().collect();
        delayed.sort_by_key(|delayed| (delay_end(delayed), delayed.1.lsn));
        let all = ready.into_iter().chain(delayed.into_iter().map(|(_, message)| message));
        let is_live = |message: &&NaiveMessage| {
            self.mutation == Some(Mutation::ExpiredIsSeen) || message.expires.is_none_or(|at| at > now)
        };
        all.filter(is_live).map(|message| message.lsn).collect()
    }

    /// Who holds what since when: consumer, tag, LSN and tenths of seconds.
    pub(super) fn held(&self) -> Vec<(u64, u64, u64, u64)> {
        let of = |c: &NaiveConsumer| {
            let id = c.id;
            c.held.iter().map(move |(tag, m)| (id, *tag, m.lsn, m.given / 100_000)).collect::<Vec<_>>()
        };
        let mut held: Vec<_> = self.consumers.iter().flat_map(of).collect();
        held.sort_unstable();
        held
    }

    pub(super) fn purge(&mut self, now: u64) -> u64 {
        self.pass_time(now);
        let mut count = 0;
        while let Some(message) = self.take_head() {
            self.settled(&message);
            count += 1;
        }
        self.delayed.sort_by_key(|delayed| (delay_end(delayed), delayed.1.lsn));
        for (_, message) in std::mem::take(&mut self.delayed) {
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

    pub(super) fn set_options(&mut self, options: QueueOptions, now: u64) {
        let old = std::mem::replace(&mut self.options, options);
        if old.deduplication != self.options.deduplication {
            self.seen.clear();
        }
        let shorter =
            self.options.message_ttl_ms.filter(|ttl| old.message_ttl_ms.is_none_or(|old| *ttl < old));
        if let Some(ttl) = shorter.filter(|_| self.mutation != Some(Mutation::TtlForNewOnly)) {
            let held = self.consumers.iter_mut().flat_map(|c| &mut c.held).map(|(_, message)| message);
            let delayed = self.delayed.iter_mut().map(|(_, message)| message);
            for message in self.ready.iter_mut().chain(delayed).chain(held) {
                let end = message.enqueued + ttl * 1000;
                message.expires = Some(message.expires.map_or(end, |old| old.min(end)));
            }
        }
        self.pass_time(now);
        self.drop_overflow();
    }

    /// The broker starts again: all that the journal has is there, and nobody else.
    pub(super) fn restart(&mut self, now: u64) {
        let held = self.consumers.drain(..).flat_map(|consumer| consumer.held).map(|(_, message)| message);
        self.ready.extend(held);
        self.round.clear();
        (self.active, self.handing_over) = (None, false);
        self.channels.iter_mut().for_each(|(taken, _)| *taken = 0);
        self.idle_since = now;
        if self.mutation != Some(Mutation::RestartKeepsTransient) {
            self.ready.retain(|message| message.persistent);
            self.delayed.retain(|(_, message)| message.persistent);
        }
        if self.mutation == Some(Mutation::RestartEndsDelays) {
            self.ready.extend(self.delayed.drain(..).map(|(_, message)| message));
        }
        for message in self.ready.iter_mut().chain(self.delayed.iter_mut().map(|(_, message)| message)) {
            message.ttl_ms = [message.own_ttl_ms, self.options.message_ttl_ms].into_iter().flatten().min();
            let from = match self.mutation {
                Some(Mutation::RestartRenewsTtl) => now,
                _ => message.enqueued,
            };
            message.expires = message.ttl_ms.map(|ttl| from + ttl * 1000);
            message.late_at = None;
            if self.mutation == Some(Mutation::RestartForgetsReturns) {
                (message.returns, message.failures) = (0, 0);
            }
        }
        self.seen.clear();
        if let Some(once) = self.options.deduplication.clone() {
            let mut all: Vec<_> = self.ready.iter().chain(self.delayed.iter().map(|(_, m)| m)).collect();
            all.sort_by_key(|message| (message.enqueued, message.lsn));
            for message in all {
                let Some(key) = message.key else { continue };
                if self.seen.iter().any(|seen| seen.0 == key && message.enqueued < seen.1) {
                    continue;
                }
                let ttl_ms = message.key_ttl_ms.or(once.ttl_ms);
                let until = ttl_ms.map_or(u64::MAX, |ttl| message.enqueued + ttl * 1000);
                self.seen.retain(|seen| seen.0 != key);
                self.seen.push((key, until));
                if self.seen.len() > once.size {
                    self.seen.remove(0);
                }
            }
        }
    }

    pub(super) fn touch(&mut self, now: u64) {
        self.idle_since = now;
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.pass_time(now);
        if self.queue_deadline().is_some_and(|at| at <= now) {
            self.told.deleted = Some(DeleteReason::Expired);
        }
    }

    /// Exactly when the next thing is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        let held = self.consumers.iter().flat_map(|c| &c.held);
        let late = held.filter_map(|(_, message)| message.late_at);
        let expires = self.ready.iter().filter_map(|message| message.expires);
        let delayed = self.delayed.iter().map(delay_end);
        expires.chain(late).chain(delayed).chain(self.queue_deadline()).min()
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

    fn pass_time(&mut self, now: u64) {
        self.take_back_late(now);
        self.end_delays(now);
        self.expire(now);
    }

    fn end_delays(&mut self, now: u64) {
        let end = |delayed: &(u64, NaiveMessage)| match self.mutation {
            Some(Mutation::DelayedOutlivesTtl) => delayed.0,
            _ => delay_end(delayed),
        };
        let (due, delayed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.delayed).into_iter().partition(|delayed| end(delayed) <= now);
        self.delayed = delayed;
        // Those that have waited for too long expire with the others.
        self.ready.extend(due.into_iter().map(|(_, message)| message));
    }

    /// When a message that came back now may be delivered again, if it has to wait.
    fn delayed_until(&self, message: &NaiveMessage, failed: bool, now: u64) -> Option<u64> {
        let retry = self.options.delayed_retry?;
        let (waits, count) = match (retry.which, failed) {
            (DelayedRetryType::All | DelayedRetryType::Failed, true) => (true, message.failures),
            (DelayedRetryType::All | DelayedRetryType::Returned, false) => (true, message.returns),
            _ => (false, 0),
        };
        let times = if self.mutation == Some(Mutation::RetryNotDoubled) { 1 } else { count };
        let mut delay = u128::from(retry.min_ms) * 1000;
        let most = u128::from(retry.max_ms) * 1000;
        for _ in 1..times {
            delay = (delay * 2).min(most);
        }
        // The first step of SplitMix64 from this seed says how much sooner it is.
        let wide = |z: u128| z & u128::from(u64::MAX);
        let mut z = u128::from(message.lsn) ^ u128::from(count) << 48;
        z = wide(z + 0x9e37_79b9_7f4a_7c15);
        z = wide((z ^ (z >> 30)) * 0xbf58_476d_1ce4_e5b9);
        z = wide((z ^ (z >> 27)) * 0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if self.mutation != Some(Mutation::RetryNotSpread) {
            delay -= z % (delay / 5 + 1);
        }
        waits.then(|| now + delay.max(u128::from(retry.min_ms) * 1000) as u64)
    }

    /// Those held for too long come back: the latest consumer first.
    fn take_back_late(&mut self, now: u64) {
        let is_late = |message: &NaiveMessage| message.late_at.is_some_and(|at| at <= now);
        let mut late = Vec::new();
        for consumer in &self.consumers {
            let first = consumer.held.iter().filter_map(|(_, message)| message.late_at).min();
            late.extend(first.filter(|at| *at <= now).map(|at| (at, consumer.id)));
        }
        if late.is_empty() {
            return;
        }
        late.sort();
        let mut back = Vec::new();
        for (_, id) in late {
            let all = self.mutation == Some(Mutation::LateTakesAll);
            let consumer = self.consumer_mut(id);
            let (taken, held): (Vec<_>, Vec<_>) =
                consumer.held.drain(..).partition(|(_, message)| all || is_late(message));
            consumer.held = held;
            let channel = consumer.channel;
            if self.mutation != Some(Mutation::LateKeepsChannelPlace) {
                self.give_back(channel, taken.len());
            }
            self.refresh(id);
            if self.handing_over {
                self.elect();
            }
            self.told.late.push((id, taken.len() as u64));
            back.extend(taken.into_iter().map(|(_, message)| message));
        }
        self.forget();
        self.put_back(back, true, now);
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

    fn put_back(&mut self, mut messages: Vec<NaiveMessage>, failed: bool, now: u64) {
        messages.sort_by_key(|message| message.lsn);
        for mut message in messages {
            if self.mutation != Some(Mutation::ReturnsNotCounted) {
                message.returns += 1;
            }
            let counts = failed || self.mutation == Some(Mutation::ReleaseCounts);
            message.failures += u32::from(counts);
            message.late_at = None;
            if self.mutation == Some(Mutation::RequeueAtTail) {
                self.next_tail += 1;
                message.place = self.next_tail;
            }
            if self.mutation == Some(Mutation::RequeueRenewsExpiry) {
                message.expires = message.ttl_ms.map(|ttl| now + ttl * 1000);
            }
            if counts && self.options.delivery_limit.is_some_and(|limit| message.failures > limit) {
                self.bury(message, DeathReason::DeliveryLimit, None);
            } else if message.expires.is_some_and(|at| at <= now) {
                self.bury(message, DeathReason::Expired, None);
            } else {
                if self.options.durable && message.persistent {
                    self.told.returned.push((message.lsn, message.failures, message.returns));
                }
                match self.delayed_until(&message, failed, now) {
                    Some(at) => self.delayed.push((at, message)),
                    None => self.ready.push(message),
                }
            }
        }
        self.drop_overflow();
    }

    fn drop_overflow(&mut self) {
        while self.options.overflow == OverflowRule::DropHead
            && self.too_much(self.length().0, self.length().1)
        {
            let message = match self.mutation {
                Some(Mutation::DropTail) => self.ready.pop(),
                _ => self.take_head(),
            };
            let message = message.or_else(|| {
                let order = |at: &usize| (delay_end(&self.delayed[*at]), self.delayed[*at].1.lsn);
                let first = (0..self.delayed.len()).min_by_key(order)?;
                Some(self.delayed.remove(first).1)
            });
            self.bury(message.expect("too many are some"), DeathReason::MaxLength, None);
        }
    }

    fn too_much(&self, count: u64, bytes: u64) -> bool {
        self.options.max_length.is_some_and(|max| count > max)
            || self.options.max_length_bytes.is_some_and(|max| bytes > max)
    }

    /// What the limits count: messages and bytes of bodies.
    fn length(&self) -> (u64, u64) {
        if self.mutation == Some(Mutation::DelayedNotCounted) {
            return (self.ready.len() as u64, self.body_bytes());
        }
        let delayed: u64 = self.delayed.iter().map(|(_, message)| message.body_len).sum();
        ((self.ready.len() + self.delayed.len()) as u64, self.body_bytes() + delayed)
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.ready.iter().map(|message| message.body_len).sum()
    }

    fn bury(&mut self, message: NaiveMessage, reason: DeathReason, text: Option<&str>) {
        if self.options.dead_letter.is_some() {
            self.told.dead.push((message.lsn, reason, text.map(str::to_owned), message.failures));
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

/// When a delay is over: when the message is dead, if that is sooner.
fn delay_end((at, message): &(u64, NaiveMessage)) -> u64 {
    message.expires.map_or(*at, |end| end.min(*at))
}
