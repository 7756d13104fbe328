//! The broker itself behind a wire that is cut again and again: nothing that was wanted is lost, and what may
//! have come twice says so.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use rialto::broker::Broker;
use rialto::server::Embedded;
use rialto_client::{Client, ClientBuilder, Error, Outcome, Reconnect};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fake::soon;

/// A wire between client and broker.
struct Wire {
    address: SocketAddr,
    cut: watch::Sender<u64>,
}

impl Wire {
    async fn to(broker: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = watch::Sender::new(0);
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cuts = cuts.subscribe();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(broker).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Wire { address, cut }
    }

    /// Every connection of the moment breaks.
    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    async fn client(&self) -> Client {
        let quick =
            Reconnect::default().first_delay(Duration::from_millis(1)).max_delay(Duration::from_millis(10));
        let url = format!("rialto://{}", self.address);
        ClientBuilder::new(&url).unwrap().reconnect(quick).connect().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_wanted_is_lost_in_order_and_twice_is_marked() {
    const MESSAGES: usize = 3000;
    let broker = Embedded::start(Broker::in_memory().build()).await.unwrap();
    let wire = Wire::to(broker.address()).await;
    let client = wire.client().await;
    client.queue("q").declare().await.unwrap();
    let publisher = client.publisher("", "q").unwrap();

    let mut confirms = Vec::new();
    for n in 0..MESSAGES {
        confirms.push(publisher.publish(n.to_string()).await.unwrap());
        if n % 500 == 499 {
            wire.cut();
        }
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut maybe = 0;
    for confirm in confirms {
        match soon(confirm).await.unwrap() {
            Outcome::Confirmed { maybe_duplicate } => maybe += usize::from(maybe_duplicate),
            other => panic!("{other:?}"),
        }
    }

    let reader = Client::connect(&broker.url()).await.unwrap();
    let left = reader.queue("q").exists().await.unwrap().unwrap().messages as usize;
    let mut consumer = reader.consume("q").auto_ack().start().await.unwrap();
    let mut first_seen: HashMap<usize, bool> = HashMap::new();
    let mut next = 0;
    for _ in 0..left {
        let delivery = soon(consumer.next()).await.unwrap().unwrap();
        let n: usize = delivery.text().unwrap().parse().unwrap();
        if first_seen.insert(n, delivery.maybe_duplicate()).is_some() {
            assert!(delivery.maybe_duplicate(), "{n} came twice and does not say so");
        } else {
            assert_eq!(n, next, "the first copies come in the order of publishing");
            next += 1;
        }
    }
    assert_eq!(next, MESSAGES);
    assert!(left - MESSAGES <= maybe, "{left} messages, of which {maybe} may be there twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_go_on_until_everything_is_acked() {
    const MESSAGES: usize = 2000;
    let broker = Embedded::start(Broker::in_memory().build()).await.unwrap();
    let steady = Client::connect(&broker.url()).await.unwrap();
    steady.queue("q").declare().await.unwrap();
    let publisher = steady.publisher("", "q").unwrap();
    let batch = publisher.publish_batch((0..MESSAGES).map(|n| n.to_string())).await.unwrap();
    soon(batch).await.unwrap().accepted().unwrap();

    let wire = Wire::to(broker.address()).await;
    let client = wire.client().await;
    let mut consumer = client.consume("q").prefetch(50).start().await.unwrap();
    let mut seen = vec![false; MESSAGES];
    let (mut distinct, mut taken) = (0, 0);
    while distinct < MESSAGES {
        let delivery = soon(consumer.next()).await.unwrap().unwrap();
        let n: usize = delivery.text().unwrap().parse().unwrap();
        taken += 1;
        if taken % 300 == 0 {
            wire.cut();
        }
        match delivery.ack() {
            Ok(()) => distinct += usize::from(!std::mem::replace(&mut seen[n], true)),
            // It will come again.
            Err(Error::StaleDelivery) => {}
            Err(error) => panic!("{error}"),
        }
    }
    // Acks that were on a wire when it was cut are void: what they were for comes again.
    while steady.queue("q").info().await.unwrap().get("messages").and_then(|n| n.as_int()) != Some(0) {
        tokio::select! {
            delivery = consumer.next() => {
                let _ = delivery.unwrap().unwrap().ack();
            }
            () = tokio::task::yield_now() => {}
        }
    }
    soon(client.close()).await.unwrap();
}
