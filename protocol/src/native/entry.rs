//! The message entry: the one layout in which a message travels, waits and is stored.
//!
//! ```text
//!  0       1             5            9           13?
//!  +-------+-------------+------------+-----------+------------+------+
//!  | flags | properties  | body       | delivery  | properties | body |
//!  |       | length u32  | length u32 | count u32?| bytes      |      |
//!  +-------+-------------+------------+-----------+------------+------+
//! ```
//!
//! Invariants: entries of one run stand back to back, so a run of unchanged messages is forwarded as one
//! slice of bytes; a published entry has no flags set, so an entry delivered for the first time has the
//! very bytes that were published. Not here: which exchange and key a run has (`command`).

use bytes::{BufMut, BytesMut};
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u32};

use super::limits::PROPERTIES_BYTES_MAX;
use crate::types::{Parsed, RawProperties, WireError, WireResult, labelled};

/// Bytes of an entry in front of its properties, when it carries no delivery count.
pub const ENTRY_HEADER_LEN: usize = 9;

/// Flags of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryFlags(u8);

impl EntryFlags {
    /// No flag: a message on its first delivery, or one being published.
    pub const NONE: EntryFlags = EntryFlags(0);
    /// The message may have been delivered before (AMQP's `redelivered`).
    pub const REDELIVERED: EntryFlags = EntryFlags(0x01);
    /// A four-byte count of earlier failed deliveries follows the lengths.
    pub const DELIVERY_COUNT: EntryFlags = EntryFlags(0x02);
    /// Reserved for a delay in milliseconds; refused by name until then.
    pub const RESERVED_DELAY: EntryFlags = EntryFlags(0x04);

    /// The octet.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: EntryFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags.
    pub const fn with(self, other: EntryFlags) -> EntryFlags {
        EntryFlags(self.0 | other.0)
    }
}

/// One message inside a run, borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What is special about it.
    pub flags: EntryFlags,
    /// How often it was delivered and came back; 0 where the entry does not say.
    pub delivery_count: u32,
    /// Encoded properties (AMQP 0-9-1 class `basic`), empty for none. Not checked.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
    /// Length of the whole entry.
    pub len: usize,
}

/// Why an entry of a publish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not an entry.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The entry asks for a delay, which this version does not have.
    #[error("delayed publishing (entry flag 0x04) is not supported by this version")]
    DelayReserved,
    /// Flags that a publisher must not set.
    #[error("a published entry has the flags {0:#04x}, which are not for publishers")]
    FlagsNotForPublishers(u8),
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of `bytes`.
    pub fn read(bytes: &'a [u8]) -> WireResult<Entry<'a>> {
        match parse_entry(bytes) {
            Ok((_, entry)) => Ok(entry),
            Err(nom::Err::Incomplete(_)) => Err(WireError::Truncated { what: "message entry" }),
            Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(error),
        }
    }

    /// Reads an entry as a broker must: no flags that are not for publishers, and properties that are whole and at
    /// most [`PROPERTIES_BYTES_MAX`] long.
    pub fn read_published(bytes: &'a [u8]) -> Result<(Entry<'a>, RawProperties<'a>), EntryError> {
        let entry = Entry::read(bytes)?;
        if entry.flags != EntryFlags::NONE {
            return Err(match entry.flags.contains(EntryFlags::RESERVED_DELAY) {
                true => EntryError::DelayReserved,
                false => EntryError::FlagsNotForPublishers(entry.flags.bits()),
            });
        }
        if entry.properties.len() > PROPERTIES_BYTES_MAX {
            let (len, max) = (entry.properties.len(), PROPERTIES_BYTES_MAX);
            return Err(WireError::TooLong { what: "message properties", len, max }.into());
        }
        Ok((entry, RawProperties::check(entry.properties)?))
    }
}

fn parse_entry(input: &[u8]) -> Parsed<'_, Entry<'_>> {
    const WHAT: &str = "message entry";
    let (rest, flags) = labelled(WHAT, be_u8)(input)?;
    let flags = EntryFlags(flags);
    let (rest, properties_len) = labelled(WHAT, be_u32)(rest)?;
    let (rest, body_len) = labelled(WHAT, be_u32)(rest)?;
    let (rest, delivery_count) = match flags.contains(EntryFlags::DELIVERY_COUNT) {
        true => labelled(WHAT, be_u32)(rest)?,
        false => (rest, 0),
    };
    let (rest, properties) = labelled(WHAT, |input| take(properties_len)(input))(rest)?;
    let (rest, body) = labelled(WHAT, |input| take(body_len)(input))(rest)?;
    let len = input.len() - rest.len();
    Ok((rest, Entry { flags, delivery_count, properties, body, len }))
}

/// Writes the head of an entry; properties and body must follow.
pub fn put_entry_head(
    flags: EntryFlags,
    delivery_count: u32,
    properties_len: usize,
    body_len: usize,
    out: &mut BytesMut,
) {
    let ([p3, p2, p1, p0], [b3, b2, b1, b0]) =
        ((properties_len as u32).to_be_bytes(), (body_len as u32).to_be_bytes());
    // Written at once: a buffer checks its room for each piece.
    out.put_slice(&[flags.bits(), p3, p2, p1, p0, b3, b2, b1, b0]);
    if flags.contains(EntryFlags::DELIVERY_COUNT) {
        out.put_u32(delivery_count);
    }
}

/// Writes an entry as a publisher does.
pub fn put_entry(properties: &[u8], body: &[u8], out: &mut BytesMut) {
    put_entry_head(EntryFlags::NONE, 0, properties.len(), body.len(), out);
    out.put_slice(properties);
    out.put_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{FieldTable, FieldValue, Properties};

    #[test]
    fn a_published_entry_is_read_back_whole() {
        let properties = Properties { priority: Some(4), ..Properties::default() }.encoded();
        let mut out = BytesMut::new();
        put_entry(&properties, b"body", &mut out);
        let (entry, read) = Entry::read_published(&out).unwrap();
        assert_eq!((entry.body, entry.len, read.priority()), (&b"body"[..], out.len(), Some(4)));
        for end in 0..out.len() {
            assert!(Entry::read(&out[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_delivery_count_is_carried() {
        let flags = EntryFlags::REDELIVERED.with(EntryFlags::DELIVERY_COUNT);
        let mut out = BytesMut::new();
        put_entry_head(flags, 3, 0, 2, &mut out);
        out.put_slice(b"ab");
        let entry = Entry::read(&out).unwrap();
        assert_eq!((entry.flags, entry.delivery_count, entry.body), (flags, 3, &b"ab"[..]));
        assert_eq!(Entry::read_published(&out), Err(EntryError::FlagsNotForPublishers(3)));
    }

    #[test]
    fn properties_have_a_limit_and_one_past_it_is_refused() {
        let published = |len: usize| {
            // Flags of headers, then a table with one text that fills the rest.
            let text = FieldValue::LongStr(vec![b'x'; len - 2 - 4 - 7].into());
            let headers = FieldTable::new().with("t", text);
            let properties = Properties { headers: Some(headers), ..Properties::default() }.encoded();
            assert_eq!(properties.len(), len);
            let mut out = BytesMut::new();
            put_entry(&properties, b"", &mut out);
            Entry::read_published(&out).map(|(entry, _)| entry.len)
        };
        assert!(published(PROPERTIES_BYTES_MAX).is_ok());
        let what = "message properties";
        let error = WireError::TooLong { what, len: PROPERTIES_BYTES_MAX + 1, max: PROPERTIES_BYTES_MAX };
        assert_eq!(published(PROPERTIES_BYTES_MAX + 1), Err(error.into()));
    }

    #[test]
    fn the_reserved_delay_is_refused_by_name() {
        let bytes = [4, 0, 0, 0, 0, 0, 0, 0, 0];
        let error = Entry::read_published(&bytes).unwrap_err();
        assert!(error.to_string().contains("delayed publishing"), "{error}");
    }
}
