//! A NATS server with JetStream for a round: its settings, its folder, and how it comes to sync before it confirms.
//!
//! Newer servers sync each message when told to (`sync_interval: always`). Older ones, Debian's 2.9 among them, refuse
//! that setting: they write a message before they confirm it, and sync once in a while. Their files are marked so that
//! the system syncs what is written to them (`chattr +S`). Both cost a sync for each message. Only files of messages
//! are marked, as little as that promise needs: what consumers have acknowledged is written unsynced.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::super::super::error::{BenchError, BenchResult, Doing};
use super::super::super::leftovers::Guard;
use super::super::super::process::{Process, command};
use super::super::super::scratch::scratch_folder;

/// A server that runs, on loopback.
pub(in super::super::super) struct Server {
    pub(in super::super::super) process: Process,
    /// To be dropped behind the process that writes to it.
    pub(in super::super::super) folder: Guard,
    /// Where it keeps its messages, if the system has to sync them.
    pub(in super::super::super) unsynced: Option<PathBuf>,
}

impl Server {
    /// Starts one with a folder of its own. `synced`: messages in files are synced before they are confirmed.
    pub(in super::super::super) fn start(program: &Path, synced: bool) -> BenchResult<Server> {
        let (path, folder) = scratch_folder()?;
        let data = path.join("data");
        let settings = path.join("nats.conf");
        let syncs = synced && {
            write_settings(&settings, &data, "sync_interval: always")?;
            accepts(program, &settings)?
        };
        if !syncs {
            write_settings(&settings, &data, "")?;
        }
        let process = Process::start(program, &["--config", utf8(&settings)?])?;
        Ok(Server { process, folder, unsynced: (synced && !syncs).then_some(data) })
    }
}

fn write_settings(file: &Path, data: &Path, more: &str) -> BenchResult<()> {
    let text =
        format!("listen: \"127.0.0.1:-1\"\njetstream {{\n  store_dir: {:?}\n  {more}\n}}\n", utf8(data)?);
    fs::write(file, text).doing(|| format!("cannot write {}", file.display()))
}

/// Whether the server knows all these settings.
fn accepts(program: &Path, settings: &Path) -> BenchResult<bool> {
    let tried = command(program)?.arg("-t").arg("--config").arg(settings).output();
    Ok(tried.doing(|| format!("cannot start {}", program.display()))?.status.success())
}

fn utf8(path: &Path) -> BenchResult<&str> {
    let not = || BenchError::Options(format!("the name of {} is not UTF-8", path.display()));
    path.to_str().ok_or_else(not)
}

/// Has the system sync what is written to the messages of all streams that a server keeps in this folder.
pub(super) fn sync_messages(folder: &Path) -> BenchResult<()> {
    let cannot = |error: io::Error| {
        BenchError::Process(format!(
            "this NATS server does not sync before it confirms, and the system cannot do it in {}: {error}\n\
             measure jetstream-unsynced, or a newer server, which knows sync_interval: always (--nats-server), or set\n\
             TMPDIR to a folder on ext4, xfs or btrfs",
            folder.display()
        ))
    };
    let mut marked = false;
    for account in entries(&folder.join("jetstream")).map_err(cannot)? {
        for stream in entries(&account.join("streams")).map_err(cannot)? {
            let messages = stream.join("msgs");
            // New files inherit it.
            mark(&messages).map_err(cannot)?;
            for file in entries(&messages).map_err(cannot)? {
                if file.extension() == Some(OsStr::new("blk")) {
                    mark(&file).map_err(cannot)?;
                }
            }
            marked = true;
        }
    }
    match marked {
        true => Ok(()),
        false => Err(cannot(io::Error::new(io::ErrorKind::NotFound, "it keeps no messages there"))),
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn mark(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let flags = ioctl_getflags(&file)?;
    Ok(ioctl_setflags(&file, flags | IFlags::SYNC)?)
}
