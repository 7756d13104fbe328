//! The list of what is in a backup.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::files::at;
use crate::model::Timestamp;
use crate::store::segment::segment_of;

/// The file that holds the list.
pub const MANIFEST: &str = "backup.json";

/// Version of the list and of what a backup is.
const FORMAT: u32 = 1;

/// Longest list that is read, in bytes: some hundred thousand segments.
const LEN_MAX: u64 = 64 << 20;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this list.
    pub format: u32,
    /// The broker that has made it.
    pub made_by: String,
    /// When, in microseconds since the Unix epoch.
    pub made_at: u64,
    /// The segments.
    pub segments: Vec<ManifestFile>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

impl Manifest {
    pub(super) fn new(now: Timestamp, segments: Vec<ManifestFile>) -> Manifest {
        let made_by = concat!("rialto ", env!("CARGO_PKG_VERSION")).to_owned();
        Manifest { format: FORMAT, made_by, made_at: now.as_micros(), segments }
    }

    /// Reads the list of a backup, and compares it with the files that are there.
    ///
    /// # Errors
    /// There is none, it makes no sense, or files are missing or have other lengths.
    pub fn read(backup: &Path) -> Result<Manifest, BackupError> {
        let path = backup.join(MANIFEST);
        let wrong = |problem: String| BackupError::Manifest { path: path.clone(), problem };
        let len = match path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BackupError::NoBackup(backup.to_owned()));
            }
            Err(error) => return Err(at(&path, error).into()),
        };
        if len > LEN_MAX {
            return Err(wrong(format!("{len} bytes are too long for a list of segments")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| at(&path, error))?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if manifest.format != FORMAT {
            let text = format!("it has format {}, which only a newer program can read", manifest.format);
            return Err(wrong(text));
        }
        for ManifestFile { name, bytes } in &manifest.segments {
            // A name like ../../passwd is none.
            if segment_of(name).is_none() {
                return Err(wrong(format!("{name:?} is not the name of a segment")));
            }
            let path = backup.join(name);
            let problem = match path.symlink_metadata() {
                Ok(found) if !found.is_file() => "it is no file".to_owned(),
                Ok(found) if found.len() == *bytes => continue,
                Ok(found) => format!("it has {} bytes, and should have {bytes}", found.len()),
                Err(error) => error.to_string(),
            };
            return Err(BackupError::File { path, problem });
        }
        Ok(manifest)
    }
}
