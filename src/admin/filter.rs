//! Which messages of a queue are meant: a filter as it is written in a request.
//!
//! All its conditions must hold; one without conditions means every message. Invariant: to ask a message costs at most a
//! walk over it.
//! Not here: in which queue, and what becomes of those that are meant.

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ApiError;
use crate::model::{Timestamp, json_from_field};
use crate::queue::{BrowsedMessage, origin};
use crate::routing::topic_matches;

/// Bytes of a text in a filter.
const TEXT_MAX: usize = 4096;

/// Headers in a filter.
const HEADERS_MAX: usize = 64;

/// Which messages are meant: those for which all of this holds. Without conditions, every message.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FilterBody {
    /// Published with this routing key. `*` stands for one word, `#` for any number of words, as in topic bindings.
    #[schema(example = "orders.#")]
    routing_key: Option<String>,
    /// Published to this exchange; `""` is the default exchange.
    exchange: Option<String>,
    /// With these headers. `null` means that the header is there, whatever it says.
    #[schema(value_type = Option<Object>, example = json!({"type": "report"}))]
    headers: Option<Map<String, Value>>,
    /// With this text in the body.
    body: Option<String>,
    /// In the queue for at least so many milliseconds.
    #[schema(minimum = 0)]
    min_age_ms: Option<u64>,
    /// In the queue for at most so many milliseconds.
    #[schema(minimum = 0)]
    max_age_ms: Option<u64>,
    /// With this property `message_id`.
    message_id: Option<String>,
    /// With this property `correlation_id`.
    correlation_id: Option<String>,
    /// Dead letters that died first in this queue.
    origin: Option<String>,
    /// Dead letters that died first for this reason: `rejected`, `expired`, `maxlen` or `delivery_limit`.
    reason: Option<String>,
}

/// A filter that makes sense.
#[derive(Clone, Debug)]
pub(super) struct MessageFilter {
    wanted: FilterBody,
    body: Option<Regex>,
}

impl FilterBody {
    /// Checks it.
    ///
    /// # Errors
    /// 400: something is too long.
    pub(super) fn check(self) -> Result<MessageFilter, ApiError> {
        let FilterBody { routing_key, exchange, body, message_id, correlation_id, origin, reason, .. } =
            &self;
        let texts = [
            ("routing_key", routing_key),
            ("exchange", exchange),
            ("body", body),
            ("message_id", message_id),
            ("correlation_id", correlation_id),
            ("origin", origin),
            ("reason", reason),
        ];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|text| text.len() > TEXT_MAX) {
                let reason = format!("the field {name:?} of the filter is longer than {TEXT_MAX} bytes");
                return Err(ApiError::bad_request(reason));
            }
        }
        if self.headers.as_ref().is_some_and(|headers| headers.len() > HEADERS_MAX) {
            let reason = format!("the filter has more than {HEADERS_MAX} headers");
            return Err(ApiError::bad_request(reason));
        }
        // An expression without any operators: found as fast as can be.
        let compile = |text: &String| Regex::new(&regex::escape(text));
        let body = body.as_ref().filter(|text| !text.is_empty()).map(compile).transpose();
        let body = body.map_err(|error| ApiError::bad_request(format!("the text for the body: {error}")))?;
        Ok(MessageFilter { wanted: self, body })
    }
}

impl MessageFilter {
    /// Whether a message is meant.
    pub(super) fn wants(&self, browsed: &BrowsedMessage, now: Timestamp) -> bool {
        let FilterBody {
            routing_key,
            exchange,
            headers,
            body: _,
            min_age_ms,
            max_age_ms,
            message_id,
            correlation_id,
            origin: died_in,
            reason,
        } = &self.wanted;
        let message = &browsed.message;
        let age_ms = now.since(browsed.enqueued).as_millis() as u64;
        let properties = message.properties();
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted.as_str()))
        };
        routing_key.as_ref().is_none_or(|pattern| topic_matches(pattern, message.routing_key().as_str()))
            && is(exchange, Some(message.exchange().as_str()))
            && min_age_ms.is_none_or(|min| age_ms >= min)
            && max_age_ms.is_none_or(|max| age_ms <= max)
            && is(message_id, properties.message_id())
            && is(correlation_id, properties.correlation_id())
            && headers.as_ref().is_none_or(|wanted| {
                let has = properties.headers().unwrap_or_default();
                wanted.iter().all(|(name, wanted)| {
                    has.get(name).is_some_and(|value| wanted.is_null() || json_from_field(value) == *wanted)
                })
            })
            && ((died_in.is_none() && reason.is_none()) || {
                let origin = origin::origin(&properties);
                origin.is_some_and(|origin| {
                    is(died_in, Some(origin.queue.as_str())) && is(reason, Some(&origin.reason))
                })
            })
            && self.body.as_ref().is_none_or(|text| text.is_match(message.body()))
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::types::{FieldTable, Properties, ShortStr};
    use serde_json::json;

    use super::*;
    use crate::model::{ExchangeName, Lsn, MemoryGauge, Message, MessageRoute, RoutingKey};
    use crate::queue::BrowsePlace;

    const NOW: Timestamp = Timestamp::from_millis(100_000);

    fn message() -> BrowsedMessage {
        let headers = FieldTable::new()
            .with("type", "report")
            .with("pages", 7)
            .with("x-first-death-queue", "work")
            .with("x-first-death-reason", "expired");
        let properties = Properties {
            headers: Some(headers),
            message_id: Some(ShortStr::truncated("m1")),
            ..Properties::default()
        };
        let exchange = ExchangeName::new("orders").unwrap();
        let route = MessageRoute { exchange, routing_key: RoutingKey::new("eu.new").unwrap() };
        BrowsedMessage {
            place: BrowsePlace::Ready { priority: 0, lsn: Lsn(1) },
            message: Message::new(route, &properties.encoded(), b"total: 12 (EUR)", &MemoryGauge::new()),
            enqueued: Timestamp::from_millis(90_000),
            expires: Timestamp::NEVER,
            returns: 0,
            failures: 0,
        }
    }

    #[track_caller]
    fn check(filter: Value, expected: bool) {
        let body: FilterBody = serde_json::from_value(filter.clone()).unwrap();
        assert_eq!(body.check().unwrap().wants(&message(), NOW), expected, "{filter}");
    }

    #[test]
    fn every_condition_must_hold() {
        check(json!({}), true);
        check(json!({"routing_key": "eu.new"}), true);
        check(json!({"routing_key": "eu.*"}), true);
        check(json!({"routing_key": "us.#"}), false);
        check(json!({"exchange": "orders"}), true);
        check(json!({"exchange": ""}), false);
        check(json!({"headers": {"type": "report", "pages": 7}}), true);
        check(json!({"headers": {"pages": "7"}}), false);
        check(json!({"headers": {"pages": null}}), true);
        check(json!({"headers": {"other": null}}), false);
        check(json!({"body": "12 (EUR"}), true);
        check(json!({"body": "12 .EUR"}), false);
        check(json!({"min_age_ms": 10_000, "max_age_ms": 10_000}), true);
        check(json!({"min_age_ms": 10_001}), false);
        check(json!({"max_age_ms": 9_999}), false);
        check(json!({"message_id": "m1"}), true);
        check(json!({"correlation_id": "m1"}), false);
        check(json!({"origin": "work", "reason": "expired"}), true);
        check(json!({"origin": "work", "reason": "rejected"}), false);
        check(json!({"exchange": "orders", "message_id": "m2"}), false);
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused() {
        let long: FilterBody = serde_json::from_value(json!({"body": "x".repeat(5000)})).unwrap();
        assert!(long.check().unwrap_err().reason().contains("body"));
        assert!(serde_json::from_value::<FilterBody>(json!({"bodi": "x"})).is_err());
    }
}
