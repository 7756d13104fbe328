//! How far something long has come: one line that is written over, for people only.

use std::io::{self, IsTerminal, Write};

/// The line. Gone when it is dropped.
pub(in crate::cli) struct ProgressLine {
    what: &'static str,
    is_shown: bool,
    percent: Option<u64>,
}

impl ProgressLine {
    /// Of a thing that is being done, like `checking`. Shown where stderr is a terminal.
    pub(in crate::cli) fn new(what: &'static str) -> Self {
        ProgressLine { what, is_shown: io::stderr().is_terminal(), percent: None }
    }

    /// So much is done, of so much.
    pub(in crate::cli) fn show(&mut self, done: u64, of: u64) {
        let percent = (u128::from(done) * 100).checked_div(of.into()).unwrap_or(100) as u64;
        if self.is_shown && self.percent != Some(percent) {
            self.percent = Some(percent);
            let _ = write!(io::stderr(), "\r{}: {percent} %", self.what);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.percent.is_some() {
            let _ = write!(io::stderr(), "\r{}\r", " ".repeat(self.what.len() + 8));
        }
    }
}
