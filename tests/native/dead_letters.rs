//! Dead letters: where they go, what they tell, and how going round ends.

use std::time::Duration;

use rialto_client::Message;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_rejected_message_carries_its_reason_and_its_history() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("dlx").topic().declare().await.unwrap();
    client.queue("dead").declare().await.unwrap();
    client.queue("dead").bind("dlx", "order.#").await.unwrap();
    client.exchange("orders").topic().declare().await.unwrap();
    client.queue("q").dead_letter("dlx").declare().await.unwrap();
    client.queue("q").bind("orders", "#").await.unwrap();
    publish(&client, "orders", "order.new", Message::new("m").header("kept", "yes").priority(3)).await;
    client.queue("q").get().await.unwrap().unwrap().reject("no such customer").unwrap();
    let dead = client.queue("dead").get().await.unwrap().expect("a dead letter");
    assert_eq!((dead.text(), dead.exchange(), dead.routing_key()), (Some("m"), "dlx", "order.new"));
    assert_eq!(deaths(&dead), [death("q", "rejected", 1)]);
    let header = |name| dead.header(name).and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(header("x-death-reason-text").as_deref(), Some("no such customer"));
    assert_eq!(header("x-first-death-queue").as_deref(), Some("q"));
    assert_eq!(header("x-first-death-exchange").as_deref(), Some("orders"));
    assert_eq!(header("kept").as_deref(), Some("yes"));
    assert_eq!(dead.properties().priority, Some(3));
    assert!(!dead.redelivered(), "a dead letter is a new message");
}

#[tokio::test]
async fn a_dead_letter_key_replaces_the_messages_own() {
    let (_broker, client) = start_and_connect().await;
    client.queue("dead").declare().await.unwrap();
    client.queue("q").dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    publish(&client, "", "q", "m").await;
    client.queue("q").get().await.unwrap().unwrap().reject("").unwrap();
    let dead = client.queue("dead").get().await.unwrap().expect("a dead letter");
    assert_eq!((dead.exchange(), dead.routing_key()), ("", "dead"));
    assert!(dead.header("x-death-reason-text").is_none(), "no reason was given");
}

#[tokio::test]
async fn a_chain_of_deaths_is_told_latest_first() {
    let (broker, client) = start_and_connect().await;
    let queue = |name, next| client.queue(name).dead_letter("").dead_letter_key(next);
    queue("one", "two").declare().await.unwrap();
    queue("two", "three").message_ttl(SECOND).declare().await.unwrap();
    queue("three", "four").max_length(0).declare().await.unwrap();
    queue("four", "end").delivery_limit(0).declare().await.unwrap();
    client.queue("end").declare().await.unwrap();
    publish(&client, "", "one", Message::new("m").ttl(SECOND)).await;
    client.queue("one").get().await.unwrap().unwrap().reject("no").unwrap();
    assert_eq!(depth(&client, "two").await, (1, 0));
    broker.advance(SECOND);
    client.queue("four").get().await.unwrap().expect("through the full queue").requeue().unwrap();
    let end = client.queue("end").get().await.unwrap().expect("the end of the chain");
    assert_eq!(
        deaths(&end),
        [
            death("four", "delivery_limit", 1),
            death("three", "maxlen", 1),
            death("two", "expired", 1),
            death("one", "rejected", 1),
        ]
    );
}

#[tokio::test]
async fn a_message_ttl_does_not_follow_the_message_into_the_next_queue() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    client.queue("dead").declare().await.unwrap();
    publish(&client, "", "q", Message::new("m").ttl(SECOND)).await;
    broker.advance(SECOND);
    broker.advance(3600 * SECOND);
    let dead = client.queue("dead").get().await.unwrap().expect("still there");
    assert_eq!(dead.properties().expiration, None);
    assert!(dead.header("x-death").unwrap().to_string().contains("original-expiration: 1000"));
}

#[tokio::test]
async fn a_cycle_of_expiry_ends_and_is_counted() {
    let (broker, client) = start_and_connect().await;
    client.queue("a").message_ttl(SECOND).dead_letter("").dead_letter_key("b").declare().await.unwrap();
    client.queue("b").message_ttl(SECOND).dead_letter("").dead_letter_key("a").declare().await.unwrap();
    publish(&client, "", "a", "round").await;
    broker.advance(SECOND);
    assert_eq!((depth(&client, "a").await, depth(&client, "b").await), ((0, 0), (1, 0)));
    assert_eq!(broker.broker().counters().dead_letters_ended(), 0);
    broker.advance(SECOND);
    assert_eq!((depth(&client, "a").await, depth(&client, "b").await), ((0, 0), (0, 0)));
    assert_eq!(broker.broker().counters().dead_letters_ended(), 1);
}

#[tokio::test]
async fn a_queue_that_is_its_own_dead_letter_target_ends_at_once() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").max_length(1).dead_letter("").dead_letter_key("q").declare().await.unwrap();
    fill_numbers(&client, "q", 3).await;
    assert_eq!(drain(&client, "q").await, ["3"]);
    assert_eq!(broker.broker().counters().dead_letters_ended(), 2);
}

#[tokio::test]
async fn a_rejection_on_the_way_keeps_a_cycle_alive() {
    let (broker, client) = start_and_connect().await;
    client.queue("work").dead_letter("").dead_letter_key("retry").declare().await.unwrap();
    let retry = client.queue("retry").message_ttl(SECOND);
    retry.dead_letter("").dead_letter_key("work").declare().await.unwrap();
    publish(&client, "", "work", "m").await;
    for round in 1..=20 {
        let delivery = client.queue("work").get().await.unwrap().expect("back for another try");
        if round > 1 {
            let history = [death("retry", "expired", round - 1), death("work", "rejected", round - 1)];
            assert_eq!(deaths(&delivery), history);
        }
        delivery.reject("not yet").unwrap();
        settled(&client).await;
        broker.advance(SECOND);
    }
    assert_eq!(broker.broker().counters().dead_letters_ended(), 0);
}

#[tokio::test]
async fn dead_letters_without_a_queue_are_counted() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").dead_letter("not there").declare().await.unwrap();
    publish(&client, "", "q", "m").await;
    client.queue("q").get().await.unwrap().unwrap().reject("no").unwrap();
    settled(&client).await;
    assert_eq!(broker.broker().counters().dead_letters_unroutable(), 1);
    assert_eq!(depth(&client, "q").await, (0, 0));
}

#[tokio::test]
async fn the_delivery_limit_ends_a_message_that_keeps_coming_back() {
    let (_broker, client) = start_and_connect().await;
    client.queue("dead").declare().await.unwrap();
    let queue = client.queue("q").delivery_limit(2);
    queue.dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    fill(&client, "q", ["poison", "fine"]).await;
    for count in 0..=2 {
        let delivery = client.queue("q").get().await.unwrap().unwrap();
        assert_eq!((delivery.text(), delivery.delivery_count()), (Some("poison"), count));
        delivery.requeue().unwrap();
    }
    assert_eq!(drain(&client, "q").await, ["fine"]);
    let dead = client.queue("dead").get().await.unwrap().expect("the poison");
    assert_eq!(deaths(&dead), [death("q", "delivery_limit", 1)]);
}

#[tokio::test]
async fn a_dead_letter_to_a_consumer_arrives_by_itself() {
    let (broker, client) = start_and_connect().await;
    client.queue("dead").declare().await.unwrap();
    client.queue("q").message_ttl(SECOND).dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    let mut consumer = client.consume("dead").start().await.unwrap();
    fill_numbers(&client, "q", 3).await;
    broker.advance(SECOND);
    assert_eq!(take_bodies(&mut consumer, 3).await, numbers(3));
}
