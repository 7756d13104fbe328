//! Opens the segments of a folder, from the newest to the oldest: which are sealed, where the others end, what is damaged.

use std::io;
use std::sync::Arc;

use super::damage::{Damage, DamageKind};
use super::scan::{Known, ScanError, Scanned, WINDOW, Window, scan};
use super::{Cut, Progress, RecoveryError};
use crate::model::SegmentId;
use crate::store::disk::{Disk, DiskFile};
use crate::store::record::{HEADER_LEN, RecordHeader, RecordKind};
use crate::store::segment::{
    IndexBuilder, IndexReader, RECORDS_START, SegmentError, SegmentHeader, TRAILER_LEN, Trailer, file_name,
    segment_of,
};

/// The segments of a folder.
#[derive(Debug)]
pub(in crate::store) struct Opened {
    /// By number.
    pub(in crate::store) segments: Vec<OpenSegment>,
    pub(in crate::store) damage: Vec<Damage>,
    pub(in crate::store) cut: Option<Cut>,
    /// Files to be removed: nothing in them was confirmed.
    pub(in crate::store) removed: Vec<String>,
    /// Files that cannot be read at all.
    pub(in crate::store) set_aside: Vec<String>,
    /// The highest number that a segment ever had, as far as is known.
    pub(in crate::store) highest: SegmentId,
}

/// A segment that can be read.
#[derive(Debug)]
pub(in crate::store) struct OpenSegment {
    pub(in crate::store) id: SegmentId,
    pub(in crate::store) file_len: u64,
    pub(in crate::store) header: SegmentHeader,
    /// Where its records end.
    pub(in crate::store) end: u32,
    pub(in crate::store) index: SegmentIndex,
}

/// Where the metadata of a segment's records are.
#[derive(Debug)]
pub(in crate::store) enum SegmentIndex {
    /// In its file, at its end.
    Sealed { len: u32 },
    /// Read from its records.
    Built(IndexBuilder),
}

impl OpenSegment {
    /// Whether its index is in its file.
    pub(in crate::store) fn is_sealed(&self) -> bool {
        matches!(self.index, SegmentIndex::Sealed { .. })
    }

    /// The index, read into `buffer` if it is not in memory. None: it is damaged.
    pub(in crate::store) fn index<'a>(
        &'a self,
        disk: &dyn Disk,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<IndexReader<'a>>, RecoveryError> {
        let len = match &self.index {
            SegmentIndex::Built(index) => return Ok(Some(index.reader())),
            SegmentIndex::Sealed { len } => *len as usize,
        };
        buffer.resize(HEADER_LEN + len, 0);
        let read = self.open(disk)?.read_at(buffer, self.end.into());
        let read = read.map_err(RecoveryError::disk(Some(file_name(self.id))))?;
        let nonce = self.header.nonce;
        let is_whole = read == buffer.len()
            && RecordHeader::read(buffer, nonce, self.end).is_ok_and(|header| {
                header.kind == RecordKind::Index && header.check_entries(nonce, &buffer[HEADER_LEN..]).is_ok()
            });
        Ok(is_whole.then(|| IndexReader::new(&buffer[HEADER_LEN..])))
    }

    /// Its file. Not kept open: there may be more segments than a process may have files open.
    pub(in crate::store) fn open(&self, disk: &dyn Disk) -> Result<Arc<dyn DiskFile>, RecoveryError> {
        disk.open(&file_name(self.id)).map_err(RecoveryError::disk(Some(file_name(self.id))))
    }

    /// Reads its records instead of its index, which is damaged.
    pub(in crate::store) fn rebuild(
        &mut self,
        disk: &dyn Disk,
        damage: &mut Vec<Damage>,
    ) -> Result<(), RecoveryError> {
        let len = self.file_len - u64::from(self.end);
        Damage::push(damage, Damage::new(self.id, self.end, len, DamageKind::Index));
        let mut window = Window::new(self.open(disk)?, self.file_len);
        let known = Known { id: self.id, nonce: self.header.nonce, is_proven: true, end: Some(self.end) };
        let scanned = scan(&mut window, known, damage).map_err(|error| scan_error(self.id, error))?;
        self.index = SegmentIndex::Built(scanned.index);
        Ok(())
    }
}

/// What newer segments say of the one in front of them.
#[derive(Clone, Copy, Debug, Default)]
struct Newer {
    /// It is safe.
    is_proof: bool,
    /// The segment whose end is known, and that end.
    previous: Option<(SegmentId, u32)>,
}

/// Opens the segments of a folder.
pub(in crate::store) fn open(
    disk: &dyn Disk,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, RecoveryError> {
    let mut files: Vec<_> = disk
        .list()
        .map_err(RecoveryError::disk(None))?
        .into_iter()
        .filter_map(|(name, len)| Some((segment_of(&name)?, len)))
        .collect();
    files.sort_unstable();
    let highest = files.last().map_or(SegmentId(0), |(id, _)| *id);
    let mut opened = Opened {
        segments: Vec::new(),
        damage: Vec::new(),
        cut: None,
        removed: Vec::new(),
        set_aside: Vec::new(),
        highest,
    };
    let of = 3 * files.len() as u64;
    let mut newer = Newer::default();
    for (done, (id, len)) in files.into_iter().rev().enumerate() {
        progress(Progress { done: done as u64, of, messages: 0 });
        let file = disk.open(&file_name(id)).map_err(RecoveryError::disk(Some(file_name(id))))?;
        opened.add(id, file, len, &mut newer)?;
    }
    opened.segments.reverse();
    opened.damage.sort_by_key(|damage| (damage.segment, damage.offset));
    Ok(opened)
}

impl Opened {
    fn add(
        &mut self,
        id: SegmentId,
        file: Arc<dyn DiskFile>,
        file_len: u64,
        newer: &mut Newer,
    ) -> Result<(), RecoveryError> {
        let disk_error = |error| RecoveryError::disk(Some(file_name(id)))(error);
        let mut window = Window::new(file, file_len);
        let start = window.get(0, RECORDS_START as usize).map_err(disk_error)?;
        let header = match SegmentHeader::read(start) {
            Ok(header) if header.id == id => header,
            Ok(header) => {
                self.lose(id, file_len, DamageKind::OtherSegment(header.id), newer);
                return Ok(());
            }
            Err(SegmentError::Version(version)) => {
                return Err(RecoveryError::newer(id, 0, SegmentError::Version(version)));
            }
            Err(error) => {
                let is_empty = is_zero(&mut window, 0).map_err(disk_error)?;
                if is_empty && !newer.is_proof {
                    self.removed.push(file_name(id));
                    // Nothing was written to it, and what is newer was not confirmed: the segment in front of it decides.
                } else {
                    self.lose(id, file_len, DamageKind::Header(error), newer);
                }
                return Ok(());
            }
        };
        if !SegmentHeader::has_both_copies(start) {
            let damage = Damage::new(id, 0, RECORDS_START.into(), DamageKind::SpareHeader);
            Damage::push(&mut self.damage, damage);
        }
        if header.previous.0 > self.highest {
            self.highest = header.previous.0;
        }
        let said_end = newer.previous.filter(|(previous, _)| *previous == id).map(|(_, end)| end);
        newer.previous = Some(header.previous);
        if let Some((end, len)) = sealed(&mut window, &header).map_err(disk_error)? {
            newer.is_proof = true;
            let index = SegmentIndex::Sealed { len };
            self.segments.push(OpenSegment { id, file_len, header, end, index });
            return Ok(());
        }
        let known = Known { id, nonce: header.nonce, is_proven: newer.is_proof, end: said_end };
        let scanned = scan(&mut window, known, &mut self.damage);
        let Scanned { index, end, safe, is_torn } = scanned.map_err(|error| scan_error(id, error))?;
        if is_torn {
            self.cut_behind(id, end, &mut window).map_err(disk_error)?;
        }
        newer.is_proof |= safe > 0;
        self.segments.push(OpenSegment { id, file_len, header, end, index: SegmentIndex::Built(index) });
        Ok(())
    }

    /// A whole segment cannot be read, so it says nothing of the one in front of it.
    fn lose(&mut self, id: SegmentId, len: u64, kind: DamageKind, newer: &mut Newer) {
        Damage::push(&mut self.damage, Damage::new(id, 0, len, kind));
        self.set_aside.push(file_name(id));
        newer.previous = None;
    }

    /// The log ends in this segment: what is newer never was confirmed.
    fn cut_behind(&mut self, id: SegmentId, offset: u32, window: &mut Window) -> io::Result<()> {
        let mut removed: Vec<_> = self.segments.drain(..).map(|segment| segment.id).collect();
        self.damage.retain(|damage| damage.segment <= id || !removed.contains(&damage.segment));
        removed.reverse();
        self.removed.extend(removed.iter().rev().map(|id| file_name(*id)));
        let bytes = content_end(window, offset.into())? - u64::from(offset);
        self.cut = Some(Cut { segment: id, offset, bytes, removed });
        Ok(())
    }
}

/// Where the index of a sealed segment begins, and the length of its entries. Not yet whether it is whole.
fn sealed(window: &mut Window, header: &SegmentHeader) -> io::Result<Option<(u32, u32)>> {
    let Some(at) = window.file_len().checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
    let Some(trailer) = Trailer::read(window.get(at, TRAILER_LEN)?, header.nonce) else { return Ok(None) };
    let start = trailer.index_offset;
    let len = at.checked_sub(u64::from(start) + HEADER_LEN as u64);
    let len = len.and_then(|len| u32::try_from(len).ok());
    Ok(len.filter(|_| start >= RECORDS_START).map(|len| (start, len)))
}

/// Whether only zeros follow.
pub(super) fn is_zero(window: &mut Window, from: u64) -> io::Result<bool> {
    let mut at = from;
    loop {
        let piece = window.get(at, WINDOW)?;
        if piece.is_empty() {
            return Ok(true);
        }
        if piece.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += piece.len() as u64;
    }
}

/// Where the last byte that is not zero ends, from an offset on.
fn content_end(window: &mut Window, from: u64) -> io::Result<u64> {
    let (mut at, mut end) = (from, from);
    loop {
        let piece = window.get(at, WINDOW)?;
        if piece.is_empty() {
            return Ok(end);
        }
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += piece.len() as u64;
    }
}

pub(super) fn scan_error(id: SegmentId, error: ScanError) -> RecoveryError {
    match error {
        ScanError::Disk(error) => RecoveryError::Disk { file: Some(file_name(id)), error },
        ScanError::Newer(offset, error) => RecoveryError::newer(id, offset, error),
    }
}
