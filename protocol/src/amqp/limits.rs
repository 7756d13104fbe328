//! The limits of AMQP that are not settings, with what each protects.
//!
//! The frame limit itself is given to the decoder by its caller, since `connection.tune` changes it.

/// Bytes of a frame around its payload: kind, channel, length, and the end octet.
pub const FRAME_OVERHEAD: usize = 8;

/// Smallest `frame_max` that a peer may ask for, in bytes of the whole frame ("frame-min-size").
pub const FRAME_MIN_SIZE: u32 = 4096;

/// The `frame_max` that RabbitMQ offers, in bytes of the whole frame.
pub const FRAME_MAX_DEFAULT: u32 = 128 * 1024;

/// How far a received frame may exceed `frame_max`, in bytes: quite a few clients take it as the limit of the
/// payload. RabbitMQ allows the same.
pub const FRAME_SLACK: u32 = 8;

/// Longest frame before `connection.open`, in bytes of the whole frame: a stranger cannot make the broker hold
/// more. Enough for long tokens (RabbitMQ: 8 KiB, which long JWTs exceed).
pub const LOGIN_FRAME_MAX: u32 = 64 * 1024;

/// Longest table of a method (arguments, client properties), in encoded bytes without the length field. A decoded
/// table can be some fifty times as large as its bytes, so a table must not fill a frame of any size.
pub const TABLE_BYTES_MAX: usize = 128 * 1024;

/// Longest properties of a message, in bytes: headers are decoded to route by them and to record dead letters.
/// The same as for the native protocol, so that a message published by one can be consumed by the other.
pub const PROPERTIES_BYTES_MAX: usize = 128 * 1024;

/// How much room an idle [`super::ContentAssembler`] keeps for the next message, in bytes for each of its parts:
/// thousands of channels that each saw one large message must not hold it for ever.
pub const ASSEMBLY_KEPT_MAX: usize = 32 * 1024;
