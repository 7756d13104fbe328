//! Messages of a queue that are not in memory: where their bytes are, and what the queue must remember about them.
//!
//! Neighbours of one record that have everything else in common are one run, so that a long queue costs memory by the
//! batch, not by the message; many runs that are alike cost a few bytes each (`run_list`).
//!
//! Invariants: 64 bytes at most however many messages it stands for; no other message of the queue has its place between those
//! of a run. Not here: where runs wait (`lane`, `delayed`), when they are loaded (`paging`).

use crate::model::{Location, Lsn, Message, SegmentId, StoredRun, Timestamp};

use super::entry::{Entry, Held};
use super::expiry::Deadline;

/// Bytes of memory that a run costs among few: its place in a list with room to grow.
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

/// Numbers that a run is packed as: see [`PagedRun::to_row`].
pub(super) const COLUMNS: usize = 10;

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

    /// Whether another one stands right behind it in its record.
    pub(super) fn is_before(&self, next: &PagedRun) -> bool {
        self.location == next.location && self.from.checked_add(self.len) == Some(next.from)
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
    pub fn without(mut self, messages: &[Message]) -> Option<PagedRun> {
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

    /// As numbers that mostly go on evenly from one run to the next, those first that do so least.
    pub(super) fn to_row(self) -> [u64; COLUMNS] {
        let PagedRun { first, location, count, from, len, returns, failures, priority, .. } = self;
        let (never, expires) = match self.expires {
            Timestamp::NEVER => (1, 0),
            expires => (0, expires.as_micros().wrapping_sub(self.enqueued.as_micros())),
        };
        [
            self.enqueued.as_micros(),
            location.offset.into(),
            first.0,
            len.into(),
            from.into(),
            count.into(),
            u64::from(len).wrapping_sub(self.body_bytes),
            expires,
            u64::from(location.segment.0) << 9 | u64::from(priority) << 1 | never,
            u64::from(returns) << 32 | u64::from(failures),
        ]
    }

    /// Back from [`PagedRun::to_row`].
    pub(super) fn from_row(row: [u64; COLUMNS]) -> PagedRun {
        let [enqueued, offset, first, len, from, count, around_bodies, expires, kind, came_back] = row;
        let expires = match kind & 1 {
            1 => Timestamp::NEVER,
            _ => Timestamp::from_micros(enqueued.wrapping_add(expires)),
        };
        PagedRun {
            first: Lsn(first),
            location: Location { segment: SegmentId((kind >> 9) as u32), offset: offset as u32 },
            count: count as u32,
            from: from as u32,
            len: len as u32,
            returns: (came_back >> 32) as u32,
            failures: came_back as u32,
            priority: (kind >> 1) as u8,
            body_bytes: len.wrapping_sub(around_bodies),
            enqueued: Timestamp::from_micros(enqueued),
            expires,
        }
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

    #[test]
    fn a_run_comes_back_from_its_numbers_whatever_they_are() {
        let least = PagedRun {
            first: Lsn(0),
            location: Location::default(),
            count: 1,
            from: 0,
            len: 0,
            returns: 0,
            failures: 0,
            priority: 0,
            body_bytes: 0,
            enqueued: Timestamp::default(),
            expires: Timestamp::default(),
        };
        let most = PagedRun {
            first: Lsn(u64::MAX),
            location: Location::from_u64(u64::MAX),
            count: u32::MAX,
            from: u32::MAX,
            len: u32::MAX,
            returns: u32::MAX,
            failures: u32::MAX,
            priority: u8::MAX,
            body_bytes: u64::MAX,
            enqueued: Timestamp::from_micros(u64::MAX - 1),
            expires: Timestamp::NEVER,
        };
        let dead_before = PagedRun { expires: Timestamp::from_micros(u64::MAX - 2), ..most };
        for run in [least, most, dead_before, PagedRun { body_bytes: 7, ..least }] {
            assert_eq!(PagedRun::from_row(run.to_row()), run);
        }
    }
}
