//! Commands and bytes, both ways: parsers and writers stand side by side, a room per family.
//!
//! Invariants: a decoded command encodes to the bytes it came from (except that a boolean field of a table
//! becomes 0 or 1); every byte of a body is used; `Publish` and `Deliver` keep their runs as one slice.
//! Not here: cutting frames (`header`), walking runs (`run`).

mod connection;
mod consuming;
mod fields;
mod publishing;
mod requests;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use super::command::{Command, Frame};
use super::error::{FrameError, Place};
use super::header::{
    Kind, LENGTH_LEN, OPTIONAL_KIND, PUBLISH_OUTCOMES, PUBLISH_PUBLISHER_SEQUENCE, RawFrame, ReservedKind,
    begin_frame, decode_frame, end_frame,
};
use super::limits::LOGIN_FRAME_MAX;
use crate::types::{Parsed, WireError, WireResult, finish};

pub use requests::{Operation, ReservedOperation};

impl RawFrame {
    /// Reads the body. `None`: an optional frame that this version does not know, to be skipped.
    pub fn command(self) -> Result<Option<Command>, FrameError> {
        let Some(kind) = Kind::from_octet(self.kind) else {
            return match ReservedKind::from_octet(self.kind) {
                Some(kind) => Err(FrameError::ReservedKind { place: self.place(), kind }),
                None if self.kind & OPTIONAL_KIND != 0 => Ok(None),
                None => Err(FrameError::UnknownKind { place: self.place() }),
            };
        };
        if kind.needs_channel() != (self.channel != 0) {
            let needs_channel = kind.needs_channel();
            return Err(FrameError::WrongChannel { place: self.place(), needs_channel });
        }
        if kind == Kind::Publish && self.flags & PUBLISH_PUBLISHER_SEQUENCE != 0 {
            let error = WireError::Reserved { what: "a publisher's sequence (Publish flag 0x02)" };
            return Err(FrameError::Fields { place: self.place(), error });
        }
        match self.flags & !kind.known_flags() {
            0 => {}
            flags => return Err(FrameError::UnknownFlags { place: self.place(), flags }),
        }
        match decode_body(kind, self.flags, &self.body) {
            Ok(command) => Ok(Some(command)),
            Err(BodyError::Wire(error)) => Err(FrameError::Fields { place: self.place(), error }),
            Err(BodyError::UnknownOperation(operation)) => {
                Err(FrameError::UnknownOperation { place: self.place(), operation })
            }
        }
    }
}

/// What can be wrong with a body, before the frame's place is added.
enum BodyError {
    Wire(WireError),
    UnknownOperation(u8),
}

impl From<WireError> for BodyError {
    fn from(error: WireError) -> Self {
        BodyError::Wire(error)
    }
}

fn decode_body(kind: Kind, flags: u8, body: &Bytes) -> Result<Command, BodyError> {
    let bare = |command| fields::end(kind.name(), (body, command));
    Ok(match kind {
        Kind::Login => Command::Login(connection::login(body)?),
        Kind::Challenge => Command::Challenge(body.clone()),
        Kind::ChallengeResponse => Command::ChallengeResponse(body.clone().into()),
        Kind::Welcome => Command::Welcome(connection::welcome(body)?),
        Kind::Close => Command::Close(connection::closing(body)?),
        Kind::CloseOk => bare(Command::CloseOk)?,
        Kind::Heartbeat => bare(Command::Heartbeat)?,
        Kind::PublishCredit => Command::PublishCredit(connection::number("publish credit", body)?),
        Kind::Blocked => Command::Blocked(connection::reason(body)?),
        Kind::Unblocked => bare(Command::Unblocked)?,
        Kind::OpenChannel => Command::OpenChannel { correlation: connection::number("correlation", body)? },
        Kind::CloseChannel => Command::CloseChannel { correlation: connection::number("correlation", body)? },
        Kind::ChannelClosed => Command::ChannelClosed(connection::closing(body)?),
        Kind::Request => requests::request(body)?,
        Kind::Response => requests::response(body)?,
        Kind::Failure => requests::failure(body)?,
        Kind::DefineRoute => publishing::define_route(body)?,
        Kind::Publish => Command::Publish(publishing::publish(flags, body)?),
        Kind::Outcomes => Command::Outcomes(publishing::outcomes(body)?),
        Kind::Returned => Command::Returned(publishing::returned(body)?),
        Kind::Credit => consuming::credit(body)?,
        Kind::Deliver => Command::Deliver(consuming::deliver(body)?),
        Kind::Settle => Command::Settle(consuming::settle(body)?),
        Kind::ConsumerCancelled => consuming::consumer_cancelled(body)?,
    })
}

impl Command {
    /// Appends the frame that carries this command on `channel`.
    pub fn encode(&self, channel: u16, out: &mut BytesMut) {
        let flags = match self {
            Command::Publish(publish) if publish.outcomes => PUBLISH_OUTCOMES,
            _ => 0,
        };
        let start = begin_frame(self.kind(), flags, channel, out);
        self.encode_body(out);
        end_frame(start, 0, out);
    }

    fn encode_body(&self, out: &mut BytesMut) {
        use bytes::BufMut;
        match self {
            Command::Login(login) => connection::put_login(login, out),
            Command::Challenge(bytes) => out.put_slice(bytes),
            Command::ChallengeResponse(response) => out.put_slice(&response.0),
            Command::Welcome(welcome) => connection::put_welcome(welcome, out),
            Command::Close(closing) | Command::ChannelClosed(closing) => {
                connection::put_closing(closing, out)
            }
            Command::CloseOk | Command::Heartbeat | Command::Unblocked => {}
            Command::PublishCredit(bytes) => out.put_u32(*bytes),
            Command::Blocked(reason) => fields::put_text(reason, out),
            Command::OpenChannel { correlation } | Command::CloseChannel { correlation } => {
                out.put_u32(*correlation);
            }
            Command::Request { correlation, request } => requests::put_request(*correlation, request, out),
            Command::Response { correlation, response } => {
                requests::put_response(*correlation, response, out)
            }
            Command::Failure { correlation, code, text } => {
                requests::put_failure(*correlation, *code, text, out);
            }
            Command::DefineRoute { route, exchange, routing_key } => {
                out.put_u32(*route);
                fields::put_text(exchange, out);
                fields::put_text(routing_key, out);
            }
            Command::Publish(publish) => publishing::put_publish(publish, out),
            Command::Outcomes(ranges) => publishing::put_outcomes(ranges, out),
            Command::Returned(returned) => publishing::put_returned(returned, out),
            Command::Credit { consumer, messages, bytes } => {
                out.put_u32(*consumer);
                out.put_u32(*messages);
                out.put_u32(*bytes);
            }
            Command::Deliver(deliver) => consuming::put_deliver(deliver, out),
            Command::Settle(settle) => consuming::put_settle(settle, out),
            Command::ConsumerCancelled { consumer, reason } => {
                out.put_u32(*consumer);
                fields::put_text(reason, out);
            }
        }
    }
}

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        self.command.encode(self.channel, out);
    }
}

/// What can end a stream of frames.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A frame is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Frames over any byte stream, for `tokio_util::codec::Framed`. The preface is not part of it.
///
/// Unknown optional frames are skipped. A frame to be sent that is over the limit is refused and leaves the
/// buffer as it was.
#[derive(Clone, Debug)]
pub struct NativeCodec {
    frame_max: u32,
}

impl NativeCodec {
    /// A codec with the limit that holds before `Welcome`.
    pub fn new() -> Self {
        Self { frame_max: LOGIN_FRAME_MAX }
    }

    /// Sets the longest frame either way, in bytes after the length field.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }
}

impl Default for NativeCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for NativeCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        while let Some(raw) = decode_frame(buf, self.frame_max)? {
            let channel = raw.channel;
            if let Some(command) = raw.command()? {
                return Ok(Some(Frame { channel, command }));
            }
        }
        Ok(None)
    }
}

impl Encoder<Frame> for NativeCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), CodecError> {
        let start = out.len();
        frame.encode(out);
        let length = out.len() - start - LENGTH_LEN;
        if length > self.frame_max as usize {
            out.truncate(start);
            let place = Place { kind: frame.command.kind().octet(), channel: frame.channel, correlation: 0 };
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            return Err(FrameError::TooLong { place, length, max: self.frame_max }.into());
        }
        Ok(())
    }
}

/// Reads the beginning of a body; gives what is left of it.
fn beginning<'a, T>(what: &'static str, parsed: Parsed<'a, T>) -> WireResult<(&'a [u8], T)> {
    parsed.map_err(|error| match error {
        nom::Err::Incomplete(_) => WireError::Truncated { what },
        nom::Err::Error(error) | nom::Err::Failure(error) => error,
    })
}

/// Ends a body: its fields must have used every byte.
fn whole<T>(what: &'static str, parsed: Parsed<'_, T>) -> WireResult<T> {
    finish(what, parsed)
}
