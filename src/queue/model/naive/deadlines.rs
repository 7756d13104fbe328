//! What time does: it ends lives, delays and patience.

use crate::queue::{DeathReason, DeleteReason};

use super::super::mutation::Mutation;
use super::{Naive, NaiveMessage};

impl Naive {
    pub(crate) fn touch(&mut self, now: u64) {
        self.idle_since = now;
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.pass_time(now);
        if self.queue_deadline().is_some_and(|at| at <= now) {
            self.told.deleted = Some(DeleteReason::Expired);
        }
    }

    /// Exactly when the next thing is due.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let late = self.held().filter_map(|message| message.late_at);
        let expires = self.ready.iter().filter_map(|message| message.expires);
        let delayed = self.delayed.iter().map(NaiveMessage::delay_end);
        expires.chain(late).chain(delayed).chain(self.queue_deadline()).min()
    }

    fn queue_deadline(&self) -> Option<u64> {
        let unused = self.consuming().count() == 0;
        self.options.expires_ms.filter(|_| unused).map(|ms| self.idle_since + ms * 1000)
    }

    /// What is past its deadline makes room before anything is too much.
    pub(super) fn pass_time(&mut self, now: u64) {
        self.take_back_late(now);
        self.end_delays(now);
        self.expire(now);
        self.drop_overflow();
    }

    /// Those that have waited for too long expire with the others.
    fn end_delays(&mut self, now: u64) {
        let outlives = self.has(Mutation::DelayedOutlivesTtl);
        let end =
            |message: &mut NaiveMessage| if outlives { message.delayed_until } else { message.delay_end() };
        self.ready.extend(self.delayed.extract_if(.., |message| end(message) <= now));
    }

    fn expire(&mut self, now: u64) {
        if self.has(Mutation::ExpireAtHeadOnly) {
            while self.head().is_some_and(|head| head.is_expired(now)) {
                let message = self.take_head().expect("there is a head");
                self.bury(message, DeathReason::Expired, None);
            }
            return;
        }
        let mut expired: Vec<_> = self.ready.extract_if(.., |message| message.is_expired(now)).collect();
        expired.sort_by_key(|message| (message.expires, message.lsn));
        expired.into_iter().for_each(|message| self.bury(message, DeathReason::Expired, None));
    }
}
