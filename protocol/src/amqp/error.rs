//! What can be wrong with frames, methods and content, and the reply code that says so on the wire.
//!
//! Invariant: every error here ends the connection. Errors of an operation that could be read are the broker's.

use thiserror::Error;

use super::method::MethodId;
use crate::ReplyCode;
use crate::types::WireError;

/// Why bytes cannot be cut into frames any further. Always [`ReplyCode::FrameError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The announced payload is over the limit.
    #[error(
        "a frame of type {kind} on channel {channel} announces {len} bytes, and with its overhead of 8 at most \
         {max} were negotiated"
    )]
    TooLong {
        /// The type octet.
        kind: u8,
        /// The channel.
        channel: u16,
        /// The announced length of the payload.
        len: u32,
        /// `frame_max`, which counts the whole frame.
        max: u32,
    },
    /// The octet behind the payload is not the end octet: the length was wrong, or this is not AMQP.
    #[error("a frame of type {kind} on channel {channel} ends with the octet {end} instead of 206")]
    BadEnd {
        /// The type octet.
        kind: u8,
        /// The channel.
        channel: u16,
        /// What stands where the end octet should.
        end: u8,
    },
    /// A type of frame that does not exist.
    #[error("unknown frame type {kind} on channel {channel}")]
    UnknownKind {
        /// The type octet.
        kind: u8,
        /// The channel.
        channel: u16,
    },
    /// A heartbeat that carries something.
    #[error("a heartbeat frame on channel {channel} has {len} bytes of payload, and must have none")]
    HeartbeatPayload {
        /// The channel.
        channel: u16,
        /// The announced length of the payload.
        len: u32,
    },
}

impl FrameError {
    /// The code to close the connection with.
    pub const fn reply_code(&self) -> ReplyCode {
        ReplyCode::FrameError
    }
}

/// Why a method frame cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    /// There is no such method.
    #[error("unknown method: class {}, method {}", .0.class, .0.method)]
    Unknown(MethodId),
    /// The method's fields cannot be read.
    #[error("{}: {error}", .id.name())]
    Fields {
        /// Which method.
        id: MethodId,
        /// What is wrong with its fields.
        error: WireError,
    },
    /// The frame does not even hold the ids of class and method.
    #[error("a method frame with less than the 4 bytes of its class and method ids")]
    NoId,
}

impl MethodError {
    /// The offending method, as far as it could be read.
    pub const fn id(&self) -> Option<MethodId> {
        match self {
            MethodError::Unknown(id) | MethodError::Fields { id, .. } => Some(*id),
            MethodError::NoId => None,
        }
    }

    /// The code to close the connection with.
    pub const fn reply_code(&self) -> ReplyCode {
        match self {
            MethodError::Unknown(_) => ReplyCode::CommandInvalid,
            MethodError::Fields { .. } => ReplyCode::SyntaxError,
            MethodError::NoId => ReplyCode::FrameError,
        }
    }
}

/// Why a frame cannot stand where it stands between a method with content and the end of its body.
/// Always [`ReplyCode::UnexpectedFrame`]; the texts are RabbitMQ's, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ContentError {
    /// A header or a body without a method before it.
    #[error("expected method frame, got non method frame instead")]
    ExpectedMethod,
    /// A method, a body, or a header with a weight, where a header must follow.
    #[error("expected content header for class {class}, got non content header frame instead")]
    ExpectedHeader {
        /// The class of the method before it.
        class: u16,
    },
    /// A header for another class than the method's.
    #[error("expected content header for class {expected}, got one for class {got} instead")]
    WrongClass {
        /// The class of the method before it.
        expected: u16,
        /// The class in the header.
        got: u16,
    },
    /// A method or a header, where the rest of a body must follow.
    #[error("expected content body, got non content body frame instead")]
    ExpectedBody,
    /// More body than the header announced.
    #[error("expected content body of {announced} bytes, got {received} bytes instead")]
    BodyTooLong {
        /// The body size in the header.
        announced: u64,
        /// Bytes received, with the frame that is too much.
        received: u64,
    },
}

impl ContentError {
    /// The code to close the connection with.
    pub const fn reply_code(&self) -> ReplyCode {
        ReplyCode::UnexpectedFrame
    }
}
