//! Publishing against the rules.

use bytes::{BufMut, BytesMut};
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, Properties};

use crate::support::*;

/// A frame of one message to an exchange with a key, with these properties.
fn publish_to(
    first: u64,
    outcomes: bool,
    exchange: &str,
    key: &str,
    properties: &[u8],
    body: &[u8],
) -> BytesMut {
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, first, outcomes, &mut out);
    frame.run(RouteRef::Inline { exchange, routing_key: key }, false, &mut out);
    frame.entry(properties, body, &mut out);
    frame.finish(&mut out);
    out
}

#[tokio::test]
async fn publishing_without_credit_closes_the_connection() {
    let victim =
        Victim::with(|session| session.publish_window = 4096, |limits| limits.queue_budget = 1024).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    // The queue is full with the first message, so no credit comes back; the second message uses the rest of it.
    peer.publish(1, &queue, &[0; 2000]).await;
    peer.next_outcomes().await;
    peer.publish(2, &queue, &[0; 4000]).await;
    assert_eq!(peer.next_outcomes().await, [(2, 2, Outcome::Confirmed)], "one frame may go below 0");
    peer.publish(3, &queue, b"").await;
    let text = peer.closed_with(530, Kind::Publish.octet(), 0).await;
    assert!(text.contains("PublishCredit"), "it says what to wait for: {text}");
    victim.survives().await;
}

#[tokio::test]
async fn a_wrong_sequence_number_closes_the_channel() {
    let victim = Victim::start().await;
    for wrong in [0, 2, u64::MAX] {
        let mut peer = Peer::on_channel(victim.address()).await;
        peer.publish(wrong, "q", b"x").await;
        peer.channel_closed_with(1, 406, Kind::Publish).await;
        peer.close().await;
    }
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.publish(1, "q", b"x").await;
    assert_eq!(peer.next_outcomes().await, [(1, 1, Outcome::Unroutable)]);
    peer.publish(1, "q", b"x").await;
    let text = peer.channel_closed_with(1, 406, Kind::Publish).await;
    assert!(text.contains("2 is next"), "{text}");
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_route_that_was_not_defined_closes_the_channel() {
    let victim = Victim::start().await;
    for route in [1, 2, u32::MAX] {
        let mut peer = Peer::on_channel(victim.address()).await;
        let mut out = BytesMut::new();
        let mut frame = PublishWriter::begin(1, 1, true, &mut out);
        frame.run(RouteRef::Defined(route), false, &mut out);
        frame.entry(&[], b"x", &mut out);
        frame.finish(&mut out);
        peer.send_bytes(&out).await;
        peer.channel_closed_with(1, 404, Kind::Publish).await;
        peer.close().await;
    }
    victim.survives().await;
}

#[tokio::test]
async fn routes_up_to_the_limit_are_defined_and_none_past_it() {
    let victim = Victim::with(|session| session.route_max = 8, |_| {}).await;
    let define = |route| Command::DefineRoute { route, exchange: short(""), routing_key: short("q") };
    let mut peer = Peer::on_channel(victim.address()).await;
    for route in 1..=8 {
        peer.send(1, define(route)).await;
    }
    peer.send(1, define(8)).await;
    peer.send(1, define(9)).await;
    peer.closed_with(530, Kind::DefineRoute.octet(), 0).await;

    // The limit is for all channels together, and a channel's end gives its routes back.
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.open_channel(2).await;
    for route in 1..=8 {
        peer.send(1, define(route)).await;
    }
    peer.send(1, Command::CloseChannel { correlation: 3 }).await;
    assert!(peer.next().await.is_some());
    for route in 1..=8 {
        peer.send(2, define(route)).await;
    }
    peer.open_channel(1).await;
    peer.send(1, define(1)).await;
    peer.closed_with(530, Kind::DefineRoute.octet(), 0).await;
    victim.survives().await;
}

#[tokio::test]
async fn messages_that_cannot_be_published_are_rejected_in_their_outcome_or_close_the_channel() {
    let victim = Victim::with(|session| session.message_size_max = 1000, |_| {}).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    let bad_expiration =
        Properties { expiration: Some(short("tomorrow")), ..Properties::default() }.encoded();
    let negative = Properties { expiration: Some(short("-1")), ..Properties::default() }.encoded();
    peer.publish(1, &queue, &[0; 1000]).await;
    assert_eq!(peer.next_outcomes().await, [(1, 1, Outcome::Confirmed)], "at the limit");
    for (number, (exchange, properties, body, code)) in [
        ("", &[][..], &[0; 1001][..], 406),
        ("", &bad_expiration, b"x", 406),
        ("", &negative, b"x", 406),
        ("nowhere", &[], b"x", 404),
        ("amq.rabbitmq.trace", &[], b"x", 403),
    ]
    .into_iter()
    .enumerate()
    {
        let sequence = number as u64 + 2;
        peer.send_bytes(&publish_to(sequence, true, exchange, &queue, properties, body)).await;
        match &peer.next_outcomes().await[..] {
            [(first, last, Outcome::Rejected { code: got, .. })] => {
                assert_eq!((*first, *last, *got), (sequence, sequence, code));
            }
            other => panic!("{other:?}"),
        }
        let mut careless = Peer::on_channel(victim.address()).await;
        careless.send_bytes(&publish_to(1, false, exchange, "k", properties, body)).await;
        if exchange.is_empty() && body.len() == 1 {
            // Routed to no queue: nobody looks at its expiration.
        } else {
            careless.channel_closed_with(1, code, Kind::Publish).await;
        }
        careless.close().await;
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn runs_and_entries_that_do_not_add_up_close_the_connection() {
    let victim = Victim::start().await;
    let entry = |properties: u32, body: u32| {
        let mut entry = vec![0];
        entry.extend(properties.to_be_bytes());
        entry.extend(body.to_be_bytes());
        entry
    };
    let run = |count: u32, length: u32, entries: &[u8]| {
        let mut body = BytesMut::new();
        body.put_u64(1);
        body.put_u32(0);
        body.put_u8(0);
        body.put_u32(count);
        body.put_u32(length);
        body.put_slice(&[0, 1, b'q']);
        body.put_slice(entries);
        body
    };
    let good = [&entry(0, 1)[..], b"x"].concat();
    let flagged = [&[1, 0, 0, 0, 0, 0, 0, 0, 1][..], b"x"].concat();
    let properties = |bytes: &[u8]| [&entry(bytes.len() as u32, 0)[..], bytes].concat();
    for (what, body) in [
        ("no run head", BytesMut::from(&[0, 0, 0, 0, 0, 0, 0, 1, 0][..])),
        ("no entries", run(0, 0, &[])),
        ("too few entries", run(2, good.len() as u32, &good)),
        ("too many entries", run(1, 2 * good.len() as u32, &[&good[..], &good[..]].concat())),
        ("longer than the frame", run(1, 99, &good)),
        ("shorter than the entries", run(1, 5, &good)),
        ("a body that overruns", run(1, 9, &entry(0, 1))),
        ("properties that overrun", run(1, 9, &entry(u32::MAX, 0))),
        ("lengths that wrap", run(1, 9, &entry(u32::MAX, u32::MAX))),
        ("a publisher's redelivered", run(1, flagged.len() as u32, &flagged)),
        ("half a flag word", run(1, 10, &properties(&[0x80]))),
        ("a property cut short", run(1, 13, &properties(&[0x80, 0, 9, b'x']))),
        ("properties with bytes left over", run(1, 12, &properties(&[0, 0, 7]))),
        ("a content type that is not UTF-8", run(1, 13, &properties(&[0x80, 0, 1, 0xff]))),
        ("an unknown run flag", {
            let mut body = run(1, good.len() as u32, &good);
            body[12] = 0x40;
            body
        }),
    ] {
        let mut peer = Peer::on_channel(victim.address()).await;
        peer.declare("q", FieldTable::new()).await.unwrap();
        peer.send_bytes(&frame(Kind::Publish.octet(), PUBLISH_OUTCOMES, 1, &body)).await;
        let closing = peer.closed().await;
        assert_eq!((closing.code, closing.kind), (502, 0x31), "{what}: {}", closing.text);
        drop(peer);
        victim.forgets().await;
    }
    victim.survives().await;
}

#[tokio::test]
async fn as_many_messages_as_fit_a_frame_pass_and_one_more_closes() {
    let victim = Victim::start().await;
    let max = 65_536;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    peer.send_bytes(&publish(1, &queue, &vec![&b""[..]; max])).await;
    let mut confirmed = 0;
    while confirmed < max as u64 {
        confirmed += peer.next_outcomes().await.iter().map(|(first, last, _)| last - first + 1).sum::<u64>();
    }
    peer.send_bytes(&publish(max as u64 + 1, &queue, &vec![&b""[..]; max + 1])).await;
    peer.closed_with(502, Kind::Publish.octet(), 0).await;
    victim.survives().await;
}

#[tokio::test]
async fn as_many_routes_in_a_frame_as_messages_keep_each_its_own() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    let binding = Binding {
        source: short("amq.fanout"),
        destination: short(&queue),
        routing_key: short(""),
        arguments: FieldTable::new(),
    };
    peer.request(Request::BindQueue(binding)).await.unwrap();
    let count = 65_536u32;
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, 1, false, &mut out);
    for number in 0..count {
        let key = number.to_string();
        frame.run(RouteRef::Inline { exchange: "amq.fanout", routing_key: &key }, false, &mut out);
        frame.entry(&[], key.as_bytes(), &mut out);
    }
    frame.finish(&mut out);
    peer.send_bytes(&out).await;
    peer.send(
        1,
        Command::Request {
            correlation: 9,
            request: Request::Consume(Consume { auto_ack: true, ..consume(&queue, 1) }),
        },
    )
    .await;
    let mut next = 0;
    while next < count {
        let Some(Frame { command, .. }) = peer.next().await else { panic!("hung up") };
        let Command::Deliver(deliver) = command else { continue };
        for run in deliver.runs_ref(1) {
            let run = run.unwrap();
            for entry in run.walk() {
                assert_eq!(run.routing_key.as_bytes(), entry.unwrap().body);
                assert_eq!(run.routing_key, next.to_string());
                next += 1;
            }
        }
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn as_many_different_rejections_as_a_frame_can_ask_for_come_in_frames_that_fit() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    let count = 60_000u64;
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, 1, true, &mut out);
    frame.run(RouteRef::Inline { exchange: "", routing_key: &queue }, false, &mut out);
    for number in 0..count {
        let expiration = Some(short(format!("{number}{}", "!".repeat(200))));
        frame.entry(&Properties { expiration, ..Properties::default() }.encoded(), b"", &mut out);
    }
    frame.finish(&mut out);
    peer.send_bytes(&out).await;
    let mut next = 1;
    while next <= count {
        for (first, last, outcome) in peer.next_outcomes().await {
            assert_eq!((first, last), (next, next));
            assert!(matches!(outcome, Outcome::Rejected { code: 406, .. }));
            next += 1;
        }
    }
    peer.close().await;
    victim.survives().await;
}
