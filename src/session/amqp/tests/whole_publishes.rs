//! A publish that comes in one piece does what it does frame by frame, however ordinary it is.

use super::*;

/// What came of it: what the publisher was told, and what the queues have.
type Outcome = (Vec<Heard>, Vec<(u64, Vec<u8>)>, Vec<Heard>);

/// Tells the frames of these messages to a session, all at once or one by one.
fn outcome(first: &[Method], messages: &[Vec<u8>], apart: bool) -> Outcome {
    let broker = broker();
    let options = SessionOptions { message_size_max: 100, ..SessionOptions::default() };
    let mut end = End::open_with(&broker, FieldTable::new(), options);
    end.hear(&encoded(2, Method::ChannelOpen(Default::default())));
    for queue in ["q", "r"] {
        end.asks(declare(queue, FieldTable::new()));
    }
    for method in first {
        end.asks(method.clone());
    }
    // The ways are known.
    end.hear(&[plain("q", b"to q"), plain("r", b"to r")].concat());
    end.said();
    let stream = messages.concat();
    if apart {
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let len =
                split_frame(rest, 0).map_or(rest.len(), |frame| frame.map_or(rest.len(), |(_, len)| len));
            end.hear(&rest[..len]);
            rest = &rest[len..];
        }
    } else {
        end.hear(&stream);
    }
    let mut numbers = Vec::new();
    let mut told = end.said();
    told.retain(|heard| match heard {
        // A read is confirmed at once, so all that is compared is how far.
        Heard::Method(1, Method::BasicAck(ack)) => {
            numbers = vec![(ack.delivery_tag, Vec::new())];
            false
        }
        _ => true,
    });
    let mut reader = End::open(&broker);
    for queue in ["q", "r"] {
        let consume = BasicConsume { queue: text(queue), consumer_tag: text(queue), ..Default::default() };
        reader.asks(Method::BasicConsume(consume));
    }
    (told, numbers, reader.said())
}

fn frames(method: BasicPublish, properties: Properties, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::from(&encoded(1, Method::BasicPublish(method))[..]);
    put_content_header(1, body.len() as u64, &properties.encoded(), &mut out);
    put_body(1, body, 4096, &mut out);
    out.to_vec()
}

fn to(queue: &str) -> BasicPublish {
    BasicPublish { routing_key: text(queue), ..Default::default() }
}

fn with(properties: Properties) -> Vec<u8> {
    frames(to("q"), properties, b"odd")
}

/// An ordinary message with another octet at this place, counted from its end if negative.
fn spoilt(at: isize, octet: u8) -> Vec<u8> {
    let mut message = plain("q", b"odd");
    let at = at.rem_euclid(message.len() as isize) as usize;
    message[at] = octet;
    message
}

fn odd_messages() -> Vec<(&'static str, Vec<u8>)> {
    let none = Properties::default;
    let header = |name: &str, value: Vec<FieldValue>| Properties {
        headers: Some(FieldTable::new().with(name, FieldValue::Array(value))),
        ..none()
    };
    let ordinary = plain("q", b"odd");
    let method_len = encoded(1, Method::BasicPublish(to("q"))).len();
    let header_len = ordinary.len() - method_len - 8 - 3;
    let (method, header_frame) = (&ordinary[..method_len], &ordinary[method_len..method_len + header_len]);
    let body_frame = &ordinary[method_len + header_len..];
    let on = |channel: u8| {
        let mut frames = [method.to_vec(), header_frame.to_vec(), body_frame.to_vec()];
        frames.iter_mut().for_each(|frame| frame[2] = channel);
        frames.concat()
    };
    vec![
        ("ordinary", ordinary.clone()),
        ("to another queue", plain("r", b"odd")),
        ("on another channel", on(2)),
        ("on a channel that is not open", on(3)),
        ("on the connection's channel", on(0)),
        ("persistent, with a priority", {
            with(Properties { delivery_mode: Some(2), priority: Some(3), ..none() })
        }),
        ("with headers", with(Properties { headers: Some(FieldTable::new().with("k", "v")), ..none() })),
        ("with a copy", with(header("CC", vec!["r".into()]))),
        ("with a hidden copy", with(header("BCC", vec!["r".into()]))),
        ("with a time to live", with(Properties { expiration: Some(text("60000")), ..none() })),
        ("with no time to live", with(Properties { expiration: Some(text("soon")), ..none() })),
        ("of its user", with(Properties { user_id: Some(text("guest")), ..none() })),
        ("of another user", with(Properties { user_id: Some(text("root")), ..none() })),
        ("with a reply address", with(Properties { reply_to: Some(text("r")), ..none() })),
        ("with no reply address", {
            with(Properties { reply_to: Some(text("amq.rabbitmq.reply-to")), ..none() })
        }),
        ("without a body", plain("q", b"")),
        ("with a body as long as may be", plain("q", &[1; 100])),
        ("with too long a body", plain("q", &[1; 101])),
        ("unroutable", frames(to("nobody"), none(), b"odd")),
        ("unroutable and mandatory", plain("nobody", b"odd")),
        ("to no exchange", frames(BasicPublish { exchange: text("none"), ..to("q") }, none(), b"odd")),
        ("to an exchange that routes by headers", {
            frames(BasicPublish { exchange: text("amq.headers"), ..to("q") }, none(), b"odd")
        }),
        ("immediate", frames(BasicPublish { immediate: true, ..to("q") }, none(), b"odd")),
        ("without its header", [method, body_frame].concat()),
        ("without its method", [header_frame, body_frame].concat()),
        ("with two headers", [method, header_frame, header_frame, body_frame].concat()),
        ("with two bodies", [method, header_frame, body_frame, body_frame].concat()),
        ("begun twice", [method, header_frame, method, header_frame, body_frame].concat()),
        ("begun on two channels", [method, &on(2)[..], header_frame, body_frame].concat()),
        ("cut by a heartbeat", { [method, header_frame, b"\x08\0\0\0\0\0\0\xce", body_frame].concat() }),
        ("with fields of another length", spoilt(13, 200)),
        ("with a key that is no text", spoilt(method_len as isize - 3, 0xff)),
        ("with a header of another class", spoilt(method_len as isize + 8, 50)),
        ("with a weight", spoilt(method_len as isize + 10, 1)),
        ("with flags that mean nothing", spoilt(method_len as isize + 7 + 13, 2)),
        ("announced too short", spoilt(method_len as isize + 7 + 11, 2)),
        ("announced too long", spoilt(method_len as isize + 7 + 11, 4)),
        ("with no frame's end", spoilt(-1, 0)),
        ("with no frame's end after its header", spoilt((method_len + header_len) as isize - 1, 0)),
        ("of a kind that is unknown", spoilt(0, 7)),
    ]
}

#[test]
fn a_publish_in_one_piece_does_what_it_does_frame_by_frame() {
    let modes: [&[Method]; 3] =
        [&[], &[Method::ConfirmSelect(Default::default())], &[Method::TxSelect(Default::default())]];
    for first in modes {
        for (what, odd) in odd_messages() {
            let before = [plain("q", b"1"), plain("q", b"2")];
            let after = [plain("q", b"3"), plain("r", b"4"), plain("r", b"5")];
            let commit = first.iter().filter(|method| matches!(method, Method::TxSelect(_)));
            let commit: Vec<_> = commit.map(|_| encoded(1, Method::TxCommit(Default::default()))).collect();
            let messages = [&before[..], &[odd], &after, &commit].concat();
            let whole = outcome(first, &messages, false);
            assert_eq!(whole, outcome(first, &messages, true), "{what}, after {first:?}");
        }
    }
}
