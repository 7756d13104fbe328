//! AMQP 0-9-1: sessions between bytes and queues, and the codec by itself.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use rialto::broker::Broker;
use rialto::session::amqp::AmqpSession;
use rialto_protocol::amqp::{
    BasicAck, BasicConsume, BasicPublish, BasicPublishRef, ChannelOpen, ConfirmSelect, ConnectionOpen,
    ConnectionStartOk, ConnectionTuneOk, DeliverWriter, Method, QueueBind, QueueDeclare, WholePublish,
    put_body, put_content_header,
};
use rialto_protocol::types::{Properties, ShortStr};

use super::end::{End, Flow, Part};
use super::{BODY, NOW, READ, Workload};

const FRAME_MAX: u32 = 131_072;

/// From bytes into a queue.
pub(super) fn publish(size: usize) -> Flow {
    flow(Part::Publish, size, false, false)
}

/// The same, each message confirmed.
pub(super) fn publish_confirmed() -> Flow {
    flow(Part::Publish, BODY, true, false)
}

/// Into ten queues through a topic exchange, no key like the one before it.
pub(super) fn publish_topic() -> Flow {
    let mut flow = flow(Part::Publish, BODY, false, false);
    let exchange = "amq.topic";
    for number in 0..10 {
        let queue = text(&format!("topic-{number}"));
        let bind = QueueBind {
            queue: queue.clone(),
            exchange: text(exchange),
            routing_key: text(&format!("*.b{number}.#")),
            ..Default::default()
        };
        let consume = BasicConsume { queue: queue.clone(), no_ack: true, ..Default::default() };
        for method in [QueueDeclare { queue, ..Default::default() }.into(), bind.into(), consume.into()] {
            flow.consumer.hear(&encoded(method));
        }
    }
    flow.consumer.read();
    let message = |number| published_to(exchange, &format!("k{number:07}.b{}.created", number % 10), BODY);
    flow.messages = READ / message(0).len();
    flow.frames = (0..flow.messages).flat_map(message).collect();
    flow
}

/// From a queue into bytes.
pub(super) fn deliver(size: usize) -> Flow {
    flow(Part::Deliver, size, false, false)
}

/// The same, with an acknowledgement for all.
pub(super) fn deliver_acked() -> Flow {
    flow(Part::Deliver, BODY, false, true)
}

fn flow(part: Part, size: usize, confirms: bool, acks: bool) -> Flow {
    let broker = Broker::in_memory().build();
    let mut consumer = opened(&broker);
    consumer.hear(&encoded(Method::QueueDeclare(QueueDeclare { queue: text("q"), ..Default::default() })));
    let consume = BasicConsume { queue: text("q"), no_ack: !acks, ..Default::default() };
    consumer.hear(&encoded(Method::BasicConsume(consume)));
    consumer.read();
    let mut publisher = opened(&broker);
    if confirms {
        publisher.hear(&encoded(Method::ConfirmSelect(ConfirmSelect::default())));
        publisher.read();
    }
    let message = published(size);
    let messages = (READ / message.len()).max(1);
    // Zero with `multiple`: all that there are.
    let ack = Method::BasicAck(BasicAck { delivery_tag: 0, multiple: true });
    let ack = if acks { encoded(ack) } else { Vec::new() };
    Flow { part, publisher, consumer, frames: message.repeat(messages), messages, ack, number: None }
}

/// Logged in, with channel 1 open.
fn opened(broker: &Broker) -> End {
    let mut end = End::new(broker, |broker, options, link, outbox| {
        AmqpSession::new(broker, options, link, outbox, NOW)
    });
    let start_ok = ConnectionStartOk {
        client_properties: Default::default(),
        mechanism: text("PLAIN"),
        response: Bytes::from_static(b"\0guest\0guest"),
        locale: text("en_US"),
    };
    let tune_ok = ConnectionTuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 };
    let open = ConnectionOpen { virtual_host: text("/") };
    for method in [start_ok.into(), tune_ok.into(), open.into()] {
        end.hear(&on_channel(0, method));
    }
    end.hear(&encoded(Method::ChannelOpen(ChannelOpen::default())));
    end.read();
    end
}

/// Published messages, read from their frames.
pub(super) struct Decode {
    frames: Vec<u8>,
    messages: usize,
}

impl Decode {
    pub(super) fn new() -> Self {
        let message = published(BODY);
        let messages = READ / message.len();
        Decode { frames: message.repeat(messages), messages }
    }
}

impl Workload for Decode {
    fn prepare(&mut self) {}

    fn work(&mut self) {
        let mut input = &self.frames[..];
        while !input.is_empty() {
            let message = WholePublish::read(input, FRAME_MAX).expect("it is whole");
            black_box(BasicPublishRef::decode(message.method).expect("it is a publish"));
            input = &input[black_box(message).wire_len()..];
        }
    }

    fn operations(&self) -> usize {
        self.messages
    }
}

/// Deliveries, written as frames.
pub(super) struct Encode {
    writer: DeliverWriter,
    properties: Vec<u8>,
    out: BytesMut,
}

impl Encode {
    pub(super) fn new() -> Self {
        let out = BytesMut::with_capacity(2 * READ);
        Encode { writer: DeliverWriter::new(1, "consumer"), properties: properties().to_vec(), out }
    }
}

impl Workload for Encode {
    fn prepare(&mut self) {
        self.out.clear();
    }

    fn work(&mut self) {
        let body = [b'x'; BODY];
        for tag in 0..self.operations() as u64 {
            let (properties, out) = (&self.properties, &mut self.out);
            self.writer.put_head(tag, false, "orders", "order.new", BODY, properties, out);
            put_body(1, &body, FRAME_MAX, out);
        }
        black_box(&self.out);
    }

    fn operations(&self) -> usize {
        300
    }
}

/// A message to the queue, as most clients send it: with its delivery mode.
fn published(size: usize) -> Vec<u8> {
    published_to("", "q", size)
}

fn published_to(exchange: &str, routing_key: &str, size: usize) -> Vec<u8> {
    let publish =
        BasicPublish { exchange: text(exchange), routing_key: text(routing_key), ..Default::default() };
    let mut out = BytesMut::from(&encoded(Method::BasicPublish(publish))[..]);
    put_content_header(1, size as u64, &properties(), &mut out);
    put_body(1, &vec![b'x'; size], FRAME_MAX, &mut out);
    out.to_vec()
}

fn properties() -> Bytes {
    Bytes::from(Properties { delivery_mode: Some(1), ..Properties::default() }.encoded().to_vec())
}

fn encoded(method: Method) -> Vec<u8> {
    on_channel(1, method)
}

fn on_channel(channel: u16, method: Method) -> Vec<u8> {
    let mut out = BytesMut::new();
    method.encode(channel, &mut out);
    out.to_vec()
}

fn text(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}
