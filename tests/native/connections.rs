//! Connections that live, fall silent, are too many, or end because the broker does.

use std::sync::Arc;
use std::time::Duration;

use rialto::broker::Limits;
use rialto::server::ServerOptions;
use rialto::session::SessionOptions;
use rialto_client::{Client, ConnectionState, Error, Reconnect};
use rialto_protocol::native::{Command, Login};
use tokio::net::TcpStream;

use crate::support::peer::{Peer, consumer, login, name};
use crate::support::*;

#[tokio::test]
async fn a_peer_that_falls_silent_is_gone_and_its_messages_come_back() {
    let broker = start().await;
    // Heartbeats run on the machine's clock; nothing here depends on how long it takes.
    let mut peer = Peer::log_in(&broker, login(100)).await.unwrap();
    assert_eq!(peer.welcome.heartbeat_ms, 100);
    peer.declare_queue("q").await;
    peer.fill("q", &["1", "2"]).await;
    peer.consume(consumer(1, "q", 0)).await;
    peer.deliveries(2).await;
    // The socket stays open: only the silence tells.
    until("the messages to come back", || stats(&broker, "q").unwrap().ready == 2).await;
    until("the connection to go", || broker.broker().connections().is_empty()).await;
    drop(peer);
}

#[tokio::test]
async fn a_peer_without_heartbeats_may_be_silent() {
    let broker = start().await;
    let mut peer = Peer::log_in(&broker, login(0)).await.unwrap();
    assert_eq!(peer.welcome.heartbeat_ms, 0);
    let mut beating = Peer::log_in(&broker, login(100)).await.unwrap();
    beating.declare_queue("q").await;
    until("a silent peer to be noticed", || broker.broker().connections().len() == 1).await;
    peer.settled().await;
}

#[tokio::test]
async fn a_client_that_only_waits_stays_connected_by_heartbeats() {
    let broker = start().await;
    let builder = Client::builder(&broker.url()).unwrap().heartbeat(Duration::from_millis(100));
    let client = builder.reconnect(Reconnect::never()).connect().await.unwrap();
    client.queue("q").declare().await.unwrap();
    let mut consumer = client.consume("q").start().await.unwrap();
    // As many beats as it takes for another peer, twice in a row, to be found silent.
    for _ in 0..2 {
        let silent = Peer::log_in(&broker, login(100)).await.unwrap();
        until("a silent peer to be noticed", || broker.broker().connections().len() == 1).await;
        drop(silent);
    }
    publish(&client, "", "q", "still here").await;
    assert_eq!(next(&mut consumer).await.text(), Some("still here"));
}

#[tokio::test]
async fn wrong_credentials_and_vhosts_are_refused_with_a_reason() {
    let broker = start().await;
    let wrong = Login { response: bytes::Bytes::from_static(b"\0guest\0wrong"), ..login(0) };
    let refused = Peer::log_in(&broker, wrong).await.err().expect("a refusal");
    assert_eq!(refused.code, 403, "{}", refused.text);
    let nowhere = Login { vhost: name("nowhere"), ..login(0) };
    let refused = Peer::log_in(&broker, nowhere).await.err().expect("a refusal");
    assert_eq!(refused.code, 530, "{}", refused.text);
}

#[tokio::test]
async fn an_orderly_stop_tells_every_client_why() {
    let broker = start().await;
    let peer = Peer::connect(&broker).await;
    let client = Client::builder(&broker.url()).unwrap().reconnect(Reconnect::never());
    let client = client.connect().await.unwrap();
    let mut state = client.state();
    client.queue("q").declare().await.unwrap();
    let mut consumer = client.consume("q").start().await.unwrap();
    let stopping = tokio::spawn(broker.stop());
    let closing = peer.closed().await;
    assert_eq!(closing.code, 320);
    assert_eq!(&*closing.text, "CONNECTION_FORCED - the broker is shutting down");
    assert!(soon("the broker to stop", stopping).await.unwrap(), "everybody left in time");
    soon("the end", consumer.next()).await.expect("a last word").expect_err("an error");
    let closed = |state: &ConnectionState| matches!(state, ConnectionState::Closed(_));
    let end = soon("the end", state.wait_for(closed)).await.unwrap();
    let ConnectionState::Closed(Some(error)) = &*end else { panic!("{:?}", *end) };
    assert_eq!(error.reply_code().map(|code| code.number()), Some(320), "{error}");
}

#[tokio::test]
async fn a_broker_that_stops_accepts_nobody_and_carries_out_what_it_has_read() {
    let broker = start().await;
    let address = broker.address();
    let inner = broker.broker().clone();
    let client = connect(&broker).await;
    client.queue("q").declare().await.unwrap();
    fill_numbers(&client, "q", 100).await;
    client.close().await.unwrap();
    assert!(soon("the broker to stop", broker.stop()).await);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    assert_eq!(inner.vhost("/").unwrap().queues()[0].stats().ready, 100);
}

#[tokio::test]
async fn a_connection_over_the_limit_is_turned_away_and_one_that_ends_makes_room() {
    let options = ServerOptions { connections_max: 2, ..ServerOptions::default() };
    let broker = start_with(Limits::default(), options).await;
    let (first, second) = (connect(&broker).await, connect(&broker).await);
    let refused = Client::connect(&broker.url()).await.expect_err("there is no room");
    assert!(matches!(refused, Error::Connect { .. } | Error::ConnectionLost { .. }), "{refused:?}");
    first.queue("q").declare().await.expect("the others are undisturbed");
    second.close().await.unwrap();
    soon("room", async {
        while Client::connect(&broker.url()).await.is_err() {
            // The place is free when the broker has seen the end of the connection, and not before.
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_does_not_log_in_is_shown_out() {
    let session = SessionOptions { handshake_timeout: Duration::from_millis(50), ..Default::default() };
    let options = ServerOptions { session: Arc::new(session), ..ServerOptions::default() };
    let broker = start_with(Limits::default(), options).await;
    let mut silent = TcpStream::connect(broker.address()).await.unwrap();
    let mut nothing = [0; 1];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut nothing);
    assert!(matches!(soon("the end", read).await, Ok(0) | Err(_)));
    connect(&broker).await.queue("q").declare().await.expect("others are let in");
}

#[tokio::test]
async fn a_connection_closes_in_order() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    let closing = rialto_protocol::native::Closing { code: 200, text: name("bye"), kind: 0, correlation: 0 };
    peer.send(0, Command::Close(closing)).await;
    assert_eq!(peer.receive().await, Some(Command::CloseOk));
    assert_eq!(peer.receive().await, None);
    until("the connection to go", || broker.broker().connections().is_empty()).await;
}

#[tokio::test]
async fn a_broken_frame_ends_its_own_connection_only() {
    let (broker, client) = start_and_connect().await;
    let mut peer = Peer::connect(&broker).await;
    // A frame of length 4 with kind 0x7f, which nobody knows and nobody may skip.
    peer.send_bytes(&[0, 0, 0, 4, 0x7f, 0, 0, 0]).await;
    let closing = peer.closed().await;
    assert_eq!(closing.code, 503);
    assert!(closing.text.contains("0x7f"), "{}", closing.text);
    client.queue("q").declare().await.expect("undisturbed");
}
