//! Messages as the API shows them, and the places in lists of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rialto_protocol::types::RawProperties;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ApiError;
use crate::model::{ConsumerId, Lsn, Message, Timestamp, json_from_table};
use crate::queue::{BrowsePlace, BrowsedMessage, origin};

/// Bytes of a body that are shown if nobody says how many.
pub(super) const TRUNCATE: usize = 50_000;

/// How bodies are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// As text if they are UTF-8, else in base64.
    #[default]
    Auto,
    /// In base64.
    Base64,
}

/// How much of messages is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Bytes of a body.
    pub(super) truncate: usize,
    /// How bodies are shown.
    pub(super) encoding: Encoding,
    /// When that is.
    pub(super) now: Timestamp,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentBody {
    /// The exchange it was published to; `""` is the default exchange.
    exchange: String,
    /// The routing key it was published with.
    routing_key: String,
    /// Its AMQP properties, headers among them.
    #[schema(value_type = Object)]
    properties: Value,
    /// Length of the body in bytes.
    payload_bytes: usize,
    /// The body, or its beginning.
    payload: String,
    /// `string` or `base64`.
    payload_encoding: &'static str,
    /// Whether only the beginning is shown.
    truncated: bool,
    /// Where it died first, if it is a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<OriginBody>,
}

/// Where a dead letter died first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OriginBody {
    /// The queue.
    queue: String,
    /// The exchange it had been published to.
    exchange: String,
    /// The routing keys it had been published with.
    routing_keys: Vec<String>,
    /// Why it died.
    reason: String,
}

/// A message that waits in a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WaitingBody {
    /// Its identity in this broker: it can be named by it until it leaves the queue.
    id: u64,
    /// `ready`, or `delayed` if it came back and is not to be delivered yet.
    state: &'static str,
    /// Until when it is delayed, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    delayed_until: Option<u64>,
    /// Its priority in this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    /// When it came to the queue, in milliseconds since 1970.
    enqueued_at: u64,
    /// For how many milliseconds it has been in the queue.
    age_ms: u64,
    /// When it expires, in milliseconds since 1970, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    /// Whether it was delivered before.
    redelivered: bool,
    /// How often a delivery of it failed.
    delivery_count: u32,
    /// How often it was delivered and came back, failed or not.
    acquired_count: u32,
    #[serde(flatten)]
    content: ContentBody,
}

impl ContentBody {
    pub(super) fn of(message: &Message, shown: Shown) -> Self {
        let body = message.body();
        let part = &body[..body.len().min(shown.truncate)];
        let properties = message.properties();
        // A letter must not be cut in half: what is shown of a text is text.
        let text = match std::str::from_utf8(part) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() && part.len() < body.len() => {
                std::str::from_utf8(&part[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let (payload, payload_encoding) = match text.filter(|_| shown.encoding == Encoding::Auto) {
            Some(text) => (text.to_owned(), "string"),
            None => (STANDARD.encode(part), "base64"),
        };
        let origin = origin::origin(&properties).map(|origin| OriginBody {
            queue: origin.queue.to_string(),
            exchange: origin.exchange.to_string(),
            routing_keys: origin.routing_keys.iter().map(|key| key.to_string()).collect(),
            reason: origin.reason,
        });
        ContentBody {
            exchange: message.exchange().to_string(),
            routing_key: message.routing_key().to_string(),
            properties: properties_json(&properties),
            payload_bytes: body.len(),
            payload,
            payload_encoding,
            truncated: part.len() < body.len(),
            origin,
        }
    }
}

impl WaitingBody {
    pub(super) fn of(browsed: &BrowsedMessage, shown: Shown) -> Self {
        let (state, delayed_until, priority) = match browsed.place {
            BrowsePlace::Ready { priority, .. } => ("ready", None, Some(priority)),
            BrowsePlace::Delayed { until, .. } => ("delayed", Some(millis(until)), None),
        };
        WaitingBody {
            id: browsed.place.lsn().0,
            state,
            delayed_until,
            priority,
            enqueued_at: millis(browsed.enqueued),
            age_ms: shown.now.since(browsed.enqueued).as_millis() as u64,
            expires_at: (browsed.expires != Timestamp::NEVER).then(|| millis(browsed.expires)),
            redelivered: browsed.returns > 0,
            delivery_count: browsed.failures,
            acquired_count: browsed.returns,
            content: ContentBody::of(&browsed.message, shown),
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(at: Timestamp) -> u64 {
    at.as_micros() / 1000
}

/// The properties that are set, as RabbitMQ's API names them.
pub(super) fn properties_json(properties: &RawProperties<'_>) -> Value {
    let decoded = properties.decode();
    let mut object = Map::new();
    let texts = [
        ("content_type", &decoded.content_type),
        ("content_encoding", &decoded.content_encoding),
        ("correlation_id", &decoded.correlation_id),
        ("reply_to", &decoded.reply_to),
        ("expiration", &decoded.expiration),
        ("message_id", &decoded.message_id),
        ("type", &decoded.kind),
        ("user_id", &decoded.user_id),
        ("app_id", &decoded.app_id),
        ("cluster_id", &decoded.cluster_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            object.insert(name.to_owned(), Value::String(text.to_string()));
        }
    }
    let mut number = |name: &str, number: Option<u64>| {
        if let Some(number) = number {
            object.insert(name.to_owned(), number.into());
        }
    };
    number("delivery_mode", decoded.delivery_mode.map(u64::from));
    number("priority", decoded.priority.map(u64::from));
    number("timestamp", decoded.timestamp);
    if let Some(headers) = &decoded.headers {
        object.insert("headers".to_owned(), json_from_table(headers));
    }
    Value::Object(object)
}

/// A place in a list of waiting messages, as text.
pub(super) fn place_text(place: BrowsePlace) -> String {
    match place {
        BrowsePlace::Ready { priority, lsn } => format!("ready.{priority}.{lsn}"),
        BrowsePlace::Delayed { until, lsn } => format!("delayed.{}.{lsn}", until.as_micros()),
    }
}

/// Reads [`place_text`].
///
/// # Errors
/// 400: it is no such text.
pub(super) fn place_from(text: &str) -> Result<BrowsePlace, ApiError> {
    let read = || {
        let (state, rest) = text.split_once('.')?;
        let (first, lsn) = rest.split_once('.')?;
        let lsn = Lsn(lsn.parse().ok()?);
        match state {
            "ready" => Some(BrowsePlace::Ready { priority: first.parse().ok()?, lsn }),
            "delayed" => {
                Some(BrowsePlace::Delayed { until: Timestamp::from_micros(first.parse().ok()?), lsn })
            }
            _ => None,
        }
    };
    read().ok_or_else(|| no_place(text))
}

/// A place in a list of messages that consumers hold, as text.
pub(super) fn held_text((consumer, tag): (ConsumerId, u64)) -> String {
    format!("held.{}.{tag}", consumer.0)
}

/// Reads [`held_text`].
///
/// # Errors
/// 400: it is no such text.
pub(super) fn held_from(text: &str) -> Result<(ConsumerId, u64), ApiError> {
    let read = || {
        let (consumer, tag) = text.strip_prefix("held.")?.split_once('.')?;
        Some((ConsumerId(consumer.parse().ok()?), tag.parse().ok()?))
    };
    read().ok_or_else(|| no_place(text))
}

fn no_place(text: &str) -> ApiError {
    ApiError::bad_request(format!("{text:?} is not where a list ended: it must be the \"next\" of an answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExchangeName, MemoryGauge, MessageRoute, RoutingKey};

    #[test]
    fn a_place_comes_back_from_its_text() {
        let until = Timestamp::from_micros(1_767_225_600_000_001);
        for place in [
            BrowsePlace::Ready { priority: 255, lsn: Lsn(u64::MAX) },
            BrowsePlace::Delayed { until, lsn: Lsn(7) },
        ] {
            assert_eq!(place_from(&place_text(place)), Ok(place));
        }
        assert_eq!(held_from(&held_text((ConsumerId(3), 9))), Ok((ConsumerId(3), 9)));
        for wrong in ["", "ready", "ready.1", "ready.256.1", "ready.1.x", "other.1.1", "held.1.1"] {
            assert!(place_from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_is_not_cut_within_a_letter() {
        let exchange = ExchangeName::new("").unwrap();
        let route = MessageRoute { exchange, routing_key: RoutingKey::new("q").unwrap() };
        let show = |body: &[u8], truncate| {
            let message = Message::new(route.clone(), &[], body, &MemoryGauge::new());
            let shown = Shown { truncate, encoding: Encoding::Auto, now: Timestamp::default() };
            let shown = ContentBody::of(&message, shown);
            (shown.payload, shown.payload_encoding, shown.truncated)
        };
        assert_eq!(show("grün".as_bytes(), 3), ("gr".to_owned(), "string", true));
        assert_eq!(show("grün".as_bytes(), 100), ("grün".to_owned(), "string", false));
        assert_eq!(show(b"\xff\xfe", 1), ("/w==".to_owned(), "base64", true));
    }
}
