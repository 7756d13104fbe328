//! One consumer of a queue: what it asked for, what it holds, and whether it may have another message.
//!
//! Invariants: "may this consumer have another?" is answered by [`Consumer::pause_reason`] alone.
//! Not here: whose turn it is (`consumers`), giving (`dispatch`).

use std::sync::Arc;
use std::time::Duration;

use crate::model::{ConsumerId, ConsumerTag};

use super::channel_window::ChannelWindow;
use super::effects::Delivery;
use super::given_times::GivenTimes;
use super::hold_times::HoldTimes;
use super::unacked::Unacked;

/// A consumer as it asks to be added.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// Its identity.
    pub id: ConsumerId,
    /// Its name on its channel.
    pub tag: ConsumerTag,
    /// Messages count as settled when they are delivered (AMQP's `no-ack`).
    pub auto_ack: bool,
    /// Nobody else may consume.
    pub exclusive: bool,
    /// Higher is served first (`x-priority`).
    pub priority: i32,
    /// How many messages it may hold unsettled; 0 is unlimited. Not for auto-ack consumers.
    pub prefetch: u32,
    /// What it may receive before it gives more credit; none is unlimited.
    pub credit: Option<Credit>,
    /// Bytes that may wait in the connection's outbox for it, counted as [`Message::len`](crate::model::Message::len).
    pub window: u64,
    /// The limit of its channel. Not for auto-ack consumers.
    pub channel_window: Option<Arc<ChannelWindow>>,
    /// How long it may hold a message before the message goes back to the queue, up to a 64th late. Zero is
    /// for ever. None: the queue's own `x-consumer-timeout`, if it has one.
    pub timeout: Option<Duration>,
}

/// What a consumer is ready to receive. A message goes while both are above zero, so the bytes may be
/// exceeded by the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Messages.
    pub messages: u64,
    /// Bytes, counted as [`Message::len`](crate::model::Message::len).
    pub bytes: u64,
}

/// Whether a consumer may have another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It may; it stands in the round.
    Ready,
    /// It may not, for this reason.
    Paused(PauseReason),
}

/// Why a consumer gets nothing. Where several reasons hold, the first in this order is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseReason {
    /// Another one is the single active consumer.
    NotActive,
    /// It holds as many unsettled messages as its prefetch allows.
    Prefetch,
    /// Its credit in messages or bytes is used up.
    Credit,
    /// Its connection does not take data as fast as the queue gives.
    OutboxFull,
    /// Its channel holds as many unsettled messages as its prefetch allows.
    ChannelPrefetch,
}

/// What a consumer is to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It receives.
    Consuming,
    /// It was cancelled; it may settle what it holds, and is forgotten with its last message.
    Cancelled,
    /// It stands for the `get`s of a channel.
    Getter,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) tag: ConsumerTag,
    pub(super) role: Role,
    pub(super) auto_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i32,
    pub(super) prefetch: u32,
    credit: Option<Balance>,
    window: u64,
    /// Bytes that may still go to the outbox.
    window_left: i64,
    pub(super) channel_window: Option<Arc<ChannelWindow>>,
    pub(super) unacked: Unacked,
    /// When it was given them.
    pub(super) given: GivenTimes,
    /// How long it has held them, if that is limited.
    pub(super) hold: Option<HoldTimes>,
    /// Assigned, not yet taken by the broker.
    pub(super) outgoing: Vec<Delivery>,
    /// It stands in the round if and only if this is `Ready`.
    pub(super) readiness: Readiness,
    /// Higher is younger.
    pub(super) age: u64,
}

#[derive(Clone, Copy, Debug)]
struct Balance {
    messages: u64,
    bytes: i64,
}

impl Consumer {
    /// `timeout` is the queue's own.
    pub(super) fn new(spec: ConsumerSpec, timeout: Option<Duration>, age: u64) -> Consumer {
        let credit =
            spec.credit.map(|credit| Balance { messages: credit.messages, bytes: signed(credit.bytes) });
        Consumer {
            id: spec.id,
            tag: spec.tag,
            role: Role::Consuming,
            auto_ack: spec.auto_ack,
            exclusive: spec.exclusive,
            priority: spec.priority,
            prefetch: spec.prefetch,
            credit,
            window: spec.window,
            window_left: signed(spec.window),
            channel_window: spec.channel_window.filter(|_| !spec.auto_ack),
            unacked: Unacked::default(),
            given: GivenTimes::default(),
            hold: HoldTimes::new(spec.timeout.or(timeout).filter(|_| !spec.auto_ack)),
            outgoing: Vec::new(),
            readiness: Readiness::Paused(PauseReason::NotActive),
            age,
        }
    }

    pub(super) fn getter(id: ConsumerId, timeout: Option<Duration>, age: u64) -> Consumer {
        let spec = ConsumerSpec {
            id,
            tag: ConsumerTag::default(),
            auto_ack: false,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            credit: None,
            window: 0,
            channel_window: None,
            timeout: None,
        };
        Consumer { role: Role::Getter, ..Consumer::new(spec, timeout, age) }
    }

    /// Why it may not have another message; `active` is false while another one is the single active consumer.
    pub(super) fn pause_reason(&self, active: bool) -> Option<PauseReason> {
        if !active || self.role != Role::Consuming {
            return Some(PauseReason::NotActive);
        }
        if !self.auto_ack && self.prefetch != 0 && self.unacked.len() >= self.prefetch as usize {
            return Some(PauseReason::Prefetch);
        }
        if self.credit.is_some_and(|credit| credit.messages == 0 || credit.bytes <= 0) {
            return Some(PauseReason::Credit);
        }
        if self.window_left <= 0 {
            return Some(PauseReason::OutboxFull);
        }
        match &self.channel_window {
            Some(window) if !window.has_room_or_wait() => Some(PauseReason::ChannelPrefetch),
            _ => None,
        }
    }

    /// Takes the place in its channel's window for one more message.
    pub(super) fn take_channel_place(&self) -> bool {
        self.channel_window.as_ref().is_none_or(|window| window.try_take())
    }

    /// Joins the window of its channel, bringing along what it holds.
    pub(super) fn join_channel_window(&mut self, window: &Arc<ChannelWindow>) {
        if self.role != Role::Getter && !self.auto_ack && self.channel_window.is_none() {
            window.take_along(u32::try_from(self.unacked.len()).unwrap_or(u32::MAX));
            self.channel_window = Some(window.clone());
        }
    }

    pub(super) fn give_back_channel_places(&self, count: usize) {
        if let Some(window) = &self.channel_window
            && count > 0
        {
            window.give_back(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Accounts for a message of this many bytes that goes to it.
    pub(super) fn charge(&mut self, bytes: usize) {
        let bytes = bytes as i64;
        self.window_left = self.window_left.saturating_sub(bytes);
        if let Some(credit) = &mut self.credit {
            credit.messages = credit.messages.saturating_sub(1);
            credit.bytes = credit.bytes.saturating_sub(bytes);
        }
    }

    /// The outbox has sent this many bytes.
    pub(super) fn refill(&mut self, bytes: u64) {
        self.window_left = self.window_left.saturating_add(signed(bytes)).min(signed(self.window));
    }

    pub(super) fn add_credit(&mut self, messages: u64, bytes: u64) {
        if let Some(credit) = &mut self.credit {
            credit.messages = credit.messages.saturating_add(messages);
            credit.bytes = credit.bytes.saturating_add(signed(bytes));
        }
    }

    /// Whether the queue can forget it.
    pub(super) fn is_spent(&self) -> bool {
        self.role == Role::Cancelled && self.unacked.is_empty() && self.outgoing.is_empty()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
