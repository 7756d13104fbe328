//! `rialto completions`: scripts that teach a shell our commands, made from the same definitions.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::output::{Written, written};
use super::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  source <(rialto completions bash)                 # in this shell, until it ends
  rialto completions bash > ~/.local/share/bash-completion/completions/rialto
  rialto completions zsh > ~/.zfunc/_rialto
  rialto completions fish > ~/.config/fish/completions/rialto.fish";

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn run(options: &Options, mut command: clap::Command) -> Result<ExitCode, Failure> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "rialto", &mut script);
    match written(std::io::stdout().write_all(&script))? {
        Written::All | Written::PipeClosed => Ok(ExitCode::Success),
    }
}
