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
mod group_commit;
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

use crate::model::{Clock, Location, Lsn, Message, QueueId, StoredRun};
use crate::store::recovery::Recovered;
use crate::store::{Disk, Log, LogError, Part, Position, RecordSlice, Role};
use compaction::Maintenance;
pub use compaction::{DeletionHold, Maintained};
use files::Files;
pub use group_commit::Pumped;
use group_commit::Writing;
pub use options::{JournalOptions, SyncMode};
use overflow::{Overflow, is_overflow};
use pending::{Pending, Unit};
use space::Space;
use stats::Counters;
pub use stats::{JournalStats, SYNC_BOUNDS_MICROS};
pub use threads::JournalThreads;
use writer::{Fault, Writer};

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

    fn newest(&self, location: Location) -> Location {
        match self.has_forwards.load(Ordering::Acquire) {
            true => self.space.lock().newest(location),
            false => location,
        }
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

    fn keep_until(&self, location: Location, until: Position) {
        let segment = self.newest(location).segment;
        self.space.lock().repeated(std::iter::once(segment), until);
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
        let open = self.files.get(location.segment).map_err(|error| reading::failed(location, &error))?;
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
