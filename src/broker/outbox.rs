//! A connection's outbox: deliveries and notices that others put there and its own task takes out.
//!
//! Invariants: pushed under the queue's lock, so a queue's deliveries stay in order; the push that finds
//! the outbox empty is the one that must wake the owner, so there is one wake-up per batch. Its size is
//! bounded by the consumers' windows, which the queues keep: see `queue`. Not here: encoding (`session`).

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::model::{ChannelId, QueueId};
use crate::queue::Delivery;

/// A consumer as its own connection knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalConsumer {
    /// The channel.
    pub channel: ChannelId,
    /// The consumer's number on the channel.
    pub number: u32,
}

/// Neighbouring deliveries for one consumer.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRun {
    /// The consumer.
    pub consumer: LocalConsumer,
    /// How many of the deliveries are its.
    pub count: usize,
}

/// Something other than a delivery that a connection must hear of.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Its consumer has ended because the queue is gone; or, if it was cancelled before, what it held is.
    ConsumerCancelled {
        /// The consumer.
        consumer: LocalConsumer,
    },
    /// It has held messages for too long: they are back in the queue and count no more for its channel's prefetch.
    MessagesTakenBack {
        /// The consumer.
        consumer: LocalConsumer,
        /// How many messages fewer it has to settle.
        count: u64,
        /// Whether it was cancelled before.
        was_cancelled: bool,
    },
    /// This queue takes messages again.
    PressureLifted(QueueId),
    /// The broker or an operator wants the connection to close.
    Close {
        /// What to tell the client.
        reason: String,
    },
}

impl Notice {
    /// Whether it concerns the connection, and not what is delivered to a consumer before or after it.
    fn is_urgent(&self) -> bool {
        matches!(self, Notice::PressureLifted(_) | Notice::Close { .. })
    }
}

/// What was in an outbox.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Whose deliveries they are, in order.
    pub runs: VecDeque<DeliveryRun>,
    /// The deliveries.
    pub deliveries: VecDeque<Delivery>,
    /// The notices.
    pub notices: Vec<Notice>,
}

impl Outgoing {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.notices.is_empty()
    }

    /// Drops what is for one channel, which was closed: its deliveries are back in their queues.
    pub fn forget_channel(&mut self, channel: ChannelId) {
        let mut kept = Outgoing { notices: mem::take(&mut self.notices), ..Outgoing::default() };
        kept.notices.retain(|notice| match notice {
            Notice::ConsumerCancelled { consumer } | Notice::MessagesTakenBack { consumer, .. } => {
                consumer.channel != channel
            }
            _ => true,
        });
        for run in self.runs.drain(..) {
            let mut deliveries = self.deliveries.drain(..run.count);
            if run.consumer.channel != channel {
                kept.runs.push_back(run);
                kept.deliveries.extend(&mut deliveries);
            }
        }
        *self = kept;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    outgoing: Mutex<Outgoing>,
    /// Notices that do not wait behind deliveries: a peer that does not read must still be let go on, or closed.
    urgent: Mutex<Vec<Notice>>,
    alarm: Alarm,
}

/// Wakes one task. A lock of its own, that only its task takes unless there is something to wake it for.
#[derive(Debug, Default)]
struct Alarm {
    rings: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
}

impl Alarm {
    fn ring(&self) {
        // Who rang before and was not heard yet has woken the sleeper, or will.
        if !self.rings.swap(true, Ordering::AcqRel)
            && let Some(sleeper) = &*self.sleeper.lock()
        {
            sleeper.wake_by_ref();
        }
    }

    /// Hears it, once however often it rang.
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.hear() {
            return Poll::Ready(());
        }
        let mut sleeper = self.sleeper.lock();
        if !sleeper.as_ref().is_some_and(|sleeper| sleeper.will_wake(cx.waker())) {
            *sleeper = Some(cx.waker().clone());
        }
        drop(sleeper);
        // It may have rung before there was anybody to wake.
        match self.hear() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn hear(&self) -> bool {
        self.rings.load(Ordering::Relaxed) && self.rings.swap(false, Ordering::AcqRel)
    }
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds deliveries for one consumer, taking them out of the vector. True if the owner must be woken.
    #[must_use]
    pub fn push(&self, consumer: LocalConsumer, deliveries: &mut Vec<Delivery>) -> bool {
        let mut outgoing = self.outgoing.lock();
        let was_empty = outgoing.is_empty();
        let count = deliveries.len();
        match outgoing.runs.back_mut() {
            Some(run) if run.consumer == consumer => run.count += count,
            _ => outgoing.runs.push_back(DeliveryRun { consumer, count }),
        }
        if outgoing.deliveries.is_empty() {
            // They change places, so that each list is used again and nothing is copied.
            let empty = Vec::from(mem::take(&mut outgoing.deliveries));
            outgoing.deliveries = mem::replace(deliveries, empty).into();
        } else {
            outgoing.deliveries.extend(deliveries.drain(..));
        }
        was_empty
    }

    /// Adds a notice. True if the owner must be woken.
    #[must_use]
    pub fn notify(&self, notice: Notice) -> bool {
        if notice.is_urgent() {
            self.urgent.lock().push(notice);
            return true;
        }
        let mut outgoing = self.outgoing.lock();
        let was_empty = outgoing.is_empty();
        outgoing.notices.push(notice);
        was_empty
    }

    /// Takes the notices that do not wait behind deliveries.
    pub fn take_urgent(&self) -> Vec<Notice> {
        mem::take(&mut *self.urgent.lock())
    }

    /// Wakes the owner. Not under a queue's lock.
    pub fn wake(&self) {
        self.alarm.ring();
    }

    /// Whether there is something to take: once each time that it was woken. Only the owner asks, and is woken.
    pub fn poll_woken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll_heard(cx)
    }

    /// Swaps what is in the outbox with `empty`, so that buffers are used again. False if there was nothing.
    pub fn take(&self, empty: &mut Outgoing) -> bool {
        debug_assert!(empty.is_empty());
        let mut outgoing = self.outgoing.lock();
        if outgoing.is_empty() {
            return false;
        }
        mem::swap(&mut *outgoing, empty);
        true
    }
}
