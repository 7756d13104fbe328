//! The native protocol: small, batched, for the bundled client. `SPEC.md` is normative.

mod command;
mod entry;

pub use command::*;
pub use entry::{ENTRY_HEADER_LEN, Entry, EntryError, EntryFlags, put_entry, put_entry_head};
