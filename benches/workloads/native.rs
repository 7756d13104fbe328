//! Rialto's own protocol: sessions between bytes and queues, and the codec by itself.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use rialto::broker::Broker;
use rialto::session::native::NativeSession;
use rialto_protocol::native::{
    Command, Consume, DeliverWriter, FRAME_HEADER_LEN, Login, PublishWriter, Request, RouteRef, decode_frame,
};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::end::{End, Flow, Part};
use super::{BODY, NOW, READ, Workload};

const FRAME_MAX: u32 = 1 << 20;
const CHANNEL: u16 = 1;
const MESSAGES: usize = READ / (BODY + 9);

/// From bytes into a queue.
pub(super) fn publish() -> Flow {
    flow(Part::Publish, false)
}

/// The same, with outcomes.
pub(super) fn publish_confirmed() -> Flow {
    flow(Part::Publish, true)
}

/// From a queue into bytes.
pub(super) fn deliver() -> Flow {
    flow(Part::Deliver, false)
}

fn flow(part: Part, outcomes: bool) -> Flow {
    let broker = Broker::in_memory().build();
    let mut consumer = opened(&broker);
    let declare = Request::DeclareQueue {
        name: text("q"),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::new(),
    };
    let consume = Request::Consume(Consume {
        queue: text("q"),
        consumer: 1,
        tag: text(""),
        auto_ack: true,
        exclusive: false,
        prefetch: 0,
        credit: None,
        arguments: FieldTable::new(),
    });
    for (correlation, request) in [(2, declare), (3, consume)] {
        consumer.hear(&encoded(CHANNEL, &Command::Request { correlation, request }));
        consumer.read();
    }
    let mut publisher = opened(&broker);
    let route = Command::DefineRoute { route: 1, exchange: text(""), routing_key: text("q") };
    publisher.hear(&encoded(CHANNEL, &route));
    publisher.read();
    let frames = published(outcomes);
    let number = Some((FRAME_HEADER_LEN, 1));
    Flow { part, publisher, consumer, frames, messages: MESSAGES, ack: Vec::new(), number }
}

/// Logged in, with a channel open.
fn opened(broker: &Broker) -> End {
    let mut end = End::new(broker, |broker, options, link, outbox| {
        NativeSession::new(broker, options, link, outbox, NOW)
    });
    let login = Login {
        mechanism: text("PLAIN"),
        response: Bytes::from_static(b"\0guest\0guest"),
        vhost: text("/"),
        frame_max: 0,
        heartbeat_ms: 0,
        properties: FieldTable::new(),
    };
    end.hear(&encoded(0, &Command::Login(login)));
    end.hear(&encoded(CHANNEL, &Command::OpenChannel { correlation: 1 }));
    end.read();
    end
}

fn published(outcomes: bool) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut writer = PublishWriter::begin(CHANNEL, 1, outcomes, &mut out);
    writer.run(RouteRef::Defined(1), false, &mut out);
    for _ in 0..MESSAGES {
        writer.entry(&[], &[b'x'; BODY], &mut out);
    }
    writer.finish(&mut out);
    out.to_vec()
}

/// Published messages, read from their frame.
pub(super) struct Decode {
    frame: Vec<u8>,
    input: BytesMut,
}

impl Decode {
    pub(super) fn new() -> Self {
        Decode { frame: published(true), input: BytesMut::new() }
    }
}

impl Workload for Decode {
    fn prepare(&mut self) {
        self.input.extend_from_slice(&self.frame);
    }

    fn work(&mut self) {
        let frame = decode_frame(&mut self.input, FRAME_MAX).expect("it is valid").expect("it is whole");
        let Ok(Some(Command::Publish(publish))) = frame.command() else { panic!("it is a publish") };
        for run in publish.runs_ref(CHANNEL) {
            for entry in run.expect("it is valid").walk() {
                black_box(entry.expect("it is valid"));
            }
        }
    }

    fn operations(&self) -> usize {
        MESSAGES
    }
}

/// Deliveries, written as one frame.
pub(super) struct Encode(BytesMut);

impl Encode {
    pub(super) fn new() -> Self {
        Encode(BytesMut::with_capacity(2 * READ))
    }
}

impl Workload for Encode {
    fn prepare(&mut self) {
        self.0.clear();
    }

    fn work(&mut self) {
        let out = &mut self.0;
        let mut writer = DeliverWriter::begin(CHANNEL, 1, 1, out);
        writer.run("orders", "order.new", out);
        for _ in 0..MESSAGES {
            writer.entry(&[], &[b'x'; BODY], out);
        }
        writer.finish(out);
        black_box(out);
    }

    fn operations(&self) -> usize {
        MESSAGES
    }
}

fn encoded(channel: u16, command: &Command) -> Vec<u8> {
    let mut out = BytesMut::new();
    command.encode(channel, &mut out);
    out.to_vec()
}

fn text(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}
