//! What becomes of publishes, and how their publishers hear of it: outcomes, in ranges.
//!
//! Those of durable messages wait for the disk: see [`super::super::held_answers`].

use ahash::AHashMap;
use bytes::BytesMut;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Command, Outcome, OutcomeRange};
use rialto_protocol::types::ShortStr;

use super::channel::ChannelSlot;
use crate::broker::{Broker, BrokerError, Commit};
use crate::model::ChannelId;
use crate::queue::RejectReason;
use crate::session::WriteQueue;
use crate::session::held_answers::{Answer, HeldAnswers};

/// Most ranges in one `Outcomes` frame: with a reason of 255 bytes each they stay far below every frame limit.
const OUTCOMES_MAX: usize = 1024;

/// Neighbouring messages of one channel that share a fate, or will have one when the batch is published.
#[derive(Debug)]
pub(super) struct Tracked {
    channel: ChannelId,
    first: u64,
    count: u32,
    wanted: bool,
    fate: Fate,
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Fate {
    /// In the batch, from this position on.
    Batched { position: u32 },
    /// No queue wants it.
    Unroutable,
    /// It is there already.
    Duplicate,
    /// The broker does not take it.
    Rejected { code: ReplyCode, reason: String },
}

impl Fate {
    pub(super) fn refused(error: &BrokerError) -> Self {
        Fate::Rejected { code: error.reply_code(), reason: error.to_string() }
    }
}

/// Outcomes on one channel.
#[derive(Debug)]
pub(in crate::session) struct Outcomes(Vec<OutcomeRange>);

impl Outcomes {
    /// The same, but what was confirmed is not.
    pub(super) fn not_confirmed(mut self, error: &BrokerError) -> Self {
        for range in &mut self.0 {
            if range.outcome == Outcome::Confirmed {
                range.outcome = rejected_outcome(error.reply_code(), &error.to_string());
            }
        }
        self
    }
}

impl Answer for Outcomes {
    fn ranges(&self) -> usize {
        self.0.len()
    }

    fn messages(&self) -> u64 {
        self.0.iter().map(|range| range.last + 1 - range.first).sum()
    }

    fn confirmed(&self) -> u64 {
        let confirmed = self.0.iter().filter(|range| range.outcome == Outcome::Confirmed);
        confirmed.map(|range| range.last - range.first + 1).sum()
    }

    fn absorb(&mut self, next: Outcomes) -> Option<Outcomes> {
        if self.0.len() + next.0.len() > OUTCOMES_MAX {
            return Some(next);
        }
        next.0.into_iter().for_each(|range| push(&mut self.0, range));
        None
    }

    fn encode(self, channel: ChannelId, out: &mut BytesMut) {
        let mut rest = self.0;
        while !rest.is_empty() {
            let behind = rest.split_off(rest.len().min(OUTCOMES_MAX));
            Command::Outcomes(std::mem::replace(&mut rest, behind)).encode(channel.0, out);
        }
    }
}

/// Remembers what becomes of the message with this number.
pub(super) fn track(tracked: &mut Vec<Tracked>, channel: ChannelId, sequence: u64, wanted: bool, fate: Fate) {
    if let Some(last) = tracked.last_mut()
        && last.channel == channel
        && last.wanted == wanted
    {
        let together = match (&last.fate, &fate) {
            (Fate::Batched { position }, Fate::Batched { position: next }) => position + last.count == *next,
            (Fate::Unroutable, Fate::Unroutable) | (Fate::Duplicate, Fate::Duplicate) => true,
            _ => false,
        };
        if together {
            last.count += 1;
            return;
        }
    }
    tracked.push(Tracked { channel, first: sequence, count: 1, wanted, fate });
}

/// Notes that so many more became what the last one did: they are behind it in the batch.
pub(super) fn track_alike(tracked: &mut [Tracked], count: u32) {
    if let Some(last) = tracked.last_mut() {
        last.count += count;
    }
}

/// Tells what became of messages, once their commit is reached. Leaves both lists empty.
pub(super) fn tell_outcomes(
    tracked: &mut Vec<Tracked>,
    rejected: &mut Vec<(u32, RejectReason)>,
    commit: Commit,
    channels: &AHashMap<ChannelId, ChannelSlot>,
    held: &mut HeldAnswers<Outcomes>,
    out: &mut WriteQueue,
    broker: &Broker,
) {
    if tracked.is_empty() {
        return rejected.clear();
    }
    let passes = held.may_pass(&commit, broker);
    in_order(tracked, rejected, |channel, outcomes| match passes {
        true => {
            held.note_told(channel, &outcomes);
            outcomes.encode(channel, out.buffer());
        }
        false => {
            if let Some(ChannelSlot::Open(channel)) = channels.get(&channel) {
                held.push(commit, &channel.info, outcomes);
            }
        }
    });
}

/// Outcomes in ranges, in order, those of one channel together.
fn in_order(
    tracked: &mut Vec<Tracked>,
    rejected: &mut Vec<(u32, RejectReason)>,
    mut tell: impl FnMut(ChannelId, Outcomes),
) {
    let mut rejections = rejected.drain(..).peekable();
    let mut outcomes = Vec::new();
    let mut channel = ChannelId(0);
    for fate in tracked.drain(..) {
        if fate.channel != channel && !outcomes.is_empty() {
            tell(channel, Outcomes(std::mem::take(&mut outcomes)));
        }
        channel = fate.channel;
        let last = fate.first + u64::from(fate.count) - 1;
        match fate.fate {
            Fate::Unroutable => add(&mut outcomes, fate.wanted, fate.first, last, || Outcome::Unroutable),
            Fate::Duplicate => add(&mut outcomes, fate.wanted, fate.first, last, || Outcome::Duplicate),
            Fate::Rejected { code, reason } => {
                add(&mut outcomes, fate.wanted, fate.first, last, || rejected_outcome(code, &reason));
            }
            Fate::Batched { position } => {
                let mut next = fate.first;
                let end = position + fate.count;
                while let Some((at, reason)) = rejections.next_if(|(at, _)| *at < end) {
                    let this = fate.first + u64::from(at - position);
                    if this > next {
                        add(&mut outcomes, fate.wanted, next, this - 1, || Outcome::Confirmed);
                    }
                    add(&mut outcomes, fate.wanted, this, this, || queue_rejected(&reason));
                    next = this + 1;
                }
                if next <= last {
                    add(&mut outcomes, fate.wanted, next, last, || Outcome::Confirmed);
                }
            }
        }
    }
    if !outcomes.is_empty() {
        tell(channel, Outcomes(outcomes));
    }
}

fn add(
    outcomes: &mut Vec<OutcomeRange>,
    wanted: bool,
    first: u64,
    last: u64,
    outcome: impl FnOnce() -> Outcome,
) {
    if wanted {
        push(outcomes, OutcomeRange { first, last, outcome: outcome() });
    }
}

fn push(outcomes: &mut Vec<OutcomeRange>, next: OutcomeRange) {
    match outcomes.last_mut() {
        Some(range) if range.last + 1 == next.first && range.outcome == next.outcome => {
            range.last = next.last
        }
        _ => outcomes.push(next),
    }
}

fn rejected_outcome(code: ReplyCode, reason: &str) -> Outcome {
    Outcome::Rejected { code: code.number(), reason: ShortStr::truncated(reason) }
}

fn queue_rejected(reason: &RejectReason) -> Outcome {
    rejected_outcome(ReplyCode::PreconditionFailed, &reason.to_string())
}
