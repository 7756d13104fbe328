//! The fourteen properties of a message (AMQP 0-9-1 class `basic`), raw and decoded.
//!
//! The broker forwards [`RawProperties`] untouched and reads only the few fields it acts on; clients and the
//! dead-letter rule, which change properties, use the decoded [`Properties`].
//! Encoding: one or more flag words (bit 0 = another word follows), then the present fields in order.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Err;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};

use super::error::{Parsed, WireError, WireResult, finish, labelled};
use super::field::{FieldTable, check_table, parse_table};
use super::raw_table::{RawField, RawTable};
use super::short_str::{ShortStr, parse_short_str, put_short_str};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
const UNUSED: u16 = 1 << 1;
const CONTINUED: u16 = 1;

/// The properties of a message, decoded. All are optional; the broker itself acts on `headers`,
/// `delivery_mode`, `priority` and `expiration` and leaves the others to the applications.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<ShortStr>,
    /// MIME encoding of the body (`gzip`).
    pub content_encoding: Option<ShortStr>,
    /// The application's own fields; headers exchanges route by them.
    pub headers: Option<FieldTable>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// Higher is delivered earlier by queues with `x-max-priority`.
    pub priority: Option<u8>,
    /// Matches a reply with its request.
    pub correlation_id: Option<ShortStr>,
    /// The queue that a reply should go to.
    pub reply_to: Option<ShortStr>,
    /// Time to live in milliseconds, as decimal text.
    pub expiration: Option<ShortStr>,
    /// The application's identifier of the message.
    pub message_id: Option<ShortStr>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// The application's name for the kind of message (`type` on the wire).
    pub kind: Option<ShortStr>,
    /// The user who published.
    pub user_id: Option<ShortStr>,
    /// The application that published.
    pub app_id: Option<ShortStr>,
    /// Not used by anyone today.
    pub cluster_id: Option<ShortStr>,
}

impl Properties {
    /// Writes flag word and fields.
    pub fn encode(&self, out: &mut BytesMut) {
        let at = out.len();
        out.put_u16(0);
        let mut flags = 0;
        let mut text = |out: &mut BytesMut, flag, value: &Option<ShortStr>| {
            if let Some(value) = value {
                flags |= flag;
                put_short_str(value, out);
            }
        };
        text(out, CONTENT_TYPE, &self.content_type);
        text(out, CONTENT_ENCODING, &self.content_encoding);
        if let Some(headers) = &self.headers {
            headers.encode(out);
        }
        if let Some(mode) = self.delivery_mode {
            out.put_u8(mode);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
        text(out, CORRELATION_ID, &self.correlation_id);
        text(out, REPLY_TO, &self.reply_to);
        text(out, EXPIRATION, &self.expiration);
        text(out, MESSAGE_ID, &self.message_id);
        if let Some(seconds) = self.timestamp {
            out.put_u64(seconds);
        }
        text(out, TYPE, &self.kind);
        text(out, USER_ID, &self.user_id);
        text(out, APP_ID, &self.app_id);
        text(out, CLUSTER_ID, &self.cluster_id);
        for (flag, present) in [
            (HEADERS, self.headers.is_some()),
            (DELIVERY_MODE, self.delivery_mode.is_some()),
            (PRIORITY, self.priority.is_some()),
            (TIMESTAMP, self.timestamp.is_some()),
        ] {
            if present {
                flags |= flag;
            }
        }
        out[at..at + 2].copy_from_slice(&flags.to_be_bytes());
    }

    /// The properties as bytes: empty when none is set, which the native protocol allows.
    ///
    /// ```
    /// use rialto_protocol::types::{Properties, RawProperties};
    /// let properties = Properties { priority: Some(3), ..Properties::default() };
    /// let bytes = properties.encoded();
    /// assert_eq!(RawProperties::check(&bytes).unwrap().priority(), Some(3));
    /// assert!(Properties::default().encoded().is_empty());
    /// ```
    pub fn encoded(&self) -> Bytes {
        if *self == Properties::default() {
            return Bytes::new();
        }
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }

    /// Reads properties; no bytes at all are no properties.
    pub fn decode(bytes: &[u8]) -> WireResult<Properties> {
        if bytes.is_empty() {
            return Ok(Properties::default());
        }
        finish("properties", parse_properties(bytes))
    }
}

fn parse_properties(input: &[u8]) -> Parsed<'_, Properties> {
    let (mut input, flags) = parse_flags(input)?;
    let mut properties = Properties::default();
    macro_rules! field {
        ($flag:expr, $field:ident, $parser:expr) => {
            if flags & $flag != 0 {
                let (rest, value) = $parser(input)?;
                properties.$field = Some(value.into());
                input = rest;
            }
        };
    }
    let text = |input| parse_short_str("property", input).map(|(rest, t)| (rest, ShortStr::truncated(t)));
    field!(CONTENT_TYPE, content_type, text);
    field!(CONTENT_ENCODING, content_encoding, text);
    field!(HEADERS, headers, |input| parse_table("headers", input));
    field!(DELIVERY_MODE, delivery_mode, labelled("delivery-mode", be_u8));
    field!(PRIORITY, priority, labelled("priority", be_u8));
    field!(CORRELATION_ID, correlation_id, text);
    field!(REPLY_TO, reply_to, text);
    field!(EXPIRATION, expiration, text);
    field!(MESSAGE_ID, message_id, text);
    field!(TIMESTAMP, timestamp, labelled("timestamp", be_u64));
    field!(TYPE, kind, text);
    field!(USER_ID, user_id, text);
    field!(APP_ID, app_id, text);
    field!(CLUSTER_ID, cluster_id, text);
    Ok((input, properties))
}

/// Reads the flag words. The basic class has one; further words may follow but must be empty.
fn parse_flags(input: &[u8]) -> Parsed<'_, u16> {
    let (mut rest, first) = labelled("property flags", be_u16)(input)?;
    let mut word = first;
    while word & CONTINUED != 0 {
        (rest, word) = labelled("property flags", be_u16)(rest)?;
        if word & !CONTINUED != 0 {
            return Err(Err::Failure(WireError::BadValue { what: "property flags", value: word.into() }));
        }
    }
    if first & UNUSED != 0 {
        return Err(Err::Failure(WireError::BadValue { what: "property flags", value: first.into() }));
    }
    Ok((rest, first))
}

/// Encoded properties that have been checked: every field can be read without an error.
///
/// Reading a field walks over those before it; nothing is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawProperties<'a> {
    flags: u16,
    fields: &'a [u8],
}

impl<'a> RawProperties<'a> {
    /// No properties.
    pub const EMPTY: RawProperties<'static> = RawProperties { flags: 0, fields: &[] };

    /// Checks encoded properties completely, headers included. No bytes at all are no properties.
    pub fn check(bytes: &'a [u8]) -> WireResult<Self> {
        if bytes.is_empty() {
            return Ok(RawProperties { flags: 0, fields: &[] });
        }
        let (rest, flags) = match parse_flags(bytes) {
            Ok(parsed) => parsed,
            Err(error) => return finish("properties", Err(error)),
        };
        let raw = RawProperties { flags, fields: rest };
        finish("properties", raw.walk(0, true).map(|(rest, _)| (rest, raw)))
    }

    /// Reads properties that [`RawProperties::check`] has accepted before.
    pub fn trusted(bytes: &'a [u8]) -> Self {
        if bytes.is_empty() {
            return RawProperties { flags: 0, fields: &[] };
        }
        match parse_flags(bytes) {
            Ok((rest, flags)) => RawProperties { flags, fields: rest },
            Err(_) => RawProperties { flags: 0, fields: &[] },
        }
    }

    /// 1 transient, 2 persistent.
    pub fn delivery_mode(&self) -> Option<u8> {
        self.field(DELIVERY_MODE).and_then(|field| field.first().copied())
    }

    /// Whether the publisher asked for the message to survive a restart.
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode() == Some(2)
    }

    /// The message's priority.
    pub fn priority(&self) -> Option<u8> {
        self.field(PRIORITY).and_then(|field| field.first().copied())
    }

    /// Time to live in milliseconds as the publisher wrote it, not yet a number.
    pub fn expiration(&self) -> Option<&'a str> {
        self.text(EXPIRATION)
    }

    /// The reply's address.
    pub fn reply_to(&self) -> Option<&'a str> {
        self.text(REPLY_TO)
    }

    /// The request that this answers.
    pub fn correlation_id(&self) -> Option<&'a str> {
        self.text(CORRELATION_ID)
    }

    /// The application's identifier.
    pub fn message_id(&self) -> Option<&'a str> {
        self.text(MESSAGE_ID)
    }

    /// The publishing user.
    pub fn user_id(&self) -> Option<&'a str> {
        self.text(USER_ID)
    }

    /// Seconds since the Unix epoch.
    pub fn timestamp(&self) -> Option<u64> {
        self.field(TIMESTAMP).and_then(|field| field.try_into().ok()).map(u64::from_be_bytes)
    }

    /// Whether there is a table of headers: the cheapest question to begin with.
    pub fn has_headers(&self) -> bool {
        self.flags & HEADERS != 0
    }

    /// The headers one by one, none decoded.
    pub fn raw_headers(&self) -> RawTable<'a> {
        RawTable::new(self.field(HEADERS).unwrap_or_default())
    }

    /// One header, found without decoding the others.
    pub fn header(&self, name: &str) -> Option<RawField<'a>> {
        self.raw_headers().find(|field| field.name == name)
    }

    /// The headers, decoded.
    pub fn headers(&self) -> Option<FieldTable> {
        FieldTable::decode(self.field(HEADERS)?).ok()
    }

    /// All of them, decoded.
    pub fn decode(&self) -> Properties {
        let mut bytes = BytesMut::with_capacity(self.fields.len() + 2);
        bytes.put_u16(self.flags & !CONTINUED);
        bytes.put_slice(self.fields);
        Properties::decode(&bytes).unwrap_or_default()
    }

    fn text(&self, flag: u16) -> Option<&'a str> {
        let field = self.field(flag)?;
        std::str::from_utf8(field.get(1..)?).ok()
    }

    /// The bytes of one field.
    fn field(&self, flag: u16) -> Option<&'a [u8]> {
        if self.flags & flag == 0 {
            return None;
        }
        let (from, _) = self.walk(flag, false).ok()?;
        let (after, _) = skip_field(flag, from, false).ok()?;
        Some(&from[..from.len() - after.len()])
    }

    /// Walks over the fields in front of `until` (0: all of them).
    fn walk(&self, until: u16, check: bool) -> Parsed<'a, ()> {
        let mut input = self.fields;
        // Fields stand in the order of their flags, the highest bit first. Most messages have one or two.
        let higher = if until == 0 { !(UNUSED | CONTINUED) } else { !(until | (until - 1)) };
        let mut flags = self.flags & higher;
        while flags != 0 {
            let flag = CONTENT_TYPE >> flags.leading_zeros();
            (input, ()) = skip_field(flag, input, check)?;
            flags &= !flag;
        }
        Ok((input, ()))
    }
}

fn skip_field(flag: u16, input: &[u8], check: bool) -> Parsed<'_, ()> {
    let skip = |what, len: u32, input| labelled(what, |input| take(len)(input))(input);
    let (rest, _) = match flag {
        HEADERS => {
            let (_, len) = labelled("headers", be_u32)(input)?;
            let (rest, table) = skip("headers", len.saturating_add(4), input)?;
            if check && let Err(error) = check_table(table) {
                return Err(Err::Failure(error));
            }
            (rest, table)
        }
        DELIVERY_MODE | PRIORITY => skip("property", 1, input)?,
        TIMESTAMP => skip("timestamp", 8, input)?,
        _ if check => parse_short_str("property", input).map(|(rest, text)| (rest, text.as_bytes()))?,
        _ => {
            let (rest, len) = labelled("property", be_u8)(input)?;
            skip("property", len.into(), rest)?
        }
    };
    Ok((rest, ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Properties {
        let text = |t: &str| Some(ShortStr::truncated(t));
        Properties {
            content_type: text("application/json"),
            content_encoding: text("gzip"),
            headers: Some(FieldTable::new().with("k", "v")),
            delivery_mode: Some(2),
            priority: Some(7),
            correlation_id: text("c-1"),
            reply_to: text("replies"),
            expiration: text("60000"),
            message_id: text("m-1"),
            timestamp: Some(1_700_000_000),
            kind: text("order.created"),
            user_id: text("guest"),
            app_id: text("shop"),
            cluster_id: text(""),
        }
    }

    #[test]
    fn all_fourteen_survive_a_round_trip() {
        let properties = full();
        let bytes = properties.encoded();
        assert_eq!(Properties::decode(&bytes), Ok(properties.clone()));
        let raw = RawProperties::check(&bytes).unwrap();
        assert_eq!(raw.decode(), properties);
        assert_eq!(raw.delivery_mode(), Some(2));
        assert!(raw.is_persistent());
        assert_eq!(raw.priority(), Some(7));
        assert_eq!(raw.expiration(), Some("60000"));
        assert_eq!(raw.reply_to(), Some("replies"));
        assert_eq!(raw.correlation_id(), Some("c-1"));
        assert_eq!(raw.message_id(), Some("m-1"));
        assert_eq!(raw.user_id(), Some("guest"));
        assert_eq!(raw.timestamp(), Some(1_700_000_000));
        assert_eq!(raw.headers(), properties.headers);
        assert!(raw.has_headers() && !RawProperties::EMPTY.has_headers());
        assert_eq!(raw.header("k").and_then(|field| field.decode()), Some("v".into()));
        assert_eq!((raw.header("other"), RawProperties::EMPTY.header("k")), (None, None));
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = full().encoded();
        for end in 1..bytes.len() {
            assert!(Properties::decode(&bytes[..end]).is_err(), "decode, cut at {end}");
            assert!(RawProperties::check(&bytes[..end]).is_err(), "check, cut at {end}");
        }
    }

    #[test]
    fn an_empty_continuation_word_is_legal() {
        let bytes = [0b0000_1000, 0b0000_0001, 0, 0, 9];
        assert_eq!(RawProperties::check(&bytes).unwrap().priority(), Some(9));
        assert_eq!(Properties::decode(&bytes).unwrap().priority, Some(9));
    }

    #[test]
    fn no_bytes_are_no_properties() {
        assert_eq!(RawProperties::check(&[]), Ok(RawProperties::EMPTY));
        assert_eq!(Properties::decode(&[]), Ok(Properties::default()));
    }

    #[test]
    fn broken_headers_are_refused_without_decoding() {
        let bytes = [0b0010_0000, 0, 0, 0, 0, 3, 1, b'k', b'Z'];
        assert_eq!(RawProperties::check(&bytes), Err(WireError::UnknownFieldType { tag: b'Z' }));
    }
}
