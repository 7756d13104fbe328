//! Writes batches into segments: the only code that writes the journal's files, and that knows where they end.
//!
//! Invariants (`FORMAT.md`, rules for who writes): a segment's header and name are synced before it has a record; what
//! stands in front of an index is synced before the index is written; a batch is written again from where it stopped if
//! the disk was full, with the same bytes at the same places. After any other error nothing is written again.
//! Not here: what waits (`pending`), threads, what is told to whom.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::open_index::OpenIndex;
use super::pending::{Batch, Purpose, Unit};
use crate::model::{Clock, Lsn, SegmentId};
use crate::store::record::{HEADER_LEN, Nonce, RecordKind, seal, skip};
use crate::store::segment::{RECORDS_START, SegmentHeader, file_name};
use crate::store::{Disk, DiskFile};

/// Room is taken in steps of this many bytes: a full disk shows before data are half written, and a sync seldom has
/// anything but data to write.
const ALLOCATION: u64 = 1 << 20;
/// Most bytes in one call of the disk.
const WRITE_MAX: usize = 8 << 20;
/// Entries up to this long are copied beside their head: a slice of their own costs more.
const COPY_MAX: u32 = 2048;
/// Room of elided records up to this long is written over with zeros: an own call of the disk costs more.
const GAP_MAX: u32 = 4096;

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no room. It can be tried again.
    Full(String),
    /// Nobody knows what is on disk now. It must not be tried again.
    Failed(String),
}

/// The segment that is being written.
#[derive(Debug)]
struct Current {
    id: SegmentId,
    file: Arc<dyn DiskFile>,
    nonce: Nonce,
    index: OpenIndex,
    /// Where the records end.
    end: u32,
    allocated: u64,
    /// Up to where it is synced.
    synced: u32,
    /// The index, once it is finished.
    sealing: Option<Bytes>,
}

/// What happened to a segment.
#[derive(Debug)]
pub(super) enum Event {
    /// It has been made: its file, and what its records are sealed with.
    Opened(SegmentId, Arc<dyn DiskFile>, Nonce),
    /// It is complete, and this long.
    Sealed(SegmentId, u64),
}

/// The writer.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    nonces: fastrand::Rng,
    segment_size: u64,
    current: Option<Current>,
    /// The file of a segment that is being made, whose header is not safe yet.
    begun: Option<Arc<dyn DiskFile>>,
    previous: (SegmentId, u32),
    batches: VecDeque<(Arc<Batch>, usize)>,
    flat: Vec<u8>,
    /// What happened and is not yet told.
    pub(super) events: Vec<Event>,
    /// Syncs so far.
    pub(super) syncs: u64,
}

impl Writer {
    /// A writer of segments behind `previous`.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        nonces: fastrand::Rng,
        segment_size: u32,
        previous: (SegmentId, u32),
    ) -> Self {
        Writer {
            disk,
            clock,
            nonces,
            segment_size: segment_size.into(),
            current: None,
            begun: None,
            previous,
            batches: VecDeque::new(),
            flat: Vec::new(),
            events: Vec::new(),
            syncs: 0,
        }
    }

    /// Queues a batch.
    pub(super) fn push(&mut self, batch: Arc<Batch>) {
        self.batches.push_back((batch, 0));
    }

    /// Whether there is nothing to write.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether something is written and not synced.
    pub(super) fn is_dirty(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.synced < current.end)
    }

    /// Writes the oldest batch and says which it was; none if there is none. `next_lsn` is for the header of a segment
    /// that begins.
    pub(super) fn write(&mut self, next_lsn: impl Fn() -> Lsn) -> Result<Option<Arc<Batch>>, Fault> {
        let Some((batch, done)) = self.batches.pop_front() else { return Ok(None) };
        let mut done = done;
        match self.write_units(&batch.units, &mut done, next_lsn) {
            Ok(()) => Ok(Some(batch)),
            Err(fault) => {
                self.batches.push_front((batch, done));
                Err(fault)
            }
        }
    }

    fn write_units(
        &mut self,
        units: &[Unit],
        done: &mut usize,
        next_lsn: impl Fn() -> Lsn,
    ) -> Result<(), Fault> {
        while let Some(first) = units.get(*done) {
            let segment = first.location.segment;
            if self.current.as_ref().is_some_and(|current| current.id != segment) {
                self.seal()?;
            }
            if self.current.is_none() {
                self.begin(segment, next_lsn())?;
            }
            let (mut count, mut bytes) = (0, 0);
            while let Some(unit) = units.get(*done + count)
                && unit.location.segment == segment
                && bytes < WRITE_MAX
            {
                bytes += unit.record.len() as usize;
                count += 1;
            }
            self.put(&units[*done..*done + count])?;
            *done += count;
        }
        Ok(())
    }

    /// Writes neighbours of the current segment.
    fn put(&mut self, units: &[Unit]) -> Result<(), Fault> {
        let Writer { current, flat, segment_size, .. } = self;
        let current = current.as_mut().expect("a segment was begun for them");
        let last = units.last().expect("there is at least one");
        let end = last.location.offset + last.record.len();
        let what = |action: &str| format!("{action} {}", file_name(current.id));
        if u64::from(end) > current.allocated {
            let most = u64::from(end).max(*segment_size);
            let to = u64::from(end).next_multiple_of(ALLOCATION).min(most);
            let allocated = current.file.allocate(current.allocated, to - current.allocated);
            allocated.map_err(|error| fault(what("take room for"), error))?;
            current.allocated = to;
        }
        flat.clear();
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        for unit in units {
            put_unit(unit, current, flat, &mut pieces);
        }
        for run in pieces.split(|piece| matches!(piece, Piece::Gap(_))) {
            let Some(Piece::Flat(_, offset)) = run.first() else { continue };
            let slices: Vec<_> = run.iter().map(|piece| piece.slice(flat)).collect();
            let written = current.file.write_at(&slices, u64::from(*offset));
            written.map_err(|error| fault(what("write"), error))?;
        }
        for unit in units {
            match unit.is_elided {
                true => current.index.push_skip(unit.record.len()),
                false => current.index.push(
                    kind(unit),
                    0,
                    &unit.record.head[HEADER_LEN..],
                    unit.record.entries_len,
                ),
            }
        }
        current.end = end;
        Ok(())
    }

    /// Makes a segment.
    fn begin(&mut self, id: SegmentId, next_lsn: Lsn) -> Result<(), Fault> {
        let name = file_name(id);
        let failed = |error| fault(format!("make {name}"), error);
        let file = match self.begun.take() {
            Some(file) => file,
            None => self.disk.create(&name).map_err(failed)?,
        };
        // Kept until it is complete: the name is taken now.
        self.begun = Some(file.clone());
        let allocated = ALLOCATION.min(self.segment_size);
        file.allocate(0, allocated).map_err(failed)?;
        let nonce = Nonce::new(self.nonces.u64(..));
        let created_at = self.clock.now();
        let header = SegmentHeader { id, nonce, created_at, next_lsn, previous: self.previous };
        file.write_at(&[IoSlice::new(&header.encode())], 0).map_err(failed)?;
        file.sync_data().and_then(|()| self.disk.sync_folder()).map_err(|error| not_synced(&name, &error))?;
        self.begun = None;
        self.syncs += 1;
        self.events.push(Event::Opened(id, file.clone(), nonce));
        self.current = Some(Current {
            id,
            file,
            nonce,
            index: OpenIndex::new(),
            end: RECORDS_START,
            allocated,
            synced: RECORDS_START,
            sealing: None,
        });
        Ok(())
    }

    /// Makes everything written safe.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        let Some(current) = self.current.as_mut().filter(|current| current.synced < current.end) else {
            return Ok(());
        };
        current.file.sync_data().map_err(|error| not_synced(&file_name(current.id), &error))?;
        current.synced = current.end;
        self.syncs += 1;
        Ok(())
    }

    /// Ends the current segment with its index.
    pub(super) fn seal(&mut self) -> Result<(), Fault> {
        self.sync()?;
        let Some(current) = &mut self.current else { return Ok(()) };
        let name = file_name(current.id);
        let failed = |error| fault(format!("write the index of {name}"), error);
        let (nonce, end) = (current.nonce, current.end);
        let index =
            current.sealing.get_or_insert_with(|| std::mem::take(&mut current.index).finish(nonce, end));
        let len = u64::from(end) + index.len() as u64;
        if len > current.allocated {
            current.file.allocate(current.allocated, len - current.allocated).map_err(failed)?;
            current.allocated = len;
        }
        current.file.write_at(&[IoSlice::new(index)], end.into()).map_err(failed)?;
        current.file.set_len(len).map_err(failed)?;
        current.file.sync_data().map_err(|error| not_synced(&name, &error))?;
        self.syncs += 1;
        self.previous = (current.id, end);
        self.events.push(Event::Sealed(current.id, len));
        self.current = None;
        Ok(())
    }
}

/// Bytes of a write.
enum Piece<'a> {
    /// Of the buffer, and where in the file they begin.
    Flat(Range<usize>, u32),
    /// Of messages.
    Entries(&'a Bytes),
    /// Nothing: room that is left as it is.
    Gap(()),
}

impl Piece<'_> {
    fn slice<'b>(&'b self, flat: &'b [u8]) -> IoSlice<'b> {
        match self {
            Piece::Flat(range, _) => IoSlice::new(&flat[range.clone()]),
            Piece::Entries(bytes) => IoSlice::new(bytes),
            Piece::Gap(()) => IoSlice::new(&[]),
        }
    }
}

fn put_unit<'a>(unit: &'a Unit, current: &Current, flat: &mut Vec<u8>, pieces: &mut Vec<Piece<'a>>) {
    let (record, offset) = (&*unit.record, unit.location.offset);
    let start = flat.len();
    let mut add = |flat: &Vec<u8>| match pieces.last_mut() {
        Some(Piece::Flat(range, _)) => range.end = flat.len(),
        _ => pieces.push(Piece::Flat(start..flat.len(), offset)),
    };
    if unit.is_elided {
        flat.extend_from_slice(&skip(record.len(), current.nonce, offset, current.synced));
        let gap = record.len() - HEADER_LEN as u32;
        if gap <= GAP_MAX {
            flat.resize(flat.len() + gap as usize, 0);
            add(flat);
        } else {
            add(flat);
            pieces.push(Piece::Gap(()));
        }
        return;
    }
    flat.extend_from_slice(&record.head);
    let entries = || record.entries.iter().map(|entries| &entries.bytes()[..]);
    seal(&mut flat[start..], current.nonce, offset, current.synced, entries());
    if record.entries_len <= COPY_MAX {
        entries().for_each(|entries| flat.extend_from_slice(entries));
        add(flat);
    } else {
        add(flat);
        pieces.extend(record.entries.iter().map(|entries| Piece::Entries(entries.bytes())));
    }
}

fn kind(unit: &Unit) -> RecordKind {
    match unit.purpose {
        Purpose::Snapshot(_) => RecordKind::Snapshot,
        Purpose::Appended | Purpose::Ledger | Purpose::Copy(_) => RecordKind::Unit,
    }
}

fn fault(what: String, error: io::Error) -> Fault {
    let text = format!("cannot {what}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full(text),
        _ => Fault::Failed(text),
    }
}

/// Whatever the reason: what the system forgot of this file nobody can know.
fn not_synced(name: &str, error: &io::Error) -> Fault {
    Fault::Failed(format!("cannot sync {name}: {error}"))
}
