//! What the tests of this folder share.

use std::sync::Arc;

use rialto_protocol::types::Properties;

use crate::model::{
    BatchBuilder, ExchangeName, Location, Lsn, MemoryGauge, Message, MessageBatch, MessageRoute, RoutingKey,
    Timestamp,
};

use super::entry::{Entry, Held};
use super::paged::PagedRun;

/// A message with this body.
pub(super) fn message(body: &[u8]) -> Message {
    Message::new(route(), &[], body, &MemoryGauge::new())
}

/// A message with these properties and this body.
pub(super) fn message_with(properties: &Properties, body: &[u8]) -> Message {
    Message::new(route(), &properties.encoded(), body, &MemoryGauge::new())
}

fn route() -> MessageRoute {
    let exchange = ExchangeName::new("orders").expect("short");
    MessageRoute { exchange, routing_key: RoutingKey::new("key").expect("short") }
}

/// Records of a journal that is not there: for each, its location and the batch that is kept in it.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(Location, Arc<MessageBatch>)>);

impl Records {
    /// Messages with these bodies, in a record of their own.
    pub(super) fn append(&mut self, location: Location, bodies: &[&[u8]]) -> Vec<Message> {
        let route = route();
        let mut builder = BatchBuilder::default();
        bodies.iter().for_each(|body| builder.push_content(&route, &[], body, true));
        let messages: Vec<_> = builder.finish(&MemoryGauge::new()).collect();
        messages[0].batch().set_location(location, 0);
        self.0.push((location, messages[0].batch().clone()));
        messages
    }

    /// Reads messages back.
    pub(super) fn read(&self, run: &PagedRun) -> Vec<Message> {
        let (_, batch) = self.0.iter().find(|(at, _)| *at == run.location).expect("a record that is there");
        let bytes = batch.bytes().slice(run.from as usize..(run.from + run.len) as usize);
        let routes = vec![(u32::MAX, route())];
        let gauge = MemoryGauge::new();
        let messages = MessageBatch::read_back(run.location, run.from, bytes, routes, &gauge);
        let messages = messages.expect("whole entries");
        assert_eq!(messages.len(), run.count as usize, "{run:?}");
        messages
    }
}

/// A queued message in this place.
pub(super) fn entry(lsn: u64) -> Entry {
    let (expires, enqueued) = (Timestamp::NEVER, Timestamp::default());
    let held =
        Held { message: message(b"x"), expires, enqueued, returns: 0, failures: 0, body_len: 0, priority: 0 };
    Entry { lsn: Lsn(lsn), held }
}
