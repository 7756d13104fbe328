//! What must be known of a vhost to ask whether a user may do something in it. The rules are in `access`.
//!
//! Sessions and the HTTP API ask here before they call the operation itself. RabbitMQ asks for some rights only if
//! something is new, so what is there is looked up first.

use rialto_protocol::types::{FieldTable, FieldValue, RawProperties};

use super::{BrokerError, DeclaredQueue, Turn, Vhost};
use crate::access::{Denied, Operation, Resource, VhostPass};
use crate::model::{ConnectionId, ExchangeKind, ExchangeName, QueueFlags, QueueName};
use crate::routing::CopyKeys;

impl Vhost {
    /// Whether an exchange may be declared with these arguments.
    ///
    /// # Errors
    /// It may not.
    pub fn may_declare_exchange(
        &self,
        pass: &VhostPass,
        exchange: &ExchangeName,
        arguments: &FieldTable,
    ) -> Result<(), Denied> {
        let alternate = arguments.get("alternate-exchange").and_then(FieldValue::as_str);
        let alternate = alternate.filter(|_| self.check_exchange(exchange).is_err());
        pass.check(&Operation::DeclareExchange { exchange, alternate })
    }

    /// Declares a queue as a client words it, if the client may: see [`Vhost::declare_queue_from`]. Where the name is left
    /// to the broker, it is the name made here that must be allowed.
    ///
    /// # Errors
    /// It may not, or as [`Vhost::declare_queue_from`].
    pub fn declare_queue_as(
        &self,
        pass: &VhostPass,
        name: &QueueName,
        flags: QueueFlags,
        arguments: &FieldTable,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        if name.is_empty() {
            let name = Self::generated_queue_name();
            self.may_declare_queue(pass, &name, arguments)?;
            return self.declare_generated_queue(&name, flags, arguments, by, turn);
        }
        // Nobody may declare the others, and that is told first.
        if !name.starts_with("amq.") {
            self.may_declare_queue(pass, name, arguments)?;
        }
        self.declare_queue_from(name, flags, arguments, by, turn)
    }

    /// Whether a queue of this name may be declared with these arguments.
    ///
    /// # Errors
    /// It may not.
    pub fn may_declare_queue(
        &self,
        pass: &VhostPass,
        queue: &str,
        arguments: &FieldTable,
    ) -> Result<(), Denied> {
        let exchange = arguments.get("x-dead-letter-exchange").and_then(FieldValue::as_str);
        let dead_letter_exchange = exchange.filter(|_| self.queue_id(queue).is_none());
        pass.check(&Operation::DeclareQueue { queue, dead_letter_exchange })
    }

    /// Whether an exchange may be bound to something, with this key.
    ///
    /// # Errors
    /// It may not.
    pub fn may_bind(
        &self,
        pass: &VhostPass,
        source: &str,
        destination: Resource<'_>,
        routing_key: &str,
    ) -> Result<(), Denied> {
        let is_topic = self.is_topic(source);
        pass.check(&Operation::Bind { source, destination, routing_key, is_topic })
    }

    /// Whether a binding may be taken away.
    ///
    /// # Errors
    /// It may not.
    pub fn may_unbind(
        &self,
        pass: &VhostPass,
        source: &str,
        destination: Resource<'_>,
        routing_key: &str,
    ) -> Result<(), Denied> {
        let is_topic = self.is_topic(source);
        pass.check(&Operation::Unbind { source, destination, routing_key, is_topic })
    }

    /// Whether messages may be published to an exchange with this key. It holds for one generation of the pass and of
    /// the vhost.
    ///
    /// # Errors
    /// They may not.
    pub fn may_publish(&self, pass: &VhostPass, exchange: &str, routing_key: &str) -> Result<(), Denied> {
        let is_topic = self.is_topic(exchange);
        pass.check(&Operation::Publish { exchange, routing_key, is_topic })
    }

    /// [`Vhost::may_publish`] with the further keys that a message has in its `CC` and `BCC` headers. Of a topic exchange, each
    /// of them is asked about, as in RabbitMQ 4; else they would be a way around the topic permissions. Headers that
    /// are no lists are for who routes the message.
    ///
    /// # Errors
    /// It may not be published with one of them.
    pub fn may_publish_copies(
        &self,
        pass: &VhostPass,
        exchange: &str,
        properties: &RawProperties<'_>,
    ) -> Result<(), Denied> {
        let Ok(Some(copies)) = CopyKeys::read(properties) else { return Ok(()) };
        let is_topic = self.is_topic(exchange);
        copies
            .keys()
            .filter(|_| is_topic)
            .try_for_each(|routing_key| pass.check(&Operation::Publish { exchange, routing_key, is_topic }))
    }

    fn is_topic(&self, exchange: &str) -> bool {
        let topology = self.topology.read();
        topology.routing.exchange(exchange).is_some_and(|found| {
            let options = found.options();
            let kind = match options.kind {
                ExchangeKind::Delayed => options.delayed_kind,
                kind => kind,
            };
            kind == ExchangeKind::Topic
        })
    }
}

impl From<Denied> for BrokerError {
    fn from(denied: Denied) -> Self {
        BrokerError::refused(denied.reply_code(), denied)
    }
}
