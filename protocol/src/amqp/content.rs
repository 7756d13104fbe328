//! Content: the header with body size and properties, and the frames of a body.
//!
//! (AMQP 0-9-1, section 4.2.6.) Invariant: properties are checked when they are read and written as they were
//! read. Not here: which content belongs to which method (`assembler`), the properties themselves (`types`).

use bytes::{BufMut, BytesMut};
use nom::Parser;
use nom::number::complete::{be_u16, be_u64};

use super::frame::{FRAME_END, FrameKind, put_frame_header};
use super::limits::{FRAME_OVERHEAD, PROPERTIES_BYTES_MAX};
use super::method::MethodId;
use crate::types::{Parsed, RawProperties, WireError, WireResult, finish, labelled};

/// Bytes of a content header in front of the properties: class, weight, body size.
const FIXED_LEN: usize = 12;

/// A content header, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method that it follows.
    pub class: u16,
    /// Must be zero; [`super::ContentAssembler::header`] refuses anything else, as RabbitMQ does.
    pub weight: u16,
    /// Bytes of the body in all its frames. Only a claim.
    pub body_size: u64,
    /// The properties, checked.
    pub properties: RawProperties<'a>,
    /// The same as bytes: flags and fields, to be kept and forwarded.
    pub property_bytes: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame. Properties are checked completely and may have
    /// [`PROPERTIES_BYTES_MAX`] bytes.
    pub fn decode(payload: &'a [u8]) -> WireResult<Self> {
        const WHAT: &str = "content header";
        let (property_bytes, (class, weight, body_size)) = match parse_fixed(payload) {
            Ok(parsed) => parsed,
            Err(error) => return finish(WHAT, Err(error)),
        };
        let len = property_bytes.len();
        if len > PROPERTIES_BYTES_MAX {
            return Err(WireError::TooLong { what: "properties", len, max: PROPERTIES_BYTES_MAX });
        }
        if len < 2 {
            // No bytes are no properties to `RawProperties`, but on this wire the flags are always there.
            return Err(WireError::Truncated { what: "property flags" });
        }
        let properties = RawProperties::check(property_bytes)?;
        Ok(Self { class, weight, body_size, properties, property_bytes })
    }
}

fn parse_fixed(payload: &[u8]) -> Parsed<'_, (u16, u16, u64)> {
    labelled("content header", |input| (be_u16, be_u16, be_u64).parse(input))(payload)
}

/// Writes the header frame of a message of class `basic`. `property_bytes` are flags and fields, or empty for none.
///
/// A header cannot be split: properties that are longer than the peer's `frame_max` make a frame that is, too.
#[inline]
pub fn put_content_header(channel: u16, body_size: u64, property_bytes: &[u8], out: &mut BytesMut) {
    let properties = if property_bytes.is_empty() { &[0, 0] } else { property_bytes };
    out.reserve(FRAME_OVERHEAD + FIXED_LEN + properties.len());
    put_frame_header(FrameKind::Header, channel, FIXED_LEN + properties.len(), out);
    let mut fixed = [0; FIXED_LEN];
    fixed[..2].copy_from_slice(&MethodId::BASIC_PUBLISH.class.to_be_bytes());
    fixed[4..].copy_from_slice(&body_size.to_be_bytes());
    out.put_slice(&fixed);
    out.put_slice(properties);
    out.put_u8(FRAME_END);
}

/// Writes a body as frames of at most `frame_max` bytes each (0: one frame); nothing for an empty body.
#[inline]
pub fn put_body(channel: u16, body: &[u8], frame_max: u32, out: &mut BytesMut) {
    for part in body.chunks(body_part_max(frame_max)) {
        out.reserve(FRAME_OVERHEAD + part.len());
        put_body_frame_head(channel, part.len(), out);
        out.put_slice(part);
        out.put_u8(FRAME_END);
    }
}

/// Writes what stands in front of `len` bytes of a body, for callers that send the bytes themselves, without
/// copying them; [`FRAME_END`] follows. `len` is at most [`body_part_max`].
#[inline]
pub fn put_body_frame_head(channel: u16, len: usize, out: &mut BytesMut) {
    put_frame_header(FrameKind::Body, channel, len, out);
}

/// How many bytes of a body fit one frame of `frame_max` bytes (0: no limit).
#[inline]
pub fn body_part_max(frame_max: u32) -> usize {
    match frame_max {
        0 => u32::MAX as usize,
        _ => (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1),
    }
}
