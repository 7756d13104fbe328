//! Transient messages that do not fit in memory, in files of their own: never synced, gone with the process.
//!
//! Invariants: a file goes when everything in it has been released, and all of them at the next start; their segment
//! numbers have the highest bit set, so a location says of itself where it belongs. Bytes are checked like the
//! journal's: a disk errs here, too. Not here: which messages (their queue says).

use std::io::{self, IoSlice};
use std::sync::Arc;

use ahash::AHashMap;
use bytes::BytesMut;
use parking_lot::Mutex;

use super::files::{Files, OpenFile};
use crate::model::{Location, Lsn, Message, MessageRoute, SegmentId, StoredRun, Timestamp};
use crate::store::record::{Nonce, PublishFields, RecordKind, RecordWriter, seal};
use crate::store::segment::{RECORDS_START, SegmentHeader};
use crate::store::{Disk, StoredMessage};

/// Set in the number of an overflow segment.
const OVERFLOW: u32 = 1 << 31;
/// Bytes up to which an empty file is used again rather than removed.
const REUSE_MAX: u32 = 4 << 20;

/// Whether a segment is one of these.
pub(super) fn is_overflow(id: SegmentId) -> bool {
    id.0 & OVERFLOW != 0
}

/// The name of its file.
pub(super) fn overflow_name(id: SegmentId) -> String {
    format!("overflow-{:010}.seg", id.0 & !OVERFLOW)
}

/// The files.
#[derive(Debug)]
pub(super) struct Overflow {
    disk: Arc<dyn Disk>,
    segment_size: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    nonces: fastrand::Rng,
    next: u32,
    current: Option<Current>,
    segments: AHashMap<SegmentId, Segment>,
    /// Files that nobody needs, still to be removed.
    dead: Vec<SegmentId>,
}

#[derive(Debug)]
struct Current {
    id: SegmentId,
    open: Arc<OpenFile>,
}

#[derive(Debug)]
struct Segment {
    end: u32,
    live: u64,
}

impl State {
    fn bury(&mut self, id: SegmentId) {
        self.segments.remove(&id);
        self.dead.push(id);
    }
}

impl Overflow {
    /// No files. Those that an earlier process left are removed.
    pub(super) fn start(disk: Arc<dyn Disk>, segment_size: u32, nonces: fastrand::Rng) -> io::Result<Self> {
        for (name, _) in disk.list()? {
            if name.starts_with("overflow-") && name.ends_with(".seg") {
                disk.remove(&name)?;
            }
        }
        let state = State { nonces, next: 1, current: None, segments: AHashMap::new(), dead: Vec::new() };
        Ok(Overflow { disk, segment_size, state: Mutex::new(state) })
    }

    /// Writes messages as one record: their entries stand in it back to back, in order.
    pub(super) fn spill(&self, messages: &[Message], files: &Files) -> io::Result<Location> {
        let mut head = BytesMut::new();
        let mut routes: Vec<&MessageRoute> = Vec::new();
        let mut stored = Vec::with_capacity(messages.len());
        for (number, message) in messages.iter().enumerate() {
            if routes.last().is_none_or(|last| *last != message.route()) {
                routes.push(message.route());
            }
            let route = u16::try_from(routes.len() - 1)
                .map_err(|_| io::Error::other("more routes than one record can number"))?;
            stored.push(StoredMessage {
                lsn: Lsn(number as u64),
                entry_len: message.len() as u32,
                body_len: message.body_len() as u32,
                route,
                priority: None,
                ttl_ms: None,
                delay_ms: None,
            });
        }
        let mut record = RecordWriter::new(RecordKind::Unit, 0, &mut head);
        let routes = routes.iter().map(|route| (route.exchange.as_str(), route.routing_key.as_str()));
        let at = Timestamp::default();
        record.publish(PublishFields { at, producer: None, routes, messages: &stored, targets: &[] });
        let len = record.finish().map_err(io::Error::other)?.len();
        let (open, location) = self.place(len, messages.len() as u64, files)?;
        let entries = || messages.iter().map(Message::entry);
        seal(&mut head, open.nonce, location.offset, 0, entries());
        let slices: Vec<_> = std::iter::once(&head[..]).chain(entries()).map(IoSlice::new).collect();
        let written = open.file.write_at(&slices, location.offset.into());
        if let Err(error) = written {
            self.release_some(location.segment, messages.len() as u64);
            return Err(error);
        }
        Ok(location)
    }

    /// Finds room for a record.
    fn place(&self, len: u32, count: u64, files: &Files) -> io::Result<(Arc<OpenFile>, Location)> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let has_room = |id: SegmentId| {
            let end = state.segments.get(&id).map_or(u32::MAX, |segment| segment.end);
            end == RECORDS_START || u64::from(end) + u64::from(len) <= u64::from(self.segment_size)
        };
        let current = match state.current.take() {
            Some(current) if has_room(current.id) => current,
            full => {
                // One that is empty already is not released again.
                if let Some(id) = full.map(|full| full.id)
                    && state.segments.get(&id).is_some_and(|segment| segment.live == 0)
                {
                    state.bury(id);
                }
                let id = SegmentId(state.next | OVERFLOW);
                let file = self.disk.create(&overflow_name(id))?;
                state.next += 1;
                let nonce = Nonce::new(state.nonces.u64(..));
                let previous = (SegmentId::default(), 0);
                let (created_at, next_lsn) = (Timestamp::default(), Lsn(0));
                let header = SegmentHeader { id, nonce, created_at, next_lsn, previous };
                file.write_at(&[IoSlice::new(&header.encode())], 0)?;
                state.segments.insert(id, Segment { end: RECORDS_START, live: 0 });
                Current { id, open: files.insert(id, OpenFile::new(file, nonce)) }
            }
        };
        let segment = state.segments.get_mut(&current.id).expect("the current file is among them");
        let location = Location { segment: current.id, offset: segment.end };
        segment.end = segment.end.checked_add(len).ok_or(io::ErrorKind::FileTooLarge)?;
        segment.live += count;
        let open = current.open.clone();
        state.current = Some(current);
        Ok((open, location))
    }

    /// Nobody needs these messages any more.
    pub(super) fn release(&self, runs: &[StoredRun]) {
        for run in runs {
            self.release_some(run.location.segment, run.count.into());
        }
    }

    fn release_some(&self, id: SegmentId, count: u64) {
        let mut state = self.state.lock();
        let Some(segment) = state.segments.get_mut(&id) else { return };
        segment.live = segment.live.saturating_sub(count);
        let is_current = state.current.as_ref().is_some_and(|current| current.id == id);
        let Some(segment) = state.segments.get(&id) else { return };
        if segment.live > 0 || is_current && segment.end < REUSE_MAX.min(self.segment_size / 2) {
            return;
        }
        state.bury(id);
        if is_current {
            state.current = None;
        }
    }

    /// Removes files that nobody needs. Apart from [`Overflow::release`], because it takes the system tens of
    /// milliseconds a file where the disk is told which blocks are free, and who releases has a queue locked.
    pub(super) fn give_space_back(&self, files: &Files) {
        let dead = std::mem::take(&mut self.state.lock().dead);
        for id in dead {
            let removed = self.disk.remove(&overflow_name(id));
            files.remove(id);
            if let Err(error) = removed {
                tracing::warn!(file = overflow_name(id), %error, "an overflow file that is not needed cannot be removed");
            }
        }
    }

    /// How many files there are, and how many bytes are in them.
    pub(super) fn size(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.segments.len() as u64, state.segments.values().map(|segment| u64::from(segment.end)).sum())
    }
}
