//! Frames that are no frames.

use rialto_protocol::native::*;
use rialto_protocol::types::FieldTable;

use crate::support::*;

const REQUEST: u8 = 0x20;

#[tokio::test]
async fn the_longest_frame_passes_and_one_byte_more_closes() {
    let victim = Victim::with(
        |session| {
            session.frame_max = 1 << 20;
            session.message_size_max = 256 << 10;
        },
        |_| {},
    )
    .await;
    // Before login, with an optional kind that nobody knows: it is skipped if its length is allowed.
    let mut peer = Peer::greeted(victim.address()).await;
    peer.send_bytes(&frame(0xff, 0, 0, &vec![0; LOGIN_FRAME_MAX as usize - 4])).await;
    peer.send(0, Command::Login(login())).await;
    let frame_max = peer.welcome().await.frame_max;
    peer.send_bytes(&frame(0xff, 0, 0, &vec![0; frame_max as usize - 4])).await;
    peer.open_channel(1).await;
    peer.send_bytes(&frame(0xff, 0, 0, &vec![0; frame_max as usize - 3])).await;
    let text = peer.closed_with(501, 0xff, 0).await;
    assert!(text.starts_with("FRAME_ERROR"), "{text}");

    let mut peer = Peer::greeted(victim.address()).await;
    peer.send_bytes(&frame(0x01, 0, 0, &vec![0; LOGIN_FRAME_MAX as usize - 3])).await;
    peer.closed_with(501, 0x01, 0).await;
    // The length alone is enough: nobody waits for four gigabytes.
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.send_bytes(&[0xff, 0xff, 0xff, 0xff, 0x31, 0, 0, 1]).await;
    peer.closed_with(501, 0x31, 0).await;
    victim.survives().await;
}

#[tokio::test]
async fn a_length_that_does_not_hold_the_header_closes() {
    let victim = Victim::start().await;
    for length in 0..4u8 {
        for logged_in in [false, true] {
            let mut peer = match logged_in {
                true => Peer::on_channel(victim.address()).await,
                false => Peer::greeted(victim.address()).await,
            };
            peer.send_bytes(&[0, 0, 0, length, 0x07, 0, 0, 0]).await;
            peer.closed_with(501, 0, 0).await;
        }
    }
    victim.survives().await;
}

#[tokio::test]
async fn a_peer_that_vanishes_after_any_byte_leaves_nothing() {
    let victim = Victim::start().await;
    let mut script = PREFACE.to_vec();
    script.extend(encoded(0, &Command::Login(login())));
    script.extend(encoded(1, &Command::OpenChannel { correlation: 7 }));
    script.extend(encoded(
        1,
        &Command::Request { correlation: 8, request: declare("mine", FieldTable::new()) },
    ));
    script.extend(publish(1, "mine", &[b"a", b"b"]));
    let consume = Request::Consume(consume("mine", 1));
    script.extend(encoded(1, &Command::Request { correlation: 9, request: consume }));
    for len in 0..=script.len() {
        let mut peer = Peer::connect(victim.address()).await;
        peer.send_bytes(&script[..len]).await;
        if len % 2 == 0 {
            // Politely: what was said is heard, then the end. Otherwise the socket is dropped, answers unread.
            peer.hang_up().await;
            peer.rest().await;
        }
        // The queue's name is free again before the next one takes it.
        drop(peer);
        victim.forgets().await;
    }
    victim.survives().await;
}

#[tokio::test]
async fn unknown_kinds_close_unless_they_are_optional() {
    let victim = Victim::start().await;
    let known: Vec<u8> = Kind::ALL.iter().map(|kind| kind.octet()).collect();
    let mut skipper = Peer::on_channel(victim.address()).await;
    for kind in 0..=255u8 {
        if known.contains(&kind) || kind == ReservedKind::ExtendDeadline.octet() {
            continue;
        }
        if kind & OPTIONAL_KIND != 0 {
            skipper.send_bytes(&frame(kind, 0xff, 0xffff, b"whatever this may be")).await;
            continue;
        }
        let mut peer = Peer::on_channel(victim.address()).await;
        peer.send_bytes(&frame(kind, 0, 1, b"")).await;
        let text = peer.closed_with(503, kind, 0).await;
        assert!(text.contains(&format!("{kind:#04x}")), "it names the kind: {text}");
    }
    assert!(skipper.declare_exclusive().await.starts_with("amq.gen-"), "optional ones were skipped");
    skipper.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn what_is_reserved_is_refused_by_name() {
    let victim = Victim::start().await;
    let entry = |flags: u8| [&[flags, 0, 0, 0, 0, 0, 0, 0, 1][..], b"x"].concat();
    let run = |flags: u8, entry: &[u8]| {
        let mut body = 1u64.to_be_bytes().to_vec();
        body.extend(0u32.to_be_bytes());
        body.push(flags);
        body.extend(1u32.to_be_bytes());
        body.extend((entry.len() as u32).to_be_bytes());
        body.extend([0, 1, b'q']);
        body.extend(entry);
        body
    };
    let request = |operation: u8| [&5u32.to_be_bytes()[..], &[operation]].concat();
    for (kind, flags, body, correlation, names) in [
        (0x44, 0, vec![], 0, "ExtendDeadline"),
        (REQUEST, 0, request(0x20), 5, "RegisterPublisher"),
        (REQUEST, 0, request(0x21), 5, "StoreOffset"),
        (REQUEST, 0, request(0x22), 5, "QueryOffset"),
        (0x31, 0x02, run(0, &entry(0)), 0, "sequence"),
        (0x31, 0x01, run(0x80, &entry(0)), 0, "ompress"),
        (0x31, 0x01, run(0, &entry(0x04)), 0, "elay"),
    ] {
        let mut peer = Peer::on_channel(victim.address()).await;
        peer.send_bytes(&frame(kind, flags, 1, &body)).await;
        let text = peer.closed_with(540, kind, correlation).await;
        assert!(text.starts_with("NOT_IMPLEMENTED") && text.contains(names), "{text}");
    }
    victim.survives().await;
}

#[tokio::test]
async fn unknown_operations_flags_and_bits_close() {
    let victim = Victim::start().await;
    let request = |fields: &[u8]| [&5u32.to_be_bytes()[..], fields].concat();
    for (kind, flags, channel, body, code, correlation) in [
        (REQUEST, 0, 1, request(&[0x00]), 503, 5),
        (REQUEST, 0, 1, request(&[0x11]), 503, 5),
        (REQUEST, 0, 1, request(&[0xff]), 503, 5),
        (REQUEST, 0x01, 1, request(&[0x09, 1, b'q']), 502, 5),
        (0x31, 0x04, 1, vec![0; 8], 502, 0),
        (0x07, 0x80, 0, vec![], 502, 0),
        // Bits without a name: DeclareQueue has four, DeleteExchange one, Get one.
        (REQUEST, 0, 1, request(&[0x05, 0x10, 1, b'q', 0, 0, 0, 0]), 502, 5),
        (REQUEST, 0, 1, request(&[0x02, 0x02, 1, b'q']), 502, 5),
        (REQUEST, 0, 1, request(&[0x0c, 0x80, 1, b'q']), 502, 5),
        // Kinds in the wrong place.
        (0x07, 0, 1, vec![], 504, 0),
        (REQUEST, 0, 0, request(&[0x09, 1, b'q']), 504, 5),
        (0x31, 0, 0, vec![0; 8], 504, 0),
        // Fields cut short, left over, not UTF-8, not a list that exists, not a settlement.
        (REQUEST, 0, 1, vec![0, 0], 502, 0),
        (REQUEST, 0, 1, request(&[0x09, 9, b'q']), 502, 5),
        (REQUEST, 0, 1, request(&[0x09, 1, b'q', b'q']), 502, 5),
        (REQUEST, 0, 1, request(&[0x09, 2, 0xc3, 0x28]), 502, 5),
        (REQUEST, 0, 1, request(&[0x10, 5, 0, 0, 0, 1, 0, 0, 0, 0]), 502, 5),
        (0x42, 0, 1, [&1u32.to_be_bytes()[..], &[9]].concat(), 502, 0),
        (
            0x42,
            0,
            1,
            [&1u32.to_be_bytes()[..], &[0], &2u64.to_be_bytes(), &1u64.to_be_bytes()].concat(),
            502,
            0,
        ),
        (0x30, 0, 1, [&0u32.to_be_bytes()[..], &[0, 0]].concat(), 502, 0),
        (0x30, 0, 1, [&1u32.to_be_bytes()[..], &[1, 0xff, 0]].concat(), 502, 0),
        (0x05, 0, 0, vec![0], 502, 0),
        (0x06, 0, 0, vec![0], 502, 0),
        // A table that says it is longer than it may be, and one that says it is longer than it is.
        (REQUEST, 0, 1, request(&[0x05, 0, 1, b'q', 0, 1, 0, 1]), 502, 5),
        (REQUEST, 0, 1, request(&[0x05, 0, 1, b'q', 0, 0, 0, 9, 1, b'x', b't', 1]), 502, 5),
    ] {
        let mut peer = Peer::on_channel(victim.address()).await;
        peer.send_bytes(&frame(kind, flags, channel, &body)).await;
        peer.closed_with(code, kind, correlation).await;
    }
    victim.survives().await;
}

#[tokio::test]
async fn what_only_servers_say_closes() {
    let victim = Victim::start().await;
    let closing = Closing { code: 200, text: short("bye"), kind: 0, correlation: 0 };
    for (channel, command) in [
        (0, Command::Challenge(Default::default())),
        (0, Command::PublishCredit(1 << 30)),
        (0, Command::Blocked(short("no"))),
        (0, Command::Unblocked),
        (1, Command::ChannelClosed(closing)),
        (1, Command::Response { correlation: 3, response: Response::Done }),
        (1, Command::Failure { correlation: 3, code: 404, text: short("no") }),
        (1, Command::Outcomes(vec![])),
        (1, Command::ConsumerCancelled { consumer: 1, reason: short("no") }),
    ] {
        let mut peer = Peer::on_channel(victim.address()).await;
        let kind = command.kind();
        peer.send(channel, command).await;
        let closing = peer.closed().await;
        assert_eq!((closing.code, closing.kind), (503, kind.octet()), "{}", closing.text);
        assert!(closing.text.contains(kind.name()), "{}", closing.text);
    }
    victim.survives().await;
}

#[tokio::test]
async fn after_close_nothing_more_is_carried_out() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let mut bytes = frame(0x0b, 0, 0, b"");
    let lasting = Request::DeclareQueue {
        name: short("after"),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::new(),
    };
    bytes.extend(encoded(1, &Command::Request { correlation: 8, request: lasting }));
    bytes.extend([0xff; 100]);
    peer.send_bytes(&bytes).await;
    match peer.next().await.map(|frame| frame.command) {
        Some(Command::Close(closing)) => assert_eq!(closing.code, 503),
        other => panic!("{other:?}"),
    }
    drop(peer);
    victim.survives().await;
}
