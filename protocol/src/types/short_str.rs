//! Short strings: UTF-8 of at most 255 bytes, with a one-byte length on the wire.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::BufMut;
use nom::Err;
use nom::bytes::complete::take;
use nom::number::complete::be_u8;
use thiserror::Error;

use super::error::{Parsed, WireError, labelled};

/// A string of at most 255 bytes (AMQP 0-9-1 section 4.2.5.3). Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortStr(Arc<str>);

/// A text that does not fit a [`ShortStr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the text has {len} bytes, and at most 255 fit")]
pub struct TooLong {
    /// Its length in bytes.
    pub len: usize,
}

impl ShortStr {
    /// The longest short string, in bytes.
    pub const MAX: usize = 255;

    /// Takes a text of at most 255 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TooLong> {
        let text = text.as_ref();
        if text.len() > Self::MAX {
            return Err(TooLong { len: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// Takes as much of a text as fits, cut at a character: for reply texts, where a shorter message beats none.
    pub fn truncated(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        let mut end = text.len().min(Self::MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(text[..end].into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ShortStr {
    fn default() -> Self {
        Self("".into())
    }
}

impl Deref for ShortStr {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ShortStr {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ShortStr {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ShortStr {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        Self::new(text)
    }
}

impl TryFrom<String> for ShortStr {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        Self::new(text)
    }
}

impl fmt::Display for ShortStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShortStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Reads a short string without copying it.
pub(crate) fn parse_short_str<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, &'a str> {
    let (rest, len) = labelled(what, be_u8)(input)?;
    let (rest, text) = labelled(what, |input| take(len)(input))(rest)?;
    match std::str::from_utf8(text) {
        Ok(text) => Ok((rest, text)),
        Err(_) => Err(Err::Failure(WireError::BadUtf8 { what })),
    }
}

/// Writes a short string. The text must be at most 255 bytes, which the type `ShortStr` guarantees.
pub(crate) fn put_short_str(text: &str, out: &mut impl BufMut) {
    debug_assert!(text.len() <= ShortStr::MAX);
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_255th_byte_fits_and_the_256th_does_not() {
        assert!(ShortStr::new("x".repeat(255)).is_ok());
        assert_eq!(ShortStr::new("x".repeat(256)), Err(TooLong { len: 256 }));
    }

    #[test]
    fn truncation_keeps_whole_characters() {
        let text = "é".repeat(200);
        assert_eq!(ShortStr::truncated(&text).len(), 254);
    }

    #[test]
    fn bad_utf8_is_named() {
        let error = parse_short_str("queue name", &[2, 0xff, 0xfe]).unwrap_err();
        assert_eq!(error, Err::Failure(WireError::BadUtf8 { what: "queue name" }));
    }
}
