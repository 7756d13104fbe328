//! Backups: a folder that a broker could start from, made while another goes on writing.
//!
//! A backup is what the journal had committed at one moment, with a catalog that is not older: a queue that was declared
//! meanwhile is there and empty, one that was deleted is gone with its messages. Sealed segments are hard links where that
//! is possible, for nobody writes to them any more; of others as much is copied as is committed.
//!
//! Invariants: the list ([`Manifest`]) is written last, so a backup that has one is whole; a folder that a backup or a
//! restore has begun and not finished says so in a file ([`UNFINISHED`]), and nobody starts from it; one that failed
//! leaves nothing behind. Not here: who asks for it (`server::control`), what is said to people (`cli`).

mod error;
mod files;
mod manifest;
mod restore;
mod running;
mod segments;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::Path;

pub use error::BackupError;
pub use manifest::{MANIFEST, Manifest, ManifestFile};
pub use restore::{check_finished, restore};
pub use running::RunningStore;

use self::files::{Folder, Taken};
use self::segments::Segment;
use super::{CatalogError, Disk};
use crate::model::{Location, Timestamp};

/// The file that marks a folder in which something is missing.
pub const UNFINISHED: &str = "unfinished";

/// The catalog's file.
const CATALOG: &str = "catalog.redb";

/// A store that goes on while it is backed up.
pub trait BackupSource: Send + Sync {
    /// Keeps every segment that there is from being deleted, until what is returned is dropped.
    fn hold_deletions(&self) -> Box<dyn Send + '_>;

    /// Up to where the journal is committed: the segment that is written to, and how much of it counts. All that was
    /// confirmed lies before.
    fn committed(&self) -> Location;

    /// Copies the catalog as it is now.
    ///
    /// # Errors
    /// One of the disks is full or fails.
    fn snapshot_catalog(&self, to: &dyn Disk) -> Result<(), CatalogError>;
}

/// How far a backup or a restore has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Segments done.
    pub segments: u64,
    /// Segments to do.
    pub of: u64,
    /// Their bytes so far.
    pub bytes: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments that are hard links, and take no space of their own until the broker deletes them.
    pub linked: u64,
}

/// Is told about progress, and may end it.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Backs a data folder up into one that is empty, or is made.
///
/// # Errors
/// See [`BackupError`]. What was written by then is removed.
pub fn back_up(
    source: &dyn BackupSource,
    data: &Path,
    to: &Path,
    now: Timestamp,
    progress: OnProgress<'_>,
) -> Result<Done, BackupError> {
    let target = Folder::begin(to)?;
    let held = source.hold_deletions();
    // Journal first: of a queue that is declared meanwhile nothing is lost then.
    let segments = segments::committed(data, source.committed())?;
    source.snapshot_catalog(&target.disk)?;
    let mut taken = Taken::new(segments.len());
    for Segment { name, end } in segments {
        let placed = match end {
            None => target.link_or_copy(data, &name)?,
            Some(end) => target.copy(data, &name, end)?,
        };
        taken.add(placed, &name);
        if progress(taken.progress()).is_break() {
            return Err(BackupError::Cancelled);
        }
    }
    drop(held);
    let manifest = Manifest::new(now, taken.files);
    target.finish(Some(&manifest))?;
    Ok(taken.done)
}
