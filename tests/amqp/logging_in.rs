//! From the first byte to open-ok.

use bytes::Bytes;

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

/// What the broker says to these first bytes before it hangs up.
fn answer_to(fixture: &Fixture, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Wire::connect(fixture.address());
    wire.send(bytes);
    wire.rest()
}

#[test]
fn another_protocol_header_is_answered_with_ours() {
    let fixture = Fixture::start();
    for header in [
        *b"AMQP\x00\x00\x09\x02",
        *b"AMQP\x00\x00\x08\x00",
        *b"AMQP\x00\x01\x00\x00",
        *b"AMQP\x03\x01\x00\x00",
        *b"AMQP\x02\x01\x00\x00",
        *b"AMQPabcd",
    ] {
        assert_eq!(answer_to(&fixture, &header), PROTOCOL_HEADER, "to {header:?}");
    }
    fixture.survives();
}

#[test]
fn the_header_of_0_9_is_understood() {
    let fixture = Fixture::start();
    let mut wire = Wire::connect(fixture.address());
    wire.send(b"AMQP\x01\x01\x00\x09");
    assert_eq!(wire.take(1), [1], "a method: start");
}

#[test]
fn a_web_browser_is_told_so() {
    let fixture = Fixture::ours(|_| {});
    let answer = answer_to(&fixture, b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(answer.contains("AMQP"), "{answer}");
    fixture.survives();
}

#[test]
fn a_tls_hello_on_a_plain_port_ends_the_connection() {
    let fixture = Fixture::start();
    let hello = [&[0x16, 3, 1, 0, 0x50, 1, 0, 0, 0x4c, 3, 3][..], &[7; 0x45]].concat();
    let answer = answer_to(&fixture, &hello);
    assert!(answer.is_empty() || answer == PROTOCOL_HEADER || answer[0] == 0x15, "{answer:?}");
    fixture.survives();
}

#[test]
fn garbage_ends_the_connection() {
    let fixture = Fixture::ours(|_| {});
    for garbage in [&[0; 100][..], &[0xff; 100], b"SSH-2.0-OpenSSH_9\r\n", b"AMQQ\x00\x00\x09\x01"] {
        answer_to(&fixture, garbage);
    }
    fixture.survives();
}

#[test]
fn frames_before_their_time_end_the_connection() {
    let fixture = Fixture::start();
    // In the place of start-ok.
    let bind_early = encoded(1, &Method::QueueBind(bind("q", "amq.direct", "")));
    let open_early = encoded(0, &Method::ConnectionOpen(ConnectionOpen { virtual_host: short("/") }));
    let body = frame(3, 0, b"body");
    let unknown = raw_method(0, 99, 99, b"");
    let long = frame(1, 0, &[0; 200_000]);
    for early in [bind_early, open_early, body, unknown, long] {
        let mut client = Client::greet(fixture.address());
        client.send_bytes(&early);
        // With a close or without a word: nobody is logged in yet.
        if let Some(event) = client.receive() {
            let closed = Closed::of(&event).unwrap_or_else(|| panic!("{event:?}"));
            assert_eq!(closed.channel, 0, "{closed}");
            assert!(closed.code >= 500, "{closed}");
        }
    }
    fixture.survives();
}

#[test]
fn bad_credentials_are_refused_with_403_if_the_client_understands_it() {
    let fixture = Fixture::start();
    let understands = Options { response: Bytes::from_static(b"\0guest\0wrong"), ..Options::default() };
    let refusal = Client::log_in(fixture.address(), &understands).map(|_| ()).expect_err("a wrong password");
    let closed = refusal.expect("a close frame");
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (403, 0, 0, 0), "{closed}");
    assert!(
        closed.text.starts_with("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"),
        "{closed}"
    );
    let old = Options { properties: FieldTable::new(), ..understands };
    let refusal = Client::log_in(fixture.address(), &old).map(|_| ()).expect_err("a wrong password");
    assert_eq!(refusal, None, "the socket is closed without a word");
    fixture.survives();
}

#[test]
fn an_unknown_mechanism_is_refused() {
    let fixture = Fixture::start();
    let options = Options { mechanism: "KERBEROS_V4", ..Options::default() };
    let refusal = Client::log_in(fixture.address(), &options).map(|_| ()).expect_err("no such mechanism");
    if let Some(closed) = refusal {
        assert_eq!((closed.code, closed.channel), (503, 0), "{closed}");
    }
    fixture.survives();
}

#[test]
fn an_unknown_vhost_is_not_allowed() {
    let fixture = Fixture::start();
    let options = Options { vhost: "missing".to_owned(), ..Options::default() };
    let refusal = Client::log_in(fixture.address(), &options).map(|_| ()).expect_err("no such vhost");
    let closed = refusal.expect("a close frame");
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (530, 0, 10, 40), "{closed}");
    assert!(closed.text.starts_with("NOT_ALLOWED - vhost missing not found"), "{closed}");
    fixture.survives();
}

#[test]
fn tuning_beyond_the_offer_is_not_allowed() {
    let fixture = Fixture::start();
    let offer = fixture.client().offer;
    assert_eq!((offer.channel_max, offer.frame_max, offer.heartbeat), (2047, 131_072, 60));
    for (channel_max, frame_max) in [(4000, 131_072), (2047, 1 << 20), (0, 131_072), (2047, 100)] {
        let tune = ConnectionTuneOk { channel_max, frame_max, heartbeat: 0 };
        let options = Options { tune: Some(tune), ..Options::default() };
        let refusal = Client::log_in(fixture.address(), &options).map(|_| ()).expect_err("out of range");
        // RabbitMQ hangs up without a word.
        if let Some(closed) = refusal {
            assert_eq!(
                (closed.code, closed.channel, closed.class, closed.method),
                (530, 0, 10, 30),
                "{closed}"
            );
        }
    }
    fixture.survives();
}

#[test]
fn no_more_channels_are_opened_than_agreed() {
    let fixture = Fixture::start();
    let tune = ConnectionTuneOk { channel_max: 2, frame_max: 0, heartbeat: 0 };
    let offer = Options { tune: Some(ConnectionTuneOk { frame_max: 131_072, ..tune }), ..Options::default() };
    let mut client =
        Client::log_in(fixture.address(), &offer).map_err(|_| "refused").expect("within the offer");
    client.open_channel(1);
    client.open_channel(2);
    let closed = client.call(3, Method::ChannelOpen(ChannelOpen {})).expect_err("one too many");
    assert_eq!((closed.code, closed.channel), (530, 0), "{closed}");
    fixture.survives();
}
