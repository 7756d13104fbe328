//! A client whose connection is closed under it goes on: what it declared, its consumers, its publishes.

use rialto::server::Embedded;
use rialto_client::{Client, Event, Events};

use crate::support::*;

/// Closes every connection from the broker's side, as an operator would.
fn close_all(broker: &Embedded) {
    for connection in broker.broker().connections() {
        let notice = rialto::broker::Notice::Close { reason: "closed by an operator".into() };
        let _ = connection.outbox.notify(notice);
        connection.outbox.wake();
    }
}

async fn reconnected(events: &mut Events) {
    soon("the client to be back", async {
        loop {
            match events.next().await.expect("the client goes on") {
                Event::Reconnected { .. } => return,
                Event::Disconnected { error } => {
                    assert_eq!(error.reply_code().map(|code| code.number()), Some(320), "{error}");
                }
                _ => {}
            }
        }
    })
    .await;
}

async fn lose_connection(broker: &Embedded, client: &Client) {
    let mut events = client.events();
    close_all(broker);
    reconnected(&mut events).await;
}

#[tokio::test]
async fn a_consumer_goes_on_and_what_it_held_comes_again() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill_numbers(&client, "q", 3).await;
    let mut consumer = client.consume("q").prefetch(2).start().await.unwrap();
    let held = next(&mut consumer).await;
    lose_connection(&broker, &client).await;
    held.ack().expect_err("it is from the lost connection");
    let again = take(&mut consumer, 2).await;
    assert_eq!(bodies(&again), ["1", "2"]);
    assert!(again[0].redelivered());
}

#[tokio::test]
async fn exclusive_queues_and_their_bindings_are_made_anew() {
    let (broker, client) = start_and_connect().await;
    client.exchange("x").fanout().auto_delete().declare().await.unwrap();
    client.queue("mine").exclusive().declare().await.unwrap();
    client.queue("mine").bind("x", "").await.unwrap();
    let made = client.queue("").exclusive().declare().await.unwrap().name;
    client.queue(&made).bind("x", "").await.unwrap();
    let mut mine = client.consume("mine").start().await.unwrap();
    let mut other = client.consume(&made).start().await.unwrap();
    lose_connection(&broker, &client).await;
    publish(&client, "x", "", "to the new ones").await;
    assert_eq!(next(&mut mine).await.text(), Some("to the new ones"));
    assert_eq!(next(&mut other).await.text(), Some("to the new ones"));
}

#[tokio::test]
async fn what_was_published_over_a_lost_connection_arrives_at_least_once() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let publisher = client.publisher("", "q").unwrap();
    let mut confirms = Vec::new();
    for n in 1..=2000 {
        if n % 500 == 0 {
            close_all(&broker);
        }
        confirms.push(publisher.publish(n.to_string()).await.unwrap());
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for confirm in confirms {
        soon("a confirm", confirm).await.unwrap().accepted().unwrap();
    }
    let mut arrived: Vec<usize> = Vec::new();
    let mut marked = 0;
    let queue = client.queue("q");
    while let Some(delivery) = queue.get().await.unwrap() {
        marked += usize::from(delivery.maybe_duplicate());
        arrived.push(delivery.text().unwrap().parse().unwrap());
        delivery.ack().unwrap();
    }
    let copies = arrived.len();
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived, (1..=2000).collect::<Vec<_>>(), "none is lost");
    assert!(copies - 2000 <= marked, "every second copy says that it may be one");
}

#[tokio::test]
async fn requests_made_meanwhile_wait_and_are_answered() {
    let (broker, client) = start_and_connect().await;
    let mut events = client.events();
    close_all(&broker);
    let declared = async { client.queue("q").declare().await.unwrap() };
    let ((), _) = tokio::join!(reconnected(&mut events), soon("the answer", declared));
    assert!(stats(&broker, "q").is_some());
}
