//! The frame header, the table of kinds, and cutting frames out of a stream without copying.
//!
//! ```text
//!  0            4      5       6         8
//!  +------------+------+-------+---------+------------+
//!  | length u32 | kind | flags | channel | body       |
//!  +------------+------+-------+---------+------------+
//!                 \_____________ length bytes ________/
//! ```
//!
//! Invariants: a frame's body is a slice of what was read; the buffer never grows by more than
//! [`READ_AHEAD`] ahead of the bytes that have arrived. Not here: what a body means (`codec`).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::command::Command;
use super::error::{FrameError, Place};
use crate::types::{Parsed, labelled};

/// Bytes of the length field, which the length itself does not count.
pub const LENGTH_LEN: usize = 4;

/// Bytes in front of a frame's body: length, kind, flags, channel.
pub const FRAME_HEADER_LEN: usize = 8;

/// Set in kinds that a peer which does not know them skips.
pub const OPTIONAL_KIND: u8 = 0x80;

/// Flag of `Publish`: tell me what became of these messages.
pub const PUBLISH_OUTCOMES: u8 = 0x01;

/// Reserved flag of `Publish`: the sequence numbers are a registered publisher's, not the channel's.
pub const PUBLISH_PUBLISHER_SEQUENCE: u8 = 0x02;

/// How much room is made for a frame beyond what has arrived: a length is only a claim.
const READ_AHEAD: usize = 64 * 1024;

/// Who may send a kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Only the client.
    Client,
    /// Only the server.
    Server,
    /// Both.
    Either,
}

/// The table of kinds: `Name = octet, family, sender`, then the reserved ones: `Name = octet`.
macro_rules! kinds {
    (
        known { $($(#[$doc:meta])* $name:ident = $octet:literal, $family:ident, $sender:ident;)* }
        reserved { $($(#[$rdoc:meta])* $rname:ident = $roctet:literal;)* }
    ) => {
        /// The kinds of frames; each carries the [`Command`] of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $octet,)* }

        impl Kind {
            /// Every kind, by number.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The octet on the wire.
            pub const fn octet(self) -> u8 {
                self as u8
            }

            /// The name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name),)* }
            }

            /// The kind with this octet, if this version knows one.
            pub const fn from_octet(octet: u8) -> Option<Kind> {
                match octet { $($octet => Some(Kind::$name),)* _ => None }
            }

            /// Who may send it.
            pub const fn sender(self) -> Sender {
                match self { $(Kind::$name => Sender::$sender,)* }
            }

            /// Whether it is for a channel; the others are for the connection, on channel 0.
            pub const fn needs_channel(self) -> bool {
                match self { $(Kind::$name => kinds!(@family $family),)* }
            }
        }

        impl Command {
            /// The kind of frame that carries this command.
            pub const fn kind(&self) -> Kind {
                match self { $(Command::$name { .. } => Kind::$name,)* }
            }
        }

        /// Kinds that are kept for later versions and refused by name until then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReservedKind { $($(#[$rdoc])* $rname = $roctet,)* }

        impl ReservedKind {
            /// Every reserved kind, by number.
            pub const ALL: &'static [ReservedKind] = &[$(ReservedKind::$rname,)*];

            /// The octet on the wire.
            pub const fn octet(self) -> u8 {
                self as u8
            }

            /// The name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $(ReservedKind::$rname => stringify!($rname),)* }
            }

            /// The reserved kind with this octet, if there is one.
            pub const fn from_octet(octet: u8) -> Option<ReservedKind> {
                match octet { $($roctet => Some(ReservedKind::$rname),)* _ => None }
            }
        }
    };
    (@family Connection) => { false };
    (@family Channel) => { true };
}

kinds! {
    known {
        /// Who I am and which limits I would like.
        Login = 0x01, Connection, Client;
        /// The SASL mechanism wants more.
        Challenge = 0x02, Connection, Server;
        /// The answer to a challenge.
        ChallengeResponse = 0x03, Connection, Client;
        /// Logged in; these limits hold.
        Welcome = 0x04, Connection, Server;
        /// The connection ends, for this reason.
        Close = 0x05, Connection, Either;
        /// The answer to `Close`.
        CloseOk = 0x06, Connection, Either;
        /// I am alive.
        Heartbeat = 0x07, Connection, Either;
        /// You may publish this many more bytes.
        PublishCredit = 0x08, Connection, Server;
        /// Publish credit is withheld, for this reason. Optional: it only informs.
        Blocked = 0x89, Connection, Server;
        /// Publish credit flows again. Optional: it only informs.
        Unblocked = 0x8a, Connection, Server;
        /// Open this channel.
        OpenChannel = 0x10, Channel, Client;
        /// Close this channel.
        CloseChannel = 0x11, Channel, Client;
        /// The channel was closed by an error.
        ChannelClosed = 0x12, Channel, Server;
        /// Do this and answer.
        Request = 0x20, Channel, Client;
        /// Done.
        Response = 0x21, Channel, Server;
        /// Not done.
        Failure = 0x22, Channel, Server;
        /// This number means this exchange and routing key.
        DefineRoute = 0x30, Channel, Client;
        /// Messages.
        Publish = 0x31, Channel, Client;
        /// What became of published messages.
        Outcomes = 0x32, Channel, Server;
        /// A mandatory message that reached no queue.
        Returned = 0x33, Channel, Server;
        /// This consumer may be sent more.
        Credit = 0x40, Channel, Client;
        /// Messages for a consumer.
        Deliver = 0x41, Channel, Server;
        /// This becomes of delivered messages.
        Settle = 0x42, Channel, Client;
        /// The consumer has ended.
        ConsumerCancelled = 0x43, Channel, Server;
    }
    reserved {
        /// Give me more time for these deliveries.
        ExtendDeadline = 0x44;
    }
}

impl Kind {
    /// The flags that a frame of this kind may carry.
    pub const fn known_flags(self) -> u8 {
        match self {
            Kind::Publish => PUBLISH_OUTCOMES,
            _ => 0,
        }
    }

    /// Whether the body starts with a correlation.
    pub(super) const fn has_correlation(self) -> bool {
        matches!(
            self,
            Kind::OpenChannel | Kind::CloseChannel | Kind::Request | Kind::Response | Kind::Failure
        )
    }
}

/// A frame that was cut out of the stream; its body has not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The kind octet, possibly of a kind that this version does not know.
    pub kind: u8,
    /// The flags octet.
    pub flags: u8,
    /// The channel; 0 for the connection.
    pub channel: u16,
    /// What follows the header.
    pub body: Bytes,
}

impl RawFrame {
    /// Where this frame is, for errors.
    pub fn place(&self) -> Place {
        let correlation = match Kind::from_octet(self.kind) {
            Some(kind) if kind.has_correlation() => {
                self.body.first_chunk().map_or(0, |b| u32::from_be_bytes(*b))
            }
            _ => 0,
        };
        Place { kind: self.kind, channel: self.channel, correlation }
    }

    /// Bytes of the whole frame on the wire, its length field included: what a publish costs of the credit.
    pub fn wire_len(&self) -> usize {
        FRAME_HEADER_LEN + self.body.len()
    }
}

/// Cuts the next frame off the front of `buf`, without copying it.
///
/// `frame_max` is the longest frame allowed now, in bytes after the length field.
/// `Ok(None)` means that more bytes are needed; room for some of them has been reserved. `Err` means that the
/// stream is spoiled: nothing is consumed, and the same error comes again.
pub fn decode_frame(buf: &mut BytesMut, frame_max: u32) -> Result<Option<RawFrame>, FrameError> {
    let needed = match buf.first_chunk().map(|length| u32::from_be_bytes(*length)) {
        None => FRAME_HEADER_LEN,
        Some(length) if (length as usize) < FRAME_HEADER_LEN - LENGTH_LEN => {
            return Err(FrameError::TooShort { length });
        }
        // A length is judged together with its header, so that the error can name the frame.
        Some(length) => match parse_header(buf) {
            Err(_) => FRAME_HEADER_LEN,
            Ok((_, (_, kind, _, channel))) if length > frame_max => {
                let place = Place { kind, channel, correlation: 0 };
                return Err(FrameError::TooLong { place, length, max: frame_max });
            }
            Ok((_, (_, kind, flags, channel))) => {
                let whole = LENGTH_LEN + length as usize;
                if buf.len() >= whole {
                    let mut body = buf.split_to(whole).freeze();
                    body.advance(FRAME_HEADER_LEN);
                    return Ok(Some(RawFrame { kind, flags, channel, body }));
                }
                whole
            }
        },
    };
    buf.reserve((needed - buf.len()).min(READ_AHEAD));
    Ok(None)
}

fn parse_header(input: &[u8]) -> Parsed<'_, (u32, u8, u8, u16)> {
    const WHAT: &str = "frame header";
    let (input, length) = labelled(WHAT, be_u32)(input)?;
    let (input, kind) = labelled(WHAT, be_u8)(input)?;
    let (input, flags) = labelled(WHAT, be_u8)(input)?;
    let (input, channel) = labelled(WHAT, be_u16)(input)?;
    Ok((input, (length, kind, flags, channel)))
}

/// Writes a header whose length is filled in by [`end_frame`]; returns where the frame starts.
pub(super) fn begin_frame(kind: Kind, flags: u8, channel: u16, out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind.octet());
    out.put_u8(flags);
    out.put_u16(channel);
    start
}

/// Fills in the length of the frame that starts at `start`; `elsewhere` bytes of it are not in `out`.
/// Returns the length.
pub(super) fn end_frame(start: usize, elsewhere: usize, out: &mut BytesMut) -> usize {
    let length = out.len() - start - LENGTH_LEN + elsewhere;
    put_u32_at(start, length, out);
    length
}

/// Overwrites four bytes with a length or count.
pub(super) fn put_u32_at(at: usize, value: usize, out: &mut BytesMut) {
    debug_assert!(u32::try_from(value).is_ok(), "callers keep frames within frame_max, which is a u32");
    out[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(length: u32, kind: u8) -> BytesMut {
        let mut buf = BytesMut::new();
        buf.put_u32(length);
        buf.put_slice(&[kind, 0, 0, 0]);
        buf.put_bytes(0, (length as usize).saturating_sub(4));
        buf
    }

    #[test]
    fn octets_lead_back_to_their_kinds_and_no_number_is_used_twice() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_octet(kind.octet()), Some(kind));
            assert_eq!(ReservedKind::from_octet(kind.octet()), None);
        }
        for &kind in ReservedKind::ALL {
            assert_eq!(ReservedKind::from_octet(kind.octet()), Some(kind));
        }
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_past_it_is_named() {
        assert_eq!(decode_frame(&mut frame_of(100, 7), 100).unwrap().unwrap().body.len(), 96);
        let error = decode_frame(&mut frame_of(101, 7), 100).unwrap_err();
        assert_eq!((error.reply_code().number(), error.kind()), (501, 7));
        assert!(error.to_string().contains("Heartbeat"), "{error}");
    }

    #[test]
    fn a_length_that_does_not_hold_the_header_is_refused_at_once() {
        for length in 0..4 {
            let mut buf = BytesMut::from(&[0, 0, 0, length][..]);
            assert_eq!(decode_frame(&mut buf, 100), Err(FrameError::TooShort { length: length.into() }));
            assert_eq!(buf.len(), 4, "nothing is consumed");
        }
        assert!(decode_frame(&mut frame_of(4, 7), 100).unwrap().is_some());
    }

    #[test]
    fn an_announced_length_reserves_no_more_than_the_read_ahead() {
        let mut buf = BytesMut::from(&[0xff, 0xff, 0xff, 0xf0, 0x31, 0, 0, 1][..]);
        assert_eq!(decode_frame(&mut buf, u32::MAX), Ok(None));
        assert!(buf.capacity() <= 2 * READ_AHEAD, "{}", buf.capacity());
    }

    #[test]
    fn bodies_are_slices_of_what_was_read() {
        let mut buf = frame_of(20, 7);
        let address = buf[8..].as_ptr();
        assert_eq!(decode_frame(&mut buf, 100).unwrap().unwrap().body.as_ptr(), address);
    }
}
