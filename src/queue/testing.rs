//! What the tests of this folder share.

use crate::model::{ExchangeName, Lsn, MemoryGauge, Message, MessageRoute, RoutingKey, Timestamp};

use super::entry::{Entry, Held};

/// A message with this body.
pub(super) fn message(body: &[u8]) -> Message {
    let exchange = ExchangeName::new("orders").expect("short");
    let route = MessageRoute { exchange, routing_key: RoutingKey::new("key").expect("short") };
    Message::new(route, &[], body, &MemoryGauge::new())
}

/// A queued message in this place.
pub(super) fn entry(lsn: u64) -> Entry {
    let (expires, enqueued) = (Timestamp::NEVER, Timestamp::default());
    let held =
        Held { message: message(b"x"), expires, enqueued, returns: 0, failures: 0, body_len: 0, priority: 0 };
    Entry { lsn: Lsn(lsn), held }
}
