//! The consumers of the queue: who they are, which one is active, and who has room.

use crate::queue::{ConsumeError, DeleteReason, PauseReason, RemoveMode};

use super::super::mutation::Mutation;
use super::{Naive, NaiveConsumer, NaiveMessage};

impl Naive {
    pub(crate) fn consuming(&self) -> impl Iterator<Item = &NaiveConsumer> {
        self.consumers.iter().filter(|consumer| consumer.is_consuming())
    }

    pub(crate) fn add(&mut self, consumer: NaiveConsumer) -> Result<(), ConsumeError> {
        if self.options.single_active_consumer && consumer.exclusive {
            return Err(ConsumeError::SingleActive);
        }
        if self.consuming().any(|c| c.exclusive) {
            return Err(ConsumeError::InExclusiveUse);
        }
        if consumer.exclusive && self.consuming().count() > 0 {
            return Err(ConsumeError::NotAlone);
        }
        let id = consumer.id;
        self.consumers.push(consumer);
        self.elect();
        self.refresh(id);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: u64, mode: RemoveMode, now: u64) {
        let Some(at) = self.consumers.iter().position(|c| c.id == id) else { return };
        let was_consuming = self.consumers[at].is_consuming();
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
                self.put_back(consumer.held, true, now);
                self.drop_overflow();
            }
        }
        if was_consuming && self.consuming().count() == 0 {
            self.idle_since = now;
            if self.options.auto_delete {
                self.told.deleted = Some(DeleteReason::AutoDelete);
            }
        }
        self.forget();
    }

    pub(crate) fn change(&mut self, id: u64, change: impl FnOnce(&mut NaiveConsumer)) {
        if let Some(consumer) = self.consumers.iter_mut().find(|c| c.id == id) {
            change(consumer);
            self.refresh(id);
        }
    }

    /// Takes messages from a consumer, which may have room then.
    pub(super) fn take_held(&mut self, id: u64, which: impl Fn(&NaiveMessage) -> bool) -> Vec<NaiveMessage> {
        let consumer = self.consumer_mut(id);
        let (taken, held): (Vec<_>, _) = consumer.held.drain(..).partition(which);
        consumer.held = held;
        let channel = consumer.channel;
        self.give_back(channel, taken.len());
        self.refresh(id);
        if self.handing_over {
            self.elect();
        }
        taken
    }

    fn elect(&mut self) {
        if !self.options.single_active_consumer {
            return;
        }
        let mut best: Option<&NaiveConsumer> = None;
        for consumer in self.consuming() {
            if best.is_none_or(|best| consumer.priority > best.priority) {
                best = Some(consumer);
            }
        }
        let best = best.map(|best| best.id);
        let old = self.active;
        let busy =
            old.is_some_and(|old| !self.consumer(old).held.is_empty()) && !self.has(Mutation::HastyHandOver);
        self.handing_over = old != best && busy;
        if !self.handing_over {
            self.active = best;
        }
        old.into_iter().chain(best).for_each(|id| self.refresh(id));
    }

    /// Whether it has room decides whether it stands in the round.
    pub(super) fn refresh(&mut self, id: u64) {
        let active = !self.options.single_active_consumer || (self.active == Some(id) && !self.handing_over);
        let consumer = self.consumer(id);
        let more = u32::from(self.has(Mutation::PrefetchPlusOne));
        let held = consumer.held.len() as u32;
        let paused = if !active || !consumer.is_consuming() {
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
    pub(super) fn forget(&mut self) {
        self.consumers.retain(|c| !c.cancelled || !c.held.is_empty() || !c.outgoing.is_empty());
    }

    pub(super) fn channel_has_room(&self, channel: usize) -> bool {
        let (taken, limit) = self.channels[channel];
        limit == 0 || taken < limit
    }

    fn give_back(&mut self, channel: Option<usize>, count: usize) {
        if let Some(channel) = channel {
            self.channels[channel].0 -= count as u32;
        }
    }

    pub(super) fn consumer(&self, id: u64) -> &NaiveConsumer {
        self.consumers.iter().find(|c| c.id == id).expect("a consumer that is there")
    }

    pub(super) fn consumer_mut(&mut self, id: u64) -> &mut NaiveConsumer {
        self.consumers.iter_mut().find(|c| c.id == id).expect("a consumer that is there")
    }
}
