//! The fields of methods, by the types of the specification: reading and writing side by side.
//!
//! (AMQP 0-9-1, section 4.2.5.) "Contiguous bits are packed into one or more octets starting from the low bit in
//! each octet": both reader and writer keep count of the bits, and any other field ends the run.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Err;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};

use crate::amqp::limits::TABLE_BYTES_MAX;
use crate::types::{
    FieldTable, Parsed, ShortStr, WireError, WireResult, finish, labelled, parse_short_str, parse_table,
    put_long_bytes, put_short_str,
};

/// The types of fields that methods have ("elementary domains").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// A boolean in a run of them.
    Bit,
    /// An unsigned 8-bit integer.
    Octet,
    /// An unsigned 16-bit integer.
    Short,
    /// An unsigned 32-bit integer.
    Long,
    /// An unsigned 64-bit integer.
    Longlong,
    /// A text of at most 255 bytes.
    Shortstr,
    /// Bytes with a four-byte length.
    Longstr,
    /// A field table.
    Table,
}

/// Reads fields one after the other. Each method reads the type it is named for.
pub(super) struct FieldReader<'a> {
    input: &'a [u8],
    bits: u8,
    bits_left: u8,
}

impl<'a> FieldReader<'a> {
    #[inline]
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, bits: 0, bits_left: 0 }
    }

    /// Runs a parser of the next field.
    #[inline]
    fn next<T>(&mut self, parsed: Parsed<'a, T>) -> WireResult<T> {
        self.bits_left = 0;
        match parsed {
            Ok((rest, value)) => {
                self.input = rest;
                Ok(value)
            }
            Err(Err::Incomplete(_)) => Err(WireError::Truncated { what: "field" }),
            Err(Err::Error(error) | Err::Failure(error)) => Err(error),
        }
    }

    #[inline]
    pub(super) fn bit(&mut self, what: &'static str) -> WireResult<bool> {
        if self.bits_left == 0 {
            self.bits = self.octet(what)?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 != 0;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    #[inline]
    pub(super) fn octet(&mut self, what: &'static str) -> WireResult<u8> {
        self.next(labelled(what, be_u8)(self.input))
    }

    #[inline]
    pub(super) fn short(&mut self, what: &'static str) -> WireResult<u16> {
        self.next(labelled(what, be_u16)(self.input))
    }

    #[inline]
    pub(super) fn long(&mut self, what: &'static str) -> WireResult<u32> {
        self.next(labelled(what, be_u32)(self.input))
    }

    #[inline]
    pub(super) fn longlong(&mut self, what: &'static str) -> WireResult<u64> {
        self.next(labelled(what, be_u64)(self.input))
    }

    /// A short string that stays where it was read.
    #[inline]
    pub(super) fn borrowed_shortstr(&mut self, what: &'static str) -> WireResult<&'a str> {
        self.next(parse_short_str(what, self.input))
    }

    pub(super) fn shortstr(&mut self, what: &'static str) -> WireResult<ShortStr> {
        // What was read has at most 255 bytes, so nothing is cut.
        self.borrowed_shortstr(what).map(ShortStr::truncated)
    }

    pub(super) fn longstr(&mut self, what: &'static str) -> WireResult<Bytes> {
        let len = self.long(what)?;
        self.next(labelled(what, |input| take(len)(input))(self.input)).map(Bytes::copy_from_slice)
    }

    pub(super) fn secret(&mut self, what: &'static str) -> WireResult<Bytes> {
        self.longstr(what)
    }

    pub(super) fn table(&mut self, what: &'static str) -> WireResult<FieldTable> {
        let (_, len) = labelled(what, be_u32)(self.input).or_else(|error| finish(what, Err(error)))?;
        if len as usize > TABLE_BYTES_MAX {
            return Err(WireError::TooLong { what, len: len as usize, max: TABLE_BYTES_MAX });
        }
        self.next(parse_table(what, self.input))
    }

    /// Everything must have been read.
    #[inline]
    pub(super) fn end(self) -> WireResult<()> {
        finish("the last field", Ok((self.input, ())))
    }
}

/// Writes fields one after the other. Each method writes the type it is named for.
pub(super) struct FieldWriter<'a> {
    out: &'a mut BytesMut,
    /// Bits used in the last octet; 0 when the next bit needs a new one.
    bits_used: u8,
}

impl<'a> FieldWriter<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bits_used: 0 }
    }

    /// Where any field but a bit is written.
    #[inline]
    fn next(&mut self) -> &mut BytesMut {
        self.bits_used = 0;
        self.out
    }

    #[inline]
    pub(super) fn bit(&mut self, value: &bool) {
        if self.bits_used == 0 {
            self.out.put_u8(0);
        }
        if let Some(octet) = self.out.last_mut() {
            *octet |= u8::from(*value) << self.bits_used;
        }
        self.bits_used = (self.bits_used + 1) % 8;
    }

    #[inline]
    pub(super) fn octet(&mut self, value: &u8) {
        self.next().put_u8(*value);
    }

    #[inline]
    pub(super) fn short(&mut self, value: &u16) {
        self.next().put_u16(*value);
    }

    #[inline]
    pub(super) fn long(&mut self, value: &u32) {
        self.next().put_u32(*value);
    }

    #[inline]
    pub(super) fn longlong(&mut self, value: &u64) {
        self.next().put_u64(*value);
    }

    #[inline]
    pub(super) fn shortstr(&mut self, value: &str) {
        put_short_str(value, self.next());
    }

    pub(super) fn longstr(&mut self, value: &Bytes) {
        put_long_bytes(value, self.next());
    }

    pub(super) fn secret(&mut self, value: &Bytes) {
        self.longstr(value);
    }

    pub(super) fn table(&mut self, value: &FieldTable) {
        value.encode(self.next());
    }
}
