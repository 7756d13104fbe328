//! Why a command ended badly, told to a person: what, where, what to do.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::ExitCode;
use crate::config::ConfigError;

/// An error as the user sees it, with the exit code that scripts see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, in one clause.
    pub what: String,
    /// Where: a file, an address, an option.
    pub place: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// How the command ends.
    pub code: ExitCode,
}

impl Failure {
    /// A failure of which only the what is known.
    pub fn new(code: ExitCode, what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), place: None, advice: None, code }
    }

    /// An option that cannot be used.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::new(ExitCode::Usage, what)
    }

    /// Adds where it is.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// Adds what to do.
    pub fn advise(mut self, advice: impl fmt::Display) -> Self {
        self.advice = Some(advice.to_string());
        self
    }

    /// Writes it to stderr, in colour if that is a terminal. A closed stderr is nobody's problem.
    pub fn print(&self) {
        let mut err = anstream::stderr().lock();
        let red = AnsiColor::Red.on_default().bold();
        let _ = write_line(&mut err, red, "error", &self.what);
        if let Some(place) = &self.place {
            let _ = write_line(&mut err, Style::new().bold(), "  where", place);
        }
        if let Some(advice) = &self.advice {
            let _ = write_line(&mut err, Style::new().bold(), "  what to do", advice);
        }
    }
}

fn write_line(out: &mut impl Write, style: Style, label: &str, text: &str) -> io::Result<()> {
    // What follows a line break stays under its label.
    let text = text.trim_end().replace('\n', "\n    ");
    writeln!(out, "{style}{label}:{style:#} {text}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::new(ExitCode::Config, error.what()).at(error.origin()).advise(error.advice())
    }
}

/// For errors of files and streams; a closed pipe has been dealt with before.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::new(ExitCode::Failure, error)
    }
}
