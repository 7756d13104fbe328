//! A consumer as the twin knows it, or the stand-in for a channel's `get`s.

use crate::queue::PauseReason;

use super::message::{Given, NaiveMessage};

#[derive(Clone, Debug)]
pub(crate) struct NaiveConsumer {
    pub(crate) id: u64,
    /// It only holds what it got.
    pub(crate) getter: bool,
    pub(crate) cancelled: bool,
    pub(crate) auto_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) priority: i32,
    pub(crate) prefetch: u32,
    /// Messages and bytes.
    pub(crate) credit: Option<(u64, i64)>,
    pub(crate) window: i64,
    pub(crate) window_left: i64,
    pub(crate) channel: Option<usize>,
    /// In milliseconds.
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) next_tag: u64,
    pub(crate) held: Vec<NaiveMessage>,
    pub(crate) outgoing: Vec<Given>,
    pub(crate) paused: Option<PauseReason>,
}

impl NaiveConsumer {
    /// One that acknowledges, without any window.
    pub(crate) fn new(id: u64, timeout_ms: Option<u64>) -> Self {
        NaiveConsumer {
            id,
            getter: false,
            cancelled: false,
            auto_ack: false,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            credit: None,
            window: 0,
            window_left: 0,
            channel: None,
            timeout_ms,
            next_tag: 1,
            held: Vec::new(),
            outgoing: Vec::new(),
            paused: Some(PauseReason::NotActive),
        }
    }

    /// Whether the queue counts it as a consumer.
    pub(crate) fn is_consuming(&self) -> bool {
        !self.getter && !self.cancelled
    }

    /// It gets a message, and holds it until that is settled.
    pub(super) fn hold(&mut self, mut message: NaiveMessage, now: u64) -> Given {
        message.tag = self.next_tag;
        message.late_at = self.late_at(now);
        message.given = now;
        self.next_tag += 1;
        let delivery = message.delivery();
        if !self.auto_ack {
            self.held.push(message);
        }
        delivery
    }

    /// When a message that it is given now is late: its time later, rounded up to a 64th of that.
    fn late_at(&self, now: u64) -> Option<u64> {
        let timeout = self.timeout_ms.filter(|timeout| *timeout > 0)? * 1000;
        let grain = (timeout / 64).max(1);
        let exact = now + timeout;
        Some(exact + (grain - exact % grain) % grain)
    }
}
