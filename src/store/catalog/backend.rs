//! A file of the [`Disk`](super::super::Disk) as redb wants it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use crate::store::DiskFile;

/// See the module.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) file: Arc<dyn DiskFile>,
    /// Set when a sync fails: then nobody knows what is on disk.
    pub(super) sync_failed: Arc<AtomicBool>,
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let now = self.file.len()?;
        match len.checked_sub(now) {
            // Space is taken here, so that it is here that a full disk shows, not in the middle of a commit.
            Some(more) if more > 0 => self.file.allocate(now, more),
            _ => self.file.set_len(len),
        }
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.file.sync_data().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write_at(&[IoSlice::new(data)], offset)
    }
}
