//! Who is slow waits alone: consumers that do not read, publishers to queues that are full.

use bytes::Bytes;
use rialto::broker::{Alarm, Limits};
use rialto::server::ServerOptions;
use rialto_client::{Client, Consumer, Event, Events, Message};
use rialto_protocol::native::{Command, Consume};

use crate::support::peer::{Peer, consumer};
use crate::support::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Small limits, so that little data fills much.
fn small() -> Limits {
    Limits {
        memory_budget: 16 * MIB,
        queue_budget: 2 * MIB,
        outbox_bytes: 256 * KIB,
        consumer_window: 64 * KIB,
        ..Limits::default()
    }
}

fn body(len: u64) -> Bytes {
    Bytes::from(vec![b'x'; len as usize])
}

/// Publishes `count` messages of `len` bytes in the background; ends when all are confirmed.
fn publish_many(client: &Client, queue: &str, count: usize, len: u64) -> tokio::task::JoinHandle<()> {
    let publisher = client.publisher("", queue).unwrap();
    let message = Message::new(body(len));
    tokio::spawn(async move {
        let mut confirms = Vec::new();
        for _ in 0..count {
            confirms.push(publisher.publish(message.clone()).await.unwrap());
        }
        for confirm in confirms {
            confirm.await.unwrap().accepted().unwrap();
        }
    })
}

#[tokio::test]
async fn a_consumer_that_never_reads_costs_a_window_and_disturbs_nobody() {
    let broker = start_with(small(), ServerOptions::default()).await;
    let client = connect(&broker).await;
    client.queue("stuck").declare().await.unwrap();
    client.queue("flowing").declare().await.unwrap();
    let mut asleep = Peer::connect(&broker).await;
    // Unlimited prefetch and auto-ack: nothing but the socket holds it up.
    asleep.consume(Consume { auto_ack: true, ..consumer(1, "stuck", 0) }).await;

    let flood = connect(&broker).await;
    let stuck = publish_many(&flood, "stuck", 2000, 16 * KIB);
    let held_back = |stats: rialto::queue::QueueStats| stats.ready_bytes > 2 * MIB;
    until("the queue to be full", || held_back(stats(&broker, "stuck").unwrap())).await;

    // 32 MiB are to be published; what is taken stays near the queue's budget, far below that.
    let mut flowing = client.consume("flowing").start().await.unwrap();
    for round in 0..20 {
        fill_numbers(&client, "flowing", 50).await;
        assert_eq!(take_bodies(&mut flowing, 50).await, numbers(50), "round {round}");
        let memory = broker.broker().memory_bytes();
        assert!(memory < 8 * MIB, "{memory} bytes are held for a consumer that sleeps");
    }
    assert!(!stuck.is_finished(), "the publisher waits");

    // The sleeper wakes and reads: all flows off, and the publisher is released.
    let mut read = 0;
    while read < 2000 {
        match asleep.receive().await.expect("the connection lives") {
            Command::Deliver(deliver) => {
                read += deliver.runs().map(|run| run.unwrap().count as usize).sum::<usize>();
            }
            other => panic!("{other:?}"),
        }
    }
    soon("the publisher", stuck).await.unwrap();
    until("the memory to be free", || broker.broker().memory_bytes() < MIB).await;
}

#[tokio::test]
async fn a_consumer_that_never_reads_paces_its_publisher_but_does_not_stop_it_below_the_budget() {
    let broker = start().await;
    let client = connect(&broker).await;
    client.queue("stuck").declare().await.unwrap();
    let mut asleep = Peer::connect(&broker).await;
    asleep.consume(Consume { auto_ack: true, ..consumer(1, "stuck", 0) }).await;

    // Several times what a queue holds before its publishers are paced; all of it is taken, and nothing read.
    let paced = publish_many(&connect(&broker).await, "stuck", 1000, 16 * KIB);
    soon("the publisher", paced).await.unwrap();
    let ready = stats(&broker, "stuck").unwrap().ready_bytes;
    assert!(ready > 8 * MIB, "{ready} bytes wait in the queue");
}

#[tokio::test]
async fn a_publisher_held_back_by_a_full_queue_is_still_heard_when_it_acks() {
    let broker = start_with(small(), ServerOptions::default()).await;
    let client = connect(&broker).await;
    client.queue("full").declare().await.unwrap();
    client.queue("work").declare().await.unwrap();
    fill_numbers(&client, "work", 10).await;
    let mut work = client.consume("work").prefetch(1).start().await.unwrap();
    let mut events = client.events();

    // The same connection publishes until it is held back ...
    let publishing = publish_many(&client, "full", 1000, 8 * KIB);
    soon("being held back", async { while !matches!(events.next().await, Some(Event::Blocked { .. })) {} })
        .await;
    // ... and goes on working meanwhile: each next message comes because the ack before it was carried out.
    assert_eq!(take_bodies(&mut work, 1).await, ["1"]);
    for n in 2..=10 {
        assert_eq!(take_bodies(&mut work, 1).await, [n.to_string()]);
    }
    client.queue("another").declare().await.expect("requests are answered too");
    assert!(!publishing.is_finished());

    // A consumer empties the queue, and the publisher is released.
    let other = connect(&broker).await;
    let mut drain = other.consume("full").auto_ack().start().await.unwrap();
    for _ in 0..1000 {
        let _ = next(&mut drain).await;
    }
    soon("the publisher", publishing).await.unwrap();
    soon("the release", async { while !matches!(events.next().await, Some(Event::Unblocked)) {} }).await;
}

#[tokio::test]
async fn a_purge_and_a_deletion_release_publishers_too() {
    let broker = start_with(small(), ServerOptions::default()).await;
    let other = connect(&broker).await;
    for rescue in ["purge", "delete"] {
        other.queue("full").declare().await.unwrap();
        // A small buffer: this side waits soon when the broker makes it wait.
        let client = Client::builder(&broker.url()).unwrap().publish_buffer(64 << 10);
        let client = client.connect().await.unwrap();
        let mut events = client.events();
        let publisher = client.publisher("", "full").unwrap();
        let publishing = tokio::spawn(async move {
            // Whatever becomes of them: a deleted queue leaves them unroutable.
            for _ in 0..800 {
                publisher.send(Message::new(body(8 * KIB))).await.unwrap();
            }
        });
        soon("being held back", async {
            while !matches!(events.next().await, Some(Event::Blocked { .. })) {}
        })
        .await;
        while !publishing.is_finished() {
            let queue = other.queue("full");
            match rescue {
                "purge" => queue.purge().await.map(drop).unwrap(),
                _ => queue.delete().await.map(drop).unwrap(),
            }
        }
        publishing.await.unwrap();
    }
}

#[tokio::test]
async fn publishing_without_credit_is_an_error_that_says_so() {
    let broker = start_with(small(), ServerOptions::default()).await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("full").await;
    let window = u64::from(peer.welcome.publish_window);
    let body = body(64 * KIB);
    // Far more than the window and the queue's budget together, without looking at the credit.
    let greedy = async move {
        for _ in 0..(2 * MIB + 4 * window) / (64 * KIB) {
            peer.publish("", "full", &[&body]).await;
        }
        peer.closed().await
    };
    let closing = greedy.await;
    assert_eq!(closing.code, 530);
    assert!(closing.text.contains("publish credit"), "{}", closing.text);
}

/// Waits until the client hears that it is held back, and says why.
async fn blocked(events: &mut Events) -> String {
    let blocked = async {
        loop {
            if let Some(Event::Blocked { reason }) = events.next().await {
                return reason.to_string();
            }
        }
    };
    soon("being held back", blocked).await
}

#[tokio::test]
async fn a_full_queue_is_named_and_no_other_publisher_hears_of_it() {
    let broker = start_with(small(), ServerOptions::default()).await;
    let (filling, flowing) = (connect(&broker).await, connect(&broker).await);
    filling.queue("full").declare().await.unwrap();
    flowing.queue("flowing").declare().await.unwrap();
    let (mut events, mut others) = (filling.events(), flowing.events());
    let publishing = publish_many(&filling, "full", 1000, 8 * KIB);
    let reason = blocked(&mut events).await;
    assert!(reason.starts_with("queue 'full' in vhost '/' is full"), "{reason}");
    let listed: Vec<_> =
        broker.broker().full_queues().into_iter().map(|queue| queue.name.to_string()).collect();
    assert_eq!(listed, ["full"]);
    assert_eq!(broker.broker().alarms(), [], "one full queue is no alarm");

    // Many times what a queue may hold flows through another meanwhile.
    let mut consumer = flowing.consume("flowing").start().await.unwrap();
    for _ in 0..20 {
        soon("the other publisher", publish_many(&flowing, "flowing", 100, 8 * KIB)).await.unwrap();
        take_bodies_of(&mut consumer, 100).await;
    }
    assert!(!publishing.is_finished());
    assert!(at_hand(others.next()).await.is_none(), "the other publisher is told nothing");

    filling.queue("full").purge().await.unwrap();
    soon("the release", async { while !matches!(events.next().await, Some(Event::Unblocked)) {} }).await;
    let mut drain = flowing.consume("full").auto_ack().start().await.unwrap();
    until_finished(&mut drain, publishing).await;
    until("nothing to be full", || broker.broker().full_queues().is_empty()).await;
}

#[tokio::test]
async fn a_memory_alarm_holds_publishers_up_and_lifts_when_consumers_have_taken_enough() {
    let limits = Limits { memory_budget: 2 * MIB, queue_budget: 2 * MIB, ..Limits::default() };
    let broker = start_with(limits, ServerOptions::default()).await;
    let client = connect(&broker).await;
    // Three light queues, none of them over its share.
    let queues = ["one", "two", "three"];
    for queue in queues {
        client.queue(queue).declare().await.unwrap();
        soon("the publisher", publish_many(&client, queue, 100, 9 * KIB)).await.unwrap();
    }
    client.queue("small").declare().await.unwrap();
    let mut events = client.events();
    let publisher = connect(&broker).await;
    let mut heard = publisher.events();
    let small = publish_many(&publisher, "small", 1, 10);
    let reason = blocked(&mut heard).await;
    assert!(reason.starts_with("low on memory: messages hold "), "{reason}");
    let resources: Vec<_> = broker.broker().alarms().iter().map(Alarm::resource).collect();
    assert_eq!(resources, ["memory"]);
    // What had been sent before is confirmed: it was taken, and who sent it waits before the next.
    soon("a message that was taken", small).await.unwrap();

    // Consumers go on, and acknowledge.
    for queue in queues {
        let mut consumer = client.consume(queue).start().await.unwrap();
        take_bodies_of(&mut consumer, 100).await;
    }
    soon("the release", async { while !matches!(heard.next().await, Some(Event::Unblocked)) {} }).await;
    assert_eq!(broker.broker().alarms(), []);
    drop(at_hand(events.next()).await);
}

#[tokio::test]
async fn a_process_that_is_too_large_holds_publishers_up_until_it_is_smaller() {
    let limits = Limits { process_limit: 1000, ..Limits::default() };
    let broker = start_with(limits, ServerOptions::default()).await;
    let (publisher, other) = (connect(&broker).await, connect(&broker).await);
    publisher.queue("q").declare().await.unwrap();
    soon("the publisher", publish_many(&publisher, "q", 2, 10)).await.unwrap();
    let mut heard = publisher.events();
    broker.broker().note_process_memory(1001);
    // The first is taken; who sent it waits before the next.
    let held = publish_many(&publisher, "q", 1, 10);
    let reason = blocked(&mut heard).await;
    assert!(reason.starts_with("low on memory: the broker takes 1001 B"), "{reason}");
    let mut consumer = other.consume("q").start().await.unwrap();
    take_bodies_of(&mut consumer, 2).await;
    broker.broker().note_process_memory(951);
    assert_eq!(broker.broker().alarms().len(), 1);
    broker.broker().note_process_memory(950);
    soon("the release", async { while !matches!(heard.next().await, Some(Event::Unblocked)) {} }).await;
    soon("the held publisher", held).await.unwrap();
    assert_eq!(broker.broker().alarms(), []);
}

/// Takes and acknowledges messages whose bodies are no text.
async fn take_bodies_of(consumer: &mut Consumer, count: usize) {
    for _ in 0..count {
        next(consumer).await.ack().expect("the connection lives");
    }
}

/// Consumes for as long as somebody publishes.
async fn until_finished(consumer: &mut Consumer, mut publishing: tokio::task::JoinHandle<()>) {
    loop {
        tokio::select! {
            done = soon("the publisher", &mut publishing) => return done.unwrap(),
            delivery = consumer.next() => drop(delivery.expect("the consumer goes on").unwrap()),
        }
    }
}
