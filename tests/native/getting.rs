//! Taking messages without a consumer, and emptying a queue.

use rialto_protocol::native::{Request, Response, Settlement};

use crate::support::peer::{Peer, name};
use crate::support::*;

#[tokio::test]
async fn get_takes_the_oldest_ready_message() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill(&client, "q", ["1", "2"]).await;
    let first = client.queue("q").get().await.unwrap().unwrap();
    let second = client.queue("q").get().await.unwrap().unwrap();
    assert_eq!((first.text(), second.text()), (Some("1"), Some("2")));
    assert!(client.queue("q").get().await.unwrap().is_none());
    first.requeue().unwrap();
    second.ack().unwrap();
    assert_eq!(depth(&client, "q").await, (1, 0));
    let again = client.queue("q").get().await.unwrap().unwrap();
    assert_eq!((again.text(), again.redelivered(), again.delivery_count()), (Some("1"), true, 1));
}

#[tokio::test]
async fn get_tells_how_many_are_left_and_tags_in_a_row_of_its_own() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    for queue in ["a", "b"] {
        peer.declare_queue(queue).await;
        peer.fill(queue, &["m", "m"]).await;
    }
    let mut got = Vec::new();
    for (queue, auto_ack) in [("a", false), ("b", true), ("a", false)] {
        let request = Request::Get { queue: name(queue), auto_ack };
        let Ok(Response::Got { tag, remaining, .. }) = peer.request(request).await else {
            panic!("a message")
        };
        got.push((tag, remaining));
    }
    assert_eq!(got, [(1, 1), (2, 1), (3, 0)]);
    assert_eq!(stats(&broker, "b").unwrap().unacked, 0, "settled as it was sent");
    peer.settle(0, Settlement::Requeue, 1, 3).await;
    peer.settled().await;
    let figures = stats(&broker, "a").unwrap();
    assert_eq!((figures.ready, figures.unacked), (2, 0));
    let request = Request::Get { queue: name("empty"), auto_ack: false };
    peer.declare_queue("empty").await;
    assert_eq!(peer.request(request).await, Ok(Response::Empty));
}

#[tokio::test]
async fn a_tag_that_no_get_had_closes_the_channel_only() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.fill("q", &["m"]).await;
    peer.request(Request::Get { queue: name("q"), auto_ack: false }).await.unwrap();
    peer.ack(0, 2, 2).await;
    assert_eq!(peer.channel_closed().await.code, 406);
    until("the message to come back", || stats(&broker, "q").unwrap().ready == 1).await;
}

#[tokio::test]
async fn a_connection_that_dies_gives_back_what_it_got() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.fill("q", &["1", "2"]).await;
    peer.request(Request::Get { queue: name("q"), auto_ack: false }).await.unwrap();
    drop(peer);
    until("the message to come back", || stats(&broker, "q").unwrap().unacked == 0).await;
    let client = connect(&broker).await;
    assert_eq!(drain(&client, "q").await, ["1", "2"]);
}

#[tokio::test]
async fn purge_drops_the_ready_messages_and_leaves_the_unacked() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    client.queue("dead").declare().await.unwrap();
    fill_numbers(&client, "q", 5).await;
    let held = client.queue("q").get().await.unwrap().unwrap();
    assert_eq!(client.queue("q").purge().await.unwrap(), 4);
    assert_eq!(depth(&client, "q").await, (0, 1));
    held.requeue().unwrap();
    assert_eq!(drain(&client, "q").await, ["1"]);
    assert_eq!(depth(&client, "dead").await, (0, 0), "purged is not dead-lettered");
}
