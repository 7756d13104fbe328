//! What can be wrong with a frame, where it stood, and the reply code that says so on the wire.
//!
//! Invariant: every error here spoils the connection; errors of a request that could be read are the
//! broker's, and are answered with `Failure`.

use std::fmt;

use thiserror::Error;

use super::command::Closing;
use super::entry::EntryError;
use super::header::{Kind, ReservedKind};
use crate::ReplyCode;
use crate::types::{ShortStr, WireError};

/// Where something is wrong: the frame, its channel, and the request if it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The kind octet of the frame.
    pub kind: u8,
    /// The channel of the frame.
    pub channel: u16,
    /// The correlation of the frame; 0 if it has none, or none that could be read.
    pub correlation: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Kind::from_octet(self.kind) {
            Some(kind) => write!(f, "{} (kind {:#04x}) on channel {}", kind.name(), self.kind, self.channel)?,
            None => write!(f, "kind {:#04x} on channel {}", self.kind, self.channel)?,
        }
        match self.correlation {
            0 => Ok(()),
            correlation => write!(f, ", correlation {correlation}"),
        }
    }
}

/// Why frames cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The announced length does not even hold the header.
    #[error(
        "a frame announces {length} bytes, but its header alone has 4; the stream is not framed as SPEC.md says"
    )]
    TooShort {
        /// What the length field says.
        length: u32,
    },
    /// The announced length is over the limit.
    #[error("frame {place} announces {length} bytes, and the limit is {max}; send smaller frames")]
    TooLong {
        /// Which frame.
        place: Place,
        /// What the length field says.
        length: u32,
        /// The limit that holds now.
        max: u32,
    },
    /// A kind that does not exist and may not be skipped.
    #[error("unknown frame {place}; it is not optional, so this version cannot go on without it")]
    UnknownKind {
        /// Which frame.
        place: Place,
    },
    /// A kind that the specification keeps for later.
    #[error("frame {} ({place}) is reserved and not supported by this version", .kind.name())]
    ReservedKind {
        /// Which frame.
        place: Place,
        /// Its name.
        kind: ReservedKind,
    },
    /// A request whose operation does not exist.
    #[error("frame {place}: unknown operation {operation:#04x}; see the server's version in Welcome")]
    UnknownOperation {
        /// Which frame.
        place: Place,
        /// The operation octet.
        operation: u8,
    },
    /// Flags that the kind does not have.
    #[error("frame {place} has the unknown flags {flags:#04x}; unknown flags must be 0")]
    UnknownFlags {
        /// Which frame.
        place: Place,
        /// The unknown ones.
        flags: u8,
    },
    /// A command of the connection on a channel, or one of a channel on the connection.
    #[error("frame {place} belongs on {}", home(.needs_channel))]
    WrongChannel {
        /// Which frame.
        place: Place,
        /// Whether the kind is for channels (else for the connection).
        needs_channel: bool,
    },
    /// The fields of the frame cannot be read.
    #[error("frame {place}: {error}")]
    Fields {
        /// Which frame.
        place: Place,
        /// What is wrong with them.
        error: WireError,
    },
    /// A message inside the frame is refused.
    #[error("frame {place}: {error}")]
    Entry {
        /// Which frame.
        place: Place,
        /// What is wrong with it.
        error: EntryError,
    },
}

impl FrameError {
    /// An entry that was refused while a `Publish` on `channel` was walked.
    pub fn published_entry(channel: u16, error: EntryError) -> Self {
        let place = Place { kind: Kind::Publish.octet(), channel, correlation: 0 };
        FrameError::Entry { place, error }
    }

    /// The code that the connection is closed with.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            FrameError::TooShort { .. } | FrameError::TooLong { .. } => ReplyCode::FrameError,
            FrameError::UnknownKind { .. } | FrameError::UnknownOperation { .. } => ReplyCode::CommandInvalid,
            FrameError::ReservedKind { .. } => ReplyCode::NotImplemented,
            FrameError::UnknownFlags { .. } => ReplyCode::SyntaxError,
            FrameError::WrongChannel { .. } => ReplyCode::ChannelError,
            FrameError::Fields { error, .. } => wire_reply_code(*error),
            FrameError::Entry { error, .. } => error.reply_code(),
        }
    }

    /// Where it is wrong; `None` if not even the header could be read.
    pub fn place(&self) -> Option<Place> {
        match *self {
            FrameError::TooShort { .. } => None,
            FrameError::TooLong { place, .. }
            | FrameError::UnknownKind { place }
            | FrameError::ReservedKind { place, .. }
            | FrameError::UnknownOperation { place, .. }
            | FrameError::UnknownFlags { place, .. }
            | FrameError::WrongChannel { place, .. }
            | FrameError::Fields { place, .. }
            | FrameError::Entry { place, .. } => Some(place),
        }
    }

    /// The kind octet of the frame; 0 if it could not be read.
    pub fn kind(&self) -> u8 {
        self.place().map_or(0, |place| place.kind)
    }

    /// The correlation of the frame; 0 if it has none or it could not be read.
    pub fn correlation(&self) -> u32 {
        self.place().map_or(0, |place| place.correlation)
    }

    /// The reply text: the code's name, then what is wrong, where, and what to do.
    pub fn text(&self) -> ShortStr {
        ShortStr::truncated(format!("{} - {self}", self.reply_code()))
    }

    /// What `Close` should say.
    pub fn closing(&self) -> Closing {
        Closing {
            code: self.reply_code().number(),
            text: self.text(),
            kind: self.kind(),
            correlation: self.correlation(),
        }
    }
}

impl EntryError {
    /// The code that the connection is closed with.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            EntryError::Wire(error) => wire_reply_code(*error),
            EntryError::DelayReserved => ReplyCode::NotImplemented,
            EntryError::FlagsNotForPublishers(_) => ReplyCode::SyntaxError,
        }
    }
}

fn home(needs_channel: &bool) -> &'static str {
    match needs_channel {
        true => "a channel, from 1",
        false => "channel 0, the connection's",
    }
}

fn wire_reply_code(error: WireError) -> ReplyCode {
    match error {
        WireError::Reserved { .. } => ReplyCode::NotImplemented,
        _ => ReplyCode::SyntaxError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_what_and_where() {
        let place = Place { kind: 0x31, channel: 3, correlation: 0 };
        let error = FrameError::Fields { place, error: WireError::Truncated { what: "run" } };
        assert_eq!(&*error.text(), "SYNTAX_ERROR - frame Publish (kind 0x31) on channel 3: run is cut short");
        let closing = error.closing();
        assert_eq!((closing.code, closing.kind, closing.correlation), (502, 0x31, 0));
    }
}
