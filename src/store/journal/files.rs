//! Segments that are open for reading, so that not every read opens one.
//!
//! Invariant: at most [`FILES_MAX`] are open; the one that was asked for longest ago is closed first. A file that was
//! removed while somebody reads it stays readable for that reader. Not here: what records mean (`reading`).

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
/// What is read ahead of a reader that goes on, in bytes.
const PREFETCH: u64 = 1 << 20;

/// A segment that can be read.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) nonce: Nonce,
    /// Up to where reading ahead was asked for.
    prefetched: AtomicU64,
    used: AtomicU64,
}

impl OpenFile {
    pub(super) fn new(file: Arc<dyn DiskFile>, nonce: Nonce) -> Self {
        OpenFile { file, nonce, prefetched: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    /// Somebody has read up to here and will want what follows.
    pub(super) fn read_to(&self, end: u64) {
        let prefetched = self.prefetched.load(Ordering::Relaxed);
        // Half of it is still to be read: soon enough. Far away: another reader, or one that went back.
        if prefetched > end + PREFETCH / 2 && prefetched <= end + 2 * PREFETCH {
            return;
        }
        let from = if (end..=end + PREFETCH).contains(&prefetched) { prefetched } else { end };
        self.prefetched.store(from + PREFETCH, Ordering::Relaxed);
        self.file.prefetch(from, PREFETCH);
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
        let mut files = self.open.lock();
        if files.len() >= FILES_MAX {
            let used = |open: &Arc<OpenFile>| open.used.load(Ordering::Relaxed);
            if let Some(oldest) = files.iter().min_by_key(|(_, open)| used(open)).map(|(id, _)| *id) {
                files.remove(&oldest);
            }
        }
        files.insert(id, open.clone());
        open
    }

    /// A file is about to be removed.
    pub(super) fn remove(&self, id: SegmentId) {
        self.open.lock().remove(&id);
    }
}
