//! Logging in, being refused, heartbeats, and the end of a connection.

use std::time::Duration;

use crate::fake::{FakeBroker, name, soon};
use rialto_client::{ClientBuilder, ConnectionState, Error, Event, Reconnect, ReplyCode};
use rialto_protocol::native::{Closing, Command, Response};

fn closing(code: ReplyCode, text: &str) -> Closing {
    Closing { code: code.number(), text: name(text), kind: 0, correlation: 0 }
}

#[tokio::test]
async fn the_login_carries_credentials_vhost_and_name() {
    let broker = FakeBroker::start().await;
    let builder = broker.client().name("order service").heartbeat(Duration::from_secs(7));
    let (client, login) = tokio::join!(builder.connect(), async {
        let mut peer = broker.accept().await;
        let login = peer.login().await;
        peer.welcome(&broker.welcome).await;
        (login, peer)
    });
    client.unwrap();
    let (login, _peer) = login;
    assert_eq!((&*login.mechanism, &*login.response), ("PLAIN", &b"\0ann\0secret"[..]));
    assert_eq!((&*login.vhost, login.heartbeat_ms), ("shop", 7000));
    let named = login.properties.get("connection_name").and_then(|value| value.as_str());
    assert_eq!(named, Some("order service"));
}

#[tokio::test]
async fn a_refused_login_is_an_error_with_its_code() {
    let broker = FakeBroker::start().await;
    let (client, ()) = tokio::join!(broker.client().connect(), async {
        let mut peer = broker.accept().await;
        peer.login().await;
        peer.say(0, Command::Close(closing(ReplyCode::AccessRefused, "ACCESS_REFUSED - no"))).await;
    });
    let error = client.unwrap_err();
    assert!(matches!(&error, Error::LoginRefused { text, .. } if text.contains("no")), "{error}");
    assert_eq!(error.reply_code(), Some(ReplyCode::AccessRefused));
}

#[tokio::test]
async fn brokers_of_another_version_or_protocol_are_named() {
    for (answer, expected) in [(&b"RIALTO\x02\x03"[..], "2.3"), (b"AMQP\x00\x00\x09\x01", "AMQP")] {
        let broker = FakeBroker::start().await;
        let (client, ()) = tokio::join!(broker.client().connect(), async {
            broker.accept().await.say_bytes(answer).await;
        });
        let error = client.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_web_server_is_named_and_the_port_to_use_instead() {
    let broker = FakeBroker::start().await;
    let (client, ()) = tokio::join!(broker.client().connect(), async {
        let mut peer = broker.accept().await;
        peer.say_bytes(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    });
    let error = client.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:") && text.contains("HTTP server") && text.contains("5672"), "{text}");
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_says_where() {
    let url = FakeBroker::start().await.url();
    let error = ClientBuilder::new(&url).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_broker_that_never_answers_the_login_costs_the_connect_timeout() {
    let broker = FakeBroker::start().await;
    let builder = broker.client().connect_timeout(Duration::from_millis(20));
    let error = soon(builder.connect()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn heartbeats_flow_while_the_user_does_nothing() {
    let mut broker = FakeBroker::start().await;
    broker.welcome.heartbeat_ms = 40;
    let (_client, mut peer) = broker.connected().await;
    let mut beats = 0;
    while beats < 3 {
        peer.say(0, Command::Heartbeat).await;
        beats += usize::from(matches!(peer.raw().await.command, Command::Heartbeat));
    }
}

#[tokio::test]
async fn a_silent_broker_is_left() {
    let mut broker = FakeBroker::start().await;
    broker.welcome.heartbeat_ms = 40;
    let (client, _peer) = broker.connected().await;
    let mut events = client.events();
    let Some(Event::Disconnected { error }) = soon(events.next()).await else { panic!() };
    assert!(matches!(error, Error::HeartbeatMissed { .. }), "{error}");
}

#[tokio::test]
async fn closing_says_so_and_waits_for_the_answer() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let other = client.clone();
    let (result, closing) = tokio::join!(soon(client.close()), peer.expect_close());
    result.unwrap();
    assert_eq!(closing.code, ReplyCode::Success.number());
    let error = other.queue("q").declare().await.unwrap_err();
    assert!(error.is_final(), "{error}");
}

#[tokio::test]
async fn dropping_the_last_handle_closes_in_the_background() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    drop(client);
    publisher.send("still works").await.unwrap();
    assert_eq!(peer.published(1).await[0].body, "still works");
    drop(publisher);
    peer.expect_close().await;
}

#[tokio::test]
async fn everything_that_waits_ends_when_the_connection_ends_for_good() {
    let broker = FakeBroker::start().await;
    let builder = broker.client().reconnect(Reconnect::never()).publish_buffer(4096);
    let (client, mut peer) = broker.connected_with(builder).await;
    let (consumer, _) = tokio::join!(client.consume("q").start(), peer.consumer());
    let mut consumer = consumer.unwrap();
    let publisher = client.publisher("x", "k").unwrap();
    let confirm = publisher.publish("x".repeat(3000)).await.unwrap();
    peer.published(1).await;
    let batch = client.publisher("x", "k").unwrap();

    let queue = client.queue("other");
    let waiting = async {
        tokio::join!(
            confirm,
            // Waits for room.
            batch.publish_batch(["y".repeat(3000)]),
            queue.purge(),
            consumer.next(),
            client.consume("r").start(),
        )
    };
    let mut returns = client.returns();
    let (ended, ()) = tokio::join!(soon(waiting), async {
        peer.request().await;
        peer.request().await;
        drop(peer);
    });
    let (confirm, batch, purge, next, start) = ended;
    for error in [
        confirm.unwrap_err(),
        batch.unwrap_err(),
        purge.unwrap_err(),
        next.unwrap().unwrap_err(),
        start.unwrap_err(),
    ] {
        assert!(error.is_final(), "{error}");
        assert!(error.to_string().contains("lost"), "{error}");
    }
    assert!(consumer.next().await.is_none());
    assert!(soon(returns.next()).await.is_none());
    let mut state = client.state();
    let state = state.wait_for(|state| matches!(state, ConnectionState::Closed(_))).await.unwrap();
    assert!(matches!(&*state, ConnectionState::Closed(Some(Error::ConnectionLost { .. }))), "{state:?}");
}

#[tokio::test]
async fn a_protocol_disagreement_is_told_to_the_broker_and_not_repeated() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    // An answer to nothing.
    peer.say(1, Command::Response { correlation: 77, response: Response::Done }).await;
    let mut state = client.state();
    let Command::Close(closing) = peer.next().await.command else { panic!() };
    assert!(closing.text.contains("77"), "{}", closing.text);
    let state = soon(state.wait_for(|state| matches!(state, ConnectionState::Closed(_)))).await.unwrap();
    assert!(matches!(&*state, ConnectionState::Closed(Some(Error::Protocol { .. }))), "{state:?}");
}

#[tokio::test]
async fn an_unreadable_frame_is_answered_with_its_error() {
    let broker = FakeBroker::start().await;
    let (_client, mut peer) = broker.connected().await;
    // An unknown mandatory kind.
    peer.say_bytes(&[0, 0, 0, 4, 0x7f, 0, 0, 0]).await;
    let Command::Close(closing) = peer.next().await.command else { panic!() };
    assert_eq!((closing.code, closing.kind), (ReplyCode::CommandInvalid.number(), 0x7f));
}

#[tokio::test]
async fn giving_up_says_how_often_it_was_tried() {
    let broker = FakeBroker::start().await;
    let quick = Reconnect::default().first_delay(Duration::from_millis(1)).attempts(2);
    let (client, peer) = broker.connected_with(broker.client().reconnect(quick)).await;
    let mut events = client.events();
    drop((broker, peer));
    let error = loop {
        if let Event::Closed { error } = soon(events.next()).await.unwrap() {
            break error.unwrap();
        }
    };
    assert!(matches!(error, Error::GaveUp { attempts: 2, .. }), "{error}");
    assert!(soon(events.next()).await.is_none());
}
