//! What a measurement would leave behind: processes and folders, each ended by the guard that its maker holds.
//!
//! Invariant: what is held here is ended in every case: when its guard is dropped, or by `end_all` for a signal,
//! after which nothing is dropped.

use std::fs;
use std::path::PathBuf;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::listener::{listener_on, process_name};

/// Everything that is held, oldest first.
static HELD: Mutex<Vec<Leftover>> = Mutex::new(Vec::new());

/// Something that does not end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// A process.
    Process(u32),
    /// Whatever process of this name listens on this port, once it does: a daemon that a child starts.
    Listener {
        /// The port, which nobody else was given.
        port: u16,
        /// The name, so that nobody else is met if the port was given to someone after all.
        name: &'static str,
    },
    /// A folder with all that is in it.
    Folder(PathBuf),
}

impl Leftover {
    fn end(&self) {
        match self {
            Leftover::Process(pid) => kill(*pid),
            Leftover::Listener { port, name } => {
                let listener = listener_on(*port).filter(|&pid| process_name(pid).as_deref() == Some(name));
                if let Some(pid) = listener {
                    kill(pid);
                }
            }
            // It may be gone already.
            Leftover::Folder(path) => drop(fs::remove_dir_all(path)),
        }
    }
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends what it holds when it is dropped.
#[derive(Debug)]
pub(super) struct Guard(Leftover);

impl Guard {
    pub(super) fn new(leftover: Leftover) -> Self {
        HELD.lock().push(leftover.clone());
        Guard(leftover)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end();
        let mut held = HELD.lock();
        if let Some(at) = held.iter().position(|held| *held == self.0) {
            held.remove(at);
        }
    }
}

/// Ends everything, latest first: processes before the folders they write to.
pub(super) fn end_all() {
    for leftover in HELD.lock().iter().rev() {
        leftover.end();
    }
}

#[cfg(test)]
pub(super) fn is_held(leftover: &Leftover) -> bool {
    HELD.lock().contains(leftover)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_folder_is_gone_with_its_guard() {
        let path = tempfile::tempdir().unwrap().keep();
        fs::write(path.join("file"), "text").unwrap();
        let folder = Leftover::Folder(path.clone());
        let guard = Guard::new(folder.clone());
        assert!(is_held(&folder));
        drop(guard);
        assert!(!path.exists() && !is_held(&folder));
    }

    #[test]
    fn a_listener_of_another_name_is_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // This very process would be ended.
        drop(Guard::new(Leftover::Listener { port, name: "nobody" }));
    }
}
