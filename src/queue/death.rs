//! What a dead letter looks like, and when dying over and over ends.
//!
//! The message is published anew to the dead-letter exchange, with its history in the header `x-death` as
//! RabbitMQ writes it: an entry per queue and reason with a count, the latest death first. The `expiration`
//! property moves into that history, so that the message does not expire again in the next queue.
//!
//! Invariants: pure; headers that a client forged can make the history wrong, never the broker.
//! Not here: when a message dies (`settlement`, `overflow`), routing it (the broker).

use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};
use thiserror::Error;

use crate::model::{DeadLetterTarget, ExchangeName, QueueName, RoutingKey, Timestamp};

use super::QueueLimits;
use super::effects::{DeadLetter, DeathReason};

/// The history of a message's deaths.
pub const X_DEATH: &str = "x-death";
/// What the last consumer that rejected the message and gave a reason said. Ours; RabbitMQ has no reasons.
pub const X_DEATH_REASON_TEXT: &str = "x-death-reason-text";

const CC: &str = "CC";
const BCC: &str = "BCC";

/// A dead letter as it is to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Reborn {
    /// The exchange to publish to.
    pub exchange: ExchangeName,
    /// The key to publish with. Keys in the `CC` header count too, as for every publish.
    pub routing_key: RoutingKey,
    /// The properties to publish with.
    pub properties: Properties,
    reason: DeathReason,
}

/// Why a message ends instead of becoming a dead letter. To be counted and logged by the caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum End {
    /// It died in too many places.
    #[error("its history of deaths has reached the limit of {max} entries (queues.deaths_max)")]
    TooManyDeaths {
        /// The limit, [`QueueLimits::deaths_max`].
        max: usize,
    },
    /// It would come back to a queue in which it died before, and nobody rejected it on the way: it would
    /// turn in this circle for ever.
    #[error("it would return to queue '{queue}' where it died before, with no rejection on the way")]
    Cycle {
        /// The queue that it does not return to.
        queue: QueueName,
    },
}

/// Makes the dead letter of a message that died in `queue`.
///
/// # Errors
/// If the message has died in more places than a history may have.
pub fn rewrite(
    letter: &DeadLetter,
    queue: &QueueName,
    target: &DeadLetterTarget,
    limits: &QueueLimits,
    now: Timestamp,
) -> Result<Reborn, End> {
    let mut properties = letter.message.properties().decode();
    let mut headers = properties.headers.take().unwrap_or_default();
    let expiration = properties.expiration.take();
    let reason = text(letter.reason.name());
    let exchange = text(letter.message.exchange());

    let mut deaths = match headers.remove(X_DEATH) {
        Some(FieldValue::Array(deaths)) => deaths,
        _ => {
            headers.insert(key("x-first-death-exchange"), exchange.clone());
            headers.insert(key("x-first-death-queue"), text(queue));
            headers.insert(key("x-first-death-reason"), reason.clone());
            Vec::new()
        }
    };
    headers.insert(key("x-last-death-exchange"), exchange.clone());
    headers.insert(key("x-last-death-queue"), text(queue));
    headers.insert(key("x-last-death-reason"), reason.clone());
    if let Some(said) = &letter.text {
        headers.insert(key(X_DEATH_REASON_TEXT), text(said));
    }

    let same = |death: &FieldValue| {
        says(death, "queue", queue.as_str()) && says(death, "reason", letter.reason.name())
    };
    let death = match deaths.iter().position(same).map(|at| deaths.remove(at)) {
        Some(FieldValue::Table(mut death)) => {
            let count = death.get("count").and_then(FieldValue::as_int).unwrap_or(0);
            death.insert(key("count"), count.saturating_add(1));
            death
        }
        _ => {
            let mut routing_keys = vec![text(letter.message.routing_key())];
            for name in [CC, BCC] {
                if let Some(FieldValue::Array(more)) = headers.get(name) {
                    routing_keys.extend(more.iter().filter(|key| key.as_str().is_some()).cloned());
                }
            }
            let mut death = FieldTable::new();
            death.insert(key("count"), 1i64);
            death.insert(key("reason"), reason);
            death.insert(key("queue"), text(queue));
            death.insert(key("time"), FieldValue::Timestamp(now.as_secs()));
            death.insert(key("exchange"), exchange);
            death.insert(key("routing-keys"), FieldValue::Array(routing_keys));
            if let Some(expiration) = &expiration {
                death.insert(key("original-expiration"), text(expiration));
            }
            death
        }
    };
    if deaths.len() >= limits.deaths_max {
        return Err(End::TooManyDeaths { max: limits.deaths_max });
    }
    deaths.insert(0, FieldValue::Table(death));
    headers.insert(key(X_DEATH), FieldValue::Array(deaths));

    let routing_key = match &target.routing_key {
        Some(routing_key) => {
            // The queue says where its dead letters go: nowhere else.
            headers.remove(CC);
            routing_key.clone()
        }
        None => letter.message.routing_key().clone(),
    };
    properties.headers = Some(headers);
    Ok(Reborn { exchange: target.exchange.clone(), routing_key, properties, reason: letter.reason })
}

impl Reborn {
    /// Whether the dead letter may go to this queue, to which it was routed.
    ///
    /// # Errors
    /// If that would close a circle in which the broker alone keeps the message turning. A rejection on the way
    /// means that a client has a hand in it, and the circle may go on: that is how retries are built.
    pub fn may_enter(&self, queue: &QueueName) -> Result<(), End> {
        if self.reason == DeathReason::Rejected {
            return Ok(());
        }
        let headers = self.properties.headers.as_ref();
        let Some(FieldValue::Array(deaths)) = headers.and_then(|headers| headers.get(X_DEATH)) else {
            return Ok(());
        };
        let Some(last) = deaths.iter().position(|death| says(death, "queue", queue.as_str())) else {
            return Ok(());
        };
        let rejected = DeathReason::Rejected.name();
        match deaths[..=last].iter().any(|death| says(death, "reason", rejected)) {
            true => Ok(()),
            false => Err(End::Cycle { queue: queue.clone() }),
        }
    }
}

/// Whether an entry of the history has this text under this name.
fn says(death: &FieldValue, name: &str, value: &str) -> bool {
    match death {
        FieldValue::Table(death) => death.get(name).and_then(FieldValue::as_str) == Some(value),
        _ => false,
    }
}

fn text(text: &str) -> FieldValue {
    FieldValue::text(text)
}

fn key(name: &'static str) -> ShortStr {
    ShortStr::new(name).expect("a name written in the code is short")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lsn, MemoryGauge, Message, MessageRoute};

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn queue(name: &str) -> QueueName {
        QueueName::new(name).unwrap()
    }

    fn target(routing_key: Option<&str>) -> DeadLetterTarget {
        let routing_key = routing_key.map(|key| RoutingKey::new(key).unwrap());
        DeadLetterTarget { exchange: ExchangeName::new("dlx").unwrap(), routing_key }
    }

    fn letter(properties: &Properties, reason: DeathReason) -> DeadLetter {
        let exchange = ExchangeName::new("orders").unwrap();
        let route = MessageRoute { exchange, routing_key: RoutingKey::new("order.new").unwrap() };
        let message = Message::new(route, &properties.encoded(), b"body", &MemoryGauge::new());
        DeadLetter { message, lsn: Lsn(1), reason, text: None, delivery_count: 0 }
    }

    /// The message dies again, in this queue for this reason.
    fn die(reborn: &Properties, at: &str, reason: DeathReason) -> Reborn {
        let limits = QueueLimits::default();
        rewrite(&letter(reborn, reason), &queue(at), &target(None), &limits, NOW).unwrap()
    }

    fn history(reborn: &Reborn) -> Vec<(String, String, i64)> {
        let headers = reborn.properties.headers.as_ref().unwrap();
        let Some(FieldValue::Array(deaths)) = headers.get(X_DEATH) else { panic!("no history") };
        let read = |death: &FieldValue| {
            let FieldValue::Table(death) = death else { panic!("not a table") };
            let text = |name| death.get(name).unwrap().as_str().unwrap().to_owned();
            (text("queue"), text("reason"), death.get("count").unwrap().as_int().unwrap())
        };
        deaths.iter().map(read).collect()
    }

    #[test]
    fn the_first_death_is_told_in_full() {
        let properties = Properties {
            headers: Some(
                FieldTable::new()
                    .with("CC", FieldValue::Array(vec!["copy".into(), FieldValue::I32(1)]))
                    .with("app", "kept"),
            ),
            expiration: Some(ShortStr::truncated("5000")),
            delivery_mode: Some(2),
            ..Properties::default()
        };
        let letter = letter(&properties, DeathReason::Expired);
        let limits = QueueLimits::default();
        let reborn = rewrite(&letter, &queue("jobs"), &target(None), &limits, NOW).unwrap();
        assert_eq!((&*reborn.exchange, &*reborn.routing_key), ("dlx", "order.new"));
        assert_eq!((reborn.properties.expiration, reborn.properties.delivery_mode), (None, Some(2)));
        let keys = FieldValue::Array(vec!["order.new".into(), "copy".into()]);
        let death = FieldTable::new()
            .with("count", 1i64)
            .with("reason", "expired")
            .with("queue", "jobs")
            .with("time", FieldValue::Timestamp(1_767_225_600))
            .with("exchange", "orders")
            .with("routing-keys", keys)
            .with("original-expiration", "5000");
        let headers = reborn.properties.headers.unwrap();
        assert_eq!(headers.get(X_DEATH), Some(&FieldValue::Array(vec![death.into()])));
        for which in ["first", "last"] {
            for (what, value) in [("queue", "jobs"), ("reason", "expired"), ("exchange", "orders")] {
                let name = format!("x-{which}-death-{what}");
                assert_eq!(headers.get(&name).and_then(FieldValue::as_str), Some(value), "{name}");
            }
        }
        assert_eq!(headers.get("app").and_then(FieldValue::as_str), Some("kept"));
        assert!(headers.get("CC").is_some(), "still a routing key");
    }

    #[test]
    fn a_dead_letter_key_replaces_all_others() {
        let copies = FieldValue::Array(vec!["copy".into()]);
        let headers = Some(FieldTable::new().with("CC", copies));
        let letter = letter(&Properties { headers, ..Properties::default() }, DeathReason::Rejected);
        let limits = QueueLimits::default();
        let reborn = rewrite(&letter, &queue("jobs"), &target(Some("dead")), &limits, NOW).unwrap();
        assert_eq!(&*reborn.routing_key, "dead");
        assert!(reborn.properties.headers.unwrap().get("CC").is_none());
    }

    #[test]
    fn a_repeated_death_is_counted_and_moves_to_the_front() {
        let first = die(&Properties::default(), "a", DeathReason::Rejected);
        let second = die(&first.properties, "b", DeathReason::Expired);
        let third = die(&second.properties, "a", DeathReason::Rejected);
        let fourth = die(&third.properties, "a", DeathReason::Expired);
        let entry = |queue: &str, reason: &str, count| (queue.to_owned(), reason.to_owned(), count);
        assert_eq!(history(&third), [entry("a", "rejected", 2), entry("b", "expired", 1)]);
        assert_eq!(
            history(&fourth),
            [entry("a", "expired", 1), entry("a", "rejected", 2), entry("b", "expired", 1)]
        );
        let headers = fourth.properties.headers.unwrap();
        let header = |name| headers.get(name).and_then(FieldValue::as_str);
        assert_eq!(
            (header("x-first-death-reason"), header("x-last-death-reason")),
            (Some("rejected"), Some("expired"))
        );
    }

    #[test]
    fn the_consumers_reason_is_kept() {
        let mut letter = letter(&Properties::default(), DeathReason::Rejected);
        letter.text = Some(ShortStr::truncated("no such customer"));
        let limits = QueueLimits::default();
        let reborn = rewrite(&letter, &queue("jobs"), &target(None), &limits, NOW).unwrap();
        let again = die(&reborn.properties, "retry", DeathReason::Expired);
        let headers = again.properties.headers.unwrap();
        assert_eq!(headers.get(X_DEATH_REASON_TEXT).and_then(FieldValue::as_str), Some("no such customer"));
    }

    #[test]
    fn an_automatic_cycle_ends_visibly() {
        let first = die(&Properties::default(), "a", DeathReason::Expired);
        assert_eq!(first.may_enter(&queue("b")), Ok(()));
        assert_eq!(first.may_enter(&queue("a")), Err(End::Cycle { queue: queue("a") }));
        let second = die(&first.properties, "b", DeathReason::MaxLength);
        assert!(second.may_enter(&queue("a")).is_err());
    }

    #[test]
    fn a_rejection_keeps_a_cycle_alive() {
        let rejected = die(&Properties::default(), "work", DeathReason::Rejected);
        assert_eq!(rejected.may_enter(&queue("work")), Ok(()), "rejected just now");
        let waited = die(&rejected.properties, "retry", DeathReason::Expired);
        assert_eq!(waited.may_enter(&queue("work")), Ok(()), "rejected on the way");
        let timeout = die(&waited.properties, "work", DeathReason::Expired);
        assert!(timeout.may_enter(&queue("retry")).is_err(), "not since it was in `retry`");
    }

    #[test]
    fn the_history_has_a_limit_of_entries_but_not_of_counts() {
        let limits = QueueLimits { deaths_max: 3, ..QueueLimits::default() };
        let mut properties = Properties::default();
        for at in ["a", "b", "c", "a", "b", "c"] {
            let letter = letter(&properties, DeathReason::Rejected);
            properties = rewrite(&letter, &queue(at), &target(None), &limits, NOW).unwrap().properties;
        }
        let letter = letter(&properties, DeathReason::Rejected);
        let end = rewrite(&letter, &queue("d"), &target(None), &limits, NOW);
        assert_eq!(end, Err(End::TooManyDeaths { max: 3 }));
    }

    #[test]
    fn a_forged_history_does_no_harm() {
        let junk = FieldValue::Array(vec![FieldValue::Void, FieldTable::new().into()]);
        for forged in [FieldValue::I32(7), junk] {
            let headers = Some(FieldTable::new().with(X_DEATH, forged));
            let reborn = die(&Properties { headers, ..Properties::default() }, "a", DeathReason::Expired);
            assert!(reborn.may_enter(&queue("a")).is_err());
        }
    }
}
