//! From a backup to a data folder.

use std::path::Path;

use super::files::{Folder, Taken, at};
use super::{BackupError, CATALOG, Done, Manifest, OnProgress, UNFINISHED};

/// Copies a backup into an empty folder, or one that is made, for a broker to start from. The backup stays as it is.
///
/// # Errors
/// See [`BackupError`]. What was written by then is removed.
pub fn restore(backup: &Path, to: &Path, progress: OnProgress<'_>) -> Result<Done, BackupError> {
    check_finished(backup)?;
    let manifest = Manifest::read(backup)?;
    let catalog = backup.join(CATALOG);
    if !catalog.is_file() {
        return Err(BackupError::File { path: catalog, problem: "it is missing".to_owned() });
    }
    let target = Folder::begin(to)?;
    let mut taken = Taken::new(manifest.segments.len());
    for file in &manifest.segments {
        taken.add(target.copy(backup, &file.name, file.bytes)?, &file.name);
        if progress(taken.progress()).is_break() {
            return Err(BackupError::Cancelled);
        }
    }
    target.copy(backup, CATALOG, u64::MAX)?;
    target.finish(None)?;
    Ok(taken.done)
}

/// Refuses a folder that a backup or a restore has begun and not finished. A broker asks before it starts from one.
///
/// # Errors
/// It is marked, or cannot be read.
pub fn check_finished(data: &Path) -> Result<(), BackupError> {
    let mark = data.join(UNFINISHED);
    match mark.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(BackupError::Unfinished(data.to_owned())),
        Err(error) => Err(at(&mark, error).into()),
    }
}
