//! A folder of the operating system as a [`Disk`].
//!
//! Invariants: one process at a time has a folder open for writing: it holds a lock on the file [`LOCK`], which the
//! system lets go of however the process ends. New folders and files are their owner's alone, for they hold users'
//! messages. Every error names the file.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::disk::{Disk, DiskFile, check_name};

/// The file that is locked. It holds the number of the process, for whoever is refused.
pub(super) const LOCK: &str = "lock";

/// Only the owner may look into the folder.
const FOLDER_MODE: u32 = 0o700;

/// Only the owner may read and write the files.
const FILE_MODE: u32 = 0o600;

/// Most slices in one call of the system (Linux: `UIO_MAXIOV`).
const SLICES_MAX: usize = 1024;

/// Bytes of zeros written at a time where the file system cannot allocate.
const ZEROS: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    folder: File,
    /// Held as long as the disk is open; none where it is only read.
    lock: Option<File>,
}

impl FileDisk {
    /// Opens a folder, for this process alone. Makes it if it does not exist.
    ///
    /// # Errors
    /// Another process has it open ([`ErrorKind::ResourceBusy`]), or it cannot be made or read. The text names the
    /// folder and what to do.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        make_folder(path)?;
        let folder = File::open(path).map_err(|error| at(path, error))?;
        let lock = lock(path)?;
        Ok(FileDisk { path: path.to_owned(), folder, lock: Some(lock) })
    }

    /// Opens a folder that exists, to be read only. Takes no lock: what another process writes meanwhile may be seen
    /// half-written.
    ///
    /// # Errors
    /// It does not exist or cannot be read.
    pub fn read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let folder = File::open(path).map_err(|error| at(path, error))?;
        if !folder.metadata().map_err(|error| at(path, error))?.is_dir() {
            return Err(at(path, ErrorKind::NotADirectory.into()));
        }
        Ok(FileDisk { path: path.to_owned(), folder, lock: None })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file_path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        if name == LOCK {
            let text = format!("'{LOCK}' is what locks the data folder, not a file to be used");
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(self.path.join(name))
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => {
                let text = format!("{} is open for reading only", self.path.display());
                Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, text))
            }
        }
    }
}

impl Disk for FileDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.check_writable()?;
        let path = self.file_path(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        let file = options.open(&path).map_err(|error| at(&path, error))?;
        Ok(Arc::new(PlainFile { path, file, is_writable: true }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.file_path(name)?;
        let is_writable = self.lock.is_some();
        let file = OpenOptions::new().read(true).write(is_writable).open(&path);
        let file = file.map_err(|error| at(&path, error))?;
        Ok(Arc::new(PlainFile { path, file, is_writable }))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in self.path.read_dir().map_err(|error| at(&self.path, error))? {
            let entry = entry.map_err(|error| at(&self.path, error))?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed meanwhile, by the process that writes here.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&entry.path(), error)),
            };
            // A name that is not text is none of ours.
            if let Ok(name) = entry.file_name().into_string()
                && metadata.is_file()
                && name != LOCK
            {
                files.push((name, metadata.len()));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        let path = self.file_path(name)?;
        std::fs::remove_file(&path).map_err(|error| at(&path, error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        let (from, to) = (self.file_path(from)?, self.file_path(to)?);
        std::fs::rename(&from, to).map_err(|error| at(&from, error))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all().map_err(|error| at(&self.path, error))
    }

    fn free_space(&self) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(&self.folder).map_err(|error| at(&self.path, error.into()))?;
        // Not `f_bfree`: that counts what only the superuser may use.
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// A file of a [`FileDisk`].
struct PlainFile {
    path: PathBuf,
    file: File,
    is_writable: bool,
}

impl std::fmt::Debug for PlainFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

impl PlainFile {
    fn at(&self, error: io::Error) -> io::Error {
        at(&self.path, error)
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.is_writable {
            true => Ok(()),
            false => Err(self.at(ErrorKind::ReadOnlyFilesystem.into())),
        }
    }

    /// Takes space where the file system has no call for it: by writing zeros beyond the end. (Inside the file there
    /// may be holes; nobody here makes any.)
    fn write_zeros(&self, end: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS];
        let mut from = self.file.metadata()?.len();
        while from < end {
            let count = (end - from).min(ZEROS as u64);
            self.file.write_all_at(&zeros[..count as usize], from)?;
            from += count;
        }
        Ok(())
    }
}

impl DiskFile for PlainFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.at(error)),
            }
        }
        Ok(read)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut offset = offset;
        for slices in slices.chunks(SLICES_MAX) {
            let mut rest: Vec<IoSlice<'_>> =
                slices.iter().copied().filter(|slice| !slice.is_empty()).collect();
            let mut rest = rest.as_mut_slice();
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.file, rest, offset) {
                    Ok(0) => return Err(self.at(ErrorKind::WriteZero.into())),
                    Ok(count) => {
                        offset += count as u64;
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(self.at(error.into())),
                }
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(|error| self.at(error))?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.file.set_len(len).map_err(|error| self.at(error))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if len == 0 {
            return Ok(());
        }
        loop {
            return match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
                Ok(()) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.write_zeros(offset.saturating_add(len)).map_err(|error| self.at(error))
                }
                Err(error) => Err(self.at(error.into())),
            };
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| self.at(error))
    }

    fn prefetch(&self, offset: u64, len: u64) {
        #[cfg(not(target_vendor = "apple"))]
        if let Some(len) = std::num::NonZeroU64::new(len) {
            // A hint: if the system does not want it, the read waits for the disk.
            let _ = rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::WillNeed);
        }
        #[cfg(target_vendor = "apple")]
        let _ = (offset, len);
    }
}

/// Makes a folder and those above it, and their names safe.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(|error| {
        let text = format!("cannot make the data folder {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| at(parent, error))?;
    }
    Ok(())
}

/// Takes the lock of a folder, or says who has it.
fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let mut file = options.open(&path).map_err(|error| at(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(at(&path, error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = (&file).take(20).read_to_string(&mut holder);
            let process = match read.ok().and_then(|_| holder.trim().parse::<u32>().ok()) {
                Some(process) => format!("another process ({process})"),
                None => "another process".to_owned(),
            };
            let folder = folder.display();
            let text = format!(
                "{process} uses the data folder {folder}: stop it first, or give this one a data folder of its own"
            );
            return Err(io::Error::new(ErrorKind::ResourceBusy, text));
        }
    }
    // Whose lock it is helps whoever is refused, but a full disk must not keep the broker from starting.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// An error with the file that it is about. To the store, a full quota is a full disk, and so are too many open files:
/// nothing has happened to the disk, and the same works once connections have ended.
fn at(path: &Path, error: io::Error) -> io::Error {
    use rustix::io::Errno;
    let too_many = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    let kind = match error.kind() {
        _ if too_many.contains(&error.raw_os_error()) => ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        kind => kind,
    };
    io::Error::new(kind, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn too_many_open_files_are_no_damage() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(at(Path::new("x"), error).kind(), ErrorKind::StorageFull);
    }

    use super::*;

    fn read(file: &dyn DiskFile, offset: u64, len: usize) -> Vec<u8> {
        let mut buffer = vec![0xEE; len];
        let read = file.read_at(&mut buffer, offset).unwrap();
        buffer.truncate(read);
        buffer
    }

    #[test]
    fn many_slices_are_written_back_to_back_and_reading_ends_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        let file = disk.create("a").unwrap();
        let parts: Vec<Vec<u8>> = (0..3000_usize).map(|number| vec![number as u8; number % 3]).collect();
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&slices, 5).unwrap();
        let whole = parts.concat();
        assert_eq!(file.len().unwrap(), 5 + whole.len() as u64);
        assert_eq!(read(&*file, 0, 5), [0; 5]);
        assert_eq!(read(&*file, 5, whole.len() + 10), whole);
        let error = file.read_exact_at(&mut [0; 10], whole.len() as u64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        file.sync_data().unwrap();
    }

    #[test]
    fn allocating_makes_a_file_longer_by_zeros_and_changes_no_byte() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        let file = disk.create("a").unwrap();
        file.write_at(&[IoSlice::new(b"abc")], 0).unwrap();
        file.allocate(0, 8192).unwrap();
        file.prefetch(0, 8192);
        assert_eq!((file.len().unwrap(), read(&*file, 0, 5)), (8192, b"abc\0\0".to_vec()));
        file.allocate(0, 10).unwrap();
        assert_eq!(file.len().unwrap(), 8192, "it never gets shorter");
        let plain = PlainFile {
            path: folder.path().join("b"),
            file: File::create_new(folder.path().join("b")).unwrap(),
            is_writable: true,
        };
        plain.write_zeros(100_000).unwrap();
        assert_eq!(plain.len().unwrap(), 100_000, "as well where the file system has no call for it");
    }

    #[test]
    fn files_are_listed_renamed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        disk.create("b").unwrap().set_len(7).unwrap();
        disk.create("a").unwrap();
        assert_eq!(disk.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.list().unwrap(), [("a".to_owned(), 0), ("b".to_owned(), 7)]);
        disk.rename("b", "a").unwrap();
        disk.sync_folder().unwrap();
        assert_eq!(disk.list().unwrap(), [("a".to_owned(), 7)], "it takes the other's place");
        disk.remove("a").unwrap();
        let error = disk.open("a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&*folder.path().join("a").to_string_lossy()), "{error}");
        assert!(disk.free_space().unwrap() > 0);
    }

    #[test]
    fn names_stay_in_the_folder_and_the_lock_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        for name in ["", ".", "..", "../a", "a/b", "lock"] {
            assert_eq!(disk.create(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            assert_eq!(disk.remove(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(disk.list().unwrap(), []);
    }

    #[test]
    fn a_second_one_is_refused_by_name_until_the_first_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let disk = FileDisk::open(&path).unwrap();
        let error = FileDisk::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        assert_eq!(
            error.to_string(),
            format!(
                "another process ({}) uses the data folder {}: stop it first, or give this one a data folder of its own",
                std::process::id(),
                path.display()
            )
        );
        FileDisk::read_only(&path).unwrap();
        drop(disk);
        FileDisk::open(&path).unwrap();
    }

    #[test]
    fn what_is_made_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one").join("two");
        let disk = FileDisk::open(&path).unwrap();
        disk.create("a").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
        assert_eq!((mode(&path.join("a")), mode(&path.join("lock"))), (0o600, 0o600));
    }

    #[test]
    fn a_folder_to_be_read_only_is_not_made_locked_or_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        assert_eq!(FileDisk::read_only(&path).unwrap_err().kind(), ErrorKind::NotFound);
        FileDisk::open(&path).unwrap().create("a").unwrap().write_at(&[IoSlice::new(b"abc")], 0).unwrap();
        let disk = FileDisk::read_only(&path).unwrap();
        let file = disk.open("a").unwrap();
        assert_eq!(read(&*file, 0, 10), b"abc");
        let refused = [
            file.write_at(&[IoSlice::new(b"d")], 0),
            file.set_len(0),
            file.allocate(0, 1),
            disk.create("b").map(drop),
            disk.remove("a"),
            disk.rename("a", "b"),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        }
        FileDisk::open(&path).unwrap();
    }

    #[test]
    fn a_full_disk_and_a_full_quota_are_storage_full() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(at(Path::new("a"), errno.into()).kind(), ErrorKind::StorageFull, "{errno}");
        }
        if Path::new("/dev/full").exists() {
            let file = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
            let file = PlainFile { path: "/dev/full".into(), file, is_writable: true };
            let error = file.write_at(&[IoSlice::new(b"abc")], 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }
}
