//! What a caller may do to the messages of a queue, by the permissions that hold for both protocols.

use rialto_protocol::types::RawProperties;

use super::ApiError;
use super::caller::Caller;
use crate::access::Operation;
use crate::broker::Vhost;
use crate::routing::CopyKeys;

impl Caller {
    /// Whether the caller may get messages of this queue, and so look at them, delete them and send them elsewhere.
    ///
    /// # Errors
    /// 401: it may not.
    pub(super) fn may_read(&self, vhost: &Vhost, queue: &str) -> Result<(), ApiError> {
        self.check(vhost, &Operation::Get { queue })
    }

    /// Whether the caller may publish to this exchange with this key; `""` is the default exchange.
    ///
    /// # Errors
    /// 401: it may not.
    pub(super) fn may_write(&self, vhost: &Vhost, exchange: &str, routing_key: &str) -> Result<(), ApiError> {
        Ok(vhost.may_publish(&self.pass(vhost)?, exchange, routing_key)?)
    }

    /// [`Caller::may_write`] with the further keys that a message has in its headers.
    ///
    /// # Errors
    /// 401: it may not.
    pub(super) fn may_write_copies(
        &self,
        vhost: &Vhost,
        exchange: &str,
        properties: &RawProperties<'_>,
    ) -> Result<(), ApiError> {
        if !CopyKeys::are_in(properties) {
            return Ok(());
        }
        Ok(vhost.may_publish_copies(&self.pass(vhost)?, exchange, properties)?)
    }

    /// Whether the caller may publish to this exchange with some key: which keys those are is asked for each message.
    ///
    /// # Errors
    /// 401: it may not.
    pub(super) fn may_write_some(&self, vhost: &Vhost, exchange: &str) -> Result<(), ApiError> {
        self.check(vhost, &Operation::Publish { exchange, routing_key: "", is_topic: false })
    }

    /// Whether the caller may hold up and let go the deliveries of this queue.
    ///
    /// # Errors
    /// 401: it may not.
    pub(super) fn may_pause(&self, vhost: &Vhost, queue: &str) -> Result<(), ApiError> {
        self.check(vhost, &Operation::PauseQueue { queue })
    }
}
