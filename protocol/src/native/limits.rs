//! The limits of the native protocol that are not settings, with what each protects.
//!
//! Frame limits are given to the decoder by its caller, since `Welcome` changes them in mid-connection.

/// Longest frame before `Welcome`, in bytes after the length field: a stranger cannot make the broker hold more.
pub const LOGIN_FRAME_MAX: u32 = 64 * 1024;

/// What `Welcome` allows unless configured otherwise: a body of 16 MiB and room for what stands around it.
pub const FRAME_MAX_DEFAULT: u32 = 17 * 1024 * 1024;

/// Bytes that a frame needs around the body of its one message: names, lengths, the properties it was published
/// with, and what dead-lettering adds to them. `frame_max` is at least the largest body and this.
pub const MESSAGE_OVERHEAD: u32 = 512 * 1024;

/// Longest table of a client (arguments, properties), in encoded bytes without the length field. A decoded
/// table can be some fifty times as large as its bytes, so tables must not fill a whole frame.
pub const TABLE_BYTES_MAX: usize = 64 * 1024;

/// Longest table of a server's `Info` or of one row of a `Page`: a queue's arguments and the facts around them,
/// also when they were declared over AMQP with larger tables.
pub const FACTS_BYTES_MAX: usize = 1024 * 1024;

/// Longest properties of a published message, in bytes: headers are decoded to route by them and to record dead
/// letters, so they must not fill a whole frame either. As much as fits a frame of AMQP clients by default.
pub const PROPERTIES_BYTES_MAX: usize = 128 * 1024;

/// Most rows in one `Page`. A server answers a `List` that asks for more with a page of this many.
pub const PAGE_ROWS_MAX: u32 = 1000;

/// Longest place in a list (`after` of `List`, `next` of `Page`), in bytes.
pub const CURSOR_BYTES_MAX: usize = 4096;
