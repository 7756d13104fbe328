//! Gives space back, a step at a time: removes dead segments, says again what they alone said of others, and copies
//! the survivors of those that are mostly dead to the tail.
//!
//! Invariants: a file is removed only when what makes it superfluous is synced, and names are synced before anything
//! relies on it being gone; what is copied was checked as a whole first, so that damage never gets a new checksum.
//! Not here: which segments (`space`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use super::files::is_damage;
use super::forwards::Piece;
use super::pending::{Entries, Outcomes, Purpose, RecordBytes, Unit};
use super::space::{CompactionRule, Copied, Space};
use super::stats::Counters;
use super::{Journal, files::OpenFile};
use crate::model::{Location, Lsn, SegmentId, StoredRun};
use crate::store::record::{
    HEADER_LEN, MetaPart, MetaReader, MetaScratch, PublishFields, PublishedPart, RecordError, RecordHeader,
    RecordKind, RecordWriter,
};
use crate::store::segment::{IndexReader, IndexedKind, TRAILER_LEN, Trailer, file_name};
use crate::store::{Position, StoredMessage, StoredTarget};

/// Most bytes that one step copies: what is appended meanwhile waits behind them.
const STEP_BYTES_MAX: u64 = 4 << 20;

/// What a step of [`Journal::maintain`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintained {
    /// There was nothing to do.
    Idle,
    /// There is more to do when what was appended is synced.
    Waiting,
    /// There may be more to do at once.
    Worked,
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    compaction: Option<Compaction>,
    snapshots: Option<Snapshots>,
}

#[derive(Debug)]
struct Snapshots {
    of: Vec<SegmentId>,
    /// The segment that was being accounted when they were taken.
    from: SegmentId,
    until: Position,
}

/// A segment whose survivors are being copied.
#[derive(Debug)]
struct Compaction {
    segment: SegmentId,
    open: Arc<OpenFile>,
    /// Records that may have survivors, the next one last.
    records: Vec<IndexedRecord>,
    /// The position of the last copy.
    until: Position,
}

#[derive(Debug)]
struct IndexedRecord {
    offset: u32,
    meta: Bytes,
    entries_len: u32,
}

/// As long as this lives no file of the journal is removed.
#[derive(Debug)]
pub struct DeletionHold(Arc<AtomicUsize>);

impl Drop for DeletionHold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Journal {
    /// Keeps every file until the guard is dropped: a backup may read them.
    pub fn hold_deletions(&self) -> DeletionHold {
        // Not in the middle of a step.
        let _maintenance = self.maintenance.lock();
        self.holds.fetch_add(1, Ordering::Acquire);
        DeletionHold(self.holds.clone())
    }

    /// One step of giving space back, and of looking how much the disk has left. For one thread, in a loop; tests call
    /// it by hand, between pumps.
    pub fn maintain(&self) -> Maintained {
        let mut maintenance = self.maintenance.lock();
        self.overflow.give_space_back(&self.files);
        if self.stopped().is_some() {
            return Maintained::Idle;
        }
        self.check_free_space();
        let copying = maintenance.compaction.as_ref().map(|compaction| compaction.segment);
        let mut done = self.remove_dead(copying);
        done = done.max(self.snapshot(&mut maintenance));
        done = done.max(self.compact(&mut maintenance));
        if done == Done::Waiting && !self.state.lock().pending.is_empty() {
            self.wake.notify_one();
        }
        match done {
            Done::Nothing => Maintained::Idle,
            Done::Waiting => Maintained::Waiting,
            Done::Work => Maintained::Worked,
        }
    }

    fn check_free_space(&self) {
        let min = self.options.free_space_min;
        let Ok(free) = self.disk.free_space() else { return };
        let was_low = self.full.lock().low.is_some();
        // Some more than the limit before it lifts: not to flutter around it.
        let is_low = free < if was_low { min.saturating_add(min / 16) } else { min };
        if is_low != was_low {
            let text = format!(
                "the disk of the data folder has {} MiB left, and {} are to stay free; make room there",
                free >> 20,
                min >> 20
            );
            self.full.lock().low = is_low.then_some(text);
            self.tell();
        }
    }

    /// Removes what nobody needs, until nothing more can go. The one that is being copied stays until its copies are
    /// synced, even if everything in it is settled meanwhile: they were made for it, and are settled by its name.
    fn remove_dead(&self, copying: Option<SegmentId>) -> Done {
        let mut done = Done::Nothing;
        loop {
            if self.holds.load(Ordering::Acquire) > 0 {
                return done;
            }
            let is_full = self.full.lock().refused.is_some();
            let mut ids = self.space.lock().deletable(self.synced(), is_full);
            ids.retain(|id| Some(*id) != copying);
            if ids.is_empty() {
                return done;
            }
            for id in &ids {
                let name = file_name(*id);
                let removed = self.disk.remove(&name);
                // Not before: a reader could open it again, and its space would never be free.
                self.files.remove(*id);
                match removed {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        tracing::warn!(file = name, %error, "a file of the journal that is not needed cannot be removed");
                        return done;
                    }
                }
                self.space.lock().removed(*id);
                Counters::add(&self.counters.removed_segments, 1);
            }
            if let Err(error) = self.disk.sync_folder() {
                self.stop(&format!("cannot sync the data folder: {error}"));
                return done;
            }
            self.space.lock().forget_removed();
            done = Done::Work;
        }
    }

    /// Says again what dead segments say of others.
    fn snapshot(&self, maintenance: &mut Maintenance) -> Done {
        if let Some(snapshots) = &maintenance.snapshots {
            if self.synced() < snapshots.until {
                return self.wait_for_sync();
            }
            let mut space = self.space.lock();
            for id in &snapshots.of {
                space.snapshot_synced(*id, snapshots.from);
            }
            maintenance.snapshots = None;
            return Done::Work;
        }
        if self.full.lock().refused.is_some() || self.holds.load(Ordering::Acquire) > 0 {
            return Done::Nothing;
        }
        let mut head = BytesMut::new();
        let mut record = RecordWriter::new(RecordKind::Snapshot, 0, &mut head);
        let (of, from) = {
            let space = self.space.lock();
            let Some(of) = space.blocked(self.synced()) else { return Done::Nothing };
            of.iter().for_each(|id| put_snapshot(&space, *id, &mut record));
            (of, space.newest_segment())
        };
        if let Err(error) = record.finish() {
            tracing::warn!(%error, "a snapshot of settled messages is too large; a dead segment stays");
            return Done::Nothing;
        }
        let record = RecordBytes { head, entries: Vec::new(), entries_len: 0 };
        let unit = Unit::new(record, Purpose::Snapshot(of.clone()), Vec::new(), Outcomes::default());
        let Some(until) = self.push(unit) else { return Done::Nothing };
        maintenance.snapshots = Some(Snapshots { of, from, until });
        self.wait_for_sync()
    }

    /// Copies survivors.
    fn compact(&self, maintenance: &mut Maintenance) -> Done {
        if self.full.lock().refused.is_some() {
            return Done::Nothing;
        }
        let Some(compaction) = &mut maintenance.compaction else {
            let rule = CompactionRule {
                segment_size: self.segment_size.into(),
                garbage_ratio: self.options.garbage_ratio,
            };
            let Some(segment) = self.space.lock().compaction(rule) else { return Done::Nothing };
            match self.begin_compaction(segment) {
                Ok(compaction) => maintenance.compaction = Some(compaction),
                Err(error) => return self.leave(segment, 0, &error),
            }
            return Done::Work;
        };
        if compaction.records.is_empty() {
            if self.synced() < compaction.until {
                return self.wait_for_sync();
            }
            maintenance.compaction = None;
            return Done::Work;
        }
        let mut bytes = 0;
        while bytes < STEP_BYTES_MAX
            && let Some(record) = compaction.records.pop()
        {
            let unit = match self.survivors(compaction.segment, &compaction.open, &record) {
                Ok(None) => continue,
                Ok(Some(unit)) => unit,
                Err(error) => {
                    let segment = compaction.segment;
                    maintenance.compaction = None;
                    return self.leave(segment, record.offset, &error);
                }
            };
            bytes += u64::from(unit.record.len());
            Counters::add(&self.counters.copied_bytes, unit.record.len().into());
            let Some(until) = self.push(unit) else { return Done::Nothing };
            compaction.until = until;
        }
        Done::Work
    }

    fn begin_compaction(&self, segment: SegmentId) -> Result<Compaction, CopyError> {
        let open = self.files.get(segment)?;
        let len = open.file.len()?;
        let mut trailer = [0; TRAILER_LEN];
        let trailer_at = len.checked_sub(TRAILER_LEN as u64).ok_or(RecordError::Short)?;
        open.file.read_exact_at(&mut trailer, trailer_at)?;
        let index_at = Trailer::read(&trailer, open.nonce).ok_or(RecordError::Mark)?.index_offset;
        let index_len = trailer_at.checked_sub(index_at.into()).ok_or(RecordError::Short)?;
        let mut index = BytesMut::zeroed(index_len as usize);
        open.file.read_exact_at(&mut index, index_at.into())?;
        let mut index = index.freeze();
        let header = RecordHeader::read(&index, open.nonce, index_at)?;
        let index = index.split_off(HEADER_LEN);
        header.check_entries(open.nonce, &index)?;
        let mut reader = IndexReader::new(&index);
        let mut records = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            if entry.kind == IndexedKind::Parts(RecordKind::Unit) && entry.entries_len > 0 {
                let meta = index.slice_ref(entry.meta);
                records.push(IndexedRecord { offset: entry.offset, meta, entries_len: entry.entries_len });
            }
        }
        records.reverse();
        Ok(Compaction { segment, open, records, until: Position(0) })
    }

    /// A record with what lives of another one; none if nothing does.
    fn survivors(
        &self,
        segment: SegmentId,
        open: &OpenFile,
        record: &IndexedRecord,
    ) -> Result<Option<Unit>, CopyError> {
        let from = Location { segment, offset: record.offset };
        let mut copied = Copied { from, pieces: Vec::new(), pairs: Vec::new() };
        let mut head = BytesMut::new();
        let mut writer = RecordWriter::new(RecordKind::Unit, 0, &mut head);
        let mut reader = MetaReader::new(&record.meta, record.entries_len);
        let mut scratch = MetaScratch::default();
        while let Some(part) = reader.next(&mut scratch)? {
            if let MetaPart::Publish(part) = part {
                let space = self.space.lock();
                put_survivors(&space, &part, &mut copied, &mut writer);
            }
        }
        if copied.pairs.is_empty() {
            return Ok(None);
        }
        let entries_len = writer.finish().map_err(|error| CopyError::Damaged(error.to_string()))?.entries_len;
        let header_len = HEADER_LEN + record.meta.len();
        let mut old = BytesMut::zeroed(header_len + record.entries_len as usize);
        open.file.read_exact_at(&mut old, record.offset.into())?;
        let header = RecordHeader::read(&old, open.nonce, record.offset)?;
        let old = old.split_off(header_len);
        header.check_entries(open.nonce, &old)?;
        let mut entries = BytesMut::with_capacity(entries_len as usize);
        for piece in &copied.pieces {
            entries.extend_from_slice(&old[piece.from as usize..][..piece.len as usize]);
        }
        let record = RecordBytes { head, entries: vec![Entries::Bytes(entries.freeze())], entries_len };
        Ok(Some(Unit::new(record, Purpose::Copy(copied), Vec::new(), Outcomes::default())))
    }

    /// A segment cannot be compacted: for ever if it is damaged, else for now.
    fn leave(&self, segment: SegmentId, offset: u32, error: &CopyError) -> Done {
        let file = file_name(segment);
        match error {
            CopyError::Damaged(error) => {
                tracing::error!(file, offset, error, "survivors cannot be copied; the file stays as it is");
                self.space.lock().damaged(segment);
                Done::Work
            }
            CopyError::Disk(error) => {
                tracing::warn!(file, offset, error, "survivors cannot be copied now; it is tried again");
                Done::Nothing
            }
        }
    }

    /// Appends a record of the journal's own and gives the position that it is safe with.
    fn push(&self, unit: Unit) -> Option<Position> {
        let len = unit.record.len();
        let mut state = self.lock_to_append().ok()?;
        let location = state.pending.push(unit);
        self.wake_writer(state);
        Some(Position(location.as_u64() + u64::from(len)))
    }

    fn wait_for_sync(&self) -> Done {
        self.sync_wanted.store(true, Ordering::Relaxed);
        Done::Waiting
    }
}

/// From the least to the most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    Nothing,
    Waiting,
    Work,
}

/// Why a record is not copied.
enum CopyError {
    /// It is not what was written.
    Damaged(String),
    /// The disk says nothing of what it holds: too many files are open, for instance.
    Disk(String),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        match is_damage(&error) {
            true => CopyError::Damaged(error.to_string()),
            false => CopyError::Disk(error.to_string()),
        }
    }
}

impl From<RecordError> for CopyError {
    fn from(error: RecordError) -> Self {
        CopyError::Damaged(error.to_string())
    }
}

impl From<crate::store::record::MetaError> for CopyError {
    fn from(error: crate::store::record::MetaError) -> Self {
        RecordError::from(error).into()
    }
}

fn put_snapshot(space: &Space, id: SegmentId, record: &mut RecordWriter<'_>) {
    let snapshot = space.snapshot(id);
    let location = Location { segment: id, offset: 0 };
    for (queue, settled) in snapshot.settled {
        let runs = settled.ranges().into_iter().flat_map(|(first, last)| {
            // Counts are 32-bit; a segment has not so many messages, but its LSNs may be as far apart.
            let steps = (first..=last).step_by(1 << 30);
            steps.map(move |first| {
                let count = (last - first + 1).min(1 << 30) as u32;
                StoredRun { first: Lsn(first), count, location }
            })
        });
        record.settle(queue, runs);
    }
    for (queue, returned) in &snapshot.returned {
        record.returned(*queue, returned);
    }
}

/// Adds what lives of a part to a record.
fn put_survivors(
    space: &Space,
    part: &PublishedPart<'_, '_>,
    copied: &mut Copied,
    writer: &mut RecordWriter<'_>,
) {
    let segment = copied.from.segment;
    let count = part.messages.len();
    let mut is_kept = vec![false; count];
    let mut alive = Vec::new();
    for target in part.targets {
        let first = target.first as usize;
        let lives = |number: &usize| space.is_alive(segment, target.queue, part.messages[*number].lsn);
        let before = alive.len();
        alive.extend(
            (first..first + target.count as usize).filter(lives).map(|number| (target.queue, number)),
        );
        alive[before..].iter().for_each(|(_, number)| is_kept[*number] = true);
    }
    if alive.is_empty() {
        return;
    }
    let rows: Vec<_> = part.routes.collect();
    let mut routes: Vec<(&str, &str)> = Vec::new();
    let mut last_route = None;
    let mut numbers = vec![0u32; count];
    let mut messages: Vec<StoredMessage> = Vec::new();
    let mut offset = part.base;
    let mut to = copied.pieces.last().map_or(0, |piece| piece.to + piece.len);
    for (number, message) in part.messages.iter().enumerate() {
        if is_kept[number] {
            if last_route != Some(message.route) {
                last_route = Some(message.route);
                let row = &rows[usize::from(message.route)];
                routes.push((row.exchange, row.routing_key));
            }
            numbers[number] = messages.len() as u32;
            messages.push(StoredMessage { route: (routes.len() - 1) as u16, ..*message });
            match copied.pieces.last_mut() {
                Some(piece) if piece.from + piece.len == offset => piece.len += message.entry_len,
                _ => copied.pieces.push(Piece { from: offset, len: message.entry_len, to }),
            }
            to += message.entry_len;
        }
        offset += message.entry_len;
    }
    let mut targets: Vec<StoredTarget> = Vec::new();
    for (queue, number) in alive {
        let (first, lsn) = (numbers[number], part.messages[number].lsn.0);
        match targets.last_mut() {
            Some(last) if last.queue == queue && last.first + last.count == first => last.count += 1,
            _ => targets.push(StoredTarget { queue, first, count: 1 }),
        }
        match copied.pairs.last_mut() {
            Some((last, lsns)) if *last == queue && lsns.end() + 1 == lsn => *lsns = *lsns.start()..=lsn,
            _ => copied.pairs.push((queue, lsn..=lsn)),
        }
    }
    let PublishedPart { at, producer, .. } = *part;
    writer.publish(PublishFields {
        at,
        producer,
        routes: routes.into_iter(),
        messages: &messages,
        targets: &targets,
    });
}
