//! Cores that stay awake while latency is measured.
//!
//! An idle core sleeps, and takes longer to wake than a broker takes for a message: 30 µs and more in a virtual machine.
//! That would be most of every latency, and hide how brokers differ. The kernel's interface for it (its document
//! `pm_qos_interface`, which `cyclictest` uses as well): who holds the file open says how many microseconds it may take.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Where the kernel is told.
const LATENCY_FILE: &str = "/dev/cpu_dma_latency";

/// Cores stay awake as long as this lives.
#[derive(Debug)]
pub(super) struct Awake {
    _held: File,
}

impl Awake {
    /// None: the system does not allow it, or knows no such thing.
    pub(super) fn keep() -> Option<Awake> {
        Awake::told_by(Path::new(LATENCY_FILE))
    }

    fn told_by(path: &Path) -> Option<Awake> {
        let mut held = OpenOptions::new().write(true).open(path).ok()?;
        held.write_all(&0_i32.to_ne_bytes()).ok()?;
        Some(Awake { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_for_no_delay_if_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latency");
        assert!(Awake::told_by(&path).is_none());
        File::create(&path).unwrap();
        assert!(Awake::told_by(&path).is_some());
        assert_eq!(std::fs::read(&path).unwrap(), [0; 4]);
    }
}
