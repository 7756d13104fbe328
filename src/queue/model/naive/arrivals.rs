//! What comes to the queue: new messages with their keys, those that come back, and what has no room.

use crate::model::{DelayedRetryType, OverflowRule};
use crate::queue::{Admission, DeathReason, RejectReason, Verdict};

use super::super::mutation::Mutation;
use super::{Naive, NaiveMessage};

impl Naive {
    /// What becomes of it. What its publisher sends anew may be a duplicate, refused, and a dead letter for it. What an
    /// operator moves here is in one place all the time: it comes once, and if it is refused it is still where it was.
    /// What was taken out of this queue and is put back is never refused, or it would be nowhere.
    pub(crate) fn admit(&mut self, message: NaiveMessage, admission: Admission, now: u64) -> Verdict {
        let key = message.key.filter(|_| self.options.deduplication.is_some());
        let Some(key) = key else { return self.take(message, admission, now) };
        let ttl_ms = message.key_ttl_ms;
        let is_new = match admission {
            Admission::Published => !message.died_here,
            Admission::Moved => self.has(Mutation::MovedIsDuplicate),
            Admission::Returned => self.has(Mutation::PutBackIsDuplicate),
        };
        if self.knows(key, now) && is_new {
            if self.has(Mutation::DuplicateRenewsKey) {
                self.seen.retain(|seen| seen.0 != key);
                self.remember(key, ttl_ms, now);
            }
            self.settled(&message);
            return Verdict::Duplicate;
        }
        let verdict = self.take(message, admission, now);
        if verdict == Verdict::Accepted || self.has(Mutation::RefusedIsSeen) {
            self.remember(key, ttl_ms, now);
        }
        verdict
    }

    fn knows(&self, key: u64, now: u64) -> bool {
        self.seen.iter().any(|seen| seen.0 == key && now < seen.1)
    }

    /// Remembers a key from this time on. One that is known stays no longer for it.
    pub(super) fn remember(&mut self, key: u64, ttl_ms: Option<u64>, from: u64) {
        let Some(once) = self.options.deduplication.as_ref().filter(|_| !self.knows(key, from)) else {
            return;
        };
        let until = ttl_ms.or(once.ttl_ms).map_or(u64::MAX, |ttl| from + ttl * 1000);
        self.seen.retain(|seen| seen.0 != key);
        self.seen.push((key, until));
        if self.seen.len() > once.size {
            self.seen.remove(0);
        }
    }

    fn take(&mut self, mut message: NaiveMessage, admission: Admission, now: u64) -> Verdict {
        let default =
            if self.has(Mutation::DefaultPriorityIgnored) { 0 } else { self.options.default_priority };
        message.priority = message.own_priority.unwrap_or(default).min(self.options.max_priority);
        message.begin_to_age(&self.options, now);
        self.dispatch(now);
        let is_asked = admission != Admission::Returned || self.has(Mutation::PutBackIsRefused);
        if is_asked && self.refuses(&message) {
            let is_here_only = admission == Admission::Published || self.has(Mutation::RefusedMoveDies);
            if is_here_only && self.options.overflow == OverflowRule::RejectPublishDeadLetter {
                self.bury(message, DeathReason::MaxLength, None);
            } else {
                self.settled(&message);
            }
            return Verdict::Rejected(RejectReason::MaxLength);
        }
        if self.ready.is_empty()
            && let Some(id) = self.next()
        {
            self.give(id, message, now);
        } else if message.is_expired(now) {
            self.bury(message, DeathReason::Expired, None);
        } else {
            self.ready.push(message);
            self.drop_overflow();
        }
        Verdict::Accepted
    }

    /// Delivered in vain, and failed or not: back to the old places, where it may be too much.
    pub(super) fn put_back(&mut self, mut messages: Vec<NaiveMessage>, failed: bool, now: u64) {
        messages.sort_by_key(|message| message.lsn);
        for mut message in messages {
            if !self.has(Mutation::ReturnsNotCounted) {
                message.returns += 1;
            }
            let counts = failed || self.has(Mutation::ReleaseCounts);
            message.failures += u32::from(counts);
            message.late_at = None;
            if self.has(Mutation::RequeueAtTail) {
                self.next_tail += 1;
                message.place = self.next_tail;
            }
            if self.has(Mutation::RequeueRenewsExpiry) {
                message.expires = message.ttl_ms.map(|ttl| now + ttl * 1000);
            }
            if counts && self.options.delivery_limit.is_some_and(|limit| message.failures > limit) {
                self.bury(message, DeathReason::DeliveryLimit, None);
            } else if message.is_expired(now) {
                self.bury(message, DeathReason::Expired, None);
            } else {
                if self.options.durable && message.persistent {
                    self.told.returned.push((message.lsn, message.failures, message.returns));
                }
                match self.delayed_until(&message, failed, now) {
                    Some(at) => self.delayed.push(NaiveMessage { delayed_until: at, ..message }),
                    None => self.ready.push(message),
                }
            }
        }
    }

    /// When a message that came back now may be delivered again, if it has to wait.
    fn delayed_until(&self, message: &NaiveMessage, failed: bool, now: u64) -> Option<u64> {
        let retry = self.options.delayed_retry?;
        let count = match (retry.which, failed) {
            (DelayedRetryType::All | DelayedRetryType::Failed, true) => message.failures,
            (DelayedRetryType::All | DelayedRetryType::Returned, false) => message.returns,
            _ => return None,
        };
        let times = if self.has(Mutation::RetryNotDoubled) { 1 } else { count };
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
        if !self.has(Mutation::RetryNotSpread) {
            delay -= z % (delay / 5 + 1);
        }
        Some(now + delay.max(u128::from(retry.min_ms) * 1000) as u64)
    }

    fn refuses(&self, message: &NaiveMessage) -> bool {
        let (count, bytes) = self.length();
        self.options.overflow != OverflowRule::DropHead && self.too_much(count + 1, bytes + message.body_len)
    }

    pub(super) fn drop_overflow(&mut self) {
        while self.options.overflow == OverflowRule::DropHead
            && self.too_much(self.length().0, self.length().1)
        {
            let ready = if self.has(Mutation::DropTail) { self.ready.pop() } else { self.take_head() };
            let message = ready.or_else(|| self.take_first_delayed());
            self.bury(message.expect("too many are some"), DeathReason::MaxLength, None);
        }
    }

    fn too_much(&self, count: u64, bytes: u64) -> bool {
        self.options.max_length.is_some_and(|max| count > max)
            || self.options.max_length_bytes.is_some_and(|max| bytes > max)
    }

    /// What the limits count: messages and bytes of bodies.
    fn length(&self) -> (u64, u64) {
        let delayed = if self.has(Mutation::DelayedNotCounted) { &[][..] } else { &self.delayed };
        let counted = || self.ready.iter().chain(delayed);
        (counted().count() as u64, counted().map(|message| message.body_len).sum())
    }
}
