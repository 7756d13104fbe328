//! The further routing keys of a message: its `CC` and `BCC` headers.
//!
//! As RabbitMQ's sender-selected distribution: each is an array, its texts are routing keys beside the message's
//! own, and `BCC` is taken out before the message is stored. Entries that are no texts are passed over.
//! Invariant: a message without headers costs one test of a flag.

use bytes::Bytes;
use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, FieldValue, RawProperties};
use thiserror::Error;

const CC: &str = "CC";
const BCC: &str = "BCC";

/// The keys that a message brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyKeys {
    keys: Vec<String>,
    has_bcc: bool,
}

/// A header that should list routing keys is no list.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}")]
pub struct InvalidCopyKeys {
    /// `CC` or `BCC`.
    pub header: &'static str,
    /// What it is instead of an array.
    pub type_name: &'static str,
}

impl InvalidCopyKeys {
    /// The code it is answered with.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::PreconditionFailed
    }
}

impl CopyKeys {
    /// Whether a message has any, valid or not. What is known of its routing key's way is not all of its way then.
    pub fn are_in(properties: &RawProperties<'_>) -> bool {
        properties.has_headers() && properties.raw_headers().any(|header| matches!(header.name, CC | BCC))
    }

    /// Reads them. None: there are no such headers, as in most messages.
    ///
    /// # Errors
    /// One of them is not an array.
    pub fn read(properties: &RawProperties<'_>) -> Result<Option<CopyKeys>, InvalidCopyKeys> {
        if !Self::are_in(properties) {
            return Ok(None);
        }
        let mut read = CopyKeys::default();
        for header in [CC, BCC] {
            let Some(value) = properties.header(header).and_then(|field| field.decode()) else { continue };
            let FieldValue::Array(keys) = value else {
                return Err(InvalidCopyKeys { header, type_name: value.type_name() });
            };
            read.has_bcc |= header == BCC;
            read.keys.extend(keys.iter().filter_map(|key| match key {
                FieldValue::LongStr(key) => Some(String::from_utf8_lossy(key).into_owned()),
                _ => None,
            }));
        }
        Ok(Some(read))
    }

    /// These keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// The routing keys of a message: its own, then these.
    pub fn with<'a>(&'a self, own: &'a str) -> Vec<&'a str> {
        std::iter::once(own).chain(self.keys.iter().map(String::as_str)).collect()
    }

    /// The properties as they are stored, if they are not those that were published: without `BCC`.
    pub fn stored(&self, properties: &RawProperties<'_>) -> Option<Bytes> {
        if !self.has_bcc {
            return None;
        }
        let mut properties = properties.decode();
        // A name may be there twice. What is left is a table, if an empty one, as RabbitMQ leaves it.
        let headers = properties.headers.take().unwrap_or_default();
        let kept = headers.iter().filter(|(name, _)| &***name != BCC);
        let kept: FieldTable = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        properties.headers = Some(kept);
        Some(properties.encoded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::types::Properties;

    fn encoded(headers: FieldTable) -> Bytes {
        Properties { headers: Some(headers), priority: Some(3), ..Properties::default() }.encoded()
    }

    fn read(headers: FieldTable) -> Result<Option<CopyKeys>, InvalidCopyKeys> {
        CopyKeys::read(&RawProperties::check(&encoded(headers)).unwrap())
    }

    fn keys(keys: &[&str]) -> FieldValue {
        FieldValue::Array(keys.iter().map(|key| (*key).into()).collect())
    }

    #[test]
    fn messages_without_such_headers_have_none() {
        assert_eq!(CopyKeys::read(&RawProperties::EMPTY), Ok(None));
        assert_eq!(read(FieldTable::new().with("cc", keys(&["a"]))), Ok(None));
        let nested = FieldTable::new().with("CC", keys(&["a"]));
        assert_eq!(read(FieldTable::new().with("inner", nested)), Ok(None));
    }

    #[test]
    fn both_headers_give_keys_and_what_is_no_text_is_passed_over() {
        let cc = FieldValue::Array(vec!["a".into(), FieldValue::I32(1), "b".into()]);
        let read = read(FieldTable::new().with("BCC", keys(&["c"])).with("CC", cc)).unwrap().unwrap();
        assert_eq!(read.with("own"), ["own", "a", "b", "c"]);
    }

    #[test]
    fn a_header_that_is_no_array_is_refused_in_rabbitmqs_words() {
        for (header, value, text) in [
            ("CC", FieldValue::text("a"), r#"{unacceptable_type_in_header,"CC",longstr}"#),
            ("BCC", FieldTable::new().into(), r#"{unacceptable_type_in_header,"BCC",table}"#),
        ] {
            let error = read(FieldTable::new().with(header, value)).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid message: {text}"));
            assert_eq!(error.reply_code(), ReplyCode::PreconditionFailed);
        }
    }

    #[test]
    fn only_bcc_is_taken_out() {
        let headers = FieldTable::new().with("CC", keys(&["a"])).with("k", 1);
        let bytes = encoded(headers.clone().with("BCC", keys(&["b"])));
        let raw = RawProperties::check(&bytes).unwrap();
        let stored = CopyKeys::read(&raw).unwrap().unwrap().stored(&raw);
        assert_eq!(stored, Some(encoded(headers.clone())));
        let bytes = encoded(headers);
        let raw = RawProperties::check(&bytes).unwrap();
        assert_eq!(CopyKeys::read(&raw).unwrap().unwrap().stored(&raw), None, "as it was published");
    }
}
