//! Which messages may have been with a consumer when a process was killed: those before a number that a file of the data
//! folder keeps, since nothing else tells.
//!
//! Deliveries are not in the journal. A process that ends in good order notes what came back from consumers; after one that
//! did not, whatever was there then is flagged as delivered before, also after later starts. Numbers are not used
//! twice while there is a message, so what comes afterwards is not concerned.

use std::io::{self, ErrorKind, IoSlice};

use super::Disk;
use crate::model::Lsn;

/// The file: a number in text.
const FILE: &str = "delivered";
const NEW_FILE: &str = "delivered.new";

/// What the file says: none if it is not there, all messages if it cannot be understood.
///
/// # Errors
/// The disk fails.
pub(super) fn read(disk: &dyn Disk) -> io::Result<Lsn> {
    let file = match disk.open(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lsn(0)),
        Err(error) => return Err(error),
    };
    let mut text = [0; 20];
    let len = file.read_at(&mut text, 0)?;
    let number = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.trim_end().parse().ok());
    Ok(Lsn(number.unwrap_or(u64::MAX)))
}

/// Keeps another number: safe when this returns.
///
/// # Errors
/// The disk is full or fails; the file is as it was.
pub(super) fn write(disk: &dyn Disk, before: Lsn) -> io::Result<()> {
    if disk.list()?.iter().any(|(name, _)| name == NEW_FILE) {
        disk.remove(NEW_FILE)?;
    }
    let file = disk.create(NEW_FILE)?;
    file.write_at(&[IoSlice::new(before.0.to_string().as_bytes())], 0)?;
    file.sync_data()?;
    disk.rename(NEW_FILE, FILE)?;
    disk.sync_folder()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SimDisk;

    #[test]
    fn it_is_none_until_it_is_written_and_stays_over_a_crash() {
        let disk = SimDisk::new();
        assert_eq!(read(&disk).unwrap(), Lsn(0));
        for number in [7, u64::MAX, 12] {
            write(&disk, Lsn(number)).unwrap();
            assert_eq!(read(&disk.only_synced()).unwrap(), Lsn(number));
        }
    }

    #[test]
    fn what_makes_no_sense_is_every_message() {
        let disk = SimDisk::new();
        disk.create(FILE).unwrap().write_at(&[IoSlice::new(b"soon")], 0).unwrap();
        assert_eq!(read(&disk).unwrap(), Lsn(u64::MAX));
    }
}
