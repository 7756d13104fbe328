//! What became of published messages: the outcomes, and the futures that wait for them.
//!
//! Invariants: a confirm future always ends: with the broker's word, or with the error that ended the client.
//! A lost connection does not end it; the message is published again and the outcome says so.
//! Dropping a confirm future forgets the outcome, not the message.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rialto_protocol::types::{Properties, ShortStr};

use crate::connection::Shared;
use crate::connection::ledger::{SlotKey, Verdict};
use crate::error::{Error, Result};

/// What became of one published message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[must_use = "an outcome may say that the message is lost; `.accepted()` turns that into an error"]
pub enum Outcome {
    /// In every queue it was routed to, as safe as those queues promise.
    Confirmed {
        /// The message was sent again after a lost connection and may be in its queues twice. The copy sent
        /// again carries the header [`crate::MAYBE_DUPLICATE_HEADER`].
        maybe_duplicate: bool,
    },
    /// Routed to no queue. It is gone, unless it was mandatory and is returned here.
    Unroutable {
        /// The message, if it was published as mandatory.
        returned: Option<Box<Returned>>,
    },
    /// Refused: a queue is full, the exchange does not exist, a permission is missing.
    Rejected {
        /// The reply code's number.
        code: u16,
        /// What the broker says.
        reason: ShortStr,
    },
    /// The broker had the message already and did not store it again.
    Duplicate,
}

impl Outcome {
    /// Whether the broker has the message.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Outcome::Confirmed { .. } | Outcome::Duplicate)
    }

    /// An error unless the broker has the message.
    pub fn accepted(self) -> Result<()> {
        match self.is_accepted() {
            true => Ok(()),
            false => Err(Error::NotConfirmed(self)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Confirmed { maybe_duplicate: false } => f.write_str("confirmed"),
            Outcome::Confirmed { maybe_duplicate: true } => f.write_str("confirmed, maybe twice"),
            Outcome::Unroutable { .. } => {
                f.write_str("no queue is bound for its exchange and routing key; bind one or check the key")
            }
            Outcome::Rejected { code, reason } => write!(f, "rejected: {code} {reason}"),
            Outcome::Duplicate => f.write_str("the broker had it already"),
        }
    }
}

/// A mandatory message that came back because it reached no queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// The reply code's number.
    pub code: u16,
    /// What the broker says.
    pub reason: ShortStr,
    /// The exchange it was published to.
    pub exchange: ShortStr,
    /// The routing key it was published with.
    pub routing_key: ShortStr,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

/// A message of a batch that was not accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchFailure {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "the batch may have failures; `.accepted()` turns them into an error"]
pub struct BatchOutcome {
    /// How many messages the batch had.
    pub messages: usize,
    /// Those that were not accepted, by place; all others were.
    pub failures: Vec<BatchFailure>,
    /// Some were sent again after a lost connection and may be in their queues twice.
    pub maybe_duplicates: bool,
}

impl BatchOutcome {
    /// An error, that of the first failure, unless the broker has all messages.
    pub fn accepted(self) -> Result<()> {
        match self.failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(Error::NotConfirmed(failure.outcome)),
        }
    }
}

/// The outcome of a message, to be awaited. The message is on its way whether or not anybody does.
#[must_use = "the outcome of the message is not known until this is awaited; use `send` if it does not matter"]
pub struct Confirm {
    ticket: Waiting,
}

impl Confirm {
    pub(crate) fn new(shared: Arc<Shared>, slot: SlotKey) -> Self {
        Confirm { ticket: Waiting { shared, slot: Some(slot) } }
    }
}

impl Future for Confirm {
    type Output = Result<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ticket.poll(cx).map(|verdict| verdict.and_then(Verdict::into_outcome))
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirm").finish_non_exhaustive()
    }
}

/// The outcome of a batch, to be awaited. The messages are on their way whether or not anybody does.
#[must_use = "the outcome of the batch is not known until this is awaited"]
pub struct BatchConfirm {
    tickets: Vec<Waiting>,
    messages: usize,
    done: Vec<Verdict>,
}

impl BatchConfirm {
    pub(crate) fn new(messages: usize) -> Self {
        BatchConfirm { tickets: Vec::new(), messages, done: Vec::new() }
    }

    /// Adds the slot of a part of the batch that was handed over in one go.
    pub(crate) fn add(&mut self, shared: &Arc<Shared>, slot: SlotKey) {
        self.tickets.push(Waiting { shared: shared.clone(), slot: Some(slot) });
    }
}

impl Future for BatchConfirm {
    type Output = Result<BatchOutcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(ticket) = this.tickets.get_mut(this.done.len()) {
            match ticket.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(verdict)) => this.done.push(verdict),
            }
        }
        let mut outcome =
            BatchOutcome { messages: this.messages, failures: Vec::new(), maybe_duplicates: false };
        for verdict in this.done.drain(..) {
            verdict.add_to(&mut outcome)?;
        }
        outcome.failures.sort_by_key(|failure| failure.index);
        Poll::Ready(Ok(outcome))
    }
}

impl fmt::Debug for BatchConfirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchConfirm").field("messages", &self.messages).finish_non_exhaustive()
    }
}

/// A claim on a slot of the ledger, given back when it is read or dropped.
struct Waiting {
    shared: Arc<Shared>,
    slot: Option<SlotKey>,
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Verdict>> {
        let slot = self.slot.expect("a confirm is not polled after it ended");
        let verdict = self.shared.ledger.lock().poll_slot(slot, cx.waker());
        if verdict.is_ready() {
            self.slot = None;
        }
        verdict
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.ledger.lock().forget_slot(slot);
        }
    }
}
