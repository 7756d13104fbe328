//! AMQP 0-9-1 in RabbitMQ's dialect: bytes to frames, methods and content, and back.
//!
//! Rooms: `protocol_header` (the first eight bytes), `frame` (cutting frames, writing them), `method` (THE table
//! of methods, their fields, the forms that are read without allocating), `content` (content headers and bodies),
//! `assembler` (method, header and bodies of one message back together), `whole_publish` (a message that comes in one
//! piece), `deliver_writer` (what a consumer is sent per message), `error`, `limits`.
//! Invariants: nothing panics on what a peer sends; what is decoded costs a small multiple of its bytes, which
//! `limits` bound; what was decoded encodes to bytes that decode to the same. Properties stay as they were
//! received, bit by bit. Not here: which method is legal when, negotiation, heartbeat times (the broker's
//! `session`).

mod assembler;
mod content;
mod deliver_writer;
mod error;
mod frame;
mod limits;
mod method;
mod protocol_header;
mod whole_publish;

pub use assembler::{Assembled, ContentAssembler};
pub use content::{ContentHeader, body_part_max, put_body, put_body_frame_head, put_content_header};
pub use deliver_writer::DeliverWriter;
pub use error::{ContentError, FrameError, MethodError};
pub use frame::{FRAME_END, FRAME_HEADER_LEN, Frame, FrameKind, put_heartbeat, split_frame};
pub use limits::{
    ASSEMBLY_KEPT_MAX, FRAME_MAX_DEFAULT, FRAME_MIN_SIZE, FRAME_OVERHEAD, FRAME_SLACK, LOGIN_FRAME_MAX,
    PROPERTIES_BYTES_MAX, TABLE_BYTES_MAX,
};
pub use method::*;
pub use protocol_header::{HeaderCheck, PROTOCOL_HEADER, check_protocol_header};
pub use whole_publish::WholePublish;
