//! The first bytes, the login, and peers that say something else or nothing.

use std::time::Duration;

use bytes::Bytes;
use rialto_protocol::amqp::PROTOCOL_HEADER;
use rialto_protocol::native::*;
use rialto_protocol::types::FieldTable;

use crate::support::*;

#[tokio::test]
async fn another_version_is_told_ours() {
    let victim = Victim::start().await;
    for other in [*b"RIALTO\x02\x00", *b"RIALTO\x01\x01", *b"RIALTO\xff\xff", *b"RIALTO\x00\x00"] {
        let mut peer = Peer::connect(victim.address()).await;
        peer.send_bytes(&other).await;
        peer.hang_up().await;
        assert_eq!(peer.rest().await, PREFACE, "{other:?}");
    }
    victim.survives().await;
}

#[tokio::test]
async fn an_http_client_reads_a_sentence() {
    let victim = Victim::start().await;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("POST /{} HTTP/1.1\r\n", "x".repeat(100_000)),
    ] {
        let mut peer = Peer::connect(victim.address()).await;
        peer.send_bytes(request.as_bytes()).await;
        peer.hang_up().await;
        let answer = String::from_utf8(peer.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("not HTTP"), "{answer}");
    }
    victim.survives().await;
}

#[tokio::test]
async fn garbage_and_tls_are_told_what_is_spoken_here() {
    let victim = Victim::start().await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on";
    for garbage in [&hello[..], b"\0", b"RIALTX", b"AMQP\x03\x01\0\0", &[0xff; 4096]] {
        let mut peer = Peer::connect(victim.address()).await;
        peer.send_bytes(garbage).await;
        peer.hang_up().await;
        assert_eq!(peer.rest().await, PROTOCOL_HEADER, "{garbage:?}");
    }
    // Who nearly speaks the native protocol is told the version of that.
    let mut peer = Peer::connect(victim.address()).await;
    peer.send_bytes(b"RIALTO\x09\0").await;
    peer.hang_up().await;
    assert_eq!(peer.rest().await, PREFACE);
    victim.survives().await;
}

#[tokio::test]
async fn a_preface_that_ends_early_ends_quietly() {
    let victim = Victim::start().await;
    for len in 0..PREFACE.len() {
        let mut peer = Peer::connect(victim.address()).await;
        peer.send_bytes(&PREFACE[..len]).await;
        peer.hang_up().await;
        assert_eq!(peer.rest().await, b"");
    }
    victim.survives().await;
}

async fn refused(victim: &Victim, change: impl FnOnce(&mut Login)) -> (u16, String) {
    let mut login = login();
    change(&mut login);
    let mut peer = Peer::greeted(victim.address()).await;
    peer.send(0, Command::Login(login)).await;
    let closing = peer.closed().await;
    assert_eq!(closing.kind, Kind::Login.octet());
    (closing.code, closing.text.to_string())
}

#[tokio::test]
async fn bad_logins_are_refused_with_their_codes() {
    let victim = Victim::start().await;
    let plain =
        |response: &'static [u8]| move |login: &mut Login| login.response = Bytes::from_static(response);
    let (code, wrong) = refused(&victim, plain(b"\0guest\0wrong")).await;
    assert_eq!(code, 403, "{wrong}");
    let (code, nobody) = refused(&victim, plain(b"\0nobody\0guest")).await;
    assert_eq!((code, &nobody), (403, &wrong), "the text does not tell whether the user exists");
    for malformed in [&b""[..], b"guest", b"\0guest", b"\0guest\0guest\0more", b"\0\xff\xfe\0x", &[0; 60_000]]
    {
        let (code, text) = refused(&victim, plain(malformed)).await;
        assert_eq!(code, 502, "{text}");
    }
    for mechanism in ["EXTERNAL", "plain", "", "SCRAM-SHA-1"] {
        let (code, text) = refused(&victim, |login| login.mechanism = short(mechanism)).await;
        assert_eq!(code, 540, "{text}");
        assert!(text.contains("PLAIN"), "it says what to use: {text}");
    }
    for vhost in ["", "nowhere", "//"] {
        let (code, text) = refused(&victim, |login| login.vhost = short(vhost)).await;
        assert_eq!(code, 530, "{text}");
    }
    for frame_max in [1, 4096, 16 << 20] {
        let (code, text) = refused(&victim, |login| login.frame_max = frame_max).await;
        assert_eq!(code, 530, "{text}");
    }
    victim.survives().await;
}

#[tokio::test]
async fn nothing_but_login_and_close_may_come_first() {
    let victim = Victim::start().await;
    let request = Command::Request { correlation: 9, request: declare("q", FieldTable::new()) };
    for (channel, command, correlation) in [
        (0, Command::Heartbeat, 0),
        (0, Command::CloseOk, 0),
        (0, Command::ChallengeResponse(Bytes::new().into()), 0),
        (1, Command::OpenChannel { correlation: 5 }, 5),
        (1, Command::CloseChannel { correlation: 6 }, 6),
        (1, request, 9),
        (1, Command::Credit { consumer: 1, messages: 1, bytes: 1 }, 0),
    ] {
        let mut peer = Peer::greeted(victim.address()).await;
        let kind = command.kind();
        peer.send(channel, command).await;
        let text = peer.closed_with(503, kind.octet(), correlation).await;
        assert!(text.contains(kind.name()), "{text}");
    }
    let mut peer = Peer::greeted(victim.address()).await;
    peer.send_bytes(&publish(1, "q", &[b"x"])).await;
    peer.closed_with(503, Kind::Publish.octet(), 0).await;
    Peer::greeted(victim.address()).await.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_second_login_closes_the_connection() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.declare_exclusive().await;
    peer.send(0, Command::Login(login())).await;
    peer.closed_with(503, Kind::Login.octet(), 0).await;
    victim.survives().await;
}

#[tokio::test]
async fn a_table_that_nests_too_deep_is_refused() {
    let victim = Victim::start().await;
    for (depth, accepted) in [(31, true), (33, false), (10_000, false)] {
        let mut peer = Peer::greeted(victim.address()).await;
        // Innermost first: each level is a field of a byte's name that holds the table inside.
        let mut table = Vec::new();
        for _ in 0..depth {
            let mut outer = vec![1, b'n', b'F'];
            outer.extend((table.len() as u32).to_be_bytes());
            outer.extend(&table);
            table = outer;
            if table.len() > 60_000 {
                break;
            }
        }
        let mut body = encoded(0, &Command::Login(login())).split_off(FRAME_HEADER_LEN).to_vec();
        body.truncate(body.len() - 4);
        body.extend((table.len() as u32).to_be_bytes());
        body.extend(&table);
        peer.send_bytes(&frame(Kind::Login.octet(), 0, 0, &body)).await;
        match accepted {
            true => drop(peer.welcome().await),
            false => drop(peer.closed_with(502, Kind::Login.octet(), 0).await),
        }
    }
    victim.survives().await;
}

#[tokio::test]
async fn silent_peers_are_hung_up_on_after_the_handshake_timeout() {
    let victim = Victim::with(|session| session.handshake_timeout = Duration::from_millis(50), |_| {}).await;
    let mut said_nothing = Peer::connect(victim.address()).await;
    let mut said_half = Peer::connect(victim.address()).await;
    said_half.send_bytes(&PREFACE[..4]).await;
    let mut no_login = Peer::greeted(victim.address()).await;
    let mut half_a_login = Peer::greeted(victim.address()).await;
    half_a_login.send_bytes(&encoded(0, &Command::Login(login()))[..20]).await;
    for peer in [&mut said_nothing, &mut said_half, &mut no_login, &mut half_a_login] {
        assert_eq!(peer.rest().await, b"");
    }
    victim.survives().await;
}

#[tokio::test]
async fn one_byte_at_a_time_is_served_like_everyone() {
    let victim = Victim::start().await;
    let mut script = PREFACE.to_vec();
    script.extend(encoded(0, &Command::Login(login())));
    script.extend(encoded(1, &Command::OpenChannel { correlation: 7 }));
    script.extend(encoded(
        1,
        &Command::Request { correlation: 8, request: declare("slow", FieldTable::new()) },
    ));
    script.extend(publish(1, "slow", &[b"a", b"b"]));
    let mut peer = Peer::connect(victim.address()).await;
    for byte in script {
        peer.send_bytes(&[byte]).await;
    }
    peer.welcome().await;
    assert!(matches!(peer.next().await.unwrap().command, Command::Response { correlation: 7, .. }));
    assert!(matches!(peer.next().await.unwrap().command, Command::Response { correlation: 8, .. }));
    assert_eq!(peer.next_outcomes().await, [(1, 2, Outcome::Confirmed)]);
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_peer_without_heartbeats_is_given_up() {
    let victim = Victim::start().await;
    let mut peer = Peer::greeted(victim.address()).await;
    peer.send(0, Command::Login(Login { heartbeat_ms: 100, ..login() })).await;
    assert_eq!(peer.welcome().await.heartbeat_ms, 100);
    peer.open_channel(1).await;
    peer.declare_exclusive().await;
    // The broker beats, hears nothing for two intervals and hangs up.
    assert!(peer.rest().await.starts_with(&encoded(0, &Command::Heartbeat)));
    victim.survives().await;
}
