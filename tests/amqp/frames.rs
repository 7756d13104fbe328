//! Where frames end.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

#[test]
fn the_longest_frame_passes_and_a_longer_one_closes() {
    let fixture = Fixture::start();
    let tune = ConnectionTuneOk { channel_max: 10, frame_max: 4096, heartbeat: 0 };
    let options = Options { tune: Some(tune), ..Options::default() };
    let connect = || {
        let mut client =
            Client::log_in(fixture.address(), &options).map_err(|_| "refused").expect("4096 is fine");
        client.open_channel(1);
        client
    };
    let body_in_one_frame = |client: &mut Client, len: usize| {
        let mut bytes = encoded(1, &publish("", "limit"));
        bytes.extend(frame(2, 1, &[&[0, 60, 0, 0][..], &(len as u64).to_be_bytes(), &[0, 0]].concat()));
        bytes.extend(frame(3, 1, &vec![b'x'; len]));
        client.send_bytes(&bytes);
    };
    let mut client = connect();
    assert!(client.call(1, Method::QueueDeclare(declare_exclusive("limit"))).is_ok());
    body_in_one_frame(&mut client, 4088);
    assert!(matches!(client.call(1, get("limit", true)), Ok(Method::BasicGetOk(_))));
    // What the broker sends keeps to the same limit.
    client.send_content(1, publish("", "limit"), &Properties::default(), &[b'y'; 10_000]);
    client.send(1, get("limit", true));
    let mut bodies = Vec::new();
    while bodies.iter().sum::<usize>() < 10_000 {
        let frame =
            client.wire.next_frame(std::time::Instant::now() + PATIENCE).expect("in time").expect("a frame");
        assert!(frame.payload.len() + 8 <= 4096, "{} bytes", frame.payload.len());
        if frame.kind == FrameKind::Body {
            bodies.push(frame.payload.len());
        }
    }
    assert_eq!(bodies, [4088, 4088, 1824]);
    client.close();

    let mut client = connect();
    // RabbitMQ lets some bytes more pass.
    body_in_one_frame(&mut client, 4097);
    let closed = client.closed(0);
    assert_eq!((closed.code, closed.channel), (501, 0), "{closed}");
    fixture.survives();
}

#[test]
fn frames_may_be_split_at_every_byte() {
    let fixture = Fixture::start();
    let mut script = encoded(1, &Method::QueueDeclare(declare_exclusive("split")));
    script.extend(encoded(1, &publish("", "split")));
    let properties = Properties { message_id: Some(short("id")), ..Properties::default() };
    let mut content = bytes::BytesMut::new();
    put_content_header(1, 4, &properties.encoded(), &mut content);
    put_body(1, b"body", 4096, &mut content);
    script.extend(&content);
    script.extend(encoded(1, &get("split", true)));
    let mut client = fixture.on_channel();
    for at in 0..=script.len() {
        client.send_bytes(&script[..at]);
        // The broker has seen the first part when it answers another connection only by luck; that it may have is
        // enough: what is checked is that it does not matter.
        client.send_bytes(&script[at..]);
        assert!(matches!(client.answer(1), Ok(Method::QueueDeclareOk(_))), "split at {at}");
        let got = client.answer_content(1).unwrap_or_else(|closed| panic!("split at {at}: {closed}"));
        let content = got.content.expect("a message");
        assert_eq!((content.decoded(), &*content.body), (properties.clone(), &b"body"[..]), "split at {at}");
    }
    // And byte by byte.
    for byte in &script {
        client.send_bytes(std::slice::from_ref(byte));
    }
    assert!(matches!(client.answer(1), Ok(Method::QueueDeclareOk(_))));
    assert!(matches!(client.answer(1), Ok(Method::BasicGetOk(_))));
    client.close();
    fixture.survives();
}

#[test]
fn a_peer_that_vanishes_after_any_byte_leaves_nothing() {
    let fixture = Fixture::ours(|_| {});
    let mut script = PROTOCOL_HEADER.to_vec();
    let options = Options::default();
    script.extend(encoded(
        0,
        &Method::ConnectionStartOk(ConnectionStartOk {
            client_properties: FieldTable::new(),
            mechanism: short("PLAIN"),
            response: options.response,
            locale: short("en_US"),
        }),
    ));
    let tune = ConnectionTuneOk { channel_max: 10, frame_max: 4096, heartbeat: 0 };
    script.extend(encoded(0, &Method::ConnectionTuneOk(tune)));
    script.extend(encoded(0, &Method::ConnectionOpen(ConnectionOpen { virtual_host: short("/") })));
    script.extend(encoded(1, &Method::ChannelOpen(ChannelOpen {})));
    script.extend(encoded(1, &Method::QueueDeclare(declare_exclusive("mine"))));
    script.extend(encoded(1, &Method::BasicConsume(consume("mine", "tag"))));
    script.extend(encoded(1, &publish("", "mine")));
    let mut content = bytes::BytesMut::new();
    put_content_header(1, 4, &Properties::default().encoded(), &mut content);
    put_body(1, b"body", 4096, &mut content);
    script.extend(&content);
    for len in 0..=script.len() {
        let mut wire = Wire::connect(fixture.address());
        wire.send(&script[..len]);
        if len % 2 == 0 {
            // Politely: what was said is heard, then the end.
            wire.hang_up();
            wire.rest();
        }
    }
    fixture.survives();
}

#[test]
fn heartbeats_are_no_trouble() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    for _ in 0..10 {
        client.send_bytes(&frame(8, 0, b""));
    }
    assert_eq!(client.sync(1), Ok(()));
    client.close();
    fixture.survives();
}
