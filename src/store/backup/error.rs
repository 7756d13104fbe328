//! Why there is no backup.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::store::CatalogError;

/// Why a backup could not be made or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// It would overwrite something.
    #[error("{} is not empty: choose a folder that is, or one that does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// There is no list of what is in it.
    #[error("{} is no backup, or not a whole one: it has no {}", .0.display(), super::MANIFEST)]
    NoBackup(PathBuf),
    /// The list makes no sense, or a newer program wrote it.
    #[error("{}: {problem}", .path.display())]
    Manifest {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is missing or has another length.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder was begun and not finished.
    #[error("{} is incomplete: a backup or a restore into it was not finished", .0.display())]
    Unfinished(PathBuf),
    /// Whoever asked has gone, or the broker stops.
    #[error("it was cancelled")]
    Cancelled,
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
}
