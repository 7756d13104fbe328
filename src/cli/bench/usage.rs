//! What a process has used, from `/proc`.

use std::fs;
use std::time::Duration;

/// Looks at one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    pid: u32,
    ticks_per_second: u64,
}

impl Meter {
    /// Of the process with this number.
    pub(super) fn of(pid: u32) -> Self {
        Meter { pid, ticks_per_second: rustix::param::clock_ticks_per_second() }
    }

    /// Of the generator itself.
    pub(super) fn own() -> Self {
        Self::of(std::process::id())
    }

    /// CPU time up to now, of all threads, in user and kernel. None: no such process, or no `/proc`.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let ticks = cpu_ticks(&stat)?;
        Some(Duration::from_nanos(ticks * (1_000_000_000 / self.ticks_per_second)))
    }

    /// Resident memory in bytes.
    pub(super) fn rss(&self) -> Option<u64> {
        kib_of("VmRSS:", &fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }

    /// Resident memory in bytes that is no file's: what the process has allocated, and its stacks.
    pub(super) fn anonymous(&self) -> Option<u64> {
        kib_of("RssAnon:", &fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }
}

/// `utime` and `stime` of `/proc/<pid>/stat`, fields 14 and 15. The name, field 2, may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A line of `/proc/<pid>/status`, in bytes.
fn kib_of(name: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_shift_the_fields() {
        let stat = "12 (a b) (c) R 1 1 1 0 -1 4194304 116 0 0 0 70 5 0 0 20 0 1 0 346189 3133440 350";
        assert_eq!(cpu_ticks(stat), Some(75));
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t     3 kB\nRssAnon:\t 2 kB\n";
        assert_eq!((kib_of("VmRSS:", status), kib_of("RssAnon:", status)), (Some(3072), Some(2048)));
        assert_eq!(kib_of("VmRSS:", "Name:\tx\n"), None);
    }
}
