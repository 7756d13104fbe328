//! Reads a segment record by record, by hopping from header to header: finds its end, its torn tail and its damage, and makes
//! the index that it lacks.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::damage::{Damage, DamageKind};
use super::open::is_zero;
use crate::model::SegmentId;
use crate::store::disk::DiskFile;
use crate::store::record::{HEADER_LEN, Nonce, RecordError, RecordHeader, RecordKind};
use crate::store::segment::{IndexBuilder, IndexMark, RECORDS_START};

/// Bytes that are read at once.
pub(in crate::store) const WINDOW: usize = 256 << 10;

/// A file through a window: small reads that follow one another are one.
#[derive(Debug)]
pub(in crate::store) struct Window {
    file: Arc<dyn DiskFile>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(in crate::store) fn new(file: Arc<dyn DiskFile>, len: u64) -> Self {
        Window { file, len, start: 0, bytes: Vec::new() }
    }

    /// Bytes of the file.
    pub(in crate::store) fn file_len(&self) -> u64 {
        self.len
    }

    /// Up to `len` bytes from `offset` on: fewer only at the end of the file.
    pub(in crate::store) fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(&[]);
        }
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let wanted = (len.max(WINDOW) as u64).min(self.len - offset) as usize;
            self.bytes.resize(wanted, 0);
            let read = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        // A file that has become shorter since it was listed gives less.
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }

    /// The checksum of bytes, however many they are.
    pub(in crate::store) fn checksum(&mut self, nonce: Nonce, offset: u64, len: u64) -> io::Result<u32> {
        let mut checksum = nonce.checksum(&[]);
        let mut at = offset;
        while at < offset + len {
            let piece = self.get(at, (offset + len - at).min(WINDOW as u64) as usize)?;
            if piece.is_empty() {
                break;
            }
            checksum = crc32c::crc32c_append(checksum, piece);
            at += piece.len() as u64;
        }
        Ok(checksum)
    }
}

/// What is known of a segment before it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: SegmentId,
    pub(super) nonce: Nonce,
    /// All of it was safe.
    pub(super) is_proven: bool,
    /// Where its records end, if something says so.
    pub(super) end: Option<u32>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) index: IndexBuilder,
    /// Where its records end.
    pub(super) end: u32,
    /// The largest `safe` of its records.
    pub(super) safe: u32,
    /// Its tail is torn: it ends there because of that, and nothing behind it counts.
    pub(super) is_torn: bool,
}

/// A stop in a scan: what was in front of it.
#[derive(Clone, Copy, Debug)]
struct Gap {
    at: u32,
    len: u64,
    error: RecordError,
    mark: IndexMark,
}

/// A record that may not be safe.
#[derive(Clone, Copy, Debug)]
struct Tail {
    at: u32,
    header: RecordHeader,
    mark: IndexMark,
}

/// Why a scan stopped.
pub(super) enum ScanError {
    Disk(io::Error),
    Newer(u32, RecordError),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        ScanError::Disk(error)
    }
}

pub(super) fn scan(
    window: &mut Window,
    known: Known,
    damage: &mut Vec<Damage>,
) -> Result<Scanned, ScanError> {
    let stop = u64::from(known.end.unwrap_or(u32::MAX)).min(window.len);
    let mut index = IndexBuilder::new();
    let mut gaps: Vec<Gap> = Vec::new();
    let mut tail: VecDeque<Tail> = VecDeque::new();
    let mut at = u64::from(RECORDS_START);
    let mut safe = 0;
    while at < stop {
        // Below `stop`, so it fits.
        let offset = at as u32;
        match read_record(window, known.nonce, offset)? {
            // An index is written when everything in front of it is safe, and says so.
            Ok((header, _)) if header.kind == RecordKind::Index => {
                safe = safe.max(header.safe);
                break;
            }
            Ok((header, meta)) => {
                let mark = index.mark();
                index.push(header.kind, header.shard, meta, header.entries_len);
                at += header.len();
                if header.safe > safe {
                    safe = header.safe;
                }
                while tail.front().is_some_and(|record| record.at < safe) {
                    tail.pop_front();
                }
                if !known.is_proven {
                    tail.push_back(Tail { at: offset, header, mark });
                }
            }
            Err(error) if error.is_newer() => return Err(ScanError::Newer(offset, error)),
            Err(error) => {
                let next = find_record(window, known.nonce, at + 1, stop)?;
                let ends = next.unwrap_or(stop);
                if next.is_none() && known.end.is_none() && is_zero(window, at)? {
                    break;
                }
                gaps.push(Gap { at: offset, len: ends - at, error, mark: index.mark() });
                index.push_damaged((ends - at) as u32);
                at = ends;
            }
        }
    }
    let mut end = u32::try_from(at).unwrap_or(u32::MAX);
    if let Some(wanted) = known.end.filter(|wanted| *wanted > end) {
        let gap =
            Gap { at: end, len: u64::from(wanted - end), error: RecordError::Short, mark: index.mark() };
        index.push_damaged(wanted - end);
        end = wanted;
        gaps.push(gap);
    }
    let mut cut = None;
    if !known.is_proven {
        cut = gaps.iter().find(|gap| gap.at >= safe).map(|gap| (gap.at, gap.mark));
        let in_front = |record: &&Tail| record.at >= safe && cut.is_none_or(|(at, _)| record.at < at);
        for record in tail.iter().filter(in_front) {
            let Tail { at, header, mark } = record;
            let entries = u64::from(*at) + HEADER_LEN as u64 + u64::from(header.meta_len);
            let checksum = window.checksum(known.nonce, entries, header.entries_len.into())?;
            if header.check_entries_checksum(checksum).is_err() {
                cut = Some((*at, *mark));
                break;
            }
        }
    }
    if let Some((at, mark)) = cut {
        index.truncate(mark);
        end = at;
    }
    for gap in gaps.iter().filter(|gap| cut.is_none_or(|(at, _)| gap.at < at)) {
        let kind = match gap.error {
            RecordError::Short => DamageKind::Missing,
            error => DamageKind::Record(error),
        };
        Damage::push(damage, Damage::new(known.id, gap.at, gap.len, kind));
    }
    Ok(Scanned { index, end, safe, is_torn: cut.is_some() })
}

/// The header and metadata of the record at an offset, if both are whole and all of it lies in the file.
fn read_record(
    window: &mut Window,
    nonce: Nonce,
    offset: u32,
) -> io::Result<Result<(RecordHeader, &[u8]), RecordError>> {
    let file_len = window.len;
    let header = match RecordHeader::read(window.get(offset.into(), HEADER_LEN)?, nonce, offset) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    let end = u64::from(offset) + header.len();
    // The room of what was skipped need never have been written.
    if end > u64::from(u32::MAX) || end > file_len && header.kind != RecordKind::Skip {
        return Ok(Err(RecordError::Short));
    }
    let meta = window.get(u64::from(offset) + HEADER_LEN as u64, header.meta_len as usize)?;
    Ok(header.check_meta(nonce, meta).map(|()| (header, meta)))
}

/// The next place at which a whole record begins.
fn find_record(window: &mut Window, nonce: Nonce, from: u64, stop: u64) -> io::Result<Option<u64>> {
    let mark = nonce.mark();
    let mut at = from;
    while at + HEADER_LEN as u64 <= stop {
        let piece = window.get(at, WINDOW)?;
        if piece.len() < HEADER_LEN {
            return Ok(None);
        }
        match piece.windows(4).position(|bytes| bytes == mark) {
            None => at += piece.len() as u64 - 3,
            Some(place) => {
                at += place as u64;
                let Ok(offset) = u32::try_from(at) else { return Ok(None) };
                match read_record(window, nonce, offset)? {
                    // A newer program's record is one: the scan will say so.
                    Ok(_) => return Ok(Some(at)),
                    Err(error) if error.is_newer() => return Ok(Some(at)),
                    Err(_) => at += 1,
                }
            }
        }
    }
    Ok(None)
}
