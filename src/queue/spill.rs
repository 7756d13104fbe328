//! Transient messages that leave memory: into files that do not outlive the broker.
//!
//! The journal does not have them, so somebody has to write them first; and nobody else knows them, so the file's space
//! is free as soon as this queue is done with them, which is told in [`Effects::released`]. A persistent message in a
//! queue that is not durable is such a message, too: the journal keeps it for other queues only, and no longer than they do.
//!
//! Invariants: messages stay where they are until it is certain that they are written; each is released once.
//! Not here: those that the journal has (`paging`), the files (`store`).

use crate::model::{Location, Lsn, Message, StoredRun, Timestamp};

use super::Queue;
use super::effects::Effects;
use super::stats::memory_of;

/// Most messages of one record: each may have a route of its own, which are numbered in 16 bits and which every read of the
/// record goes through.
const MESSAGES_MAX: usize = 16 << 10;

/// Messages to be written to an overflow file, as one record.
#[derive(Debug)]
pub struct Spill {
    messages: Vec<Message>,
    places: Vec<(Place, Lsn)>,
}

/// Where a message is in its queue.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the lane of this priority.
    Ready(u8),
    /// Until then.
    Delayed(Timestamp),
}

impl Spill {
    /// The messages, in the order in which their entries are to be written, back to back.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The identities of the messages.
    pub fn lsns(&self) -> impl Iterator<Item = Lsn> {
        self.places.iter().map(|(_, lsn)| *lsn)
    }

    fn push(&mut self, place: Place, lsn: Lsn, message: &Message) {
        self.places.push((place, lsn));
        self.messages.push(message.clone());
    }
}

impl Queue {
    /// What is to be written to an overflow file so that, with [`Queue::page_out`], ready and delayed messages take at
    /// most `keep_bytes` of memory: about `bytes_max` bytes of entries, at least one message and at most 16,384. None: nothing.
    pub fn spill_wanted(&self, keep_bytes: u64, bytes_max: u64) -> Option<Spill> {
        let journalled = self.is_journalled();
        let is_nowhere = |message: &Message| match message.location() {
            Some(location) => !journalled && !location.segment.is_overflow(),
            None => true,
        };
        let mut excess = self.resident_bytes().saturating_sub(keep_bytes);
        let (mut room, mut count) = (bytes_max, 0);
        let mut spill = Spill { messages: Vec::new(), places: Vec::new() };
        let mut more = |message: &Message| {
            let goes = excess > 0 && room > 0 && count < MESSAGES_MAX;
            if goes {
                count += 1;
                excess = excess.saturating_sub(memory_of(message));
                room = room.saturating_sub(message.len() as u64);
            }
            goes
        };
        for (priority, lane) in self.ready.lanes() {
            // In order of their places, so that neighbours become one run.
            let mut last: Vec<_> = lane.last(&is_nowhere).take_while(|(_, message)| more(message)).collect();
            last.sort_unstable_by_key(|(lsn, _)| *lsn);
            last.into_iter().for_each(|(lsn, message)| spill.push(Place::Ready(priority), lsn, message));
        }
        let last = self.delayed.last(&is_nowhere).take_while(|(_, message)| more(message));
        last.for_each(|((at, lsn), message)| spill.push(Place::Delayed(at), lsn, message));
        (!spill.messages.is_empty()).then_some(spill)
    }

    /// The messages are written, as the record at this location of an overflow file.
    pub fn spilled(&mut self, spill: Spill, location: Location, out: &mut Effects) {
        debug_assert!(location.segment.is_overflow(), "transient messages are in overflow files");
        self.spills = true;
        let mut from = 0;
        for ((place, lsn), message) in spill.places.into_iter().zip(&spill.messages) {
            let paged = match place {
                Place::Ready(priority) => self.ready.page_at(priority, lsn, location, from),
                Place::Delayed(at) => self.delayed.page_at((at, lsn), location, from),
            };
            if !paged {
                // It has gone, or is with a consumer; what comes back from there is in memory.
                out.note_settled(StoredRun { first: lsn, count: 1, location }, false);
            }
            from += message.len() as u32;
        }
    }
}
