//! What the system says of this process, its machine and its disk. What it does not say is not told.

use std::path::Path;

/// Figures of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::admin) struct Process {
    /// Bytes of memory that are in use.
    pub(in crate::admin) resident: Option<u64>,
    /// Files and sockets that are open.
    pub(in crate::admin) open_files: Option<u64>,
    /// How many there may be.
    pub(in crate::admin) open_files_max: Option<u64>,
    /// Sockets that are open.
    pub(in crate::admin) sockets: Option<u64>,
}

impl Process {
    /// This one, now.
    pub(in crate::admin) fn now() -> Process {
        let (open_files, sockets) = open_files().unzip();
        let open_files_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Process { resident: resident_memory(), open_files, open_files_max, sockets }
    }
}

/// Bytes that are free in the file system of a folder.
pub(in crate::admin) fn disk_space(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Bytes of memory that this process has in use.
pub fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Bytes of memory of the container, or else of the machine: what is less.
pub fn machine_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let container = system.cgroup_limits().map(|limits| limits.total_memory);
    [Some(system.total_memory()), container].into_iter().flatten().filter(|bytes| *bytes > 0).min()
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
