//! What can go wrong with the catalog.

use std::io::{self, ErrorKind};

use thiserror::Error;

use super::{BACKLOG_MAX, FILE};

/// See the module.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The disk is full or fails.
    #[error("the catalog ({FILE}) cannot be read or written: {0}")]
    Disk(#[from] io::Error),
    /// The file holds what no broker has written.
    #[error(
        "the catalog ({FILE}) is damaged: {0}; restore the data folder from a backup, or move it away to begin anew"
    )]
    Damaged(String),
    /// A later version of the broker has written it.
    #[error(
        "the catalog ({FILE}) has format {found}, and this version of the broker knows formats up to {known}: use the version that wrote it, or a later one"
    )]
    Newer {
        /// Its format.
        found: u128,
        /// The latest known format.
        known: u128,
    },
    /// No change is taken any more.
    #[error("the catalog takes no changes: {0}")]
    Stopped(String),
    /// The disk cannot keep up with the changes.
    #[error("the catalog is {BACKLOG_MAX} changes behind")]
    Behind,
}

impl CatalogError {
    /// Whether the same may work once there is space.
    pub fn is_full(&self) -> bool {
        matches!(self, CatalogError::Disk(error) if error.kind() == ErrorKind::StorageFull)
    }
}

impl From<redb::Error> for CatalogError {
    fn from(error: redb::Error) -> Self {
        match error {
            // Said of a file that is none, or is cut off.
            redb::Error::Io(error)
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                CatalogError::Damaged(error.to_string())
            }
            redb::Error::Io(error) => CatalogError::Disk(error),
            redb::Error::Corrupted(what) => CatalogError::Damaged(what),
            other => CatalogError::Damaged(other.to_string()),
        }
    }
}
