//! Consumers: who they are, and how much they may have.

use std::time::Duration;

use crate::model::{ConsumerId, ConsumerTag};
use crate::queue::{ConsumerSpec, Credit, RemoveMode};

use super::super::choices::Choices;
use super::super::naive::NaiveConsumer;
use super::{Pair, same};

const CONSUMERS_MAX: usize = 8;

impl Pair {
    pub(super) fn add(&mut self, choices: &mut impl Choices) -> Result<(), String> {
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
        let timeout_ms = timeout_ms.or(self.machine.options().consumer_timeout_ms);
        let naive = NaiveConsumer {
            auto_ack,
            exclusive: spec.exclusive,
            priority: spec.priority,
            prefetch: spec.prefetch,
            credit: credit.map(|(messages, bytes)| (messages, bytes as i64)),
            window: window as i64,
            window_left: window as i64,
            channel,
            ..NaiveConsumer::new(id, timeout_ms)
        };
        let added = self.machine.add_consumer(spec, self.now);
        self.tally.consume_errors += u64::from(added.is_err());
        same("add a consumer", added, self.naive.add(naive))
    }

    pub(super) fn remove(&mut self, choices: &mut impl Choices) {
        let mode = choices.one_of(&[RemoveMode::Cancel, RemoveMode::Gone]);
        if let Some(id) = self.some_consumer(choices) {
            self.machine.remove_consumer(ConsumerId(id), mode, self.now, &mut self.out);
            self.naive.remove(id, mode, self.now.as_micros());
        }
    }

    pub(super) fn refill(&mut self, choices: &mut impl Choices) {
        let bytes = choices.below(200);
        if let Some(id) = self.some_consumer(choices) {
            self.machine.refill(ConsumerId(id), bytes);
            self.naive.change(id, |c| c.window_left = c.window.min(c.window_left + bytes as i64));
        }
    }

    pub(super) fn add_credit(&mut self, choices: &mut impl Choices) {
        let (messages, bytes) = (choices.below(4), choices.below(150));
        if let Some(id) = self.some_consumer(choices) {
            self.machine.add_credit(ConsumerId(id), messages, bytes);
            let more = |(m, b): (u64, i64)| (m + messages, b + bytes as i64);
            self.naive.change(id, |c| c.credit = c.credit.map(more));
        }
    }

    pub(super) fn set_prefetch(&mut self, choices: &mut impl Choices) {
        let prefetch = choices.below(4) as u32;
        if let Some(id) = self.some_consumer(choices) {
            self.machine.set_prefetch(ConsumerId(id), prefetch);
            self.naive.change(id, |c| c.prefetch = prefetch);
        }
    }

    pub(super) fn set_channel_limit(&mut self, choices: &mut impl Choices) {
        let (channel, limit) = (choices.below(2) as usize, choices.below(5) as u32);
        self.windows[channel].set_limit(limit);
        self.naive.channels[channel].1 = limit;
    }

    /// As the channel does after a settlement: if somebody waits, tell its consumers.
    pub(super) fn wake_channels(&mut self) {
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

    fn some_consumer(&self, choices: &mut impl Choices) -> Option<u64> {
        let consumers = &self.naive.consumers;
        let at = choices.below(consumers.len().max(1) as u64) as usize;
        Some(consumers.get(at)?.id)
    }
}
