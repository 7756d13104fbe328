//! Codes that close the connection: 501 to 505 for who breaks the protocol, 530 and 540 for who may not or cannot have it.

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::fixture::Fixture;

use super::{case, check, exclusive, say_content};

#[test]
fn frame_errors_close_the_connection() {
    check(
        (501, 0),
        &[
            case("a bad end octet", (0, 0), "FRAME_ERROR", |client| {
                let mut bytes = encoded(1, &access_request());
                *bytes.last_mut().expect("a frame") = 0;
                client.send_bytes(&bytes);
            }),
            case("an unknown type of frame", (0, 0), "FRAME_ERROR", |client| {
                client.send_bytes(&frame(4, 1, b""))
            }),
            case("a frame over the limit", (0, 0), "FRAME_ERROR", |client| {
                // RabbitMQ lets some bytes more pass.
                let payload = vec![0; client.frame_max as usize + 1];
                client.send_bytes(&frame(3, 1, &payload));
            }),
            case("a frame that announces too much", (0, 0), "FRAME_ERROR", |client| {
                client.send_bytes(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff])
            }),
        ],
    );
}

#[test]
fn syntax_errors_close_the_connection() {
    if !Fixture::would_be_ours() {
        return println!("RabbitMQ before 4 hangs up without a word");
    }
    check(
        (502, 0),
        &[
            case("a method cut short", (50, 10), "SYNTAX_ERROR", |client| {
                client.send_bytes(&raw_method(1, 50, 10, &[0, 0, 9, b'q']))
            }),
            case("an unknown type of field", (50, 10), "SYNTAX_ERROR", |client| {
                let fields = [&[0, 0, 1, b'q', 0][..], &[0, 0, 0, 3, 1, b'x', b'?']].concat();
                client.send_bytes(&raw_method(1, 50, 10, &fields));
            }),
            case("a table longer than its method", (50, 10), "SYNTAX_ERROR", |client| {
                let fields = [&[0, 0, 1, b'q', 0][..], &[0, 0, 0, 99, 1, b'x', b't', 1]].concat();
                client.send_bytes(&raw_method(1, 50, 10, &fields));
            }),
        ],
    );
}

#[test]
fn tables_of_absurd_depth_close_the_connection() {
    let fixture = Fixture::ours(|_| {});
    let mut value = vec![b'V'];
    for _ in 0..2000 {
        let mut table = 1u8.to_be_bytes().to_vec();
        table.push(b'x');
        table.extend(&value);
        value = [&[b'F'][..], &(table.len() as u32).to_be_bytes(), &table].concat();
    }
    let mut client = fixture.on_channel();
    client.send_bytes(&raw_method(1, 50, 10, &[&[0, 0, 1, b'q', 0][..], &value[1..]].concat()));
    let closed = client.closed(1);
    assert_eq!((closed.code, closed.channel), (502, 0), "{closed}");

    // The same as headers of a message.
    let mut client = fixture.on_channel();
    client.send(1, publish("", "nobody"));
    let header = [&[0, 60, 0, 0][..], &0u64.to_be_bytes(), &(1u16 << 13).to_be_bytes(), &value[1..]].concat();
    client.send_bytes(&frame(2, 1, &header));
    let closed = client.closed(1);
    assert_eq!((closed.code, closed.channel), (502, 0), "{closed}");
    fixture.survives();
}

#[test]
fn invalid_commands_close_the_connection() {
    if !Fixture::would_be_ours() {
        return println!("RabbitMQ before 4 hangs up without a word");
    }
    check(
        (503, 0),
        &[
            case("an unknown class", (99, 10), "COMMAND_INVALID", |client| {
                client.send_bytes(&raw_method(1, 99, 10, b""))
            }),
            case("an unknown method", (60, 99), "COMMAND_INVALID", |client| {
                client.send_bytes(&raw_method(1, 60, 99, b""))
            }),
            case("what only brokers say", (90, 11), "COMMAND_INVALID", |client| {
                client.send(1, Method::TxSelectOk(TxSelectOk {}))
            }),
        ],
    );
}

#[test]
fn channel_errors_close_the_connection() {
    check(
        (504, 0),
        &[
            case("a channel that is open already", (20, 10), "CHANNEL_ERROR", |client| {
                client.send(1, Method::ChannelOpen(ChannelOpen {}))
            }),
            case("a channel that was closed", (60, 10), "CHANNEL_ERROR", |client| {
                let close = ChannelClose { reply_code: 200, ..Default::default() };
                assert!(client.call(1, Method::ChannelClose(close)).is_ok());
                client.send(1, Method::BasicQos(BasicQos::default()));
            }),
            case("logging in again", (10, 11), "", |client| client.start_ok(&Options::default())),
            case("a method of channels on channel 0", (60, 10), "", |client| {
                client.send(0, Method::BasicQos(BasicQos::default()))
            }),
            case("opening channel 0", (20, 10), "", |client| {
                client.send(0, Method::ChannelOpen(ChannelOpen {}))
            }),
        ],
    );
}

#[test]
fn a_method_on_a_channel_that_is_not_open_closes_the_connection() {
    let fixture = Fixture::start();
    let mut client = fixture.on_channel();
    let closed = client.call(2, Method::BasicQos(BasicQos::default())).expect_err("not open");
    assert_eq!((closed.code, closed.channel, closed.class, closed.method), (504, 0, 60, 10), "{closed}");
    assert!(closed.text.starts_with("CHANNEL_ERROR"), "{closed}");
    fixture.survives();
}

#[test]
fn unexpected_frames_close_the_connection() {
    check(
        (505, 0),
        &[
            case(
                "a header without a method",
                (0, 0),
                "expected method frame, got non method frame instead",
                |client| client.send_bytes(&header(60)),
            ),
            case(
                "a body without a method",
                (0, 0),
                "expected method frame, got non method frame instead",
                |client| client.send_bytes(&frame(3, 1, b"body")),
            ),
            case(
                "a body without a header",
                (60, 40),
                "expected content header for class 60, got non content header frame instead",
                |client| {
                    client.send(1, publish("", "nobody"));
                    client.send_bytes(&frame(3, 1, b"body"));
                },
            ),
            case(
                "a method amid a content",
                (60, 40),
                "expected content header for class 60, got non content header frame instead",
                |client| {
                    client.send(1, publish("", "nobody"));
                    client.send(1, access_request());
                },
            ),
            case(
                "a method amid a body",
                (60, 40),
                "expected content body, got non content body frame instead",
                |client| {
                    client.send(1, publish("", "nobody"));
                    client.send_bytes(&header(60));
                    client.send(1, access_request());
                },
            ),
            case(
                "a header of another class",
                (60, 40),
                "expected content header for class 60, got one for class 50 instead",
                |client| {
                    client.send(1, publish("", "nobody"));
                    client.send_bytes(&header(50));
                },
            ),
            case("a heartbeat on a channel", (0, 0), "UNEXPECTED_FRAME", |client| {
                client.send_bytes(&frame(8, 1, b""))
            }),
            case("a body on channel 0", (0, 0), "", |client| client.send_bytes(&frame(3, 0, b"body"))),
        ],
    );
}

#[test]
fn what_is_not_allowed_closes_the_connection() {
    check(
        (530, 0),
        &[case("a consumer tag twice", (60, 20), "attempt to reuse consumer tag 'tag'", |client| {
            exclusive(client, "twice");
            assert!(client.call(1, Method::BasicConsume(consume("twice", "tag"))).is_ok());
            client.send(1, Method::BasicConsume(consume("twice", "tag")));
        })],
    );
}

#[test]
fn what_is_not_implemented_closes_the_connection() {
    check(
        (540, 0),
        &[
            case("immediate", (60, 40), "immediate=true", |client| {
                let publish =
                    BasicPublish { routing_key: short("nobody"), immediate: true, ..Default::default() };
                say_content(client, Method::BasicPublish(publish), Properties::default());
            }),
            case("a window in bytes", (60, 10), "prefetch_size!=0 (1)", |client| {
                client.send(1, Method::BasicQos(BasicQos { prefetch_size: 1, ..Default::default() }))
            }),
            case("recovering to the same consumer", (60, 110), "requeue=false", |client| {
                client.send(1, Method::BasicRecover(BasicRecover { requeue: false }))
            }),
            case("recovering to the same consumer, unanswered", (60, 100), "requeue=false", |client| {
                client.send(1, Method::BasicRecoverAsync(BasicRecoverAsync { requeue: false }))
            }),
            case("stopping the flow", (20, 20), "active=false", |client| {
                client.send(1, Method::ChannelFlow(ChannelFlow { active: false }))
            }),
        ],
    );
}

/// The header of a content of this class, with a body of four bytes.
fn header(class: u8) -> Vec<u8> {
    let header = [&[0, class, 0, 0][..], &4u64.to_be_bytes(), &[0, 0]].concat();
    frame(2, 1, &header)
}
