//! An encoded table that is looked at without being decoded.
//!
//! A broker wants one or two entries of a message's headers, by name: the others are stepped over.
//! Invariant: nothing is allocated unless a value is decoded. Not here: tables as values (`field`).

use super::field::{FieldValue, parse_value, skip_value};
use super::short_str::parse_short_str;

/// The entries of a table, in order. It ends where the bytes are no table any more: check them first
/// ([`check_table`](super::check_table)).
#[derive(Clone, Copy, Debug)]
pub struct RawTable<'a>(&'a [u8]);

/// One entry: its name, and its value as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawField<'a> {
    /// The name.
    pub name: &'a str,
    /// The type octet and the value.
    pub value: &'a [u8],
}

impl<'a> RawTable<'a> {
    /// The entries of a table that is encoded with its four-byte length.
    pub fn new(table: &'a [u8]) -> Self {
        RawTable(table.get(4..).unwrap_or_default())
    }
}

impl<'a> Iterator for RawTable<'a> {
    type Item = RawField<'a>;

    fn next(&mut self) -> Option<RawField<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (value, name) = parse_short_str("field name", self.0).ok()?;
        let (rest, ()) = skip_value(value).ok()?;
        self.0 = rest;
        Some(RawField { name, value: &value[..value.len() - rest.len()] })
    }
}

impl RawField<'_> {
    /// The value, decoded.
    pub fn decode(&self) -> Option<FieldValue> {
        parse_value(self.value).ok().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FieldTable;

    #[test]
    fn entries_are_those_of_the_table() {
        let inner = FieldTable::new().with("CC", "not this one");
        let table = FieldTable::new().with("nested", inner).with("x-delay", 5).with("CC", FieldValue::Void);
        let bytes = table.encoded();
        let read: FieldTable = RawTable::new(&bytes)
            .map(|field| (crate::types::ShortStr::truncated(field.name), field.decode().unwrap()))
            .collect();
        assert_eq!(read, table);
        assert_eq!(RawTable::new(&[]).count(), 0);
    }

    #[test]
    fn broken_bytes_end_the_walk() {
        let bytes = FieldTable::new().with("a", 1).with("b", 2).encoded();
        for end in 0..bytes.len() {
            assert!(RawTable::new(&bytes[..end]).count() < 2, "cut at {end}");
        }
    }
}
