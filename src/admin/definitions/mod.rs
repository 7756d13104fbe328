//! Definitions: everything that was declared and set, as one JSON document in RabbitMQ's format, out and in.
//!
//! Invariants: an import is all or nothing; every error is told, with its place; what is not understood, or has no
//! effect here, is told too. What was exported and is imported into an empty broker makes an equal one.

mod document;
pub(super) mod export;
pub(super) mod findings;
pub(super) mod import;
pub(super) mod items;
pub(super) mod reader;

#[cfg(test)]
mod tests;

pub(super) use document::{Document, Placed};
