//! Group commit: one thread takes what has gathered since its last turn, writes it, syncs once for everyone, and tells.
//!
//! [`Journal::pump`] is one such turn. What a batch brings to life and ends is counted before it is written.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::files::OpenFile;
use super::pending::{Batch, Purpose};
use super::space::{Note, Repeat};
use super::stats::Counters;
use super::writer::{Event, Fault, Writer};
use super::{Journal, SyncMode};
use crate::model::{Location, Lsn, Returned, StoredRun};
use crate::store::{Part, Position, Role};

/// What a call of [`Journal::pump`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// There was nothing to do.
    Idle,
    /// Something was written or synced.
    Wrote,
    /// The disk is full: what waits goes on waiting.
    Full,
    /// The journal has stopped.
    Stopped,
}

/// The writer, and how far it has come.
pub(super) struct Writing {
    pub(super) writer: Writer,
    /// Everything written so far.
    pub(super) written: Position,
    pub(super) last_sync: Instant,
}

impl Journal {
    /// Writes what has gathered, syncs it as [`SyncMode`] says, and tells. For one thread, in a loop; tests call it by
    /// hand.
    pub fn pump(&self) -> Pumped {
        let mut writing = self.writer.lock();
        let taken = {
            let mut state = self.state.lock();
            if state.stopped.is_some() {
                return Pumped::Stopped;
            }
            state.pending.take(|location| self.newest(location))
        };
        match taken {
            Ok(Some(batch)) => {
                self.account(&batch);
                writing.writer.push(batch);
            }
            Ok(None) => {}
            Err(error) => return self.stop(&error.to_string()),
        }
        let was_idle = writing.writer.is_idle();
        let written = self.write(&mut writing);
        let synced = match &written {
            // What was written before the disk was full can be safe all the same.
            Ok(()) | Err(Fault::Full(_)) => self.sync(&mut writing),
            Err(Fault::Failed(_)) => Ok(false),
        };
        match (written, synced) {
            (Err(Fault::Failed(text)), _) | (_, Err(Fault::Failed(text) | Fault::Full(text))) => {
                self.stop(&text)
            }
            (Err(Fault::Full(text)), Ok(_)) => {
                let text = format!("the disk is full: {text}");
                self.set_full(|full| full.refused = Some(text.clone()));
                self.tell();
                Pumped::Full
            }
            (Ok(()), Ok(synced)) => {
                self.set_full(|full| full.refused = None);
                if was_idle && !synced {
                    return Pumped::Idle;
                }
                self.tell();
                Pumped::Wrote
            }
        }
    }

    fn write(&self, writing: &mut Writing) -> Result<(), Fault> {
        loop {
            let next_lsn = || Lsn(self.next_lsn.load(Ordering::Relaxed));
            let outcome = writing.writer.write(next_lsn);
            self.follow(&mut writing.writer);
            let Some(batch) = outcome? else { return Ok(()) };
            writing.written = writing.written.max(batch.promised);
            self.written.store(batch.end.0, Ordering::Release);
            if self.options.sync != SyncMode::Always {
                self.committed.store(batch.promised.0, Ordering::Release);
            }
            self.state.lock().pending.in_flight.pop_front();
        }
    }

    /// Tells the others what happened to segments.
    pub(super) fn follow(&self, writer: &mut Writer) {
        for event in writer.events.drain(..) {
            match event {
                Event::Opened(id, file, nonce) => {
                    self.files.insert(id, OpenFile::new(file, nonce));
                }
                Event::Sealed(id, bytes) => self.space.lock().seal(id, bytes),
            }
        }
    }

    /// Syncs if it is time, and says whether anything became safe by it.
    fn sync(&self, writing: &mut Writing) -> Result<bool, Fault> {
        let wanted = self.sync_wanted.swap(false, Ordering::Relaxed);
        let is_time = match self.options.sync {
            SyncMode::Always => true,
            SyncMode::Interval(interval) => wanted || writing.last_sync.elapsed() >= interval,
            SyncMode::Never => wanted,
        };
        if !is_time || writing.written.0 == self.synced.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let began = Instant::now();
        if writing.writer.is_dirty() {
            writing.writer.sync()?;
            self.counters.synced(began.elapsed().as_micros() as u64);
        }
        writing.last_sync = began;
        self.counters.syncs.store(writing.writer.syncs, Ordering::Relaxed);
        self.synced.store(writing.written.0, Ordering::Release);
        self.committed.fetch_max(writing.written.0, Ordering::Release);
        Ok(true)
    }

    /// Counts what a batch brings to life and what it ends.
    fn account(&self, batch: &Batch) {
        let mut repeat = Repeat::default();
        let mut named_before = Vec::new();
        let mut space = self.space.lock();
        for unit in &batch.units {
            let segment = unit.location.segment;
            let len = u64::from(unit.record.len());
            space.open(segment);
            space.grow(segment, len);
            Counters::add(&self.counters.appended_bytes, len);
            Counters::add(&self.counters.appended_records, 1);
            if unit.is_elided {
                Counters::add(&self.counters.elided_bytes, len);
                Counters::add(&self.counters.elided_records, 1);
                continue;
            }
            if let Purpose::Copy(copied) = &unit.purpose {
                let again = space.copy(copied, unit.location, batch.end);
                named_before.push(copied.from.segment);
                repeat.settled.extend(again.settled);
                repeat.returned.extend(again.returned);
                continue;
            }
            if let Purpose::Snapshot(ids) = &unit.purpose {
                ids.iter().for_each(|id| space.snapshot_noted(*id, segment));
                continue;
            }
            for (queue, lsns) in &unit.pairs {
                space.publish(segment, *queue, lsns.clone());
            }
            let note = Note { segment, until: batch.end, moves: !unit.pairs.is_empty() };
            let is_elided = |location: &Location| batch.elided.binary_search(location).is_ok();
            for (queue, run, named) in &unit.outcomes.settled {
                // What was elided was never counted.
                if is_elided(&run.location) {
                    continue;
                }
                if let Some(location) = space.settle(note, *queue, run, *named) {
                    named_before.push(*named);
                    repeat.settled.push((*queue, StoredRun { location, ..*run }));
                }
            }
            for (queue, returned, named) in &unit.outcomes.returned {
                if is_elided(&returned.location) {
                    continue;
                }
                if let Some(location) = space.give_back(note, *queue, returned, *named) {
                    named_before.push(*named);
                    repeat.returned.push((*queue, Returned { location, ..*returned }));
                }
            }
        }
        self.has_forwards.store(space.forwards() > 0, Ordering::Release);
        drop(space);
        if !repeat.settled.is_empty() || !repeat.returned.is_empty() {
            let until = self.repeat(&repeat);
            self.space.lock().repeated(named_before.into_iter(), until);
        }
    }

    /// Says again, in the next ledger, what was said of messages that had moved already.
    fn repeat(&self, repeat: &Repeat) -> Position {
        let mut state = self.state.lock();
        let mut until = Position(0);
        for (queue, run) in &repeat.settled {
            until = state.pending.note(&[Part::Settle { queue: *queue, runs: &[*run] }]);
        }
        for (queue, returned) in &repeat.returned {
            until = state.pending.note(&[Part::Return { queue: *queue, returned: &[*returned] }]);
        }
        until
    }

    /// Nothing is appended any more.
    pub(super) fn stop(&self, text: &str) -> Pumped {
        let mut state = self.state.lock();
        if state.stopped.is_none() {
            tracing::error!(
                reason = text,
                "the journal has stopped; restart the broker once the disk is in order"
            );
            state.stopped = Some(text.to_owned());
        }
        drop(state);
        self.role.send_replace(Role::Stopped);
        self.tell();
        Pumped::Stopped
    }
}
