//! Rialto's wire formats: bytes to values and back.
//!
//! Invariants: no sockets, no clock, no broker; decoding never panics and never allocates more than a
//! small multiple of its input; what was decoded encodes to the same bytes.
//! Not here: what a frame *means* (the broker's `session`), who sends it when (`rialto-client`, `server`).

pub mod amqp;
pub mod native;
pub mod reply_code;
pub mod types;

pub use reply_code::{ReplyCode, Scope};
