//! What changes the queue under its messages: other options, and a broker that starts again.

use crate::model::QueueOptions;

use super::super::mutation::Mutation;
use super::Naive;

impl Naive {
    pub(crate) fn set_options(&mut self, options: QueueOptions, now: u64) {
        let old = std::mem::replace(&mut self.options, options);
        if old.deduplication != self.options.deduplication {
            self.seen.clear();
        }
        if old.expires_ms != self.options.expires_ms {
            self.idle_since = now;
        }
        let shorter =
            self.options.message_ttl_ms.filter(|ttl| old.message_ttl_ms.is_none_or(|old| *ttl < old));
        if let Some(ttl) = shorter.filter(|_| !self.has(Mutation::TtlForNewOnly)) {
            let held = self.consumers.iter_mut().flat_map(|c| &mut c.held);
            for message in self.ready.iter_mut().chain(&mut self.delayed).chain(held) {
                let end = message.enqueued + ttl * 1000;
                message.expires = Some(message.expires.map_or(end, |old| old.min(end)));
            }
        }
        self.pass_time(now);
        self.drop_overflow();
    }

    /// The broker starts again: all that the journal has is there, and nobody else.
    pub(crate) fn restart(&mut self, now: u64) {
        self.ready.extend(self.consumers.drain(..).flat_map(|consumer| consumer.held));
        self.round.clear();
        (self.active, self.handing_over) = (None, false);
        self.channels.iter_mut().for_each(|(taken, _)| *taken = 0);
        self.idle_since = now;
        if !self.has(Mutation::RestartKeepsTransient) {
            self.ready.retain(|message| message.persistent);
            self.delayed.retain(|message| message.persistent);
        }
        if self.has(Mutation::RestartEndsDelays) {
            self.ready.append(&mut self.delayed);
        }
        let (renews, forgets) =
            (self.has(Mutation::RestartRenewsTtl), self.has(Mutation::RestartForgetsReturns));
        for message in self.ready.iter_mut().chain(&mut self.delayed) {
            message.begin_to_age(&self.options, if renews { now } else { message.enqueued });
            message.late_at = None;
            if forgets {
                (message.returns, message.failures) = (0, 0);
            }
        }
        self.seen.clear();
        let mut all: Vec<_> = self.waiting().map(|m| (m.enqueued, m.lsn, m.key, m.key_ttl_ms)).collect();
        all.sort_unstable();
        for (enqueued, _, key, ttl_ms) in all {
            if let Some(key) = key {
                self.remember(key, ttl_ms, enqueued);
            }
        }
    }
}
