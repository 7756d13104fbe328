//! The naive twin: every rule in its most literal form, over plain vectors that are searched from end to end.
//!
//! It shares no code with the machine, only the types of what is asked and answered. Messages are in `ready`, in
//! `delayed`, or with a consumer; their order is found when it is asked for.
//! Here: what there is, and how a message leaves for good. `arrivals`: what comes, and what comes back. `deliveries`: who
//! gets a message, and what becomes of it. `consumers`: who they are, and whether they have room. `deadlines`: what time
//! does. `changes`: other options, and restarts. Not here: pages and overflow files, of which the twin knows nothing.

mod arrivals;
mod changes;
mod consumer;
mod consumers;
mod deadlines;
mod deliveries;
mod message;

use rialto_protocol::types::ShortStr;

use crate::model::QueueOptions;
use crate::queue::{DeathReason, DeleteReason};

use super::mutation::Mutation;

pub(super) use consumer::NaiveConsumer;
pub(super) use message::{Given, NaiveMessage};

/// What the twin says has to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// LSN, why, what was said about it, how often it failed.
    pub(super) dead: Vec<(u64, DeathReason, Option<ShortStr>, u32)>,
    pub(super) settled: Vec<u64>,
    /// LSN, how often it failed, how often it came back; in no order.
    pub(super) returned: Vec<(u64, u32, u32)>,
    /// Consumers, and how many messages each.
    pub(super) late: Vec<(u64, u64)>,
    pub(super) deleted: Option<DeleteReason>,
}

#[derive(Debug)]
pub(super) struct Naive {
    options: QueueOptions,
    mutation: Option<Mutation>,
    /// In no order.
    pub(super) ready: Vec<NaiveMessage>,
    /// In no order.
    pub(super) delayed: Vec<NaiveMessage>,
    /// Keys with the time until when, oldest first.
    seen: Vec<(u64, u64)>,
    /// Oldest first.
    pub(super) consumers: Vec<NaiveConsumer>,
    /// Those with room, in the order in which they are served.
    round: Vec<u64>,
    active: Option<u64>,
    handing_over: bool,
    /// Nobody gets anything.
    pub(super) paused: bool,
    /// Taken and limit.
    pub(super) channels: Vec<(u32, u32)>,
    idle_since: u64,
    next_tail: u64,
    pub(super) told: Told,
}

impl Naive {
    pub(super) fn new(
        options: QueueOptions,
        channels: Vec<u32>,
        mutation: Option<Mutation>,
        now: u64,
    ) -> Self {
        Naive {
            options,
            mutation,
            ready: Vec::new(),
            delayed: Vec::new(),
            seen: Vec::new(),
            consumers: Vec::new(),
            round: Vec::new(),
            active: None,
            handing_over: false,
            paused: false,
            channels: channels.into_iter().map(|limit| (0, limit)).collect(),
            idle_since: now,
            next_tail: 1 << 40,
            told: Told::default(),
        }
    }

    /// Whether this bug is planted.
    fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &NaiveMessage> {
        self.ready.iter().chain(&self.delayed)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &NaiveMessage> {
        self.consumers.iter().flat_map(|consumer| &consumer.held)
    }

    pub(super) fn head(&self) -> Option<&NaiveMessage> {
        self.ready.iter().min_by_key(|message| message.ready_order())
    }

    fn take_head(&mut self) -> Option<NaiveMessage> {
        let lsn = self.head()?.lsn;
        let at = self.ready.iter().position(|message| message.lsn == lsn)?;
        Some(self.ready.remove(at))
    }

    fn take_first_delayed(&mut self) -> Option<NaiveMessage> {
        let at = (0..self.delayed.len()).min_by_key(|at| self.delayed[*at].delayed_order())?;
        Some(self.delayed.remove(at))
    }

    /// Takes a message out that waits. Whether it was there.
    pub(super) fn take_out(&mut self, lsn: u64, now: u64) -> bool {
        self.pass_time(now);
        let at = |messages: &[NaiveMessage]| messages.iter().position(|message| message.lsn == lsn);
        let message = match (at(&self.ready), at(&self.delayed)) {
            (Some(at), _) => self.ready.remove(at),
            (None, Some(at)) => self.delayed.remove(at),
            (None, None) => return false,
        };
        if !self.has(Mutation::TakenNotSettled) {
            self.settled(&message);
        }
        true
    }

    pub(super) fn purge(&mut self, now: u64) -> u64 {
        self.pass_time(now);
        let mut count = 0;
        while let Some(message) = self.take_head().or_else(|| self.take_first_delayed()) {
            self.settled(&message);
            count += 1;
        }
        count
    }

    /// What waits, in the order in which it is listed, by LSN.
    pub(super) fn listed(&self, now: u64) -> Vec<u64> {
        let mut ready: Vec<_> = self.ready.iter().collect();
        ready.sort_by_key(|message| message.ready_order());
        let mut delayed: Vec<_> = self.delayed.iter().collect();
        delayed.sort_by_key(|message| message.delayed_order());
        let is_seen = |message: &&NaiveMessage| self.has(Mutation::ExpiredIsSeen) || !message.is_expired(now);
        ready.into_iter().chain(delayed).filter(is_seen).map(|message| message.lsn).collect()
    }

    fn bury(&mut self, message: NaiveMessage, reason: DeathReason, text: Option<&ShortStr>) {
        if self.options.dead_letter.is_some() {
            self.told.dead.push((message.lsn, reason, text.cloned(), message.failures));
        } else {
            self.settled(&message);
        }
    }

    fn settled(&mut self, message: &NaiveMessage) {
        if self.options.durable && message.persistent {
            self.told.settled.push(message.lsn);
        }
    }
}
