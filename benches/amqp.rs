//! What one message costs an AMQP session: from a publisher's frames into a queue, and from there to a consumer's.
//!
//! Run with `cargo bench --bench amqp`; a number after `--` is how many reads each slice takes (few, for a run that
//! counts instructions). Frames come in reads of 64 KiB; there are no sockets.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rialto::broker::{Broker, Outbox};
use rialto::model::Timestamp;
use rialto::session::amqp::AmqpSession;
use rialto::session::{Session, SessionOptions};
use rialto_protocol::amqp::{
    BasicConsume, BasicPublish, ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method,
    QueueDeclare, put_body, put_content_header,
};
use rialto_protocol::types::{Properties, ShortStr};

const READ: usize = 64 << 10;
/// The best of so many slices counts: a busy machine makes some of them slow, never fast.
const SLICES: usize = 20;
const READS_PER_SLICE: usize = 200;
const NOW: Timestamp = Timestamp::from_millis(1000);

fn main() {
    let reads = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(READS_PER_SLICE);
    println!("{:>10} {:>16} {:>16}", "body", "publish, ns/msg", "deliver, ns/msg");
    for size in [16, 128, 1024, 16 << 10] {
        let (publish, deliver) = measure(size, reads);
        println!("{size:>8} B {publish:>16.1} {deliver:>16.1}");
    }
}

/// Nanoseconds of a message of this size: to be published, to be delivered.
fn measure(size: usize, reads: usize) -> (f64, f64) {
    let broker = Broker::in_memory().build();
    let mut consumer = End::open(&broker);
    consumer.hear(&encoded(Method::QueueDeclare(QueueDeclare { queue: text("q"), ..Default::default() })));
    let consume = BasicConsume { queue: text("q"), no_ack: true, ..Default::default() };
    consumer.hear(&encoded(Method::BasicConsume(consume)));
    consumer.read();
    let mut publisher = End::open(&broker);
    let message = published(size);
    let count = (READ / message.len()).max(1);
    let frames = message.repeat(count);
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..SLICES {
        let (mut publish, mut deliver) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..reads {
            publisher.input.extend_from_slice(&frames);
            let start = Instant::now();
            publisher.session.handle_input(&mut publisher.input, NOW);
            let between = Instant::now();
            let bytes = consumer.read();
            publish += between - start;
            deliver += between.elapsed();
            assert!(bytes > size * count, "each read's messages are delivered before the next read");
        }
        best = (best.0.min(publish), best.1.min(deliver));
    }
    let messages = (reads * count) as f64;
    (best.0.as_nanos() as f64 / messages, best.1.as_nanos() as f64 / messages)
}

/// A session and what it has read.
struct End {
    session: AmqpSession,
    input: BytesMut,
}

impl End {
    /// Logged in, with channel 1 open.
    fn open(broker: &Broker) -> End {
        let peer = SocketAddr::from(([127, 0, 0, 1], 5000));
        let options = Arc::new(SessionOptions::default());
        let session = AmqpSession::new(broker.clone(), options, peer, Arc::new(Outbox::new()), NOW);
        let mut end = End { session, input: BytesMut::new() };
        let start_ok = ConnectionStartOk {
            client_properties: Default::default(),
            mechanism: text("PLAIN"),
            response: Bytes::from_static(b"\0guest\0guest"),
            locale: text("en_US"),
        };
        let tune_ok = ConnectionTuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
        let open = ConnectionOpen { virtual_host: text("/") };
        for method in [start_ok.into(), tune_ok.into(), open.into()] {
            end.hear(&on_channel(0, method));
        }
        end.hear(&encoded(Method::ChannelOpen(ChannelOpen::default())));
        end.read();
        end
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.handle_input(&mut self.input, NOW);
    }

    /// Takes what it says as a socket would, and says how many bytes that was.
    fn read(&mut self) -> usize {
        let mut all = 0;
        loop {
            self.session.handle_outbox(NOW);
            let out = self.session.poll_output(NOW);
            let mut slices = [IoSlice::new(&[]); 64];
            let count = out.chunks(&mut slices);
            if count == 0 {
                return all;
            }
            let written: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            out.advance(written);
            all += written;
        }
    }
}

/// A message to the queue, as most clients send it: with its delivery mode.
fn published(size: usize) -> Vec<u8> {
    let publish = BasicPublish { routing_key: text("q"), ..Default::default() };
    let properties = Properties { delivery_mode: Some(1), ..Properties::default() };
    let mut out = BytesMut::from(&encoded(Method::BasicPublish(publish))[..]);
    put_content_header(1, size as u64, &properties.encoded(), &mut out);
    put_body(1, &vec![b'x'; size], 131_072, &mut out);
    out.to_vec()
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
