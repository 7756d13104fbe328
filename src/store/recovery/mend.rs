//! Mends a folder after recovery, before anything new is written: cuts the torn tail, removes what is newer, sets aside
//! what cannot be read, and seals what a crash left open. May be done again after a crash in the middle.

use std::io::{self, ErrorKind, IoSlice};

use super::Recovered;
use super::open::{OpenSegment, SegmentIndex};
use crate::store::disk::Disk;
use crate::store::record::Nonce;
use crate::store::segment::{IndexBuilder, file_name};

/// What has to be done.
#[derive(Debug, Default)]
pub(super) struct Mending {
    removed: Vec<String>,
    set_aside: Vec<String>,
    open: Vec<Unsealed>,
}

#[derive(Debug)]
struct Unsealed {
    file: String,
    nonce: Nonce,
    end: u32,
    index: IndexBuilder,
}

impl Mending {
    pub(super) fn new(segments: Vec<OpenSegment>, removed: Vec<String>, set_aside: Vec<String>) -> Self {
        let open = segments.into_iter().filter_map(|segment| match segment.index {
            SegmentIndex::Sealed { .. } => None,
            SegmentIndex::Built(index) => {
                let nonce = segment.header.nonce;
                Some(Unsealed { file: file_name(segment.id), nonce, end: segment.end, index })
            }
        });
        Mending { removed, set_aside, open: open.collect() }
    }
}

impl Recovered {
    /// Makes the folder whole: a torn tail is cut, newer segments are removed, segments that a crash left open are sealed, a
    /// file that cannot be read at all gets `.damaged` behind its name. Must be done before anything is appended: what is written
    /// then would say of the torn tail that it was safe.
    ///
    /// # Errors
    /// The disk fails. A full disk is no error: then segments stay unsealed, and are read record by record once more.
    pub fn mend(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Mending { removed, set_aside, open } = std::mem::take(&mut self.mending);
        for file in &removed {
            disk.remove(file)?;
        }
        for file in &set_aside {
            disk.rename(file, &format!("{file}.damaged"))?;
        }
        if !removed.is_empty() || !set_aside.is_empty() {
            disk.sync_folder()?;
        }
        for Unsealed { file, nonce, end, index } in open {
            let file = disk.open(&file)?;
            // The tail first, safely: an index in front of half of it would be a lie.
            if file.len()? != u64::from(end) {
                file.set_len(end.into())?;
                file.sync_data()?;
            }
            let bytes = index.finish(nonce, end);
            let written = file.write_at(&[IoSlice::new(&bytes)], end.into());
            match written {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                    file.set_len(end.into())?;
                }
                Err(error) => return Err(error),
            }
            file.sync_data()?;
        }
        Ok(())
    }
}
