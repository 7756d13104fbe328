//! Segments that are open for reading, so that not every read opens one.
//!
//! Invariant: at most [`FILES_MAX`] are open; the one that was asked for longest ago is closed first. A file that was
//! removed while somebody reads it stays readable for that reader. No file is closed while the list is locked. Not here: what records mean (`reading`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use super::overflow::{is_overflow, overflow_name};
use crate::model::SegmentId;
use crate::store::record::Nonce;
use crate::store::segment::{RECORDS_START, SegmentHeader, file_name};
use crate::store::{Disk, DiskFile};

/// Most segments that are open at once: 64 GiB of journal at the default size, and far below any limit of the system.
const FILES_MAX: usize = 1024;
/// What is read ahead of a reader, in bytes: twice as much each time it goes on, as far as what a disk that is busy
/// with something else for 10 ms would have to give a queue that is drained. The cache may have lost even what was
/// written a moment ago.
const PREFETCH: u64 = 1 << 20;
const PREFETCH_MAX: u64 = 8 << 20;

/// Whether a segment that cannot be opened or read is damaged, or gone. Of any other error (too many open files, a disk
/// that does not answer) nothing follows for what is in it: it is tried again.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

/// A segment that can be read.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) nonce: Nonce,
    /// Up to where reading ahead was asked for, and how far ahead of the reader.
    prefetched: AtomicU64,
    ahead: AtomicU64,
    used: AtomicU64,
}

impl OpenFile {
    pub(super) fn new(file: Arc<dyn DiskFile>, nonce: Nonce) -> Self {
        OpenFile {
            file,
            nonce,
            prefetched: AtomicU64::new(0),
            ahead: AtomicU64::new(PREFETCH),
            used: AtomicU64::new(0),
        }
    }

    /// Somebody has read up to here and will want what follows.
    pub(super) fn read_to(&self, end: u64) {
        let (prefetched, ahead) =
            (self.prefetched.load(Ordering::Relaxed), self.ahead.load(Ordering::Relaxed));
        // Half of it is still to be read: soon enough. Far away: another reader, or one that went back.
        if prefetched > end + ahead / 2 && prefetched <= end + 2 * ahead {
            return;
        }
        let goes_on = (end..=end + ahead).contains(&prefetched);
        let (from, ahead) = if goes_on { (prefetched, PREFETCH_MAX.min(2 * ahead)) } else { (end, PREFETCH) };
        self.prefetched.store(end + ahead, Ordering::Relaxed);
        self.ahead.store(ahead, Ordering::Relaxed);
        self.file.prefetch(from, end + ahead - from);
    }
}

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    open: Mutex<AHashMap<SegmentId, Arc<OpenFile>>>,
    tick: AtomicU64,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Files { disk, open: Mutex::default(), tick: AtomicU64::new(0) }
    }

    /// The file of a segment. One that does not exist is [`io::ErrorKind::NotFound`].
    pub(super) fn get(&self, id: SegmentId) -> io::Result<Arc<OpenFile>> {
        let tick = self.tick.fetch_add(1, Ordering::Relaxed);
        if let Some(open) = self.open.lock().get(&id) {
            open.used.store(tick, Ordering::Relaxed);
            return Ok(open.clone());
        }
        let name = if is_overflow(id) { overflow_name(id) } else { file_name(id) };
        let file = self.disk.open(&name)?;
        let mut header = [0; RECORDS_START as usize];
        file.read_exact_at(&mut header, 0)?;
        let header = SegmentHeader::read(&header)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {error}")))?;
        Ok(self.insert(id, OpenFile::new(file, header.nonce)))
    }

    /// A file that is open already.
    pub(super) fn insert(&self, id: SegmentId, open: OpenFile) -> Arc<OpenFile> {
        open.used.store(self.tick.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let open = Arc::new(open);
        let closes = {
            let mut files = self.open.lock();
            let used = |open: &Arc<OpenFile>| open.used.load(Ordering::Relaxed);
            let oldest = || files.iter().min_by_key(|(_, open)| used(open)).map(|(id, _)| *id);
            let oldest = if files.len() >= FILES_MAX { oldest() } else { None };
            let closes = oldest.and_then(|oldest| files.remove(&oldest));
            files.insert(id, open.clone());
            closes
        };
        drop(closes);
        open
    }

    /// A file was removed. Closing it is what gives its space back, and takes the system tens of milliseconds where the
    /// disk is told which blocks are free: nobody who reads may wait for that.
    pub(super) fn remove(&self, id: SegmentId) {
        let closes = self.open.lock().remove(&id);
        drop(closes);
    }
}
