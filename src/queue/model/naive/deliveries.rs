//! Who gets a message, and what becomes of it there.

use crate::queue::{DeathReason, PauseReason, Settle, SettleError};

use super::super::mutation::Mutation;
use super::message::Given;
use super::{Naive, NaiveConsumer, NaiveMessage};

impl Naive {
    pub(crate) fn dispatch(&mut self, now: u64) {
        self.pass_time(now);
        while !self.ready.is_empty() {
            let Some(id) = self.next() else { break };
            let message = self.take_head().expect("not empty");
            self.give(id, message, now);
        }
    }

    /// Whose turn it is: it has a place of its channel's then.
    pub(super) fn next(&mut self) -> Option<u64> {
        if self.paused && !self.has(Mutation::PausedGives) {
            return None;
        }
        while !self.round.is_empty() {
            let priority = |id: &u64| match self.has(Mutation::ConsumerPriorityIgnored) {
                true => 0,
                false => self.consumer(*id).priority,
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

    pub(super) fn give(&mut self, id: u64, message: NaiveMessage, now: u64) {
        if self.consumer(id).auto_ack {
            self.settled(&message);
        }
        let consumer = self.consumer_mut(id);
        consumer.window_left -= message.len as i64;
        if let Some((messages, bytes)) = &mut consumer.credit {
            *messages -= 1;
            *bytes -= message.len as i64;
        }
        let delivery = consumer.hold(message, now);
        consumer.outgoing.push(delivery);
        consumer.paused = Some(PauseReason::NotActive);
        self.refresh(id);
        if self.has(Mutation::RoundRestarts) && self.round.last() == Some(&id) {
            self.round.rotate_right(1);
        }
    }

    pub(crate) fn take_deliveries(&mut self) -> Vec<(u64, Vec<Given>)> {
        let taken = self.consumers.iter_mut().filter(|c| !c.outgoing.is_empty());
        let mut taken: Vec<_> = taken.map(|c| (c.id, std::mem::take(&mut c.outgoing))).collect();
        taken.sort();
        self.forget();
        taken
    }

    /// A delivery, and how many remain.
    pub(crate) fn get(&mut self, getter: u64, auto_ack: bool, now: u64) -> Option<(Given, u64)> {
        self.idle_since = now;
        self.pass_time(now);
        if self.paused && !self.has(Mutation::PausedGets) {
            return None;
        }
        let message = self.take_head()?;
        let remaining = self.ready.len() as u64;
        if auto_ack {
            self.settled(&message);
            return Some((NaiveMessage { tag: 0, ..message }.delivery(), remaining));
        }
        if self.consumers.iter().all(|c| c.id != getter) {
            let consumer = NaiveConsumer::new(getter, self.options.consumer_timeout_ms);
            self.consumers.push(NaiveConsumer { getter: true, ..consumer });
        }
        Some((self.consumer_mut(getter).hold(message, now), remaining))
    }

    /// How many, or an error.
    pub(crate) fn settle(
        &mut self,
        id: u64,
        first: u64,
        last: u64,
        settlement: &Settle,
        now: u64,
    ) -> Result<u64, SettleError> {
        let consumer = self.consumers.iter().find(|c| c.id == id).ok_or(SettleError::UnknownConsumer)?;
        if first == 0 || last >= consumer.next_tag {
            return Err(SettleError::NeverDelivered);
        }
        let taken = self.take_held(id, |message| (first..=last).contains(&message.tag));
        let count = taken.len() as u64;
        match settlement {
            Settle::Ack => taken.iter().for_each(|message| self.settled(message)),
            Settle::Requeue => self.put_back(taken, true, now),
            Settle::Release => self.put_back(taken, false, now),
            Settle::Reject { reason } => {
                taken
                    .into_iter()
                    .for_each(|message| self.bury(message, DeathReason::Rejected, reason.as_ref()));
            }
        }
        self.drop_overflow();
        self.forget();
        Ok(count)
    }

    /// Those held for too long come back: the latest consumer first.
    pub(super) fn take_back_late(&mut self, now: u64) {
        let first =
            |c: &NaiveConsumer| Some((c.held.iter().filter_map(|message| message.late_at).min()?, c.id));
        let mut late: Vec<_> = self.consumers.iter().filter_map(first).filter(|(at, _)| *at <= now).collect();
        if late.is_empty() {
            return;
        }
        late.sort();
        let mut back = Vec::new();
        for (_, id) in late {
            let all = self.has(Mutation::LateTakesAll);
            let taken = self.take_held(id, |message| all || message.is_late(now));
            if self.has(Mutation::LateKeepsChannelPlace)
                && let Some(channel) = self.consumer(id).channel
            {
                self.channels[channel].0 += taken.len() as u32;
            }
            self.told.late.push((id, taken.len() as u64));
            back.extend(taken);
        }
        self.forget();
        self.put_back(back, true, now);
    }

    /// Who holds what since when: consumer, tag, LSN and tenths of seconds.
    pub(crate) fn unacked(&self) -> Vec<(u64, u64, u64, u64)> {
        let of = |c: &NaiveConsumer| {
            let id = c.id;
            c.held.iter().map(move |m| (id, m.tag, m.lsn, m.given / 100_000)).collect::<Vec<_>>()
        };
        let mut unacked: Vec<_> = self.consumers.iter().flat_map(of).collect();
        unacked.sort_unstable();
        unacked
    }
}
