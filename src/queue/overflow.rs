//! When a queue is full, and what goes then.
//!
//! Only ready messages (with those that will be ready again after a delay) and the bytes of their bodies count, as
//! in RabbitMQ; a message that goes to a consumer at once never counts among what is there, but a queue that refuses
//! what exceeds its limits asks them of such a message, too. The head, which drop-head drops, is the message that would be delivered next.

use crate::model::{Message, OverflowRule};

use super::Queue;
use super::effects::{Admission, DeathReason, Effects};
use super::paged::Item;

impl Queue {
    /// Whether the queue refuses this message because it is full.
    pub(super) fn refuses(&self, message: &Message, admission: Admission) -> bool {
        if self.options.overflow == OverflowRule::DropHead || !self.options.has_max_length() {
            return false;
        }
        if admission == Admission::Returned {
            return false;
        }
        let (messages, body_bytes) = self.length();
        self.exceeds(messages + 1, body_bytes + message.body_len() as u64)
    }

    /// Whether so many more messages, with so many bytes of bodies, are within the queue's limits.
    pub fn has_room_for(&self, more: u64, more_body_bytes: u64) -> bool {
        let (messages, body_bytes) = self.length();
        !self.exceeds(messages + more, body_bytes + more_body_bytes)
    }

    /// Drops from the head while there is too much. Stops at messages that are not in memory if only some of them have to
    /// go: which, their bodies' lengths decide.
    pub(super) fn drop_overflow(&mut self, out: &mut Effects) {
        while self.is_overfull() {
            if let Some(run) = self.ready.front_run() {
                let (messages, body_bytes) = self.length();
                let before_last = messages - u64::from(run.count - 1);
                if run.count > 1 && !self.exceeds(before_last, body_bytes - run.body_bytes) {
                    break;
                }
                let Some(run) = self.ready.pop_run() else { break };
                self.bury_run(run, DeathReason::MaxLength, out);
                continue;
            }
            // What is delayed would not be delivered next.
            let next = self.ready.pop().map(Item::Message).or_else(|| self.delayed.pop());
            match next {
                Some(Item::Message(entry)) => self.bury(entry, DeathReason::MaxLength, None, out),
                Some(Item::Run(run)) => self.bury_run(run, DeathReason::MaxLength, out),
                None => break,
            }
        }
    }

    /// Whether messages have to be dropped.
    pub(super) fn is_overfull(&self) -> bool {
        if self.options.overflow != OverflowRule::DropHead || !self.options.has_max_length() {
            return false;
        }
        let (messages, body_bytes) = self.length();
        self.exceeds(messages, body_bytes)
    }

    /// What the limits count: messages and bytes of bodies.
    fn length(&self) -> (u64, u64) {
        let messages = (self.ready.len() + self.delayed.len()) as u64;
        (messages, self.ready.body_bytes() + self.delayed.body_bytes())
    }

    fn exceeds(&self, messages: u64, body_bytes: u64) -> bool {
        self.options.max_length.is_some_and(|max| messages > max)
            || self.options.max_length_bytes.is_some_and(|max| body_bytes > max)
    }
}
