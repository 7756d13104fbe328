//! Frames: cutting them out of a stream without copying, and writing what stands around a payload.
//!
//! ```text
//!  0      1         3            7                     7 + length
//!  +------+---------+------------+---------------------+-----------+
//!  | kind | channel | length u32 | payload             | end 0xce  |
//!  +------+---------+------------+---------------------+-----------+
//! ```
//!
//! (AMQP 0-9-1, section 4.2.3.) Invariant: a frame is judged by its seven header bytes as soon as they are there,
//! so that no peer makes us wait for a frame that will be refused. Not here: what a payload means.

use bytes::{BufMut, BytesMut};
use nom::Parser;
use nom::bytes::complete::take;
use nom::combinator::fail;

use super::error::FrameError;
use super::limits::{FRAME_OVERHEAD, FRAME_SLACK};
use crate::types::Parsed;

/// The octet that ends every frame ("frame-end").
pub const FRAME_END: u8 = 0xce;

/// Bytes in front of a frame's payload.
pub const FRAME_HEADER_LEN: usize = FRAME_OVERHEAD - 1;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A method ("frame-method").
    Method = 1,
    /// A content header: body size and properties ("frame-header").
    Header = 2,
    /// A part of a body ("frame-body").
    Body = 3,
    /// A sign of life, without payload ("frame-heartbeat").
    Heartbeat = 8,
}

impl FrameKind {
    /// The octet on the wire.
    pub const fn octet(self) -> u8 {
        self as u8
    }

    /// The kind with this octet, if there is one.
    pub const fn from_octet(octet: u8) -> Option<FrameKind> {
        match octet {
            1 => Some(FrameKind::Method),
            2 => Some(FrameKind::Header),
            3 => Some(FrameKind::Body),
            8 => Some(FrameKind::Heartbeat),
            _ => None,
        }
    }
}

/// A frame that was cut out of the stream; its payload has not been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// The channel; 0 for the connection.
    pub channel: u16,
    /// What stands between header and end octet.
    pub payload: &'a [u8],
}

/// Cuts the first frame out of `input`: the frame, and how many bytes it takes of `input`. `None` means that more
/// bytes are needed.
///
/// `frame_max` is the longest frame as negotiated, in bytes with its [`FRAME_OVERHEAD`]; 0 is no limit. Up to
/// [`FRAME_SLACK`] bytes more are let pass. An error spoils the stream: where the next frame begins is unknown.
///
/// ```
/// use rialto_protocol::amqp::{FrameKind, split_frame};
/// let (frame, len) = split_frame(b"\x08\0\0\0\0\0\0\xce...", 4096).unwrap().unwrap();
/// assert_eq!((frame.kind, frame.channel, len), (FrameKind::Heartbeat, 0, 8));
/// assert_eq!(split_frame(b"\x08\0\0\0\0\0\0", 4096), Ok(None));
/// ```
#[inline]
pub fn split_frame(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Ok((rest, (octet, channel, len))) = parse_header(input) else { return Ok(None) };
    let Some(kind) = FrameKind::from_octet(octet) else {
        return Err(FrameError::UnknownKind { kind: octet, channel });
    };
    let longest = u64::from(frame_max) + u64::from(FRAME_SLACK);
    if frame_max != 0 && u64::from(len) + FRAME_OVERHEAD as u64 > longest {
        return Err(FrameError::TooLong { kind: octet, channel, len, max: frame_max });
    }
    if kind == FrameKind::Heartbeat && len != 0 {
        return Err(FrameError::HeartbeatPayload { channel, len });
    }
    match rest.split_at_checked(len as usize) {
        Some((payload, [FRAME_END, ..])) => {
            Ok(Some((Frame { kind, channel, payload }, payload.len() + FRAME_OVERHEAD)))
        }
        Some((_, [end, ..])) => Err(FrameError::BadEnd { kind: octet, channel, end: *end }),
        Some((_, [])) | None => Ok(None),
    }
}

fn parse_header(input: &[u8]) -> Parsed<'_, (u8, u16, u32)> {
    // Taken at once: field by field, each would be checked for its room, for every frame that comes.
    let (rest, header) = take(FRAME_HEADER_LEN)(input)?;
    let [kind, c1, c0, l3, l2, l1, l0] = *header else { return fail().parse(input) };
    Ok((rest, (kind, u16::from_be_bytes([c1, c0]), u32::from_be_bytes([l3, l2, l1, l0]))))
}

/// Writes a frame header for a payload of `len` bytes.
#[inline]
pub(super) fn put_frame_header(kind: FrameKind, channel: u16, len: usize, out: &mut BytesMut) {
    debug_assert!(u32::try_from(len).is_ok(), "callers keep frames within frame_max, which is a u32");
    let ([c1, c0], [l3, l2, l1, l0]) = (channel.to_be_bytes(), (len as u32).to_be_bytes());
    // Written at once: a buffer checks its room for each piece.
    out.put_slice(&[kind.octet(), c1, c0, l3, l2, l1, l0]);
}

/// Writes a frame whose payload `put` writes.
#[inline]
pub(super) fn put_frame(kind: FrameKind, channel: u16, out: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    put_frame_header(kind, channel, 0, out);
    put(out);
    let len = out.len() - start - FRAME_HEADER_LEN;
    debug_assert!(u32::try_from(len).is_ok(), "callers keep frames within frame_max, which is a u32");
    out[start + 3..start + FRAME_HEADER_LEN].copy_from_slice(&(len as u32).to_be_bytes());
    out.put_u8(FRAME_END);
}

/// Writes a heartbeat, which is always the connection's.
pub fn put_heartbeat(out: &mut BytesMut) {
    put_frame(FrameKind::Heartbeat, 0, out, |_| {});
}
