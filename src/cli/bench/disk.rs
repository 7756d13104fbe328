//! The disk itself: a loop that appends a batch and syncs it, and does nothing else. No broker that syncs before it
//! confirms can confirm more on this disk with batches of the same size.
//!
//! Its batch is a whole window of all publishers, unless told: a broker cannot have more waiting for one sync.
//! What was synced counts as confirmed and as received. Not here: any protocol.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use hdrhistogram::Histogram;

use super::confirm_times::ConfirmTimes;
use super::error::{BenchError, BenchResult, Doing};
use super::leftovers::Guard;
use super::plan::Plan;
use super::scratch::scratch_folder;
use super::traffic::{self, Answers, Due, Ends};

/// Bytes of a file after which a new one takes its place, as a journal's segments do.
const FILE_MAX: u64 = 64 << 20;

/// Messages of one sync.
pub(super) fn batch(told: Option<u32>, plan: &Plan) -> u32 {
    told.unwrap_or(plan.confirms.unwrap_or(plan.batch).saturating_mul(plan.publishers)).max(1)
}

/// What asks too much of a disk.
pub(super) fn unsupported(plan: &Plan) -> Option<&'static str> {
    match plan {
        Plan { fanout: true, .. } => Some("queues that each get a copy"),
        Plan { topic: Some(_), .. } => Some("bindings"),
        Plan { rate: Some(_), .. } => Some("rate: it writes what it can"),
        Plan { consumers: 0, .. } => Some("measurement without consumers"),
        _ => None,
    }
}

/// The one publisher, whose batches are the plan's, and the one consumer.
pub(super) fn connect(plan: &Plan) -> BenchResult<Ends> {
    let (folder, guard) = scratch_folder()?;
    let (out, synced) = mpsc::channel();
    let publisher = Publisher {
        socket: IdleSocket::open()?,
        file: new_file(&folder.join("0"))?,
        folder,
        number: 0,
        written: 0,
        size: plan.size,
        block: vec![b'x'; plan.size * plan.batch as usize],
        out,
        answers: Answers::default(),
        times: ConfirmTimes::new(),
        _guard: guard,
    };
    let consumer = Consumer { socket: IdleSocket::open()?, synced };
    Ok(Ends {
        publishers: vec![Box::new(publisher)],
        consumers: vec![Box::new(consumer)],
        clean_up: Box::new(|| Ok(())),
    })
}

/// Nothing comes through it: a round tells its connections by their sockets that it is over.
struct IdleSocket {
    stream: TcpStream,
    /// The other end, in its backlog.
    _listener: TcpListener,
}

impl IdleSocket {
    fn open() -> BenchResult<IdleSocket> {
        let open = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            Ok(IdleSocket { stream: TcpStream::connect(listener.local_addr()?)?, _listener: listener })
        };
        open().doing(|| "cannot open a socket".to_owned())
    }

    fn wait_for_the_end(&mut self) {
        let _ = self.stream.read(&mut [0]);
    }
}

fn new_file(path: &Path) -> BenchResult<File> {
    File::create_new(path).doing(|| format!("cannot create {}", path.display()))
}

struct Publisher {
    socket: IdleSocket,
    file: File,
    folder: PathBuf,
    /// The name of the file.
    number: u64,
    /// Bytes in it.
    written: u64,
    size: usize,
    block: Vec<u8>,
    out: Sender<u64>,
    answers: Answers,
    times: ConfirmTimes,
    /// Removes the folder.
    _guard: Guard,
}

impl Publisher {
    fn path(&self) -> PathBuf {
        self.folder.join(self.number.to_string())
    }

    fn next_file(&mut self) -> BenchResult<()> {
        let old = self.path();
        self.number += 1;
        self.written = 0;
        self.file = new_file(&self.path())?;
        fs::remove_file(&old).doing(|| format!("cannot remove {}", old.display()))
    }

    fn append(&mut self, bytes: usize) -> BenchResult<()> {
        if self.written > 0 && self.written + bytes as u64 > FILE_MAX {
            self.next_file()?;
        }
        self.written += bytes as u64;
        let written = self.file.write_all(&self.block[..bytes]).and_then(|()| self.file.sync_data());
        written.doing(|| format!("cannot write to {}", self.path().display()))
    }
}

impl traffic::Publisher for Publisher {
    fn publish(&mut self, count: u32, _: Option<Due<'_>>) -> BenchResult<()> {
        let began = Instant::now();
        self.append(self.size * count as usize)?;
        self.times.record(began, Instant::now(), count.into());
        self.answers.confirmed += u64::from(count);
        self.out.send(count.into()).map_err(|_| BenchError::Ended)
    }

    fn finish(&mut self) -> BenchResult<Answers> {
        Ok(self.answers)
    }

    fn begin_window(&mut self) {
        self.times.clear();
    }

    fn confirm_times(&self) -> Option<&Histogram<u64>> {
        Some(self.times.histogram())
    }

    fn socket(&self) -> &TcpStream {
        &self.socket.stream
    }
}

struct Consumer {
    socket: IdleSocket,
    synced: Receiver<u64>,
}

impl traffic::Consumer for Consumer {
    fn receive(&mut self, _: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        let synced = self.synced.recv().ok();
        if synced.is_none() {
            self.socket.wait_for_the_end();
        }
        Ok(synced)
    }

    fn socket(&self) -> &TcpStream {
        &self.socket.stream
    }
}
