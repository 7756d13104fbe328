//! Messages in unusual pieces.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

fn header(class: u16, body_size: u64) -> Vec<u8> {
    [&class.to_be_bytes()[..], &[0, 0], &body_size.to_be_bytes(), &[0, 0]].concat()
}

/// Gets one message and gives its body.
fn body_of_next(client: &mut Client, queue: &str) -> Vec<u8> {
    client.send(1, get(queue, true));
    let got = client.answer_content(1).unwrap_or_else(|closed| panic!("{closed}"));
    got.content.unwrap_or_else(|| panic!("{:?}", got.method)).body
}

#[test]
fn a_body_may_come_in_frames_of_any_size() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("pieces"))).is_ok());
    for pieces in [&[4][..], &[1, 1, 1, 1], &[0, 4], &[2, 0, 2], &[4, 0][..1]] {
        client.send(1, publish("", "pieces"));
        client.send_bytes(&frame(2, 1, &header(60, 4)));
        let mut body = &b"body"[..];
        for &len in pieces {
            client.send_bytes(&frame(3, 1, &body[..len]));
            body = &body[len..];
        }
        assert_eq!(body_of_next(&mut client, "pieces"), b"body", "{pieces:?}");
    }
    client.close();
    fixture.survives();
}

#[test]
fn an_empty_message_has_no_body_frame() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("empty"))).is_ok());
    client.send(1, publish("", "empty"));
    client.send_bytes(&frame(2, 1, &header(60, 0)));
    assert_eq!(body_of_next(&mut client, "empty"), b"");
    client.close();
    fixture.survives();
}

#[test]
fn contents_of_two_channels_may_be_interleaved() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    client.open_channel(2);
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("mixed"))).is_ok());
    for channel in [1, 2] {
        client.send(channel, publish("", "mixed"));
    }
    for channel in [2, 1] {
        client.send_bytes(&frame(2, channel, &header(60, 4)));
    }
    for (channel, half) in [(1, b"fi"), (2, b"se"), (2, b"co"), (1, b"rs")] {
        client.send_bytes(&frame(3, channel, half));
    }
    assert_eq!(client.sync(2), Ok(()));
    assert_eq!(body_of_next(&mut client, "mixed"), b"seco");
    assert_eq!(body_of_next(&mut client, "mixed"), b"firs");
    client.close();
    fixture.survives();
}

#[test]
fn a_body_longer_than_announced_closes_the_connection() {
    let fixture = Fixture::ours(|_| {});
    let mut client = fixture.on_channel();
    client.send(1, publish("", "nobody"));
    client.send_bytes(&frame(2, 1, &header(60, 4)));
    client.send_bytes(&frame(3, 1, b"longer"));
    let closed = client.closed(0);
    assert_eq!((closed.code, closed.channel), (505, 0), "{closed}");
    fixture.survives();
}

#[test]
fn properties_and_headers_come_back_to_the_bit() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("bits"))).is_ok());
    let inner = FieldTable::new().with("deep", FieldValue::Array(vec![FieldValue::Void, FieldValue::I8(-1)]));
    let headers = FieldTable::new()
        .with("bool", true)
        .with("i8", FieldValue::I8(-8))
        .with("u8", FieldValue::U8(8))
        .with("i16", FieldValue::I16(-16))
        .with("u16", FieldValue::U16(16))
        .with("i32", FieldValue::I32(-32))
        .with("u32", FieldValue::U32(32))
        .with("i64", FieldValue::I64(-64))
        .with("f32", FieldValue::F32(0.5))
        .with("f64", FieldValue::F64(0.25))
        .with("decimal", FieldValue::Decimal(2, 314))
        .with("text", FieldValue::text("text"))
        .with("bytes", FieldValue::Bytes(bytes::Bytes::from_static(&[0, 255])))
        .with("time", FieldValue::Timestamp(1_700_000_000))
        .with("table", FieldValue::Table(inner))
        .with("void", FieldValue::Void);
    let properties = Properties {
        content_type: Some(short("text/plain")),
        content_encoding: Some(short("")),
        headers: Some(headers),
        delivery_mode: Some(1),
        priority: Some(255),
        correlation_id: Some(short("c")),
        reply_to: Some(short("r")),
        expiration: Some(short("600000")),
        message_id: Some(short("m")),
        timestamp: Some(u64::MAX >> 1),
        kind: Some(short("k")),
        user_id: Some(short("guest")),
        app_id: Some(short("a")),
        cluster_id: Some(short("cluster")),
    };
    client.send_content(1, publish("", "bits"), &properties, b"body");
    client.send(1, get("bits", true));
    let got = client.answer_content(1).expect("a message").content.expect("with content");
    assert_eq!(got.properties, properties.encoded());
    client.close();
    fixture.survives();
}
