//! Where outcomes come together: a slot for each future that waits, for one message or for a batch.
//!
//! Invariants: a slot is freed once, by who reads its verdict, or, when nobody waits any more, by its last
//! outcome. Not here: which message a sequence number means (`ledger`).

use std::task::{Poll, Waker};

use ahash::AHashMap;
use slab::Slab;

use crate::confirm::{BatchFailure, BatchOutcome, Outcome, Returned};
use crate::error::{Error, Result};

/// Finds a slot.
pub(crate) type SlotKey = u32;

/// An entry of a frame whose outcome is known or not wanted.
pub(super) const RESOLVED: SlotKey = SlotKey::MAX;

/// Who waits for the outcome of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) slot: SlotKey,
    /// The message's place among those of the slot.
    pub(super) index: u32,
}

/// Where the outcomes of one message, or of one batch of messages, come together.
#[derive(Debug)]
struct Slot {
    unresolved: u32,
    forgotten: bool,
    waker: Option<Waker>,
    verdict: Verdict,
    error: Option<Error>,
}

/// All outcomes of a slot.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    again: bool,
    /// First message of the slot within its user-visible batch.
    base: usize,
    /// What was not confirmed, and what came back; nearly always absent.
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: Vec<(u32, Result<Outcome>)>,
    /// By index: a message comes back once, whatever the broker says.
    returned: AHashMap<u32, Returned>,
}

impl Verdict {
    /// The outcome of a slot of one message.
    pub(crate) fn into_outcome(self) -> Result<Outcome> {
        let confirmed = Outcome::Confirmed { maybe_duplicate: self.again };
        match self.into_failures().pop() {
            None => Ok(confirmed),
            Some((_, outcome)) => outcome,
        }
    }

    /// Adds the outcomes of a slot of many messages.
    pub(crate) fn add_to(self, batch: &mut BatchOutcome) -> Result<()> {
        batch.maybe_duplicates |= self.again;
        let base = self.base;
        for (index, outcome) in self.into_failures() {
            let outcome = outcome?;
            if !outcome.is_accepted() {
                batch.failures.push(BatchFailure { index: base + index as usize, outcome });
            }
        }
        Ok(())
    }

    fn into_failures(self) -> Vec<(u32, Result<Outcome>)> {
        let Some(mut trouble) = self.trouble else { return Vec::new() };
        for (index, outcome) in &mut trouble.failures {
            if let Ok(Outcome::Unroutable { returned }) = outcome {
                *returned = trouble.returned.remove(index).map(Box::new);
            }
        }
        trouble.failures
    }
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots(Slab<Slot>);

impl Slots {
    /// A slot for so many messages; `base` is the place of the first among those of its user.
    pub(super) fn open(&mut self, messages: usize, base: usize) -> SlotKey {
        let verdict = Verdict { base, ..Verdict::default() };
        let unresolved = messages as u32;
        let key = self.0.insert(Slot { unresolved, forgotten: false, waker: None, verdict, error: None });
        key as SlotKey
    }

    /// Counts one message as resolved; `None` is a plain confirm.
    pub(super) fn resolve(
        &mut self,
        ticket: Ticket,
        outcome: Option<Result<Outcome>>,
        again: bool,
        wakers: &mut Vec<Waker>,
    ) {
        let slot = &mut self.0[ticket.slot as usize];
        slot.unresolved -= 1;
        slot.verdict.again |= again;
        if let Some(outcome) = outcome {
            slot.verdict.trouble.get_or_insert_default().failures.push((ticket.index, outcome));
        }
        if slot.unresolved == 0 {
            wakers.extend(slot.waker.take());
            if slot.forgotten {
                self.0.remove(ticket.slot as usize);
            }
        }
    }

    /// A message came back. Handed out again if nobody waits for its outcome.
    pub(super) fn returned(&mut self, ticket: Ticket, message: Returned) -> Option<Returned> {
        match self.0.get_mut(ticket.slot as usize).filter(|slot| !slot.forgotten) {
            Some(slot) => {
                slot.verdict.trouble.get_or_insert_default().returned.insert(ticket.index, message);
                None
            }
            None => Some(message),
        }
    }

    /// The verdict, once it is complete; frees the slot.
    pub(super) fn poll(&mut self, key: SlotKey, waker: &Waker) -> Poll<Result<Verdict>> {
        let slot = &mut self.0[key as usize];
        if slot.unresolved > 0 {
            match &mut slot.waker {
                Some(old) => old.clone_from(waker),
                None => slot.waker = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        let slot = self.0.remove(key as usize);
        Poll::Ready(match slot.error {
            Some(error) => Err(error),
            None => Ok(slot.verdict),
        })
    }

    /// Nobody waits any more.
    pub(super) fn forget(&mut self, key: SlotKey) {
        let slot = &mut self.0[key as usize];
        match slot.unresolved {
            0 => drop(self.0.remove(key as usize)),
            _ => (slot.forgotten, slot.waker) = (true, None),
        }
    }

    /// The end of all that wait.
    pub(super) fn close(&mut self, error: &Error, wakers: &mut Vec<Waker>) {
        self.0.retain(|_, slot| {
            if slot.unresolved > 0 {
                (slot.unresolved, slot.error) = (0, Some(error.clone()));
                wakers.extend(slot.waker.take());
            }
            !slot.forgotten
        });
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
