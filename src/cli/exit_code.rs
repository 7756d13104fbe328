//! How the command ends, for scripts.

/// The exit codes of `rialto`. They are part of its interface: [`ExitCode::HELP`] is shown by `rialto --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// All was done. A reader that closed the pipe, and Ctrl-C where the command waits, count as done.
    Success = 0,
    /// Something went wrong that has no code of its own.
    Failure = 1,
    /// The command line is wrong; nothing was done.
    Usage = 2,
    /// The settings are wrong; nothing was started.
    Config = 3,
    /// The broker cannot be reached, refused the login, or was lost.
    Connection = 4,
    /// The broker refused the request: no such queue, other arguments than before, …
    Refused = 5,
    /// Some messages were not accepted; how many stands on stderr.
    NotAccepted = 6,
    /// Something in a data folder or a backup is damaged or missing; what it is has been said.
    Damaged = 7,
    /// Ctrl-C before all was done.
    Interrupted = 130,
}

impl ExitCode {
    /// What `--help` says about the codes.
    pub const HELP: &str = "\
Exit codes:
  0    all was done (also: the reader closed the pipe, or Ctrl-C ended a command that waits)
  1    something went wrong that has no code of its own
  2    the command line is wrong; nothing was done
  3    the settings are wrong; nothing was started
  4    the broker cannot be reached, refused the login, or was lost
  5    the broker refused the request
  6    some messages were not accepted
  7    a data folder or a backup is damaged
  130  Ctrl-C before all was done";
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code() {
        use ExitCode::*;
        for code in [Success, Failure, Usage, Config, Connection, Refused, NotAccepted, Damaged, Interrupted]
        {
            let start = format!("  {:<5}", code as u8);
            assert!(ExitCode::HELP.lines().any(|line| line.starts_with(&start)), "{code:?}");
        }
    }
}
