//! `rialto backup`: asks a running broker, over the socket in its data folder, to back itself up.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;

use super::data::{FolderOptions, ProgressLine};
use super::output::{counted, note};
use super::{ExitCode, Failure};
use crate::server::{CONTROL_SOCKET, ControlAnswer, ControlRequest};

const EXAMPLES: &str = "\
Examples:
  rialto backup /backups/monday
  rialto backup /backups/monday --data-dir /var/lib/rialto
  rialto data restore /backups/monday --to /var/lib/rialto2

Of a broker that is running, which goes on meanwhile. What was confirmed before is in the backup.
On the same file system it takes no space at first: segments are linked, not copied. Whoever may
write to the broker's data folder may back it up; the broker itself writes the backup.";

/// Back up a running broker
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Where to; if the folder exists, it must be empty
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// The data folder of the broker [default: that of store.data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    options: FolderOptions,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let data = options.options.folder(options.data_dir.as_deref())?;
    let to = std::path::absolute(&options.to)?;
    let mut broker = connect(&data)?;
    let request = ControlRequest::Backup(to.clone());
    let request = serde_json::to_string(&request)
        .map_err(|_| Failure::usage("the name of the folder is not UTF-8").at(to.display()))?;
    broker.write_all(request.as_bytes())?;
    broker.write_all(b"\n")?;
    let mut line = ProgressLine::new("backing up");
    for answer in BufReader::new(broker).lines() {
        let answer: ControlAnswer = serde_json::from_str(&answer?).map_err(|error| {
            Failure::new(ExitCode::Failure, format!("the broker says something strange: {error}"))
        })?;
        match answer {
            ControlAnswer::Progress { segments, of, .. } => line.show(segments, of),
            ControlAnswer::Error(text) => {
                return Err(Failure::new(ExitCode::Refused, text).at(data.display()));
            }
            ControlAnswer::Done { segments, bytes, linked } => {
                drop(line);
                note(format_args!(
                    "backed up {} with {} ({} linked) and the catalog to {}",
                    counted(segments, "segment"),
                    bytesize::ByteSize(bytes).display().iec(),
                    linked,
                    to.display()
                ));
                return Ok(ExitCode::Success);
            }
        }
    }
    Err(Failure::new(ExitCode::Connection, "the broker ended before the backup was done").at(data.display()))
}

fn connect(data: &Path) -> Result<UnixStream, Failure> {
    let socket = data.join(CONTROL_SOCKET);
    UnixStream::connect(&socket).map_err(|error| {
        let failure = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                Failure::new(ExitCode::Connection, "no broker runs on this data folder").advise(
                    "name its folder with --data-dir; of one that is not running the folder can be copied",
                )
            }
            ErrorKind::PermissionDenied => {
                Failure::new(ExitCode::Connection, "this user may not speak with the broker")
                    .advise("ask as the user that the broker runs as")
            }
            _ => Failure::new(ExitCode::Connection, error),
        };
        failure.at(socket.display())
    })
}
