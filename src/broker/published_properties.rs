//! What queues need to know of a message's properties, read once for all messages that have the same.

use rialto_protocol::types::RawProperties;

use crate::model::{BadExpiration, Priority, expiration};
use crate::routing::delay::delay_ms;

/// What stands in the properties of a message that is published.
#[derive(Clone, Copy, Debug)]
pub struct PublishedProperties<'a> {
    read: RawProperties<'a>,
    pub(super) is_persistent: bool,
    pub(super) priority: Option<Priority>,
    pub(super) ttl_ms: Option<u64>,
}

impl<'a> PublishedProperties<'a> {
    /// Reads properties that have been checked.
    ///
    /// # Errors
    /// The expiration is no number: no queue takes such a message.
    pub fn of(read: RawProperties<'a>) -> Result<Self, BadExpiration> {
        let (is_persistent, priority) = (read.is_persistent(), read.priority().map(Priority));
        Ok(PublishedProperties { is_persistent, priority, ttl_ms: expiration(&read)?, read })
    }

    /// How long the message is to wait before it goes to its queues. Few queues ask.
    pub(super) fn delay_ms(&self) -> Option<u64> {
        delay_ms(&self.read)
    }
}
