//! Publishers that wait for a queue: why, and until when. The rule is `pressure`'s.
//!
//! Invariant: who is held back is told, once, when nothing holds it any more, or when the queue goes.

use std::sync::Arc;

use super::{Hosted, QueueCell};
use crate::broker::FullQueue;
use crate::broker::outbox::{Notice, Outbox};
use crate::broker::pressure::Hold;
use crate::broker::purpose::Purpose;
use crate::broker::turn::Turn;

/// From so many waiting publishers on, those that have gone are looked for.
const WAITING_SWEEP: usize = 64;

impl QueueCell {
    /// Notes that a publisher must wait, if it must.
    pub(super) fn hold_back(self: &Arc<Self>, hosted: &mut Hosted, publisher: &Arc<Outbox>, turn: &mut Turn) {
        let limited = hosted.queue.is_limited_by_outboxes();
        let hold = match self.waits_for_disk() {
            true => Some(Hold::Disk),
            false => self.core.pressure.hold(self.weight(hosted), limited),
        };
        if let Some(hold) = hold {
            if hosted.hold.is_none_or(|was| was < hold) {
                hosted.hold = Some(hold);
                self.note_full(hold, turn);
            }
            if hosted.waiting.is_empty() {
                self.core.watch_pressure(self);
            }
            let publisher = Arc::downgrade(publisher);
            if !hosted.waiting.iter().any(|waiting| waiting.ptr_eq(&publisher)) {
                // Those that have gone would add up for as long as the queue is full.
                if hosted.waiting.len() >= WAITING_SWEEP && hosted.waiting.len().is_power_of_two() {
                    hosted.waiting.retain(|waiting| waiting.strong_count() > 0);
                }
                hosted.waiting.push(publisher);
            }
            turn.congested.push((self.id, hold));
        }
    }

    /// Lists the queue as full, unless it only paces its publishers.
    fn note_full(self: &Arc<Self>, hold: Hold, turn: &Turn) {
        if let (true, Some(vhost)) = (hold > Hold::Paced, self.vhost.upgrade()) {
            let entry =
                FullQueue { vhost: vhost.name().clone(), name: self.name.clone(), since: turn.now, hold };
            self.core.full_queues.enter(self.id, self, entry);
        }
    }

    /// Looks again whether waiting publishers may go on; those that are only paced may. True while some wait.
    pub(in crate::broker) fn review_pressure(&self, turn: &mut Turn) -> bool {
        let mut hosted = self.hosted.lock();
        match hosted.hold {
            Some(Hold::Paced) => self.tell_waiting(&mut hosted, turn),
            Some(Hold::Full | Hold::Memory | Hold::Disk) => self.lift_pressure(&mut hosted, turn),
            None => {}
        }
        !hosted.waiting.is_empty()
    }

    pub(super) fn weigh(&self, hosted: &mut Hosted) {
        let memory = hosted.queue.memory_bytes();
        let messages = hosted.queue.messages() - hosted.queue.paged();
        self.core.pressure.weigh(hosted.memory, memory);
        self.core.pressure.count(hosted.messages, messages);
        hosted.memory = memory;
        hosted.messages = messages;
    }

    /// What counts for holding publishers back. Messages that wait for their time are not drained by holding up who
    /// publishes more: only the broker's budget limits them.
    pub(super) fn weight(&self, hosted: &Hosted) -> u64 {
        match self.purpose {
            Purpose::Delays => 0,
            Purpose::Ordinary | Purpose::Replies => hosted.memory,
        }
    }

    pub(super) fn lift_pressure(&self, hosted: &mut Hosted, turn: &mut Turn) {
        let limited = hosted.queue.is_limited_by_outboxes();
        let lifts = match hosted.hold {
            None => false,
            Some(Hold::Disk) => !self.waits_for_disk(),
            Some(hold) => self.core.pressure.lifts(hold, self.weight(hosted), limited),
        };
        if lifts {
            self.tell_waiting(hosted, turn);
        }
    }

    /// Whether publishers wait until the disk has room again.
    fn waits_for_disk(&self) -> bool {
        self.journalled && self.core.commits.disk_is_full()
    }

    pub(super) fn tell_waiting(&self, hosted: &mut Hosted, turn: &mut Turn) {
        if hosted.hold.take().is_some_and(|hold| hold > Hold::Paced) {
            self.core.full_queues.leave(self.id, turn.now);
        }
        for outbox in hosted.waiting.drain(..).filter_map(|waiting| waiting.upgrade()) {
            if outbox.notify(Notice::PressureLifted(self.id)) {
                turn.wakes.push(outbox);
            }
        }
    }
}
