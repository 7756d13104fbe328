//! Messages of a queue that are not in memory: where their bytes are, and what the queue must remember about them.
//!
//! Neighbours of one record that have everything else in common are one run, so that a long queue costs memory by the
//! batch, not by the message.
//!
//! Invariants: 64 bytes however many messages it stands for; no other message of the queue has its place between those
//! of a run. Not here: where runs wait (`lane`, `delayed`), when they are loaded (`paging`).

use crate::model::{Location, Lsn, Message, StoredRun, Timestamp};

use super::entry::{Entry, Held};
use super::expiry::Deadline;

/// Bytes of memory that a run costs: its place in an ordered map with room to grow.
pub const RUN_OVERHEAD: u64 = 112;

/// Neighbours of one record, with consecutive LSNs, that wait in a queue and are not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagedRun {
    /// The first message.
    pub first: Lsn,
    /// The record that holds them.
    pub location: Location,
    /// How many there are; at least one.
    pub count: u32,
    /// Where the first one's entry begins among the entries of the record.
    pub from: u32,
    /// Bytes of all their entries, back to back.
    pub len: u32,
    /// How often each was delivered and came back.
    pub returns: u32,
    /// How often that was a failed delivery.
    pub failures: u32,
    /// Already capped at the queue's maximum.
    pub priority: u8,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// When they came to the queue.
    pub enqueued: Timestamp,
    /// When they expire.
    pub expires: Timestamp,
}

/// A message, or a run of them that is not in memory.
#[derive(Debug)]
pub(super) enum Item {
    Message(Entry),
    Run(PagedRun),
}

impl PagedRun {
    /// A message on its own whose entry is at this place. Its body's length must be known already.
    pub(super) fn of(lsn: Lsn, held: &Held, location: Location, from: u32) -> PagedRun {
        PagedRun {
            first: lsn,
            location,
            count: 1,
            from,
            len: held.message.len() as u32,
            returns: held.returns,
            failures: held.failures,
            priority: held.priority,
            body_bytes: held.body_len.into(),
            enqueued: held.enqueued,
            expires: held.expires,
        }
    }

    /// Adds the run that follows, if it goes on where this one ends and has the rest in common.
    pub(super) fn append(&mut self, next: &PagedRun) -> bool {
        let facts = |run: &PagedRun| {
            let PagedRun { location, returns, failures, priority, enqueued, expires, .. } = *run;
            (location, returns, failures, priority, enqueued, expires)
        };
        let (count, len) = (self.count.checked_add(next.count), self.len.checked_add(next.len));
        match (count, len) {
            (Some(count), Some(len))
                if self.end() == next.first
                    && u64::from(self.from) + u64::from(self.len) == u64::from(next.from)
                    && facts(self) == facts(next) =>
            {
                (self.count, self.len) = (count, len);
                self.body_bytes += next.body_bytes;
                true
            }
            _ => false,
        }
    }

    /// Whether this is the run that `asked` was, though it may be longer by now.
    pub(super) fn is_same(&self, asked: &PagedRun) -> bool {
        (self.first, self.location, self.from) == (asked.first, asked.location, asked.from)
    }

    /// The place behind the last message.
    pub(super) fn end(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(self.count.into()))
    }

    /// What is left of it when these messages, its first ones, are in memory.
    pub(super) fn without(mut self, messages: &[Message]) -> Option<PagedRun> {
        self.count = u32::try_from(messages.len()).ok().and_then(|count| self.count.checked_sub(count))?;
        if self.count == 0 {
            return None;
        }
        self.first = Lsn(self.first.0 + messages.len() as u64);
        for message in messages {
            // A record that says something else of its entries than they do is not believed, nor does it do harm.
            self.from = self.from.saturating_add(message.len() as u32);
            self.len = self.len.saturating_sub(message.len() as u32);
            self.body_bytes = self.body_bytes.saturating_sub(message.body_len() as u64);
        }
        Some(self)
    }

    /// The messages as they were before they were paged out, given their bytes.
    pub(super) fn entries(self, messages: Vec<Message>) -> impl DoubleEndedIterator<Item = Entry> {
        let PagedRun { first, returns, failures, priority, enqueued, expires, .. } = self;
        (0..messages.len()).zip(messages).map(move |(at, message)| {
            let lsn = Lsn(first.0 + at as u64);
            Entry { lsn, held: Held { message, expires, enqueued, returns, failures, body_len: 0, priority } }
        })
    }

    /// How the journal knows it.
    pub(super) fn stored(&self) -> StoredRun {
        StoredRun { first: self.first, count: self.count, location: self.location }
    }

    /// When it expires, if it does: one record for all its messages.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        Deadline::of(self.first, self.expires, self.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_takes_one_cache_line() {
        assert_eq!(size_of::<PagedRun>(), 64);
    }
}
