//! Short ways to write the methods that tests use most.

use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, ShortStr};

/// A name that is short enough.
pub(crate) fn short(text: impl AsRef<str>) -> ShortStr {
    ShortStr::new(text).expect("tests use short names")
}

/// What a broker answers without doing anything.
pub(crate) fn access_request() -> Method {
    Method::AccessRequest(AccessRequest { realm: short("/data"), ..Default::default() })
}

/// A plain transient queue.
pub(crate) fn declare_queue(queue: &str) -> QueueDeclare {
    QueueDeclare { queue: short(queue), ..Default::default() }
}

/// A queue that goes with the connection.
pub(crate) fn declare_exclusive(queue: &str) -> QueueDeclare {
    QueueDeclare { queue: short(queue), exclusive: true, ..Default::default() }
}

/// A plain transient exchange.
pub(crate) fn declare_exchange(exchange: &str, kind: &str) -> ExchangeDeclare {
    ExchangeDeclare { exchange: short(exchange), kind: short(kind), ..Default::default() }
}

/// A binding without arguments.
pub(crate) fn bind(queue: &str, exchange: &str, routing_key: &str) -> QueueBind {
    QueueBind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(routing_key),
        no_wait: false,
        arguments: FieldTable::new(),
    }
}

/// A publish that nobody has to route.
pub(crate) fn publish(exchange: &str, routing_key: &str) -> Method {
    let (exchange, routing_key) = (short(exchange), short(routing_key));
    Method::BasicPublish(BasicPublish { exchange, routing_key, ..Default::default() })
}

/// A consumer that acknowledges.
pub(crate) fn consume(queue: &str, tag: &str) -> BasicConsume {
    BasicConsume { queue: short(queue), consumer_tag: short(tag), ..Default::default() }
}

/// Takes one message.
pub(crate) fn get(queue: &str, no_ack: bool) -> Method {
    Method::BasicGet(BasicGet { queue: short(queue), no_ack })
}

/// Acknowledges.
pub(crate) fn ack(delivery_tag: u64, multiple: bool) -> Method {
    Method::BasicAck(BasicAck { delivery_tag, multiple })
}

/// A method frame with any ids and fields.
pub(crate) fn raw_method(channel: u16, class: u16, method: u16, fields: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(method.to_be_bytes());
    payload.extend(fields);
    super::frame(1, channel, &payload)
}

/// The frame of a method.
pub(crate) fn encoded(channel: u16, method: &Method) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    method.encode(channel, &mut out);
    out.to_vec()
}
