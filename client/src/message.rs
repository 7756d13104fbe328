//! A message to publish: a body, and the properties that travel with it.
//!
//! A message without properties costs nothing beyond its body; properties are allocated when the first is set.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

use crate::connection::limits::check_properties;
use crate::error::{Error, Result, short};

/// Set on messages that were published again after a lost connection, and that may therefore be in their
/// queues twice. A consumer that must not act twice looks for it: `delivery.maybe_duplicate()`.
pub const MAYBE_DUPLICATE_HEADER: &str = "x-rialto-maybe-duplicate";

/// A message to publish.
///
/// ```
/// use std::time::Duration;
/// use rialto_client::Message;
/// let plain = Message::new("hello");
/// let message = Message::new(r#"{"id": 7}"#)
///     .content_type("application/json")
///     .persistent()
///     .priority(3)
///     .ttl(Duration::from_secs(60))
///     .header("tenant", "acme");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a message does nothing until it is published"]
pub struct Message {
    body: Bytes,
    properties: Option<Box<Properties>>,
    problem: Option<Error>,
}

impl Message {
    /// A message with this body and no properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Message { body: body.into(), properties: None, problem: None }
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Sets all properties at once.
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = Some(Box::new(properties));
        self
    }

    /// Survives a restart in durable queues.
    pub fn persistent(self) -> Self {
        self.set(|properties| properties.delivery_mode = Some(2))
    }

    /// Lost with a restart; the default of a message without a delivery mode.
    pub fn transient(self) -> Self {
        self.set(|properties| properties.delivery_mode = Some(1))
    }

    /// Higher is delivered earlier by queues with a `max_priority`.
    pub fn priority(self, priority: u8) -> Self {
        self.set(|properties| properties.priority = Some(priority))
    }

    /// Expires when it has waited this long in a queue. Rounded down to milliseconds.
    pub fn ttl(self, ttl: Duration) -> Self {
        let text = ShortStr::truncated(ttl.as_millis().to_string());
        self.set(|properties| properties.expiration = Some(text))
    }

    /// Sets a header, in the place of an old one of that name.
    pub fn header(mut self, name: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        match short("header name", name) {
            Ok(name) => self.set(|properties| {
                properties.headers.get_or_insert_with(FieldTable::new).insert(name, value);
            }),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                self
            }
        }
    }

    /// MIME type of the body.
    pub fn content_type(self, text: impl AsRef<str>) -> Self {
        self.text("content type", text, |properties| &mut properties.content_type)
    }

    /// MIME encoding of the body (`gzip`).
    pub fn content_encoding(self, text: impl AsRef<str>) -> Self {
        self.text("content encoding", text, |properties| &mut properties.content_encoding)
    }

    /// Matches a reply with its request.
    pub fn correlation_id(self, text: impl AsRef<str>) -> Self {
        self.text("correlation id", text, |properties| &mut properties.correlation_id)
    }

    /// The queue that a reply should go to.
    pub fn reply_to(self, text: impl AsRef<str>) -> Self {
        self.text("reply-to address", text, |properties| &mut properties.reply_to)
    }

    /// The application's identifier of the message.
    pub fn message_id(self, text: impl AsRef<str>) -> Self {
        self.text("message id", text, |properties| &mut properties.message_id)
    }

    /// The application's name for the kind of message (`type` on the wire).
    pub fn kind(self, text: impl AsRef<str>) -> Self {
        self.text("message type", text, |properties| &mut properties.kind)
    }

    /// The publishing user; the broker checks it.
    pub fn user_id(self, text: impl AsRef<str>) -> Self {
        self.text("user id", text, |properties| &mut properties.user_id)
    }

    /// The publishing application.
    pub fn app_id(self, text: impl AsRef<str>) -> Self {
        self.text("application id", text, |properties| &mut properties.app_id)
    }

    /// When the message was made. Kept in seconds.
    pub fn timestamp(self, time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.set(|properties| properties.timestamp = Some(seconds))
    }

    /// Body and encoded properties, or the first thing that was wrong with the message.
    pub(crate) fn into_parts(self) -> Result<(Bytes, Bytes)> {
        match (self.problem, self.properties) {
            (Some(problem), _) => Err(problem),
            (None, None) => Ok((self.body, Bytes::new())),
            (None, Some(properties)) => {
                let encoded = properties.encoded();
                check_properties(&properties, &encoded).map(|()| (self.body, encoded))
            }
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Properties)) -> Self {
        change(self.properties.get_or_insert_default());
        self
    }

    fn text(
        mut self,
        what: &'static str,
        text: impl AsRef<str>,
        field: impl FnOnce(&mut Properties) -> &mut Option<ShortStr>,
    ) -> Self {
        match short(what, text) {
            Ok(text) => self.set(|properties| *field(properties) = Some(text)),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                self
            }
        }
    }
}

impl From<Bytes> for Message {
    fn from(body: Bytes) -> Self {
        Message::new(body)
    }
}

impl From<Vec<u8>> for Message {
    fn from(body: Vec<u8>) -> Self {
        Message::new(body)
    }
}

impl From<String> for Message {
    fn from(body: String) -> Self {
        Message::new(body)
    }
}

impl From<&'static str> for Message {
    fn from(body: &'static str) -> Self {
        Message::new(body)
    }
}

impl From<&'static [u8]> for Message {
    fn from(body: &'static [u8]) -> Self {
        Message::new(body)
    }
}

/// The same properties with the mark of [`MAYBE_DUPLICATE_HEADER`]; unreadable ones stay as they are.
pub(crate) fn marked_maybe_duplicate(properties: &[u8]) -> Bytes {
    let Ok(mut decoded) = Properties::decode(properties) else { return Bytes::copy_from_slice(properties) };
    let headers = decoded.headers.take().unwrap_or_default();
    decoded.headers = Some(headers.with(MAYBE_DUPLICATE_HEADER, true));
    decoded.encoded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_message_has_no_properties() {
        let (body, properties) = Message::new("x").into_parts().unwrap();
        assert_eq!((&*body, properties.len()), (&b"x"[..], 0));
    }

    #[test]
    fn properties_are_encoded_as_set() {
        let message = Message::new("x").persistent().priority(9).ttl(Duration::from_secs(2)).header("a", 1);
        let (_, properties) = message.into_parts().unwrap();
        let decoded = Properties::decode(&properties).unwrap();
        assert_eq!((decoded.delivery_mode, decoded.priority), (Some(2), Some(9)));
        assert_eq!(decoded.expiration.as_deref(), Some("2000"));
        assert_eq!(decoded.headers.unwrap().get("a"), Some(&FieldValue::I32(1)));
    }

    #[test]
    fn a_text_that_does_not_fit_is_told_when_publishing() {
        let error = Message::new("x").message_id("m".repeat(256)).into_parts().unwrap_err();
        assert!(matches!(error, Error::NameTooLong { what: "message id", len: 256 }));
    }

    #[test]
    fn marking_keeps_the_other_properties() {
        let (_, properties) = Message::new("x").priority(1).header("k", "v").into_parts().unwrap();
        let marked = Properties::decode(&marked_maybe_duplicate(&properties)).unwrap();
        let headers = marked.headers.unwrap();
        assert_eq!(marked.priority, Some(1));
        assert_eq!(headers.get("k").and_then(FieldValue::as_str), Some("v"));
        assert_eq!(headers.get(MAYBE_DUPLICATE_HEADER), Some(&FieldValue::Bool(true)));
        assert!(!marked_maybe_duplicate(&[]).is_empty());
    }
}
