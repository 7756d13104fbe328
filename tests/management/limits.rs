//! Clients that send too much, or too slowly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rialto::config::Size;

use crate::fixture::Broker;

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let broker = Broker::with(|settings| {
        settings.management.body_max = Size::kib(64);
        settings.management.request_timeout = Duration::from_millis(500);
    });
    let guest = Some(("guest", "guest"));
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(broker.ask("PUT", "/queues/%2F/q", &long).status, 413);
    // Said to be long, and never sent.
    let answer = broker.ask_as(guest, "PUT", "/queues/%2F/q", &[("content-length", "99999999999")], "");
    assert_eq!(answer.status, 413, "{answer:?}");
    let chunked = broker.ask_as(guest, "PUT", "/queues/%2F/q", &[("transfer-encoding", "chunked")], "");
    assert!(matches!(chunked.status, 0 | 400 | 408), "{chunked:?}");
}

#[test]
fn a_client_that_is_slow_is_let_go() {
    let broker = Broker::with(|settings| {
        settings.management.header_timeout = Duration::from_millis(200);
        settings.management.request_timeout = Duration::from_millis(200);
        settings.management.connections_max = 1;
    });
    // One that says nothing, one that stops within its head, one that stops within its body.
    let login = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=";
    let body =
        format!("PUT /api/queues/%2F/q HTTP/1.1\r\nhost: x\r\n{login}\r\ncontent-length: 10\r\n\r\n{{");
    for sent in ["", "GET /api/whoami HTTP/1.1\r\nhost:", &body] {
        let mut socket = TcpStream::connect(broker.http()).unwrap();
        socket.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        // It ends: that is the test. The only connection there may be is free again.
        let _ = socket.read_to_string(&mut answer);
    }
    assert_eq!(broker.get("/whoami")["name"], "guest");
}

#[test]
fn garbage_in_place_of_http_is_answered_or_cut_off() {
    let broker = Broker::start();
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"AMQP\x00\x00\x09\x01", b"GET\r\n\r\n", &[0xff; 4096]] {
        let answer = broker.raw(bytes);
        assert!(matches!(answer.status, 0 | 400), "{answer:?}");
    }
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let answer = broker.raw(format!("GET /api/whoami HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes());
    assert!(matches!(answer.status, 0 | 400 | 431), "{answer:?}");
    assert_eq!(broker.get("/whoami")["name"], "guest");
}
