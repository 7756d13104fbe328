//! Full queues: what goes, and who is told.

use rialto_client::{Message, Outcome, Overflow};

use crate::support::*;

#[tokio::test]
async fn drop_head_lets_the_oldest_go() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length(3).declare().await.unwrap();
    fill_numbers(&client, "q", 5).await;
    assert_eq!(drain(&client, "q").await, ["3", "4", "5"]);
}

#[tokio::test]
async fn the_limit_in_bytes_counts_bodies() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length_bytes(100).declare().await.unwrap();
    for (body, name) in [("a", 40), ("b", 40), ("c", 20), ("d", 60)] {
        publish(&client, "", "q", Message::new(body.repeat(name)).header("not", "counted")).await;
    }
    let left: Vec<_> = drain(&client, "q").await.iter().map(|body| body[..1].to_owned()).collect();
    assert_eq!(left, ["c", "d"]);
}

#[tokio::test]
async fn a_message_larger_than_the_limit_does_not_stay() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length_bytes(10).declare().await.unwrap();
    publish(&client, "", "q", "eleven byte").await;
    assert_eq!(depth(&client, "q").await, (0, 0));
}

#[tokio::test]
async fn unacked_messages_do_not_count() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length(1).overflow(Overflow::RejectPublish).declare().await.unwrap();
    let mut consumer = client.consume("q").prefetch(1).start().await.unwrap();
    fill(&client, "q", ["held", "ready"]).await;
    let _held = next(&mut consumer).await;
    let outcome = client.publish("", "q", "too many").await.unwrap().await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected { code: 406, .. }), "{outcome:?}");
}

#[tokio::test]
async fn reject_publish_keeps_the_old_and_takes_again_when_there_is_room() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length(1).overflow(Overflow::RejectPublish).declare().await.unwrap();
    fill(&client, "q", ["old"]).await;
    assert!(!client.publish("", "q", "new").await.unwrap().await.unwrap().is_accepted());
    assert_eq!(drain(&client, "q").await, ["old"]);
    fill(&client, "q", ["newer"]).await;
    assert_eq!(drain(&client, "q").await, ["newer"]);
}

#[tokio::test]
async fn reject_publish_dlx_dead_letters_the_new_message_and_tells_its_publisher() {
    let (_broker, client) = start_and_connect().await;
    client.queue("dead").declare().await.unwrap();
    let queue = client.queue("q").max_length(1).overflow(Overflow::RejectPublishDeadLetter);
    queue.dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    fill(&client, "q", ["old"]).await;
    let outcome = client.publish("", "q", "new").await.unwrap().await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected { code: 406, .. }), "{outcome:?}");
    let dead = client.queue("dead").get().await.unwrap().expect("the refused message");
    assert_eq!((dead.text(), deaths(&dead)), (Some("new"), vec![death("q", "maxlen", 1)]));
    assert_eq!(drain(&client, "q").await, ["old"]);
}

#[tokio::test]
async fn what_drop_head_drops_is_dead_lettered_in_order() {
    let (_broker, client) = start_and_connect().await;
    client.queue("dead").declare().await.unwrap();
    client.queue("q").max_length(2).dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    fill_numbers(&client, "q", 5).await;
    assert_eq!(drain(&client, "dead").await, ["1", "2", "3"]);
    assert_eq!(drain(&client, "q").await, ["4", "5"]);
}

#[tokio::test]
async fn a_message_that_comes_back_to_a_full_queue_makes_the_head_go() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length(2).declare().await.unwrap();
    fill(&client, "q", ["1", "2"]).await;
    let held = client.queue("q").get().await.unwrap().unwrap();
    fill(&client, "q", ["3"]).await;
    held.requeue().unwrap();
    assert_eq!(drain(&client, "q").await, ["2", "3"], "its old place is the head");
}
