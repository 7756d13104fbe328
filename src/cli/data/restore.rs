//! `rialto data restore`: a data folder out of a backup.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use super::check;
use super::folder::size;
use super::progress::ProgressLine;
use crate::cli::output::{counted, note};
use crate::cli::{ExitCode, Failure};
use crate::store::backup::{BackupError, Manifest, check_finished, restore};

const EXAMPLES: &str = "\
Examples:
  rialto data restore /backups/monday --to /var/lib/rialto
  rialto serve --data-dir /var/lib/rialto

Checks the backup first, all of it, and writes into an empty folder only. The backup stays as it
is. What consumers have acknowledged since the backup was made comes again.";

/// Make a data folder out of a backup
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Options {
    /// The backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The data folder to make; if it exists, it must be empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let Options { backup, to } = options;
    check_finished(backup).and_then(|()| Manifest::read(backup)).map_err(failure)?;
    let found = check::look(backup.clone())?;
    if let Some(first) = found.damage().first() {
        let failure = Failure::new(ExitCode::Damaged, format!("the backup is damaged: {first}"));
        return Err(failure.at(backup.display()).advise("`rialto data check` on it says all that is wrong"));
    }
    let mut line = ProgressLine::new("restoring");
    let done = restore(backup, to, &mut |now| {
        line.show(now.segments, now.of);
        ControlFlow::Continue(())
    });
    drop(line);
    let done = done.map_err(failure)?;
    let segments = counted(done.segments, "segment");
    note(format_args!("restored {segments} with {} and the catalog to {}", size(done.bytes), to.display()));
    Ok(ExitCode::Success)
}

fn failure(error: BackupError) -> Failure {
    let code = match &error {
        BackupError::Manifest { .. } | BackupError::File { .. } | BackupError::Unfinished(_) => {
            ExitCode::Damaged
        }
        BackupError::NotEmpty(_) | BackupError::NoBackup(_) => ExitCode::Usage,
        BackupError::Cancelled | BackupError::Catalog(_) | BackupError::Disk(_) => ExitCode::Failure,
    };
    Failure::new(code, error)
}
