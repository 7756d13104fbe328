//! A delivered message and what becomes of it.
//!
//! Invariants: a delivery is settled once; one that is dropped without a word goes back to its queue.
//! Settling never waits: it is noted, and leaves with everything else that is to be said at the moment, as
//! ranges. A delivery whose connection is gone cannot be settled; the broker delivers the message again.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::native::{DeliveredRun, Entry, EntryFlags, Settlement};
use rialto_protocol::types::{FieldValue, Properties, RawProperties, ShortStr};

use crate::confirm::Confirm;
use crate::connection::Target;
use crate::connection::consumer_core::ConsumerCore;
use crate::error::{Error, Result, short};
use crate::message::{MAYBE_DUPLICATE_HEADER, Message};
use crate::publisher::publish_to;

/// A message as it was delivered. Cheap to clone; the bytes are those that were read from the socket.
///
/// Whoever keeps messages for long should copy bodies out: a slice keeps the whole read alive.
#[derive(Clone)]
pub struct DeliveredMessage {
    exchange: ShortStr,
    routing_key: ShortStr,
    properties: Bytes,
    body: Bytes,
    redelivered: bool,
    delivery_count: u32,
}

impl DeliveredMessage {
    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    /// The properties, decoded now; none where they cannot be read.
    pub fn properties(&self) -> Properties {
        self.raw_properties().decode()
    }

    /// The properties as they came, for reading one field without decoding all.
    pub fn raw_properties(&self) -> RawProperties<'_> {
        RawProperties::check(&self.properties).unwrap_or(RawProperties::EMPTY)
    }

    /// One header.
    pub fn header(&self, name: &str) -> Option<FieldValue> {
        self.raw_properties().headers()?.remove(name)
    }

    /// The exchange it was published to.
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// Whether it may have been delivered before.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// How often it was delivered and came back.
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    /// Whether its publisher sent it again after a lost connection, so that it may be in the queue twice.
    pub fn maybe_duplicate(&self) -> bool {
        self.header(MAYBE_DUPLICATE_HEADER).and_then(|value| value.as_bool()) == Some(true)
    }

    /// Reads the entry at the start of `entries` and cuts it off.
    pub(crate) fn cut(exchange: &ShortStr, routing_key: &ShortStr, entries: &mut Bytes) -> Result<Self> {
        let entry = Entry::read(entries)
            .map_err(|error| Error::Protocol { problem: format!("a delivered message: {error}") })?;
        let message = DeliveredMessage {
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
            properties: match entry.properties {
                [] => Bytes::new(),
                properties => entries.slice_ref(properties),
            },
            body: entries.slice_ref(entry.body),
            redelivered: entry.flags.contains(EntryFlags::REDELIVERED),
            delivery_count: entry.delivery_count,
        };
        let len = entry.len;
        bytes::Buf::advance(entries, len);
        Ok(message)
    }
}

impl fmt::Debug for DeliveredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredMessage")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("body_len", &self.body.len())
            .field("redelivered", &self.redelivered)
            .field("delivery_count", &self.delivery_count)
            .finish_non_exhaustive()
    }
}

/// A message that waits to be settled: [`ack`](Delivery::ack), [`requeue`](Delivery::requeue) or
/// [`reject`](Delivery::reject). Dropping it puts it back, as `requeue` does.
///
/// With `auto_ack` it is settled already, and settling it again does nothing.
#[must_use = "a delivery that is dropped goes back to its queue; ack it"]
pub struct Delivery {
    message: DeliveredMessage,
    consumer: Arc<ConsumerCore>,
    epoch: u64,
    tag: u64,
    settled: bool,
}

impl Delivery {
    pub(crate) fn new(consumer: &Arc<ConsumerCore>, epoch: u64, tag: u64, message: DeliveredMessage) -> Self {
        let settled = consumer.options.auto_ack;
        Delivery { message, consumer: consumer.clone(), epoch, tag, settled }
    }

    /// A message that was taken without a consumer.
    pub(crate) fn got(
        getter: Arc<ConsumerCore>,
        tag: u64,
        run: &DeliveredRun,
        auto_ack: bool,
    ) -> Result<Self> {
        let message = DeliveredMessage::cut(&run.exchange, &run.routing_key, &mut run.entries.clone())?;
        let epoch = getter.shared.epoch();
        Ok(Delivery { message, consumer: getter, epoch, tag, settled: auto_ack })
    }

    /// Done with it. Does not wait, and cannot be cancelled half-way.
    ///
    /// # Errors
    /// [`Error::StaleDelivery`] if the connection that brought it is gone: it will be delivered again.
    pub fn ack(self) -> Result<()> {
        self.settle(Settlement::Ack)
    }

    /// Back to its old place in the queue, to be delivered again, also to this consumer.
    ///
    /// # Errors
    /// [`Error::StaleDelivery`] if the connection that brought it is gone: it is back already.
    pub fn requeue(self) -> Result<()> {
        self.settle(Settlement::Requeue)
    }

    /// Not wanted: to the dead-letter exchange of the queue with this reason (at most 255 bytes; more is cut
    /// off), or gone if the queue has none.
    ///
    /// # Errors
    /// [`Error::StaleDelivery`] if the connection that brought it is gone: it will be delivered again.
    pub fn reject(self, reason: impl AsRef<str>) -> Result<()> {
        self.settle(Settlement::Reject { reason: ShortStr::truncated(reason) })
    }

    /// Settles the delivery and keeps the message.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn into_acked(mut self) -> Result<DeliveredMessage> {
        self.settle_once(Settlement::Ack)?;
        Ok(self.message.clone())
    }

    /// The message, without the duty to settle it.
    pub fn message(&self) -> &DeliveredMessage {
        &self.message
    }

    /// Publishes a reply to where the message says (`reply_to`), with its correlation id.
    ///
    /// # Errors
    /// [`Error::NoReplyAddress`] if the message does not ask for a reply; otherwise as
    /// [`Publisher::publish`](crate::Publisher::publish).
    pub async fn reply(&self, reply: impl Into<Message>) -> Result<Confirm> {
        let properties = self.message.raw_properties();
        let address = properties.reply_to().ok_or(Error::NoReplyAddress)?;
        let routing_key = short("reply-to address", address)?;
        let mut reply = reply.into();
        if let Some(id) = properties.correlation_id() {
            reply = reply.correlation_id(id);
        }
        let target = Target::Inline { exchange: ShortStr::default(), routing_key };
        publish_to(&self.consumer.shared, &target, false, reply).await
    }

    fn settle(mut self, settlement: Settlement) -> Result<()> {
        self.settle_once(settlement)
    }

    fn settle_once(&mut self, settlement: Settlement) -> Result<()> {
        match std::mem::replace(&mut self.settled, true) {
            true => Ok(()),
            false => self.consumer.settle(self.epoch, (self.tag, self.tag), settlement),
        }
    }
}

impl Deref for Delivery {
    type Target = DeliveredMessage;

    fn deref(&self) -> &DeliveredMessage {
        &self.message
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // A lost connection has put it back already.
        let _ = self.settle_once(Settlement::Requeue);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("tag", &self.tag)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
