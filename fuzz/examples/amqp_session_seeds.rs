//! Writes the seeds of `amqp_session`: `cargo run --example amqp_session_seeds`.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, Properties, ShortStr};

fn text(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}

fn publish(routing_key: &str, properties: &Properties, body: &[u8], out: &mut BytesMut) {
    let publish = BasicPublish { routing_key: text(routing_key), mandatory: true, ..Default::default() };
    Method::BasicPublish(publish).encode(1, out);
    put_content_header(1, body.len() as u64, &properties.encoded(), out);
    put_body(1, body, 4096, out);
}

/// A working client, as bytes behind a login.
fn client() -> BytesMut {
    let mut out = BytesMut::new();
    let arguments = FieldTable::new().with("x-max-length", 2).with("x-overflow", "reject-publish");
    let declare = QueueDeclare { queue: text("a"), exclusive: true, arguments, ..Default::default() };
    Method::QueueDeclare(declare).encode(1, &mut out);
    Method::ConfirmSelect(Default::default()).encode(1, &mut out);
    let expiring = Properties { expiration: Some(text("20")), priority: Some(3), ..Properties::default() };
    publish("a", &expiring, b"one", &mut out);
    publish("a", &Properties::default(), &[7; 5000], &mut out);
    publish("nobody", &Properties::default(), b"", &mut out);
    Method::BasicQos(BasicQos { prefetch_count: 1, ..Default::default() }).encode(1, &mut out);
    let consume = BasicConsume { consumer_tag: text("c1"), ..Default::default() };
    Method::BasicConsume(consume).encode(1, &mut out);
    Method::BasicAck(BasicAck { delivery_tag: 1, multiple: true }).encode(1, &mut out);
    Method::BasicNack(BasicNack { delivery_tag: 2, multiple: false, requeue: true }).encode(1, &mut out);
    Method::BasicCancel(BasicCancel { consumer_tag: text("c1"), no_wait: false }).encode(1, &mut out);
    Method::BasicGet(BasicGet { queue: text("a"), no_ack: false }).encode(1, &mut out);
    Method::BasicRecover(BasicRecover { requeue: true }).encode(1, &mut out);
    Method::ChannelClose(Default::default()).encode(1, &mut out);
    out
}

/// A transaction, and a request that is answered.
fn questions() -> BytesMut {
    let mut out = BytesMut::new();
    let consume = BasicConsume { queue: text("amq.rabbitmq.reply-to"), no_ack: true, ..Default::default() };
    Method::BasicConsume(consume).encode(1, &mut out);
    Method::QueueDeclare(QueueDeclare { queue: text("b"), ..Default::default() }).encode(1, &mut out);
    Method::TxSelect(Default::default()).encode(1, &mut out);
    let asking = Properties { reply_to: Some(text("amq.rabbitmq.reply-to")), ..Properties::default() };
    publish("b", &asking, b"what?", &mut out);
    publish("nobody", &asking, b"who?", &mut out);
    Method::TxCommit(Default::default()).encode(1, &mut out);
    Method::BasicGet(BasicGet { queue: text("b"), no_ack: false }).encode(1, &mut out);
    Method::BasicAck(BasicAck { delivery_tag: 1, multiple: false }).encode(1, &mut out);
    Method::TxRollback(Default::default()).encode(1, &mut out);
    Method::ConnectionClose(Default::default()).encode(0, &mut out);
    out
}

/// From the answer to `connection.start` on.
fn login() -> BytesMut {
    let mut out = BytesMut::new();
    let start_ok = ConnectionStartOk {
        client_properties: FieldTable::new().with("product", "py-amqp"),
        mechanism: text("PLAIN"),
        response: Bytes::from_static(b"\0guest\0guest"),
        locale: text("en_US"),
    };
    Method::ConnectionStartOk(start_ok).encode(0, &mut out);
    let tune_ok = ConnectionTuneOk { channel_max: 3, frame_max: 8192, heartbeat: 10 };
    Method::ConnectionTuneOk(tune_ok).encode(0, &mut out);
    Method::ConnectionOpen(ConnectionOpen { virtual_host: text("/") }).encode(0, &mut out);
    Method::ChannelOpen(Default::default()).encode(1, &mut out);
    out
}

/// Bytes that mean nothing in particular: scripts do many things whatever they say.
fn script(mut state: u32, len: usize) -> Vec<u8> {
    let how = 3 + 8 * state as u8;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::once(how).chain(std::iter::repeat_with(&mut next).take(len)).collect()
}

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/amqp_session");
    fs::create_dir_all(&folder)?;
    for (name, bytes) in [("client", client()), ("questions", questions())] {
        fs::write(folder.join(format!("{name}-whole")), [&[1][..], &bytes].concat())?;
        fs::write(folder.join(format!("{name}-by-bytes")), [&[0][..], &bytes].concat())?;
    }
    fs::write(folder.join("login-by-bytes"), [&[2][..], &login(), &client()].concat())?;
    fs::write(folder.join("login-in-pieces"), [&[250][..], &login(), &questions()].concat())?;
    // A finding: `channel.open` with a text of three bytes of which one is there was answered with open-ok.
    let broken_open = [1, 1, 0, 2, 0, 0, 0, 6, 0, 20, 0, 10, 3, b'x', FRAME_END];
    fs::write(folder.join("channel-open-unreadable"), broken_open)?;
    for seed in 1..=24 {
        fs::write(folder.join(format!("script-{seed}")), script(seed, 250 * seed as usize))?;
    }
    Ok(())
}
