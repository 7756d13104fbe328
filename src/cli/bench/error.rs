//! Why a measurement could not be made.

use std::io;

use thiserror::Error;

/// What ended a measurement, told to a person.
#[derive(Debug, Error)]
pub(super) enum BenchError {
    /// A socket, a file or a process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The broker closed the connection or refused a request, with its own words.
    #[error("the broker says: {0}")]
    Refused(String),
    /// The broker ended the connection without a word.
    #[error("the broker ended the connection")]
    Ended,
    /// The broker sent what the generator does not understand.
    #[error("the broker sent something unexpected: {0}")]
    Protocol(String),
    /// A child process did not start or did not say where it listens.
    #[error("{0}")]
    Process(String),
    /// The options do not go together.
    #[error("{0}")]
    Options(String),
}

pub(super) type BenchResult<T> = Result<T, BenchError>;

/// Adds what was being done to an error of the system.
pub(super) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> BenchResult<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> BenchResult<T> {
        self.map_err(|source| BenchError::Io { what: what(), source })
    }
}
