//! What is wrong with a certificate, a key or how they go together.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Files that cannot be used for TLS.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot use {} for TLS: {problem}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl TlsError {
    pub(super) fn new(path: &Path, problem: impl ToString) -> Self {
        TlsError { path: path.to_owned(), problem: problem.to_string() }
    }
}
