//! Time to live: of messages, wherever they stand in their queue, and of queues.

use std::time::Duration;

use rialto_client::Message;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_queues_ttl_ends_each_message_exactly_then() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").message_ttl(10 * SECOND).declare().await.unwrap();
    publish(&client, "", "q", "early").await;
    broker.advance(4 * SECOND);
    publish(&client, "", "q", "late").await;
    broker.advance(6 * SECOND - TICK);
    assert_eq!(depth(&client, "q").await, (2, 0));
    broker.advance(TICK);
    assert_eq!(depth(&client, "q").await, (1, 0));
    broker.advance(4 * SECOND);
    assert_eq!(depth(&client, "q").await, (0, 0));
    assert_eq!(stats(&broker, "q").unwrap().totals.expired, 2);
}

#[tokio::test]
async fn a_message_expires_in_the_middle_of_its_queue_too() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    for (body, ttl) in [("1", 30), ("2", 5), ("3", 20), ("4", 1)] {
        publish(&client, "", "q", Message::new(body).ttl(ttl * SECOND)).await;
    }
    publish(&client, "", "q", "5 stays").await;
    for (after, left) in [(1, 4), (4, 3), (15, 2), (10, 1)] {
        broker.advance(after * SECOND);
        assert_eq!(depth(&client, "q").await, (left, 0));
    }
    assert_eq!(drain(&client, "q").await, ["5 stays"]);
}

#[tokio::test]
async fn the_shorter_of_queue_and_message_ttl_holds() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").message_ttl(10 * SECOND).declare().await.unwrap();
    publish(&client, "", "q", Message::new("its own").ttl(SECOND)).await;
    publish(&client, "", "q", Message::new("the queue's").ttl(3600 * SECOND)).await;
    broker.advance(SECOND);
    assert_eq!(depth(&client, "q").await, (1, 0));
    broker.advance(9 * SECOND);
    assert_eq!(depth(&client, "q").await, (0, 0));
}

#[tokio::test]
async fn ttl_zero_is_for_a_consumer_that_is_ready_now_or_nobody() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").message_ttl(Duration::ZERO).declare().await.unwrap();
    publish(&client, "", "q", "nobody is there").await;
    broker.advance(TICK);
    assert_eq!(depth(&client, "q").await, (0, 0));
    let mut consumer = client.consume("q").prefetch(1).start().await.unwrap();
    fill(&client, "q", ["taken", "no room"]).await;
    assert_eq!(next(&mut consumer).await.text(), Some("taken"));
    broker.advance(TICK);
    let figures = stats(&broker, "q").unwrap();
    assert_eq!((figures.ready, figures.totals.expired), (0, 2));
}

#[tokio::test]
async fn time_counts_while_ready_and_a_held_message_does_not_expire_until_it_comes_back() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").message_ttl(SECOND).declare().await.unwrap();
    publish(&client, "", "q", "m").await;
    let held = client.queue("q").get().await.unwrap().unwrap();
    broker.advance(2 * SECOND);
    assert_eq!(depth(&client, "q").await, (0, 1));
    held.requeue().unwrap();
    assert_eq!(depth(&client, "q").await, (0, 0), "too late to come back");
}

#[tokio::test]
async fn an_expired_message_is_never_delivered() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    publish(&client, "", "q", Message::new("stale").ttl(SECOND)).await;
    publish(&client, "", "q", "fresh").await;
    broker.advance(SECOND);
    assert_eq!(drain(&client, "q").await, ["fresh"]);
}

#[tokio::test]
async fn a_queue_that_nobody_uses_expires() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").expires(60 * SECOND).declare().await.unwrap();
    broker.advance(60 * SECOND - TICK);
    assert!(stats(&broker, "q").is_some());
    broker.advance(TICK);
    assert!(stats(&broker, "q").is_none());
    assert!(client.queue("q").exists().await.unwrap().is_none());
}

#[tokio::test]
async fn consumers_gets_and_redeclares_keep_a_queue_and_publishes_do_not() {
    let (broker, client) = start_and_connect().await;
    let declare = || client.queue("q").expires(60 * SECOND).declare();
    declare().await.unwrap();
    broker.advance(50 * SECOND);
    declare().await.unwrap();
    broker.advance(50 * SECOND);
    assert!(client.queue("q").get().await.unwrap().is_none());
    broker.advance(50 * SECOND);
    let consumer = client.consume("q").start().await.unwrap();
    broker.advance(500 * SECOND);
    assert!(stats(&broker, "q").is_some(), "it is in use");
    consumer.cancel().await.unwrap();
    broker.advance(50 * SECOND);
    publish(&client, "", "q", "m").await;
    broker.advance(10 * SECOND);
    assert!(stats(&broker, "q").is_none());
}
