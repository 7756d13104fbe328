//! What a journal and overflow files would keep for the machine, and whether it may still ask for it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use crate::model::{
    ExchangeName, Location, Lsn, MemoryGauge, Message, MessageBatch, MessageRoute, Priority, RestoredRun,
    Returned, RoutingKey, SegmentId, StoredRun, Timestamp,
};

/// Bytes of other batches in front of each record's entries: places are not those in the batch.
const BASE: u32 = 100;

#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Entries by location.
    records: BTreeMap<Location, Bytes>,
    /// Messages that the journal would restore.
    kept: BTreeMap<u64, RestoredRun>,
    /// Messages in overflow files, with their record.
    spilled: BTreeSet<(u64, Location)>,
    offset: u32,
}

impl Stored {
    fn next(&mut self, segment: u32) -> Location {
        self.offset += 1;
        Location { segment: SegmentId(segment), offset: self.offset }
    }

    /// The last record that can be read if the last few are not written yet.
    pub(super) fn written(&self, unwritten: u32) -> u32 {
        self.offset.saturating_sub(unwritten)
    }

    /// The journal gets a batch, before any queue does.
    pub(super) fn append(&mut self, batch: &MessageBatch) {
        let location = self.next(1);
        batch.set_location(location, BASE);
        self.records.insert(location, batch.bytes().clone());
    }

    /// A message of such a batch is on its way into a queue that the journal knows.
    pub(super) fn keep(
        &mut self,
        lsn: u64,
        message: &Message,
        priority: Option<Priority>,
        ttl_ms: Option<u64>,
        at: Timestamp,
    ) {
        let Some(location) = message.location() else { return };
        let (from, len) = (message.entry_offset(), message.len() as u32);
        let body_bytes = message.body_len() as u64;
        let (first, count, delay_ms, returned) = (Lsn(lsn), 1, None, None);
        let kept = RestoredRun {
            first,
            count,
            location,
            from,
            len,
            body_bytes,
            at,
            priority,
            ttl_ms,
            delay_ms,
            returned,
        };
        self.kept.insert(lsn, kept);
    }

    /// Whether the journal has this message.
    pub(super) fn keeps(&self, lsn: u64) -> bool {
        self.kept.contains_key(&lsn)
    }

    /// A queue is done with messages.
    pub(super) fn settled(&mut self, run: StoredRun) -> Result<(), String> {
        for lsn in lsns(run) {
            let kept = self.kept.remove(&lsn);
            if kept.is_none_or(|kept| kept.location != run.location) {
                return Err(format!("LSN {lsn} is settled at {}, where it is not", run.location.as_u64()));
            }
        }
        Ok(())
    }

    /// A message died: its dead letter takes its place in the journal.
    pub(super) fn died(&mut self, lsn: u64) {
        self.kept.remove(&lsn);
    }

    pub(super) fn returned(&mut self, returned: Returned) -> Result<(), String> {
        match self.kept.get_mut(&returned.lsn.0) {
            Some(kept) if kept.location == returned.location => {
                kept.returned = Some(returned);
                Ok(())
            }
            _ => Err(format!("LSN {} has come back, but the journal does not have it", returned.lsn)),
        }
    }

    /// Overflow files need not keep messages any more.
    pub(super) fn released(&mut self, run: StoredRun) -> Result<(), String> {
        match lsns(run).all(|lsn| self.spilled.remove(&(lsn, run.location))) {
            true => Ok(()),
            false => Err(format!("{run:?} is released, but was not spilled, or twice")),
        }
    }

    /// Writes messages to an overflow file.
    pub(super) fn spill<'a>(&mut self, messages: impl Iterator<Item = (u64, &'a Message)>) -> Location {
        let location = self.next(SegmentId::OVERFLOW);
        let mut entries = BytesMut::new();
        for (lsn, message) in messages {
            entries.extend_from_slice(message.entry());
            self.spilled.insert((lsn, location));
        }
        self.records.insert(location, entries.freeze());
        location
    }

    /// Reads back the messages whose entries are the `len` bytes from `from` on.
    pub(super) fn read(
        &self,
        run: StoredRun,
        from: u32,
        len: u32,
        gauge: &MemoryGauge,
    ) -> Result<Vec<Message>, String> {
        let is_overflow = run.location.segment.is_overflow();
        for lsn in lsns(run) {
            let there = match is_overflow {
                true => self.spilled.contains(&(lsn, run.location)),
                false => self.keeps(lsn),
            };
            if !there {
                return Err(format!("LSN {lsn} of {run:?} is not stored any more"));
            }
        }
        let base = if is_overflow { 0 } else { BASE };
        let record = self.records.get(&run.location).ok_or("no such record")?;
        let range = (from - base) as usize..(from - base + len) as usize;
        let bytes = record.get(range.clone()).map(|_| record.slice(range)).ok_or("not in the record")?;
        let route = MessageRoute { exchange: ExchangeName::default(), routing_key: RoutingKey::default() };
        let messages = MessageBatch::read_back(run.location, from, bytes, vec![(u32::MAX, route)], gauge);
        let messages = messages.map_err(|error| format!("{run:?}: {error}"))?;
        match messages.len() == run.count as usize {
            true => Ok(messages),
            false => Err(format!("{} messages are stored, not {run:?}", messages.len())),
        }
    }

    /// The broker starts again: what the queue held, as runs, in order of LSNs.
    pub(super) fn restart(&mut self) -> Vec<RestoredRun> {
        self.spilled.clear();
        let mut runs: Vec<RestoredRun> = Vec::new();
        for kept in self.kept.values() {
            match runs.last_mut() {
                Some(last) if goes_on(last, kept) => {
                    last.count += 1;
                    last.len += kept.len;
                    last.body_bytes += kept.body_bytes;
                }
                _ => runs.push(*kept),
            }
        }
        runs
    }

    /// Reads each message that is restored, by the time it came, with when that was.
    pub(super) fn each(&self, gauge: &MemoryGauge) -> Result<Vec<(Timestamp, Message)>, String> {
        let mut kept: Vec<_> = self.kept.values().collect();
        kept.sort_by_key(|kept| (kept.at, kept.first));
        let read = |kept: &RestoredRun| {
            let run = StoredRun { first: kept.first, count: 1, location: kept.location };
            let mut messages = self.read(run, kept.from, kept.len, gauge)?;
            Ok((kept.at, messages.remove(0)))
        };
        kept.into_iter().map(read).collect()
    }

    /// Asserts that nothing is kept for a queue that has nothing.
    pub(super) fn check_empty(&self) -> Result<(), String> {
        match self.kept.is_empty() && self.spilled.is_empty() {
            true => Ok(()),
            false => Err(format!("kept for ever: {:?}, {:?}", self.kept.keys(), self.spilled)),
        }
    }
}

pub(super) fn lsns(run: StoredRun) -> std::ops::Range<u64> {
    run.first.0..run.first.0 + u64::from(run.count)
}

fn goes_on(last: &RestoredRun, next: &RestoredRun) -> bool {
    let facts = |run: &RestoredRun| (run.location, run.at, run.priority, run.ttl_ms, run.delay_ms);
    last.returned.is_none()
        && next.returned.is_none()
        && facts(last) == facts(next)
        && last.first.0 + u64::from(last.count) == next.first.0
        && last.from + last.len == next.from
}
