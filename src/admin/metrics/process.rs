//! What the system says of this process and of its disk. What it does not say is not told.

use std::path::Path;

/// Figures of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Bytes of memory that are in use.
    pub(super) resident: Option<u64>,
    /// Files and sockets that are open.
    pub(super) open_files: Option<u64>,
    /// How many there may be.
    pub(super) open_files_max: Option<u64>,
    /// Sockets that are open.
    pub(super) sockets: Option<u64>,
}

impl Process {
    /// This one, now.
    pub(super) fn now() -> Process {
        let (open_files, sockets) = open_files().unzip();
        let open_files_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Process { resident: resident(), open_files, open_files_max, sockets }
    }
}

/// Bytes that are free in the file system of a folder.
pub(super) fn disk_space(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// How many files are open, and how many of them are sockets.
fn open_files() -> Option<(u64, u64)> {
    let (mut all, mut sockets) = (0, 0);
    for entry in std::fs::read_dir("/proc/self/fd").ok()? {
        let Ok(entry) = entry else { continue };
        all += 1;
        let to = std::fs::read_link(entry.path()).unwrap_or_default();
        sockets += u64::from(to.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
    }
    Some((all, sockets))
}
