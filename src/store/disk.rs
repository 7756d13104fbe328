//! A folder of files, as the store needs one: the seam where tests crash, tear and fail the disk.
//!
//! Invariants: nothing is safe before it was synced, neither bytes ([`DiskFile::sync_data`]) nor names
//! ([`Disk::sync_folder`]); a full disk is [`io::ErrorKind::StorageFull`], whatever it is full by. After a failed sync
//! nobody knows what is on disk: it must not be tried again as if nothing had happened.
//! Not here: what the files hold.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// A folder. Names are those of files directly in it.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Makes a file, empty, to be read and written.
    ///
    /// # Errors
    /// It exists, or the disk fails.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to be read and written (read only where the folder is).
    ///
    /// # Errors
    /// It does not exist, or the disk fails.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The files and their lengths in bytes, by name.
    ///
    /// # Errors
    /// The disk fails.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Removes a file. Whoever has it open still can read it.
    ///
    /// # Errors
    /// It does not exist, or the disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of the one that has it, if there is one.
    ///
    /// # Errors
    /// It does not exist, or the disk fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes what was created, removed and renamed safe. Returns when it is.
    ///
    /// # Errors
    /// The disk fails; what is safe is not known then.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// The disk fails.
    fn free_space(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads from a byte on and says how much: less than there is room for only at the end of the file.
    ///
    /// # Errors
    /// The disk fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads exactly this many bytes.
    ///
    /// # Errors
    /// The file ends before ([`io::ErrorKind::UnexpectedEof`]), or the disk fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.read_at(buffer, offset)?;
        if read < buffer.len() {
            let wanted = buffer.len();
            let text =
                format!("{self:?} ends {} bytes too early to read {wanted} at {offset}", wanted - read);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }

    /// Writes all of the slices, back to back, from a byte on. The file grows where they go beyond its end.
    ///
    /// # Errors
    /// The disk is full or fails; any part may have been written then.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The disk fails.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// The disk fails.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or makes it longer by zeros.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Takes the space for these bytes now, so that writing them cannot meet a full disk. The file grows by zeros
    /// where they lie beyond its end.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes what was written, and the length, safe. Returns when it is.
    ///
    /// # Errors
    /// The disk fails; what is safe is not known then.
    fn sync_data(&self) -> io::Result<()>;

    /// Tells the disk that these bytes will soon be read. A hint: it neither waits nor fails.
    fn prefetch(&self, offset: u64, len: u64);
}

/// Refuses what is not the plain name of a file in the folder.
pub(super) fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        let text = format!("'{name}' is not the name of a file in a data folder");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}
