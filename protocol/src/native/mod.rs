//! The native protocol: small, batched, for the bundled client. `SPEC.md` is normative.
//!
//! Rooms: `preface` (the first eight bytes), `header` (cutting frames, the kind table), `command` (everything
//! that can be said, as values), `codec` (bytes and values, both ways, a room per family), `entry` (the layout
//! of a message), `run` (walking the messages of a frame), `writer` (writing them without values in between),
//! `error` (what can be wrong with a frame), `limits`.
//! Invariants: what was cut is never copied; no peer can make decoding panic, nor allocate more than a small
//! multiple of what it sent (tables cost more than their bytes, so they have limits of their own). Not here: in which state a command is legal (the broker's `session`).

mod codec;
mod command;
mod entry;
mod error;
mod header;
mod limits;
mod preface;
mod run;
mod writer;

pub use codec::{CodecError, NativeCodec, Operation, ReservedOperation};
pub use command::*;
pub use entry::{ENTRY_HEADER_LEN, Entry, EntryError, EntryFlags, put_entry, put_entry_head};
pub use error::{FrameError, Place};
pub use header::{
    FRAME_HEADER_LEN, Kind, LENGTH_LEN, OPTIONAL_KIND, PUBLISH_OUTCOMES, PUBLISH_PUBLISHER_SEQUENCE,
    RawFrame, ReservedKind, Sender, decode_frame,
};
pub use limits::{
    CURSOR_BYTES_MAX, FACTS_BYTES_MAX, FRAME_MAX_DEFAULT, LOGIN_FRAME_MAX, MESSAGE_OVERHEAD, PAGE_ROWS_MAX,
    PROPERTIES_BYTES_MAX, TABLE_BYTES_MAX,
};
pub use preface::{PREFACE, PrefaceCheck, VERSION_MAJOR, VERSION_MINOR, check_preface};
pub use run::{
    DeliverRuns, DeliveredRunRef, Entries, PublishRunRef, PublishRuns, PublishedEntries, RUN_COMPRESSED,
    RUN_MANDATORY, RouteRef,
};
pub use writer::{DeliverWriter, PublishWriter};
