//! The bodies of the fuzz targets, as plain functions, so that `cargo test` replays every kept input.
//!
//! To add a target: write `pub fn name(data: &[u8])` in the room of what it tests, list it in [`TARGETS`], add
//! `fuzz_targets/name.rs` and its `[[bin]]`, and put a few small seeds into `corpus/name/`. A test checks that
//! these agree. A finding becomes a small file in the corpus, named for what it found.
//! Invariant: a target panics only when the code under test is wrong.
#![deny(missing_docs, unsafe_code)]

mod amqp;
mod amqp_session;
mod config;
mod journal;
mod protocol;
mod queue;
mod routing;
mod script;
mod session;

pub use amqp::{amqp_frames, amqp_methods};
pub use amqp_session::amqp_session;
pub use config::config_text;
pub use journal::{DAMAGE_FILES, journal_damage, journal_recovery};
pub use protocol::{field_tables, native_frames, native_roundtrip};
pub use queue::queue_ops;
pub use routing::topic_match;
pub use session::native_session;

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("native_frames", native_frames),
    ("native_roundtrip", native_roundtrip),
    ("field_tables", field_tables),
    ("topic_match", topic_match),
    ("queue_ops", queue_ops),
    ("native_session", native_session),
    ("config_text", config_text),
    ("amqp_frames", amqp_frames),
    ("amqp_methods", amqp_methods),
    ("amqp_session", amqp_session),
    ("journal_recovery", journal_recovery),
    ("journal_damage", journal_damage),
];
