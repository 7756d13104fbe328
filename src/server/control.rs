//! The control socket: a Unix socket in the data folder, for who may use the folder.
//!
//! A line of JSON asks ([`ControlRequest`]), lines of JSON answer ([`ControlAnswer`]), the last of them `done` or
//! `error`. Invariants: only the broker's own user and the superuser are answered; one backup at a time; a request is
//! short and comes soon; a backup whose client goes away is given up. Not here: what a backup is (`store::backup`).

use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, SystemClock};
use crate::store::backup::{self, BackupSource};

/// The socket's name in the data folder.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Longest request in bytes: a path has at most 4096, and JSON may escape each of them.
const REQUEST_MAX: u64 = 64 << 10;

/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at a time.
const CONNECTIONS_MAX: usize = 16;

/// Answers that wait for a client that reads slowly; then the backup waits.
const ANSWERS_AHEAD: usize = 16;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlRequest {
    /// A backup into this folder, which is absolute.
    Backup(PathBuf),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// How far it has come.
    Progress {
        /// Segments done.
        segments: u64,
        /// Segments to do.
        of: u64,
        /// Bytes of those that are done.
        bytes: u64,
    },
    /// All is done.
    Done {
        /// Segments.
        segments: u64,
        /// Their bytes.
        bytes: u64,
        /// How many of them are hard links.
        linked: u64,
    },
    /// It could not be done.
    Error(String),
}

/// A control socket that listens.
pub struct Control {
    listener: UnixListener,
    shared: Arc<Shared>,
}

struct Shared {
    data: PathBuf,
    source: Arc<dyn BackupSource>,
    /// Held while a backup is made.
    busy: Mutex<()>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Control {
    /// Listens in a data folder, which this process has locked: a socket that is there is left over.
    ///
    /// # Errors
    /// The socket cannot be made; the error names it. (A path of more than some hundred bytes is too long for one.)
    pub fn bind(data: &Path, source: Arc<dyn BackupSource>, stop: CancellationToken) -> io::Result<Control> {
        let path = data.join(CONTROL_SOCKET);
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(at)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(at)?;
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let data = std::path::absolute(data)?;
        Ok(Control { listener, shared: Arc::new(Shared { data, source, busy: Mutex::new(()), room, stop }) })
    }

    /// Answers until it is stopped; a backup that is being made is given up then.
    pub async fn run(self) {
        let Control { listener, shared } = self;
        let tasks = tokio_util::task::TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shared.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Whoever is one too many is hung up on.
                    let Ok(room) = shared.room.clone().try_acquire_owned() else { continue };
                    let shared = shared.clone();
                    tasks.spawn(async move {
                        // A client that has gone is nobody's problem.
                        let _ = serve(stream, &shared).await;
                        drop(room);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket; trying again in a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
        let _ = std::fs::remove_file(shared.data.join(CONTROL_SOCKET));
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("data", &self.shared.data).finish_non_exhaustive()
    }
}

async fn serve(mut stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    // The mode of the socket says it already, except between its making and its mode.
    let own = rustix::process::geteuid().as_raw();
    if ![own, 0].contains(&stream.peer_cred()?.uid()) {
        return Ok(());
    }
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read.take(REQUEST_MAX));
    let mut line = String::new();
    let asked = async {
        tokio::select! {
            asked = tokio::time::timeout(REQUEST_TIMEOUT, read.read_line(&mut line)) => asked.ok(),
            () = shared.stop.cancelled() => None,
        }
    };
    let Some(asked) = asked.await else { return Ok(()) };
    asked?;
    let ControlRequest::Backup(to) = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            return send(&mut write, &ControlAnswer::Error(format!("no such request: {error}"))).await;
        }
    };
    if !to.is_absolute() {
        let text = format!("{} is not absolute, and the broker works in another folder", to.display());
        return send(&mut write, &ControlAnswer::Error(text)).await;
    }
    let (answers, mut coming) = mpsc::channel(ANSWERS_AHEAD);
    // Not a task of the runtime's: it waits for disks. It ends with its receiver, or with the broker.
    let working = tokio::task::spawn_blocking({
        let shared = shared.clone();
        move || back_up(&shared, &to, &answers)
    });
    let mut gone = Ok(());
    while let Some(answer) = coming.recv().await {
        gone = send(&mut write, &answer).await;
        if gone.is_err() {
            break;
        }
    }
    drop(coming);
    let _ = working.await;
    gone
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), answer: &ControlAnswer) -> io::Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    to.write_all(line.as_bytes()).await
}

fn back_up(shared: &Shared, to: &Path, answers: &mpsc::Sender<ControlAnswer>) {
    let Some(_busy) = shared.busy.try_lock() else {
        let text = "another backup is being made: wait for it".to_owned();
        // Nobody waits for it any more: that is fine.
        let _ = answers.blocking_send(ControlAnswer::Error(text));
        return;
    };
    tracing::info!(to = %to.display(), "backup begun");
    let mut progress = |now: backup::Progress| {
        let backup::Progress { segments, of, bytes } = now;
        let told = answers.blocking_send(ControlAnswer::Progress { segments, of, bytes });
        match told.is_err() || shared.stop.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let now = SystemClock::new().now();
    let answer = match backup::back_up(&*shared.source, &shared.data, to, now, &mut progress) {
        Ok(backup::Done { segments, bytes, linked }) => {
            tracing::info!(to = %to.display(), segments, bytes, linked, "backup done");
            ControlAnswer::Done { segments, bytes, linked }
        }
        Err(error) => {
            tracing::warn!(to = %to.display(), %error, "backup failed");
            ControlAnswer::Error(error.to_string())
        }
    };
    let _ = answers.blocking_send(answer);
}
