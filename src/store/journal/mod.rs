//! The journal: one append-only log on disk for all durable queues.
//!
//! An append gives a record its place and returns; [`Journal::pump`], called by one thread in a loop, writes all that
//! has gathered meanwhile and syncs once for everyone (group commit). [`Journal::maintain`] removes what nobody needs.
//!
//! Invariants: a position is committed only when everything before it is as safe as [`SyncMode`] asks; a full disk
//! keeps what waits and tries again; after a failed sync, or any other error of a write, the journal has stopped for
//! good and says why. Locks, outermost first: `maintenance`, `writer`, `state`, `space`. `state` is held for moving
//! metadata only; nothing waits for the disk in it. Not here: the format (`record`, `segment`), what is found at start
//! (`recovery`).

mod compaction;
mod files;
mod forwards;
mod lsn_set;
mod open_index;
mod options;
mod overflow;
mod pending;
mod reading;
mod space;
mod stats;
mod threads;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

use crate::model::{Clock, Location, Lsn, Message, QueueId, Returned, StoredRun};
use crate::store::recovery::Recovered;
use crate::store::{Disk, Log, LogError, Part, Position, RecordSlice, Role};
use compaction::Maintenance;
pub use compaction::{DeletionHold, Maintained};
use files::{Files, OpenFile};
pub use options::{JournalOptions, SyncMode};
use overflow::{Overflow, is_overflow};
use pending::{Batch, Pending, Purpose, Unit};
use space::{Note, Repeat, Space};
use stats::Counters;
pub use stats::{JournalStats, SYNC_BOUNDS_MICROS};
pub use threads::JournalThreads;
use writer::{Event, Fault, Writer};

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

/// The journal. Shared by everybody who appends, reads and settles.
pub struct Journal {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    state: Mutex<State>,
    /// Something waits for the writer.
    wake: Condvar,
    space: Mutex<Space>,
    writer: Mutex<Writing>,
    maintenance: Mutex<Maintenance>,
    /// How many want every file to stay.
    holds: Arc<AtomicUsize>,
    overflow: Overflow,
    segment_size: u32,
    files: Files,
    /// Whether any record has moved: else nobody need ask where.
    has_forwards: AtomicBool,
    sync_wanted: AtomicBool,
    next_lsn: AtomicU64,
    written: AtomicU64,
    committed: AtomicU64,
    synced: AtomicU64,
    role: watch::Sender<Role>,
    progress: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Why publishers must wait: the disk refused to take more, or has little room left.
    full: Mutex<Fullness>,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    pending: Pending,
    stopped: Option<String>,
    is_closing: bool,
    /// The writer's thread sleeps.
    writer_sleeps: bool,
}

struct Writing {
    writer: Writer,
    /// Everything written so far.
    written: Position,
    last_sync: Instant,
}

#[derive(Debug, Default)]
struct Fullness {
    /// A write was refused.
    refused: Option<String>,
    /// There is less room than there should be.
    low: Option<String>,
}

impl Journal {
    /// A journal that goes on behind what recovery found, in a folder that has been mended.
    ///
    /// # Errors
    /// The system has no random numbers, or the disk fails.
    pub fn start(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: JournalOptions,
        recovered: &Recovered,
    ) -> std::io::Result<Journal> {
        let nonces = match options.nonce_seed {
            Some(seed) => fastrand::Rng::with_seed(seed),
            None => {
                let mut seed = [0; 8];
                getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
                fastrand::Rng::with_seed(u64::from_ne_bytes(seed))
            }
        };
        let segment_size =
            options.segment_size.clamp(JournalOptions::SEGMENT_SIZE_MIN, JournalOptions::SEGMENT_SIZE_MAX);
        let pending = Pending::new(recovered.next_segment, segment_size);
        let position = pending.tail().as_u64();
        let mut nonces = nonces;
        let overflow = Overflow::start(disk.clone(), segment_size, nonces.fork())?;
        let writer =
            Writer::new(disk.clone(), clock, nonces, segment_size, recovered.newest.unwrap_or_default());
        Ok(Journal {
            files: Files::new(disk.clone()),
            disk,
            options,
            state: Mutex::new(State { pending, stopped: None, is_closing: false, writer_sleeps: false }),
            wake: Condvar::new(),
            space: Mutex::new(Space::recovered(recovered)),
            maintenance: Mutex::default(),
            holds: Arc::default(),
            overflow,
            segment_size,
            writer: Mutex::new(Writing { writer, written: Position(position), last_sync: Instant::now() }),
            has_forwards: AtomicBool::new(false),
            sync_wanted: AtomicBool::new(false),
            next_lsn: AtomicU64::new(recovered.next_lsn.0),
            written: AtomicU64::new(position),
            committed: AtomicU64::new(position),
            synced: AtomicU64::new(position),
            role: watch::Sender::new(Role::Leader { epoch: 1 }),
            progress: OnceLock::new(),
            full: Mutex::default(),
            counters: Counters::default(),
        })
    }

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
    fn follow(&self, writer: &mut Writer) {
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

    fn newest(&self, location: Location) -> Location {
        match self.has_forwards.load(Ordering::Acquire) {
            true => self.space.lock().newest(location),
            false => location,
        }
    }

    /// Nothing is appended any more.
    fn stop(&self, text: &str) -> Pumped {
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

    fn set_full(&self, change: impl Fn(&mut Fullness)) {
        change(&mut self.full.lock());
    }

    /// Why publishers must wait until there is room, in words for them; none if they need not. Whenever it changes,
    /// the callback of [`Log::on_progress`] is called.
    pub fn is_full(&self) -> Option<String> {
        let full = self.full.lock();
        full.refused.clone().or_else(|| full.low.clone())
    }

    /// Why the journal has stopped, if it has.
    pub fn stopped(&self) -> Option<String> {
        self.state.lock().stopped.clone()
    }

    /// The next record begins a segment, so that the present one is complete soon.
    pub fn rotate(&self) {
        self.state.lock().pending.rotate();
    }

    fn synced(&self) -> Position {
        Position(self.synced.load(Ordering::Acquire))
    }

    /// Ends the journal: writes and syncs what waits, and completes the last segment, so that the next start has nothing
    /// to mend. Nothing can be appended afterwards.
    ///
    /// # Errors
    /// Why not everything is safe.
    pub fn close(&self) -> Result<(), String> {
        {
            let mut state = self.state.lock();
            if let Some(text) = &state.stopped {
                return Err(text.clone());
            }
            state.is_closing = true;
        }
        self.sync_wanted.store(true, Ordering::Relaxed);
        loop {
            match self.pump() {
                Pumped::Wrote => self.sync_wanted.store(true, Ordering::Relaxed),
                Pumped::Idle => break,
                Pumped::Full => return Err(self.is_full().unwrap_or_default()),
                Pumped::Stopped => return Err(self.stopped().unwrap_or_default()),
            }
        }
        let mut writing = self.writer.lock();
        let sealed = writing.writer.seal();
        self.follow(&mut writing.writer);
        drop(writing);
        if let Err(Fault::Full(text) | Fault::Failed(text)) = sealed {
            return Err(text);
        }
        self.state.lock().stopped = Some("it was closed".to_owned());
        self.role.send_replace(Role::Stopped);
        Ok(())
    }

    /// Moves transient messages to a file of their own, in order, as one record: their entries stand in it back to back.
    /// They can be read there until they are released. Does not wait for the disk to be synced, but for the write.
    ///
    /// # Errors
    /// The disk is full or fails; they are still only in memory.
    pub fn spill(&self, messages: &[Message]) -> std::io::Result<Location> {
        if let Some(text) = self.is_full() {
            // What room is left is for what must be kept.
            return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, text));
        }
        self.overflow.spill(messages, &self.files)
    }

    /// Nobody needs these spilled messages any more. Each is released once.
    pub fn release(&self, runs: &[StoredRun]) {
        self.overflow.release(runs);
    }

    fn wake_up(&self) {
        let _state = self.state.lock();
        self.wake.notify_all();
    }

    fn tell(&self) {
        if let Some(progress) = self.progress.get() {
            progress();
        }
    }

    fn lock_to_append(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.state.lock();
        match &state.stopped {
            Some(text) => Err(LogError::Stopped(text.clone())),
            None if state.is_closing => Err(LogError::Stopped("it is being closed".to_owned())),
            None => Ok(state),
        }
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let sleeps = std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if sleeps {
            self.wake.notify_one();
        }
    }

    /// Waits until something was appended, or this long.
    fn wait_for_work(&self, longest: Duration) {
        let mut state = self.state.lock();
        let is_wanted = self.sync_wanted.load(Ordering::Relaxed) || state.is_closing;
        if state.pending.is_empty() && state.stopped.is_none() && !is_wanted {
            state.writer_sleeps = true;
            self.wake.wait_for(&mut state, longest);
            state.writer_sleeps = false;
        }
    }

    /// Numbers.
    pub fn stats(&self) -> JournalStats {
        let mut stats = JournalStats::default();
        self.counters.fill(&mut stats);
        let space = self.space.lock();
        let totals = space.totals();
        stats.segments = totals.segments;
        stats.bytes = totals.bytes;
        stats.live_bytes = totals.live_bytes;
        stats.reclaimable_bytes = totals.bytes - totals.live_bytes;
        stats.live_pairs = totals.live_pairs;
        stats.forwarded_records = space.forwards() as u64;
        drop(space);
        (stats.overflow_segments, stats.overflow_bytes) = self.overflow.size();
        stats
    }
}

impl Log for Journal {
    fn is_durable(&self) -> bool {
        true
    }

    fn stats(&self) -> Option<JournalStats> {
        Some(Journal::stats(self))
    }

    fn reserve(&self, count: u64) -> Lsn {
        Lsn(self.next_lsn.fetch_add(count, Ordering::Relaxed))
    }

    fn append(&self, parts: &[Part<'_>]) -> Result<Position, LogError> {
        let publishes = |part: &Part<'_>| matches!(part, Part::Publish(part) if !part.messages.is_empty());
        if !parts.iter().any(publishes) {
            let mut state = self.lock_to_append()?;
            let position = state.pending.note(parts);
            self.wake_writer(state);
            return Ok(position);
        }
        let unit = Unit::encode(parts, |location| self.newest(location))
            .map_err(|error| LogError::Stopped(error.to_string()))?;
        let len = unit.record.len();
        let mut state = self.lock_to_append()?;
        let location = state.pending.push(unit);
        self.wake_writer(state);
        let mut base = 0;
        for part in parts {
            if let Part::Publish(part) = part {
                part.batch.set_location(location, base);
                base += part.batch.bytes().len() as u32;
            }
        }
        Ok(Position(location.as_u64() + u64::from(len)))
    }

    fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }

    fn written(&self) -> Position {
        Position(self.written.load(Ordering::Acquire))
    }

    fn on_progress(&self, call: Box<dyn Fn() + Send + Sync>) {
        if self.progress.set(call).is_err() {
            tracing::warn!("the journal tells only the first who asked of its progress");
        }
    }

    fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    fn read(&self, location: Location, from: u32, len: u32) -> Result<RecordSlice, LogError> {
        let mut place = self.forwarded(location, from, len);
        loop {
            let outcome = self.read_at(place.0, place.1, len);
            // It may have moved while it was looked for.
            let again = self.forwarded(location, from, len);
            match outcome {
                Err(_) if again != place => place = again,
                outcome => {
                    return outcome.map(|mut slice| {
                        for (end, _) in &mut slice.routes {
                            *end = end.wrapping_sub(place.1).wrapping_add(from);
                        }
                        slice
                    });
                }
            }
        }
    }

    fn spill(&self, messages: &[Message]) -> Result<Location, LogError> {
        Journal::spill(self, messages).map_err(|error| LogError::Disk(error.to_string()))
    }

    fn release(&self, runs: &[StoredRun]) {
        Journal::release(self, runs);
    }

    fn full(&self) -> Option<String> {
        self.is_full()
    }

    fn add_queue(&self, queue: QueueId) {
        self.space.lock().add_queue(queue);
    }

    fn remove_queue(&self, queue: QueueId, runs: &[StoredRun]) {
        self.space.lock().remove_queue(queue, runs);
    }
}

impl Journal {
    fn forwarded(&self, location: Location, from: u32, len: u32) -> (Location, u32) {
        match self.has_forwards.load(Ordering::Acquire) {
            true => self.space.lock().forwarded(location, from, len),
            false => (location, from),
        }
    }

    fn read_at(&self, location: Location, from: u32, len: u32) -> Result<RecordSlice, LogError> {
        if !is_overflow(location.segment) {
            let waiting = self.state.lock().pending.find(location);
            if let Some(record) = waiting {
                return reading::from_memory(location, &record, from, len);
            }
        }
        let open = self.files.get(location.segment).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => LogError::NotStored(location),
            // Nothing is known of what is in it: too many files are open, for instance.
            kind if !matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) => {
                LogError::Disk(error.to_string())
            }
            _ => LogError::Damaged { location, what: error.to_string() },
        })?;
        reading::from_file(location, &open, from, len)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions = (self.written(), self.committed());
        f.debug_struct("Journal").field("written and committed", &positions).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
