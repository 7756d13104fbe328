//! Stderr without panics: a log that nobody reads any more must not end the broker.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Where lines go. Unlike `eprintln!`, it takes a closed pipe for an error and not for the end.
pub(super) struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = io::Stderr;

    fn make_writer(&'a self) -> Self::Writer {
        io::stderr()
    }
}

impl Stderr {
    /// One line beside the log, for what the log itself could not do.
    pub(super) fn tell(text: std::fmt::Arguments<'_>) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}
