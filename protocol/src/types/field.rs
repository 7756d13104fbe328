//! Field values and tables, in RabbitMQ's reading of AMQP 0-9-1.
//!
//! RabbitMQ's types differ from the specification's letter (<https://www.rabbitmq.com/amqp-0-9-1-errata>):
//! `s` is a 16-bit integer, `l` and `L` are both signed 64-bit, `x` is a byte array, `u` and `i` are unsigned.
//! Invariants: a table keeps the order and the type octet of what it read, so it encodes to the same bytes.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Err;
use nom::bytes::complete::take;
use nom::number::complete::{be_f32, be_f64, be_i8, be_i16, be_i32, be_i64, be_u8, be_u16, be_u32, be_u64};

use super::error::{Parsed, WireError, WireResult, finish, labelled};
use super::short_str::{ShortStr, parse_short_str, put_short_str};

/// How deep tables and arrays may be nested. Keeps the stack bounded whatever a peer sends.
pub const TABLE_DEPTH_MAX: usize = 32;

/// One typed value of a table or an array.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// `t`: a boolean.
    Bool(bool),
    /// `b`: a signed 8-bit integer.
    I8(i8),
    /// `B`: an unsigned 8-bit integer.
    U8(u8),
    /// `s`: a signed 16-bit integer.
    I16(i16),
    /// `u`: an unsigned 16-bit integer.
    U16(u16),
    /// `I`: a signed 32-bit integer.
    I32(i32),
    /// `i`: an unsigned 32-bit integer.
    U32(u32),
    /// `l`: a signed 64-bit integer, the one that clients send.
    I64(i64),
    /// `L`: a signed 64-bit integer under its other letter.
    I64Upper(i64),
    /// `f`: a 32-bit float.
    F32(f32),
    /// `d`: a 64-bit float.
    F64(f64),
    /// `D`: a decimal: digits after the point, and the digits.
    Decimal(u8, u32),
    /// `S`: a string, by custom UTF-8.
    LongStr(Bytes),
    /// `x`: bytes.
    Bytes(Bytes),
    /// `A`: a list of values.
    Array(Vec<FieldValue>),
    /// `T`: seconds since the Unix epoch.
    Timestamp(u64),
    /// `F`: a nested table.
    Table(FieldTable),
    /// `V`: no value.
    Void,
}

impl FieldValue {
    /// A text value (`S`).
    pub fn text(text: impl Into<String>) -> Self {
        FieldValue::LongStr(Bytes::from(text.into()))
    }

    /// The text of an `S` value, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            FieldValue::LongStr(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The number, whichever integer type carries it.
    pub fn as_int(&self) -> Option<i64> {
        Some(match *self {
            FieldValue::I8(n) => n.into(),
            FieldValue::U8(n) => n.into(),
            FieldValue::I16(n) => n.into(),
            FieldValue::U16(n) => n.into(),
            FieldValue::I32(n) => n.into(),
            FieldValue::U32(n) => n.into(),
            FieldValue::I64(n) | FieldValue::I64Upper(n) => n,
            _ => return None,
        })
    }

    /// The boolean of a `t` value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            FieldValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The type's name in RabbitMQ's error texts (`longstr`, `signedint`, `bool`, …), on which clients match.
    pub fn type_name(&self) -> &'static str {
        match self {
            FieldValue::Bool(_) => "bool",
            FieldValue::I8(_) => "byte",
            FieldValue::U8(_) => "unsignedbyte",
            FieldValue::I16(_) => "short",
            FieldValue::U16(_) => "unsignedshort",
            FieldValue::I32(_) => "signedint",
            FieldValue::U32(_) => "unsignedint",
            FieldValue::I64(_) | FieldValue::I64Upper(_) => "long",
            FieldValue::F32(_) => "float",
            FieldValue::F64(_) => "double",
            FieldValue::Decimal(..) => "decimal",
            FieldValue::LongStr(_) => "longstr",
            FieldValue::Bytes(_) => "binary",
            FieldValue::Array(_) => "array",
            FieldValue::Timestamp(_) => "timestamp",
            FieldValue::Table(_) => "table",
            FieldValue::Void => "void",
        }
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            FieldValue::Bool(value) => put_tagged(out, b't', |out| out.put_u8(u8::from(*value))),
            FieldValue::I8(n) => put_tagged(out, b'b', |out| out.put_i8(*n)),
            FieldValue::U8(n) => put_tagged(out, b'B', |out| out.put_u8(*n)),
            FieldValue::I16(n) => put_tagged(out, b's', |out| out.put_i16(*n)),
            FieldValue::U16(n) => put_tagged(out, b'u', |out| out.put_u16(*n)),
            FieldValue::I32(n) => put_tagged(out, b'I', |out| out.put_i32(*n)),
            FieldValue::U32(n) => put_tagged(out, b'i', |out| out.put_u32(*n)),
            FieldValue::I64(n) => put_tagged(out, b'l', |out| out.put_i64(*n)),
            FieldValue::I64Upper(n) => put_tagged(out, b'L', |out| out.put_i64(*n)),
            FieldValue::F32(n) => put_tagged(out, b'f', |out| out.put_f32(*n)),
            FieldValue::F64(n) => put_tagged(out, b'd', |out| out.put_f64(*n)),
            FieldValue::Decimal(scale, digits) => put_tagged(out, b'D', |out| {
                out.put_u8(*scale);
                out.put_u32(*digits);
            }),
            FieldValue::LongStr(text) => put_tagged(out, b'S', |out| put_long_bytes(text, out)),
            FieldValue::Bytes(bytes) => put_tagged(out, b'x', |out| put_long_bytes(bytes, out)),
            FieldValue::Array(values) => put_tagged(out, b'A', |out| {
                put_with_length(out, |out| values.iter().for_each(|value| value.put(out)));
            }),
            FieldValue::Timestamp(seconds) => put_tagged(out, b'T', |out| out.put_u64(*seconds)),
            FieldValue::Table(table) => put_tagged(out, b'F', |out| table.encode(out)),
            FieldValue::Void => out.put_u8(b'V'),
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        FieldValue::text(text)
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        FieldValue::text(text)
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        FieldValue::Bool(value)
    }
}

impl From<i32> for FieldValue {
    fn from(n: i32) -> Self {
        FieldValue::I32(n)
    }
}

impl From<i64> for FieldValue {
    fn from(n: i64) -> Self {
        FieldValue::I64(n)
    }
}

impl From<FieldTable> for FieldValue {
    fn from(table: FieldTable) -> Self {
        FieldValue::Table(table)
    }
}

/// Shows a value for people: texts as text, numbers as numbers, tables as `{name: value}`.
impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Bool(value) => value.fmt(f),
            FieldValue::F32(n) => n.fmt(f),
            FieldValue::F64(n) => n.fmt(f),
            FieldValue::Decimal(scale, digits) => write!(f, "{digits}e-{scale}"),
            FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => {
                write!(f, "{}", bytes.escape_ascii_lossy())
            }
            FieldValue::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            FieldValue::Timestamp(seconds) => seconds.fmt(f),
            FieldValue::Table(table) => table.fmt(f),
            FieldValue::Void => f.write_str("void"),
            integer => integer.as_int().unwrap_or_default().fmt(f),
        }
    }
}

/// Text as it is where the bytes are UTF-8, escapes where they are not.
trait LossyText {
    fn escape_ascii_lossy(&self) -> String;
}

impl LossyText for Bytes {
    fn escape_ascii_lossy(&self) -> String {
        match std::str::from_utf8(self) {
            Ok(text) => text.to_owned(),
            Err(_) => self.escape_ascii().to_string(),
        }
    }
}

/// An ordered list of named values. Names may repeat on the wire; [`FieldTable::get`] reads the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldTable(Vec<(ShortStr, FieldValue)>);

impl FieldTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&FieldValue> {
        self.0.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// Sets a value, in the place of an old one of the same name or at the end.
    pub fn insert(&mut self, name: ShortStr, value: impl Into<FieldValue>) {
        let value = value.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// [`FieldTable::insert`] for names written in the code.
    ///
    /// # Panics
    /// If the name is longer than 255 bytes.
    pub fn with(mut self, name: &str, value: impl Into<FieldValue>) -> Self {
        self.insert(ShortStr::new(name).expect("a name written in the code is short"), value);
        self
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<FieldValue> {
        let index = self.0.iter().position(|(key, _)| &**key == name)?;
        Some(self.0.remove(index).1)
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ShortStr, &FieldValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a table with its four-byte length; all of `bytes` must be used.
    ///
    /// ```
    /// use rialto_protocol::types::FieldTable;
    /// let table = FieldTable::new().with("x-max-priority", 5);
    /// assert_eq!(FieldTable::decode(&table.encoded()).unwrap(), table);
    /// ```
    pub fn decode(bytes: &[u8]) -> WireResult<FieldTable> {
        finish("table", parse_table("table", bytes))
    }

    /// Writes the table with its four-byte length.
    pub fn encode(&self, out: &mut BytesMut) {
        put_with_length(out, |out| {
            for (name, value) in &self.0 {
                put_short_str(name, out);
                value.put(out);
            }
        });
    }

    /// The table as bytes, with its four-byte length.
    pub fn encoded(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

impl FromIterator<(ShortStr, FieldValue)> for FieldTable {
    fn from_iter<I: IntoIterator<Item = (ShortStr, FieldValue)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl fmt::Display for FieldTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}: {value}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

/// Checks a table (with its length) without building it: what passes here can be forwarded as raw bytes.
pub fn check_table(bytes: &[u8]) -> WireResult<()> {
    finish("table", walk_table("table", bytes, 0))
}

/// Reads a table with its length in front.
pub(crate) fn parse_table<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, FieldTable> {
    table_at(what, input, 0)
}

/// Reads a value with its type octet in front.
pub(crate) fn parse_value(input: &[u8]) -> Parsed<'_, FieldValue> {
    value_at(input, 1)
}

/// Steps over a value with its type octet in front.
pub(crate) fn skip_value(input: &[u8]) -> Parsed<'_, ()> {
    walk_value(input, 1)
}

/// Writes bytes behind their four-byte length.
pub(crate) fn put_long_bytes(bytes: &[u8], out: &mut impl BufMut) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

fn put_tagged(out: &mut BytesMut, tag: u8, put: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    put(out);
}

/// Leaves room for a length, writes, and fills the length in.
fn put_with_length(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    put(out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn long_bytes<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, &'a [u8]> {
    let (rest, len) = labelled(what, be_u32)(input)?;
    labelled(what, |input| take(len)(input))(rest)
}

fn deeper(depth: usize) -> Result<usize, Err<WireError>> {
    if depth >= TABLE_DEPTH_MAX {
        return Err(Err::Failure(WireError::TooDeep { max: TABLE_DEPTH_MAX }));
    }
    Ok(depth + 1)
}

fn table_at<'a>(what: &'static str, input: &'a [u8], depth: usize) -> Parsed<'a, FieldTable> {
    let depth = deeper(depth)?;
    let (rest, mut inside) = long_bytes(what, input)?;
    let mut entries = Vec::new();
    while !inside.is_empty() {
        let (after_name, name) = parse_short_str("field name", inside)?;
        let (after_value, value) = value_at(after_name, depth)?;
        entries.push((ShortStr::truncated(name), value));
        inside = after_value;
    }
    Ok((rest, FieldTable(entries)))
}

fn value_at(input: &[u8], depth: usize) -> Parsed<'_, FieldValue> {
    const WHAT: &str = "field value";
    let (rest, tag) = labelled(WHAT, be_u8)(input)?;
    macro_rules! number {
        ($parser:expr, $variant:ident) => {{
            let (rest, n) = labelled(WHAT, $parser)(rest)?;
            Ok((rest, FieldValue::$variant(n)))
        }};
    }
    match tag {
        b't' => {
            let (rest, n) = labelled(WHAT, be_u8)(rest)?;
            Ok((rest, FieldValue::Bool(n != 0)))
        }
        b'b' => number!(be_i8, I8),
        b'B' => number!(be_u8, U8),
        b's' => number!(be_i16, I16),
        b'u' => number!(be_u16, U16),
        b'I' => number!(be_i32, I32),
        b'i' => number!(be_u32, U32),
        b'l' => number!(be_i64, I64),
        b'L' => number!(be_i64, I64Upper),
        b'f' => number!(be_f32, F32),
        b'd' => number!(be_f64, F64),
        b'T' => number!(be_u64, Timestamp),
        b'D' => {
            let (rest, scale) = labelled(WHAT, be_u8)(rest)?;
            let (rest, digits) = labelled(WHAT, be_u32)(rest)?;
            Ok((rest, FieldValue::Decimal(scale, digits)))
        }
        b'S' => {
            let (rest, text) = long_bytes(WHAT, rest)?;
            Ok((rest, FieldValue::LongStr(Bytes::copy_from_slice(text))))
        }
        b'x' => {
            let (rest, bytes) = long_bytes(WHAT, rest)?;
            Ok((rest, FieldValue::Bytes(Bytes::copy_from_slice(bytes))))
        }
        b'A' => {
            let depth = deeper(depth)?;
            let (rest, mut inside) = long_bytes(WHAT, rest)?;
            let mut values = Vec::new();
            while !inside.is_empty() {
                let (after, value) = value_at(inside, depth)?;
                values.push(value);
                inside = after;
            }
            Ok((rest, FieldValue::Array(values)))
        }
        b'F' => {
            let (rest, table) = table_at(WHAT, rest, depth)?;
            Ok((rest, FieldValue::Table(table)))
        }
        b'V' => Ok((rest, FieldValue::Void)),
        tag => Err(Err::Failure(WireError::UnknownFieldType { tag })),
    }
}

fn walk_table<'a>(what: &'static str, input: &'a [u8], depth: usize) -> Parsed<'a, ()> {
    let depth = deeper(depth)?;
    let (rest, mut inside) = long_bytes(what, input)?;
    while !inside.is_empty() {
        let (after_name, _) = parse_short_str("field name", inside)?;
        (inside, ()) = walk_value(after_name, depth)?;
    }
    Ok((rest, ()))
}

fn walk_value(input: &[u8], depth: usize) -> Parsed<'_, ()> {
    const WHAT: &str = "field value";
    let (rest, tag) = labelled(WHAT, be_u8)(input)?;
    let fixed = match tag {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' => return long_bytes(WHAT, rest).map(|(rest, _)| (rest, ())),
        b'F' => return walk_table(WHAT, rest, depth),
        b'A' => {
            let depth = deeper(depth)?;
            let (rest, mut inside) = long_bytes(WHAT, rest)?;
            while !inside.is_empty() {
                (inside, ()) = walk_value(inside, depth)?;
            }
            return Ok((rest, ()));
        }
        tag => return Err(Err::Failure(WireError::UnknownFieldType { tag })),
    };
    labelled(WHAT, |input| take(fixed as u32)(input))(rest).map(|(rest, _): (_, &[u8])| (rest, ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> FieldTable {
        FieldTable::new()
            .with("t", true)
            .with("b", FieldValue::I8(-1))
            .with("B", FieldValue::U8(255))
            .with("s", FieldValue::I16(-2))
            .with("u", FieldValue::U16(65535))
            .with("I", -3)
            .with("i", FieldValue::U32(u32::MAX))
            .with("l", -4_i64)
            .with("L", FieldValue::I64Upper(5))
            .with("f", FieldValue::F32(1.5))
            .with("d", FieldValue::F64(-2.5))
            .with("D", FieldValue::Decimal(2, 314))
            .with("S", "text")
            .with("x", FieldValue::Bytes(Bytes::from_static(&[0, 255])))
            .with("A", FieldValue::Array(vec![FieldValue::Void, "in".into()]))
            .with("T", FieldValue::Timestamp(1_700_000_000))
            .with("F", FieldTable::new().with("inner", 1))
            .with("V", FieldValue::Void)
    }

    fn nested(levels: usize) -> FieldTable {
        (1..levels).fold(FieldTable::new(), |inner, _| FieldTable::new().with("n", inner))
    }

    #[test]
    fn every_type_survives_a_round_trip() {
        let table = every_type();
        let bytes = table.encoded();
        assert_eq!(FieldTable::decode(&bytes), Ok(table));
        assert_eq!(check_table(&bytes), Ok(()));
    }

    #[test]
    fn depth_has_a_limit_and_one_past_it_fails() {
        let fits = nested(TABLE_DEPTH_MAX).encoded();
        assert!(FieldTable::decode(&fits).is_ok());
        assert_eq!(check_table(&fits), Ok(()));
        let too_deep = nested(TABLE_DEPTH_MAX + 1).encoded();
        let error = WireError::TooDeep { max: TABLE_DEPTH_MAX };
        assert_eq!(FieldTable::decode(&too_deep), Err(error));
        assert_eq!(check_table(&too_deep), Err(error));
    }

    #[test]
    fn every_cut_is_an_error_and_both_readers_agree() {
        let bytes = every_type().encoded();
        for end in 0..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            if end >= 4 {
                cut[..4].copy_from_slice(&((end - 4) as u32).to_be_bytes());
            }
            assert_eq!(FieldTable::decode(&cut).err(), check_table(&cut).err(), "cut at {end}");
        }
    }

    #[test]
    fn unknown_types_are_named() {
        let bytes = [0, 0, 0, 3, 1, b'k', b'Z'];
        assert_eq!(FieldTable::decode(&bytes), Err(WireError::UnknownFieldType { tag: b'Z' }));
    }

    #[test]
    fn insert_replaces_in_place() {
        let mut table = FieldTable::new().with("a", 1).with("b", 2);
        table.insert(ShortStr::truncated("a"), 3);
        assert_eq!(table.to_string(), "{a: 3, b: 2}");
        assert_eq!(table.remove("a"), Some(FieldValue::I32(3)));
        assert_eq!(table.len(), 1);
    }
}
