//! From settings to a running broker: what `rialto serve` does.

use thiserror::Error;

/// Why the broker could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket could not be opened.
    #[error("{0}")]
    Listen(#[from] std::io::Error),
}
