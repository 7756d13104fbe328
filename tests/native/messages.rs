//! What is published arrives as it was: bodies of every size, every property, in order, each once.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rialto_client::{FieldTable, FieldValue, Message};
use rialto_protocol::native::Request;

use crate::support::peer::{CHANNEL, Peer, consumer};
use crate::support::*;

/// Bytes that tell where they came from.
fn body(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn bodies_of_every_size_arrive_whole() {
    const KIB: usize = 1 << 10;
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let sizes = [0, 1, 255, 16 * KIB - 1, 16 * KIB, 128 * KIB, 512 * KIB + 1, 5 << 20, 16 << 20, 2, 0];
    let publisher = client.publisher("", "q").unwrap();
    let messages: Vec<_> = sizes.iter().map(|size| Message::new(body(*size))).collect();
    soon("confirms", publisher.publish_batch(messages).await.unwrap()).await.unwrap().accepted().unwrap();
    let mut consumer = client.consume("q").start().await.unwrap();
    for size in sizes {
        let delivery = next(&mut consumer).await;
        assert!(*delivery.body() == body(size), "{size} bytes, and {} arrived", delivery.body().len());
        delivery.ack().unwrap();
    }
    // A message that comes back is encoded in another way.
    client.publish("", "q", body(300 * KIB)).await.unwrap().await.unwrap().accepted().unwrap();
    next(&mut consumer).await.requeue().unwrap();
    let again = next(&mut consumer).await;
    assert!(again.redelivered() && *again.body() == body(300 * KIB));
}

#[tokio::test]
async fn every_property_arrives_as_it_was_set() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let table = FieldTable::new().with("deep", FieldValue::Array(vec![1.into(), "two".into(), true.into()]));
    let message = Message::new("m")
        .content_type("text/plain")
        .content_encoding("identity")
        .header("table", table.clone())
        .header("number", -7i64)
        .persistent()
        .priority(4)
        .correlation_id("correlation")
        .reply_to("reply-to")
        .ttl(Duration::from_secs(3600))
        .message_id("id")
        .timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .kind("kind")
        .user_id("guest")
        .app_id("app");
    publish(&client, "", "q", message).await;
    let got = client.queue("q").get().await.unwrap().unwrap();
    let properties = got.properties();
    let headers = properties.headers.as_ref().unwrap();
    assert_eq!(headers.get("table"), Some(&FieldValue::Table(table)));
    assert_eq!(headers.get("number").and_then(FieldValue::as_int), Some(-7));
    assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(4)));
    assert_eq!(properties.timestamp, Some(1_700_000_000));
    for (actual, expected) in [
        (&properties.content_type, "text/plain"),
        (&properties.content_encoding, "identity"),
        (&properties.correlation_id, "correlation"),
        (&properties.reply_to, "reply-to"),
        (&properties.expiration, "3600000"),
        (&properties.message_id, "id"),
        (&properties.kind, "kind"),
        (&properties.user_id, "guest"),
        (&properties.app_id, "app"),
    ] {
        assert_eq!(actual.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn messages_of_each_publisher_stay_in_order_among_many() {
    let broker = start().await;
    let reader = connect(&broker).await;
    reader.queue("q").declare().await.unwrap();
    let mut publishing = Vec::new();
    for publisher in 0..8 {
        let client = connect(&broker).await;
        publishing.push(tokio::spawn(async move {
            let handle = client.publisher("", "q").unwrap();
            for n in 0..500 {
                handle.send(format!("{publisher} {n}")).await.unwrap();
            }
            client.close().await.unwrap();
        }));
    }
    let mut consumer = reader.consume("q").prefetch(50).start().await.unwrap();
    let mut expected = [0; 8];
    for _ in 0..8 * 500 {
        let delivery = next(&mut consumer).await;
        let (publisher, n) = delivery.text().unwrap().split_once(' ').unwrap();
        let expected = &mut expected[publisher.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<u32>().unwrap(), *expected);
        *expected += 1;
        delivery.ack().unwrap();
    }
    assert_idle(&reader, &mut consumer).await;
}

#[tokio::test]
async fn requests_are_answered_in_the_order_they_were_sent() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    let mut out = bytes::BytesMut::new();
    for correlation in 100..200 {
        let name = crate::support::peer::name(&format!("q{correlation}"));
        let request = match correlation % 2 {
            0 => Request::QueueInfo { name },
            _ => Request::ExchangeInfo { name: Default::default() },
        };
        rialto_protocol::native::Command::Request { correlation, request }.encode(CHANNEL, &mut out);
    }
    peer.send_bytes(&out).await;
    for expected in 100..200 {
        use rialto_protocol::native::Command::{Failure, Response};
        let (Response { correlation, .. } | Failure { correlation, .. }) = peer.receive().await.unwrap()
        else {
            panic!("an answer");
        };
        assert_eq!(correlation, expected);
    }
}

/// Workers take, ack, requeue and die as a seeded dice says; whatever happens, every message is done once.
#[tokio::test]
async fn workers_that_die_at_random_lose_nothing() {
    const MESSAGES: usize = 600;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let broker = start().await;
    let client = connect(&broker).await;
    client.queue("q").declare().await.unwrap();
    fill_numbers(&client, "q", MESSAGES).await;
    let mut done = Vec::new();
    while done.len() < MESSAGES {
        let mut worker = Peer::connect(&broker).await;
        for number in 1..=dice.u32(1..4) {
            worker.consume(consumer(number, "q", dice.u32(1..20))).await;
        }
        for _ in 0..dice.u32(1..6) {
            for delivery in worker.deliveries_so_far().await {
                match dice.u32(0..10) {
                    0 => {
                        let requeue = rialto_protocol::native::Settlement::Requeue;
                        worker.settle(delivery.consumer, requeue, delivery.tag, delivery.tag).await;
                    }
                    1..=3 => {} // keeps it to its end
                    _ => {
                        worker.ack(delivery.consumer, delivery.tag, delivery.tag).await;
                        done.push(delivery.body.parse::<usize>().unwrap());
                    }
                }
            }
        }
        // An ack that was never read is no ack: all are, before the worker dies.
        worker.settled().await;
        drop(worker);
        until("the dead worker's messages", || stats(&broker, "q").unwrap().unacked == 0).await;
    }
    done.sort_unstable();
    assert_eq!(done, (1..=MESSAGES).collect::<Vec<_>>(), "seed {seed}");
    assert_eq!(stats(&broker, "q").unwrap().ready, 0);
}
