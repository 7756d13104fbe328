//! Certificates: read from files, handed to new connections, taken up anew when the files change.
//!
//! Invariants: what is in use was whole and fitted together when it was read; files that are not leave the last good
//! ones in use. A connection keeps the certificate that it began with, so a change drops none. No session outlives the
//! authorities that it was verified with: each reading begins without remembered ones.
//! Not here: sockets and encrypted bytes (`server`), what a user of that name may do (`access`).

mod acceptor;
mod client_certificate;
pub mod dev;
mod error;
mod facts;
mod files;
mod refusal;
mod server_names;
mod watch;

pub use acceptor::Acceptor;
pub use error::TlsError;
pub use facts::CertificateFacts;
pub use refusal::explain;
pub use watch::watch;
