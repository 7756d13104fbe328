//! A folder that is being filled: marked until it is whole, emptied again if it never is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{BackupError, Done, MANIFEST, Manifest, ManifestFile, Progress, UNFINISHED};
use crate::store::opening::RUNNING;
use crate::store::{Disk, FileDisk};

/// What the mark says to people who find it.
const MARK_TEXT: &str = "A backup or a restore into this folder was begun and has not been finished.\nSomething is missing here. Delete the folder, and begin again.\n";

/// Segments that were taken over.
pub(super) struct Taken {
    of: u64,
    pub(super) files: Vec<ManifestFile>,
    pub(super) done: Done,
}

/// How a file got here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) bytes: u64,
    pub(super) is_link: bool,
}

impl Taken {
    pub(super) fn new(of: usize) -> Self {
        Taken { of: of as u64, files: Vec::with_capacity(of), done: Done::default() }
    }

    pub(super) fn add(&mut self, placed: Placed, name: &str) {
        self.done.segments += 1;
        self.done.bytes += placed.bytes;
        self.done.linked += u64::from(placed.is_link);
        self.files.push(ManifestFile { name: name.to_owned(), bytes: placed.bytes });
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { segments: self.done.segments, of: self.of, bytes: self.done.bytes }
    }
}

/// The folder. Emptied when it is dropped before [`Folder::finish`].
pub(super) struct Folder {
    path: PathBuf,
    /// Locked: no broker starts here meanwhile, and no second backup.
    pub(super) disk: FileDisk,
    was_there: bool,
    is_whole: bool,
}

impl Folder {
    /// Takes an empty folder, or makes one, and marks it.
    pub(super) fn begin(path: &Path) -> Result<Folder, BackupError> {
        let was_there = path.exists();
        if was_there && fs::read_dir(path).map_err(|error| at(path, error))?.next().is_some() {
            return Err(BackupError::NotEmpty(path.to_owned()));
        }
        let disk = FileDisk::open(path)?;
        let folder = Folder { path: path.to_owned(), disk, was_there, is_whole: false };
        folder.write(UNFINISHED, MARK_TEXT.as_bytes())?;
        folder.disk.sync_folder()?;
        Ok(folder)
    }

    /// A second name for a file, or a copy where that cannot be.
    pub(super) fn link_or_copy(&self, from: &Path, name: &str) -> Result<Placed, BackupError> {
        let (from, to) = (from.join(name), self.path.join(name));
        match fs::hard_link(&from, &to) {
            Ok(()) => {
                let bytes = fs::metadata(&to).map_err(|error| at(&to, error))?.len();
                Ok(Placed { bytes, is_link: true })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(at(&from, error).into()),
            // Another file system, or one without links. What else is wrong the copy will meet, too.
            Err(_) => copy(&from, &to, u64::MAX),
        }
    }

    /// A copy of the first bytes of a file, of all if it has fewer.
    pub(super) fn copy(&self, from: &Path, name: &str, end: u64) -> Result<Placed, BackupError> {
        copy(&from.join(name), &self.path.join(name), end)
    }

    /// Everything is there.
    pub(super) fn finish(mut self, manifest: Option<&Manifest>) -> Result<(), BackupError> {
        // Nobody noted what was with consumers when this was taken.
        self.disk.create(RUNNING)?;
        self.disk.sync_folder()?;
        if let Some(manifest) = manifest {
            let text = serde_json::to_vec_pretty(manifest).expect("a list is plain numbers and strings");
            self.write(MANIFEST, &text)?;
        }
        self.disk.sync_folder()?;
        self.disk.remove(UNFINISHED)?;
        self.disk.sync_folder()?;
        self.is_whole = true;
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.path.join(name);
        let written = create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        Ok(written.map_err(|error| at(&path, error))?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Everything here but the lock is ours: the folder was empty. What cannot be removed stays marked.
        let mut files = if self.is_whole { Vec::new() } else { self.disk.list().unwrap_or_default() };
        // The mark last.
        files.sort_by_key(|(name, _)| name == UNFINISHED);
        for (name, _) in files {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_file(self.path.join(crate::store::file_disk::LOCK));
        if !self.is_whole && !self.was_there {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn copy(from: &Path, to: &Path, end: u64) -> Result<Placed, BackupError> {
    let copied = || -> io::Result<u64> {
        let mut source = File::open(from)?.take(end);
        let mut target = create(to)?;
        // In the kernel, and without copying at all where the file system can share blocks.
        let bytes = io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        Ok(bytes)
    };
    let bytes = copied().map_err(|error| {
        let text = format!("cannot copy {} to {}: {error}", from.display(), to.display());
        io::Error::new(error.kind(), text)
    })?;
    Ok(Placed { bytes, is_link: false })
}

/// For its owner alone, as all files of a data folder.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Names the file in an error of the system.
pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
