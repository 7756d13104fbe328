//! The fields that bodies are made of: parsers that name what they read, and their writers.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Err;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};

use crate::types::{
    FieldTable, Parsed, ShortStr, WireError, WireResult, finish, labelled, parse_short_str, parse_table,
    put_long_bytes, put_short_str,
};

pub(super) fn octet<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, u8> {
    labelled(what, be_u8)(input)
}

pub(super) fn short<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, u16> {
    labelled(what, be_u16)(input)
}

pub(super) fn long<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, u32> {
    labelled(what, be_u32)(input)
}

pub(super) fn long_long<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, u64> {
    labelled(what, be_u64)(input)
}

/// An octet of booleans, of which only `known` may be set.
pub(super) fn bits<'a>(what: &'static str, known: u8, input: &'a [u8]) -> Parsed<'a, u8> {
    let (input, bits) = octet(what, input)?;
    match bits & !known {
        0 => Ok((input, bits)),
        _ => failed(WireError::BadValue { what, value: bits.into() }),
    }
}

/// A short string as a value of its own.
pub(super) fn text<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, ShortStr> {
    let (input, text) = parse_short_str(what, input)?;
    // What was read has at most 255 bytes, so nothing is cut.
    Ok((input, ShortStr::truncated(text)))
}

/// Bytes with a four-byte length of at most `max`, copied: they are small and outlive their frame.
pub(super) fn small_bytes<'a>(what: &'static str, max: usize, input: &'a [u8]) -> Parsed<'a, Bytes> {
    let (input, len) = long(what, input)?;
    if len as usize > max {
        return failed(WireError::TooLong { what, len: len as usize, max });
    }
    let (input, bytes) = labelled(what, |input| take(len)(input))(input)?;
    Ok((input, Bytes::copy_from_slice(bytes)))
}

/// A table of at most `max` bytes.
pub(super) fn table<'a>(what: &'static str, max: usize, input: &'a [u8]) -> Parsed<'a, FieldTable> {
    let (_, len) = long(what, input)?;
    if len as usize > max {
        return failed(WireError::TooLong { what, len: len as usize, max });
    }
    parse_table(what, input)
}

pub(super) fn failed<T>(error: WireError) -> Result<T, Err<WireError>> {
    Err(Err::Failure(error))
}

/// Ends a body that has nothing left to read.
pub(super) fn end<T>(what: &'static str, (rest, value): (&Bytes, T)) -> WireResult<T> {
    finish(what, Ok((rest, value)))
}

pub(super) fn put_text(text: &ShortStr, out: &mut BytesMut) {
    put_short_str(text, out);
}

pub(super) fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    put_long_bytes(bytes, out);
}

/// Packs booleans into an octet, the first into bit 0.
pub(super) fn put_bits<const N: usize>(bits: [bool; N], out: &mut BytesMut) {
    let octet = bits.iter().enumerate().fold(0, |octet, (at, &bit)| octet | (u8::from(bit) << at));
    out.put_u8(octet);
}
