//! `rialto data`: what lies in a data folder, and whether it is whole. Works on the folder, not through a broker.
//!
//! Invariants: `check` and `stats` only read, take no lock and may run beside a broker; `restore` writes into an empty
//! folder only. Not here: what is on disk (`store`), backups of a running broker (`backup`).

mod check;
mod folder;
mod progress;
mod restore;
mod stats;

use clap::Subcommand;

use super::{ExitCode, Failure};

pub(super) use folder::FolderOptions;
pub(super) use progress::ProgressLine;

const EXAMPLES: &str = "\
Examples:
  rialto data check
  rialto data check /var/lib/rialto --json | jq .damage
  rialto data stats
  rialto data restore /backups/monday --to /var/lib/rialto

A folder is that of store.data_dir, unless one is named. A broker may go on meanwhile.";

/// Look into a data folder, check it, restore a backup
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Options {
    /// Read every message and say what is damaged, and where
    Check(check::Options),
    /// Show what is in the queues, and what it takes on disk
    Stats(stats::Options),
    /// Make a data folder out of a backup
    Restore(restore::Options),
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::Check(options) => check::run(&options),
        Options::Stats(options) => stats::run(&options),
        Options::Restore(options) => restore::run(&options),
    }
}
