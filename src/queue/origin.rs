//! Where a dead letter came from, read from its history, and the message as it was before it died.
//!
//! Invariants: pure; a forged history names at most a queue or an exchange that the reader has to look up himself.
//! Not here: how the history is written (`death`), who sends a letter back (the broker's administration).

use rialto_protocol::types::{FieldTable, FieldValue, Properties, RawProperties};

use crate::model::{ExchangeName, QueueName, RoutingKey};

use super::death::{X_DEATH, X_DEATH_REASON_TEXT};

/// Where a message died first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The queue in which it died.
    pub queue: QueueName,
    /// The exchange it had been published to.
    pub exchange: ExchangeName,
    /// The keys it had been published with: its own, then those of `CC`.
    pub routing_keys: Vec<RoutingKey>,
    /// Why it died.
    pub reason: String,
}

/// Where a message died first, as its headers tell. None: it is no dead letter, or its history makes no sense.
pub fn origin(properties: &RawProperties<'_>) -> Option<Origin> {
    if !properties.has_headers() {
        return None;
    }
    let headers = properties.headers()?;
    let text = |name| headers.get(name).and_then(FieldValue::as_str);
    let deaths = match headers.get(X_DEATH) {
        Some(FieldValue::Array(deaths)) => &deaths[..],
        _ => &[],
    };
    let of = |death: &FieldValue| match death {
        FieldValue::Table(death) => Some(death.clone()),
        _ => None,
    };
    let (queue, reason) = match (text("x-first-death-queue"), text("x-first-death-reason")) {
        (Some(queue), Some(reason)) => (queue.to_owned(), reason.to_owned()),
        // Older brokers wrote no such headers: the last entry is the first death, unless it was repeated since.
        _ => {
            let first = of(deaths.last()?)?;
            (text_of(&first, "queue")?, text_of(&first, "reason")?)
        }
    };
    let is_first = |death: &FieldTable| {
        text_of(death, "queue").as_ref() == Some(&queue) && text_of(death, "reason").as_ref() == Some(&reason)
    };
    let first = deaths.iter().filter_map(of).find(is_first).unwrap_or_default();
    let exchange = text("x-first-death-exchange").map(str::to_owned).or_else(|| text_of(&first, "exchange"));
    let routing_keys = match first.get("routing-keys") {
        Some(FieldValue::Array(keys)) => {
            keys.iter().filter_map(FieldValue::as_str).filter_map(|key| RoutingKey::new(key).ok()).collect()
        }
        _ => Vec::new(),
    };
    Some(Origin {
        queue: QueueName::new(&queue).ok()?,
        exchange: ExchangeName::new(exchange.unwrap_or_default().as_str()).ok()?,
        routing_keys,
        reason,
    })
}

fn text_of(table: &FieldTable, name: &str) -> Option<String> {
    table.get(name).and_then(FieldValue::as_str).map(str::to_owned)
}

/// The properties without the history of deaths: for a new life, in which a consumer that gives up after so many deaths
/// counts from the start. The time to live that it had is not given back: it would most likely die of it at once.
pub fn revived(properties: &RawProperties<'_>) -> Properties {
    let mut properties = properties.decode();
    if let Some(headers) = properties.headers.take() {
        let is_history = |name: &str| {
            name == X_DEATH
                || name == X_DEATH_REASON_TEXT
                || name.starts_with("x-first-death-")
                || name.starts_with("x-last-death-")
        };
        let kept: FieldTable = headers
            .iter()
            .filter(|(name, _)| !is_history(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        properties.headers = (!kept.is_empty()).then_some(kept);
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeadLetterTarget, Lsn, MemoryGauge, Message, MessageRoute, Timestamp};
    use crate::queue::{DeadLetter, DeathReason, QueueLimits, death};

    fn die(
        properties: &Properties,
        exchange: &str,
        key: &str,
        queue: &str,
        reason: DeathReason,
    ) -> Properties {
        let exchange = ExchangeName::new(exchange).unwrap();
        let route = MessageRoute { exchange, routing_key: RoutingKey::new(key).unwrap() };
        let message = Message::new(route, &properties.encoded(), b"body", &MemoryGauge::new());
        let letter = DeadLetter { message, lsn: Lsn(1), reason, text: None, delivery_count: 0 };
        let target = DeadLetterTarget { exchange: ExchangeName::new("dlx").unwrap(), routing_key: None };
        let queue = QueueName::new(queue).unwrap();
        let limits = QueueLimits::default();
        death::rewrite(&letter, &queue, &target, &limits, Timestamp::default()).unwrap().properties
    }

    fn read(properties: &Properties) -> Option<Origin> {
        origin(&RawProperties::check(&properties.encoded()).unwrap())
    }

    #[test]
    fn the_first_death_is_the_origin_however_often_it_died_since() {
        let published = Properties {
            headers: Some(
                FieldTable::new().with("CC", FieldValue::Array(vec!["copy".into()])).with("app", 1),
            ),
            ..Properties::default()
        };
        let first = die(&published, "orders", "eu.new", "work", DeathReason::Rejected);
        let second = die(&first, "dlx", "eu.new", "retry", DeathReason::Expired);
        let third = die(&second, "orders", "eu.new", "work", DeathReason::Rejected);
        for dead in [&first, &second, &third] {
            let origin = read(dead).unwrap();
            assert_eq!((origin.queue.as_str(), origin.exchange.as_str()), ("work", "orders"));
            let keys: Vec<_> = origin.routing_keys.iter().map(|key| key.as_str()).collect();
            assert_eq!((keys, origin.reason.as_str()), (vec!["eu.new", "copy"], "rejected"));
        }
        assert_eq!(revived(&RawProperties::check(&third.encoded()).unwrap()), published);
    }

    #[test]
    fn what_never_died_has_no_origin() {
        assert_eq!(read(&Properties::default()), None);
        let headers = Some(FieldTable::new().with("app", 1));
        assert_eq!(read(&Properties { headers, ..Properties::default() }), None);
    }

    #[test]
    fn a_forged_history_is_no_origin_and_does_no_harm() {
        let array = |death: FieldValue| FieldValue::Array(vec![death]);
        for forged in [FieldValue::I32(1), array(FieldValue::Void), array(FieldTable::new().into())] {
            let headers = Some(FieldTable::new().with(X_DEATH, forged));
            assert_eq!(read(&Properties { headers, ..Properties::default() }), None);
        }
        let headers = FieldTable::new()
            .with("x-first-death-queue", "x".repeat(300).as_str())
            .with("x-first-death-reason", "rejected");
        assert_eq!(read(&Properties { headers: Some(headers), ..Properties::default() }), None);
    }
}
