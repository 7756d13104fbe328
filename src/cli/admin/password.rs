//! Passwords on their way into a command: from a file, from stdin, from a person. Never from the command line, which
//! everybody on the machine can read, and never shown.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;

use crate::cli::Failure;
use crate::config::Secret;

/// Longest password in bytes.
const PASSWORD_MAX: u64 = 4096;

/// The first line of a file; `-` is stdin.
pub(super) fn from_file(file: &Path) -> Result<Secret, Failure> {
    let told = |error: io::Error| Failure::usage(error).at(file.display());
    let line = match file == Path::new("-") {
        true => first_line(io::stdin().lock()),
        false => first_line(BufReader::new(File::open(file).map_err(told)?)),
    };
    let secret = line.map_err(told)?;
    match secret.reveal().is_empty() {
        true => {
            Err(Failure::usage("the file's first line is empty; it must be a password").at(file.display()))
        }
        false => Ok(secret),
    }
}

fn first_line(from: impl BufRead) -> io::Result<Secret> {
    let mut line = String::new();
    from.take(PASSWORD_MAX).read_line(&mut line)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}

/// Asks whoever sits at the terminal; none if nobody does.
pub(super) fn ask(prompt: &str) -> Result<Option<Secret>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let _ = write!(io::stderr(), "{prompt}");
    let line = {
        let _quiet = Quiet::begin();
        first_line(io::stdin().lock())
    };
    let _ = writeln!(io::stderr());
    Ok(Some(line?))
}

/// Asks twice, for a password that nobody has yet.
pub(super) fn ask_for_new(user: &str) -> Result<Option<Secret>, Failure> {
    let Some(first) = ask(&format!("new password of {user}: "))? else { return Ok(None) };
    match ask("the same once more: ")? {
        Some(second) if second == first => Ok(Some(first)),
        _ => Err(Failure::usage("the two passwords are not the same; nothing was done")),
    }
}

/// A password that nobody can guess: 120 bits in letters and digits that are not mistaken for each other.
pub(super) fn generate() -> Result<Secret, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::usage(format_args!("no random numbers: {error}")))?;
    Ok(Secret::new(bytes.iter().map(|byte| LETTERS[usize::from(byte % 32)] as char).collect::<String>()))
}

/// A terminal that shows nothing of what is typed, until it is dropped.
struct Quiet {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Quiet {
    #[cfg(unix)]
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &quiet);
        }
        Quiet { before }
    }

    #[cfg(not(unix))]
    fn begin() -> Self {
        Quiet {}
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_as_it_is() {
        let read = |text: &str| first_line(text.as_bytes()).unwrap().reveal().to_owned();
        assert_eq!(read(" pass word \r\nsecond"), " pass word ");
        assert_eq!(read("pass"), "pass");
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_eq!(a.reveal().len(), 24);
        assert!(a != b);
    }
}
