//! What becomes of publishes in confirm mode, and how their publishers hear of it.
//!
//! Confirms are cumulative: what a read has brought is confirmed with one `basic.ack` for each channel, unless a queue
//! has refused something. Those of durable messages wait for the disk: see [`super::super::held_answers`].

use ahash::AHashMap;
use bytes::BytesMut;
use rialto_protocol::amqp::{BasicAck, BasicNack, Method};

use super::channel::ChannelSlot;
use crate::broker::{Broker, Commit};
use crate::model::ChannelId;
use crate::queue::RejectReason;
use crate::session::WriteQueue;
use crate::session::held_answers::{Answer, HeldAnswers, Told};

/// Neighbouring messages of one channel in confirm mode that share a fate, or will have one when the batch is
/// published.
#[derive(Debug)]
pub(super) struct Tracked {
    channel: ChannelId,
    first: u64,
    count: u32,
    fate: Fate,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// In the batch, from this position on.
    Batched { position: u32 },
    /// No queue wants it, which is nobody's fault: it is confirmed, as in RabbitMQ.
    Unroutable,
    /// The broker cannot take it.
    Refused,
}

/// What a publisher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Confirm {
    /// The messages with these numbers are taken.
    Acked { first: u64, last: u64 },
    /// They are not.
    Nacked { first: u64, last: u64 },
    /// The transaction is committed.
    Committed,
}

impl Answer for Confirm {
    fn ranges(&self) -> usize {
        1
    }

    fn messages(&self) -> u64 {
        match self {
            Confirm::Acked { first, last } | Confirm::Nacked { first, last } => last + 1 - first,
            Confirm::Committed => 0,
        }
    }

    fn confirmed(&self) -> u64 {
        match self {
            Confirm::Acked { first, last } => last - first + 1,
            Confirm::Nacked { .. } | Confirm::Committed => 0,
        }
    }

    fn absorb(&mut self, next: Confirm) -> Option<Confirm> {
        match (self, next) {
            (Confirm::Acked { last, .. }, Confirm::Acked { first, last: end }) if *last + 1 == first => {
                *last = end;
                None
            }
            // Refusals are told one by one.
            (_, next) => Some(next),
        }
    }

    fn encode(self, channel: ChannelId, out: &mut BytesMut) {
        let method = match self {
            Confirm::Acked { first, last } => {
                Method::BasicAck(BasicAck { delivery_tag: last, multiple: last > first })
            }
            // Everything before has been told, so "multiple" means the range.
            Confirm::Nacked { first, last } => {
                Method::BasicNack(BasicNack { delivery_tag: last, multiple: last > first, requeue: false })
            }
            Confirm::Committed => Method::TxCommitOk(Default::default()),
        };
        method.encode(channel.0, out);
    }
}

/// Remembers what becomes of so many messages, the first of which has this number.
pub(super) fn track(tracked: &mut Vec<Tracked>, channel: ChannelId, sequence: u64, fate: Fate, count: u32) {
    if let Some(last) = tracked.last_mut()
        && last.channel == channel
    {
        let together = match (last.fate, fate) {
            (Fate::Batched { position }, Fate::Batched { position: next }) => position + last.count == next,
            (Fate::Unroutable, Fate::Unroutable) | (Fate::Refused, Fate::Refused) => true,
            _ => false,
        };
        if together {
            last.count += count;
            return;
        }
    }
    tracked.push(Tracked { channel, first: sequence, count, fate });
}

/// Tells what became of messages, once their commit is reached. Leaves both lists empty.
pub(super) fn tell_confirms(
    tracked: &mut Vec<Tracked>,
    rejected: &mut Vec<(u32, RejectReason)>,
    commit: Commit,
    channels: &AHashMap<ChannelId, ChannelSlot>,
    held: &mut HeldAnswers<Confirm>,
    out: &mut WriteQueue,
    broker: &Broker,
) {
    if tracked.is_empty() {
        return rejected.clear();
    }
    let rejected = rejected.drain(..).map(|(position, _)| position);
    if held.may_pass(&commit, broker) {
        let mut told = Told::new(out.buffer());
        in_order(tracked, rejected, |channel, confirm| {
            held.note_told(channel, &confirm);
            told.put(channel, confirm);
        });
    } else {
        in_order(tracked, rejected, |channel, confirm| {
            if let Some(ChannelSlot::Open(channel)) = channels.get(&channel) {
                held.push(commit, &channel.info, confirm);
            }
        });
    }
}

/// Confirms in ranges, in order: a refused message ends a range and is told on its own.
fn in_order(
    tracked: &mut Vec<Tracked>,
    rejected: impl Iterator<Item = u32>,
    mut tell: impl FnMut(ChannelId, Confirm),
) {
    let mut rejected = rejected.peekable();
    for Tracked { channel, first, count, fate } in tracked.drain(..) {
        let last = first + u64::from(count) - 1;
        let mut next = first;
        if fate == Fate::Refused {
            (first..=last).for_each(|refused| tell(channel, nacked(refused)));
            continue;
        }
        if let Fate::Batched { position } = fate {
            // Those before belong to channels that do not want to know.
            while rejected.next_if(|at| *at < position).is_some() {}
            while let Some(at) = rejected.next_if(|at| *at < position + count) {
                let refused = first + u64::from(at - position);
                if refused > next {
                    tell(channel, Confirm::Acked { first: next, last: refused - 1 });
                }
                tell(channel, nacked(refused));
                next = refused + 1;
            }
        }
        if next <= last {
            tell(channel, Confirm::Acked { first: next, last });
        }
    }
}

fn nacked(refused: u64) -> Confirm {
    Confirm::Nacked { first: refused, last: refused }
}
