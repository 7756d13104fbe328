//! What a peer can make grow, up to its limit and one past it.

use std::time::Duration;

use rialto::broker::{Broker, Turn};
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, FieldValue};

use crate::support::*;

#[tokio::test]
async fn consumers_of_a_channel_are_limited() {
    let victim = Victim::with(|session| session.consumers_max = 50, |_| {}).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    for number in 1..=50 {
        peer.request(Request::Consume(consume(&queue, number))).await.unwrap();
    }
    let (code, text) = peer.request(Request::Consume(consume(&queue, 51))).await.unwrap_err();
    assert_eq!(code, 530);
    assert!(text.contains("protocol.consumers_per_channel_max"), "it names the setting: {text}");
    peer.request(Request::Cancel { consumer: 7 }).await.unwrap();
    peer.request(Request::Consume(consume(&queue, 51))).await.expect("one has gone");
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn consumers_of_a_connection_are_limited() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    for channel in 2..=11 {
        peer.open_channel(channel).await;
    }
    let mut bytes = Vec::new();
    for channel in 2..=11 {
        for consumer in 1..=1000 {
            let request = Request::Consume(consume(&queue, consumer));
            bytes.extend(encoded(channel, &Command::Request { correlation: 1, request }));
        }
    }
    peer.send_bytes(&bytes).await;
    for _ in 0..10_000 {
        let answer = peer.next().await.unwrap().command;
        assert!(matches!(answer, Command::Response { .. }), "{answer:?}");
    }
    let (code, text) = peer.request(Request::Consume(consume(&queue, 1))).await.unwrap_err();
    assert_eq!(code, 530, "{text}");
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn consumers_of_a_queue_are_limited() {
    let victim = Victim::with(|_| {}, |limits| limits.queue.consumers_max = 5).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    for number in 1..=5 {
        peer.request(Request::Consume(consume(&queue, number))).await.unwrap();
    }
    assert_eq!(peer.request(Request::Consume(consume(&queue, 6))).await.unwrap_err().0, 403);
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn queues_exchanges_and_bindings_are_limited() {
    let limits = |limits: &mut rialto::broker::Limits| {
        limits.queues_max = 20;
        limits.routing.exchanges_max = 7 + 10;
        limits.routing.bindings_max = 30;
    };
    let victim = Victim::with(|_| {}, limits).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    for _ in 0..20 {
        peer.declare_exclusive().await;
    }
    let (code, text) = peer.declare("one-more", FieldTable::new()).await.unwrap_err();
    assert_eq!((code, text.contains("20")), (406, true), "{text}");
    let exchange = |number: u32| Request::DeclareExchange {
        name: short(format!("e{number}")),
        kind: short("fanout"),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::new(),
    };
    for number in 0..10 {
        peer.request(exchange(number)).await.unwrap();
    }
    let refused = peer.request(exchange(10)).await.unwrap_err();
    assert!(refused.1.contains("17"), "{refused:?}");
    let binding = |number: u32| Binding {
        source: short("e0"),
        destination: short("e1"),
        routing_key: short(number.to_string()),
        arguments: FieldTable::new(),
    };
    for number in 0..30 {
        peer.request(Request::BindExchange(binding(number))).await.unwrap();
    }
    let refused = peer.request(Request::BindExchange(binding(30))).await.unwrap_err();
    assert!(refused.1.contains("30"), "{refused:?}");
    for number in 0..10 {
        let delete = Request::DeleteExchange { name: short(format!("e{number}")), if_unused: false };
        peer.request(delete).await.unwrap();
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn pages_keep_to_their_limits_whatever_is_asked_for() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    // Rows of 50 KB each: 60 of them would be three times what a page may be.
    let large = FieldTable::new().with("x-note", FieldValue::from("x".repeat(50_000)));
    for number in 0..60 {
        peer.declare(&format!("large-{number:02}"), large.clone()).await.unwrap();
    }
    let (mut rows, mut pages, mut after) = (Vec::new(), 0, bytes::Bytes::new());
    loop {
        let list = Request::List { what: ListOf::Queues, after, limit: u32::MAX };
        let Ok(Response::Page { rows: some, next }) = peer.request(list).await else { panic!("no page") };
        assert!(!some.is_empty() && some.len() <= PAGE_ROWS_MAX as usize);
        rows.extend(some.iter().map(|row| row.get("name").unwrap().as_str().unwrap().to_owned()));
        pages += 1;
        if next.is_empty() {
            break;
        }
        assert!(next.len() <= CURSOR_BYTES_MAX);
        after = next;
    }
    assert!(pages > 1);
    assert_eq!(rows, (0..60).map(|number| format!("large-{number:02}")).collect::<Vec<_>>());
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_binding_with_the_longest_of_everything_can_be_listed() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let name = "n".repeat(255);
    peer.declare(&name, FieldTable::new()).await.unwrap();
    for number in 0..3 {
        let arguments =
            FieldTable::new().with("note", FieldValue::from("y".repeat(60_000))).with("number", number);
        let binding = Binding {
            source: short("amq.headers"),
            destination: short(&name),
            routing_key: short("k".repeat(255)),
            arguments,
        };
        peer.request(Request::BindQueue(binding)).await.unwrap();
    }
    let (mut count, mut after) = (0, bytes::Bytes::new());
    loop {
        let list = Request::List { what: ListOf::Bindings, after, limit: 1 };
        let Ok(Response::Page { rows, next }) = peer.request(list).await else { panic!("no page") };
        count += rows.len();
        if next.is_empty() {
            break;
        }
        after = next;
    }
    assert_eq!(count, 4, "three, and the default exchange's");
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn queues_that_come_and_go_leave_no_timers() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let expiring = FieldTable::new().with("x-expires", 1_000_000_000);
    for _ in 0..100 {
        peer.declare("passing", expiring.clone()).await.unwrap();
        assert_eq!(victim.broker().timers_len(), 1);
        peer.request(Request::DeleteQueue { name: short("passing"), if_unused: false, if_empty: false })
            .await
            .unwrap();
        assert_eq!(victim.broker().timers_len(), 0);
    }
    // Each message expires earlier than the one before.
    peer.declare("shrinking", FieldTable::new()).await.unwrap();
    for number in 1..=100 {
        let expiration = Some(short((1_000_000 - number * 1000).to_string()));
        let properties = rialto_protocol::types::Properties { expiration, ..Default::default() }.encoded();
        let mut out = bytes::BytesMut::new();
        let mut frame = PublishWriter::begin(1, number, true, &mut out);
        frame.run(RouteRef::Inline { exchange: "", routing_key: "shrinking" }, false, &mut out);
        frame.entry(&properties, b"", &mut out);
        frame.finish(&mut out);
        peer.send_bytes(&out).await;
        peer.next_outcomes().await;
        assert_eq!(victim.broker().timers_len(), 1);
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn dead_letters_that_multiply_end_visibly() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    // Every queue expires at once into an exchange that leads to every queue: a letter could pass them in any
    // of 20! orders.
    let arguments = FieldTable::new().with("x-message-ttl", 0).with("x-dead-letter-exchange", "amq.fanout");
    for number in 0..20 {
        let name = peer.declare(&format!("mirror-{number}"), arguments.clone()).await.unwrap();
        let (source, destination) = (short("amq.fanout"), short(name));
        let binding = Binding { source, destination, routing_key: short(""), arguments: FieldTable::new() };
        peer.request(Request::BindQueue(binding)).await.unwrap();
    }
    peer.publish(1, "mirror-0", b"x").await;
    assert_eq!(peer.next_outcomes().await, [(1, 1, Outcome::Confirmed)]);
    assert!(victim.broker().counters().dead_letters_ended() > 0);
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_chain_of_deaths_ends_at_its_limit() {
    let victim = Victim::with(|_| {}, |limits| limits.queue.deaths_max = 4).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    for number in 0..6 {
        let arguments = FieldTable::new()
            .with("x-message-ttl", 0)
            .with("x-dead-letter-exchange", "")
            .with("x-dead-letter-routing-key", format!("hop-{}", number + 1).as_str());
        peer.declare(&format!("hop-{number}"), arguments).await.unwrap();
    }
    peer.declare("hop-6", FieldTable::new()).await.unwrap();
    let at_the_limit = peer.publish(1, "hop-2", b"x");
    at_the_limit.await;
    peer.next_outcomes().await;
    assert_eq!(peer.request(Request::PurgeQueue { name: short("hop-6") }).await, Ok(Response::Count(1)));
    peer.publish(2, "hop-1", b"x").await;
    peer.next_outcomes().await;
    assert_eq!(peer.request(Request::PurgeQueue { name: short("hop-6") }).await, Ok(Response::Count(0)));
    assert_eq!(victim.broker().counters().dead_letters_ended(), 1);
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn connections_for_one_window_each_cannot_fill_the_memory() {
    let victim = Victim::with(
        |_| {},
        |limits| {
            limits.memory_budget = 2 << 20;
            limits.queue_budget = 1 << 20;
        },
    )
    .await;
    let mut owner = Peer::on_channel(victim.address()).await;
    let shared = Request::DeclareQueue {
        name: short("heap"),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::new(),
    };
    owner.request(shared).await.unwrap();
    let mut rejected = 0;
    for _ in 0..20 {
        let mut peer = Peer::on_channel(victim.address()).await;
        peer.publish(1, "heap", &[0; 500_000]).await;
        if let [(1, 1, Outcome::Rejected { code: 506, .. })] = peer.next_outcomes().await[..] {
            rejected += 1;
        }
    }
    assert!(rejected > 0);
    assert!(victim.broker().memory_bytes() < 5 << 20, "{}", victim.broker().memory_bytes());
    owner.request(Request::PurgeQueue { name: short("heap") }).await.unwrap();
    owner.publish(1, "heap", b"x").await;
    assert_eq!(owner.next_outcomes().await, [(1, 1, Outcome::Confirmed)], "there is room again");
    owner
        .request(Request::DeleteQueue { name: short("heap"), if_unused: false, if_empty: false })
        .await
        .unwrap();
    owner.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_hung_up_on() {
    let options = rialto::server::ServerOptions { connections_max: 2, ..Default::default() };
    let broker = Broker::in_memory().build();
    let server = rialto::server::Embedded::start_with(broker, options).await.unwrap();
    let first = Peer::logged_in(server.address()).await;
    let second = Peer::connect(server.address()).await;
    let mut third = Peer::connect(server.address()).await;
    assert_eq!(third.rest().await, b"");
    drop(second);
    first.close().await;
    soon("there is room again", async {
        loop {
            let mut peer = Peer::greeted(server.address()).await;
            peer.send(0, Command::Login(login())).await;
            if peer.next().await.is_some() {
                return peer.close().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(server.stop().await);
}

#[test]
fn a_broker_that_is_dropped_frees_its_queues() {
    use rialto::model::{ConnectionId, QueueName, QueueOptions};
    let broker = Broker::in_memory().build();
    let vhost = broker.vhost("/").unwrap();
    let mut turn = Turn::new();
    turn.begin(broker.now());
    let name = QueueName::new("kept").unwrap();
    let queue =
        vhost.declare_queue(&name, QueueOptions::default(), ConnectionId(1), &mut turn).unwrap().queue;
    turn.finish(&broker);
    let weak = (std::sync::Arc::downgrade(&vhost), std::sync::Arc::downgrade(&queue));
    drop((broker, vhost, queue, turn));
    assert!(weak.0.upgrade().is_none() && weak.1.upgrade().is_none());
}
