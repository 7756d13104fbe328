//! Writes the seeds of the AMQP targets: `cargo run --example amqp_seeds`.
//!
//! Kept as code so that the seeds can be made again when the table grows. A method's seed is made from its
//! fields, so that every method has one.

use std::fs;
use std::path::Path;

use bytes::{BufMut, BytesMut};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, Properties, ShortStr};

fn keep(target: &str, name: &str, data: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus can be created");
    fs::write(folder.join(name), data).expect("a seed can be written");
}

/// The payload of a method frame with something in each of its fields.
fn payload(id: MethodId) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u16(id.class);
    out.put_u16(id.method);
    let mut bits = 0;
    for field in id.fields().expect("the table knows its methods") {
        if field.kind == FieldType::Bit {
            if bits == 0 {
                out.put_u8(0b0000_0101);
            }
            bits += 1;
            continue;
        }
        bits = 0;
        match field.kind {
            FieldType::Octet => out.put_u8(9),
            FieldType::Short => out.put_u16(404),
            FieldType::Long => out.put_u32(131_072),
            FieldType::Longlong => out.put_u64(7),
            FieldType::Shortstr => out.put_slice(b"\x02na"),
            FieldType::Longstr => out.put_slice(b"\0\0\0\x03\0gg"),
            FieldType::Table => FieldTable::new().with("x-max-priority", 5).with("k", "v").encode(&mut out),
            FieldType::Bit => unreachable!("bits were written above"),
        }
    }
    out
}

fn properties() -> Properties {
    let headers = FieldTable::new().with("k", "v");
    let message_id = Some(ShortStr::truncated("m"));
    Properties { headers: Some(headers), delivery_mode: Some(2), message_id, ..Properties::default() }
}

fn message(body: &[u8], frame_max: u32, out: &mut BytesMut) {
    let routing_key = ShortStr::truncated("k");
    Method::from(BasicPublish { routing_key, mandatory: true, ..BasicPublish::default() }).encode(1, out);
    put_content_header(1, body.len() as u64, &properties().encoded(), out);
    put_body(1, body, frame_max, out);
}

fn main() {
    for &id in MethodId::ALL {
        keep("amqp_methods", id.name(), &payload(id));
    }
    keep("amqp_methods", "unknown", &[0, 60, 0, 200]);
    keep("amqp_methods", "bad_utf8", &[0, 50, 0, 10, 0, 0, 1, 0xff, 0, 0, 0, 0, 0]);
    let mut header = BytesMut::new();
    put_content_header(1, 5, &properties().encoded(), &mut header);
    keep("amqp_methods", "content_header", &header[7..header.len() - 1]);

    let mut stream = BytesMut::new();
    message(b"one", 4096, &mut stream);
    keep("amqp_frames", "one_message", &stream);
    put_heartbeat(&mut stream);
    message(b"in three parts", 14, &mut stream);
    message(b"", 4096, &mut stream);
    keep("amqp_frames", "messages_and_heartbeat", &stream);
    keep("amqp_frames", "cut_short", &stream[..stream.len() - 3]);
    let end = stream.len() - 1;
    stream[end] = 0;
    keep("amqp_frames", "bad_end", &stream);
    let mut amid = BytesMut::new();
    message(b"one", 4096, &mut amid);
    amid.truncate(amid.len() - 11);
    Method::from(BasicAck { delivery_tag: 1, multiple: true }).encode(1, &mut amid);
    message(b"two", 4096, &mut amid);
    keep("amqp_frames", "method_amid_content", &amid);
    let mut too_much = BytesMut::new();
    message(b"one", 4096, &mut too_much);
    put_body(1, b"more", 4096, &mut too_much);
    keep("amqp_frames", "body_too_much", &too_much);
    keep("amqp_frames", "too_long", &[3, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    keep("amqp_frames", "unknown_kind", &[4, 0, 1, 0, 0, 0, 0, 206]);
    keep("amqp_frames", "heartbeat_with_payload", &[8, 0, 0, 0, 0, 0, 1, 0, 206]);
}
