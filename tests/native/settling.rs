//! What becomes of delivered messages: ack, requeue, reject, and what a death gives back.

use rialto_protocol::native::{Command, Request, Settle, Settlement};
use rialto_protocol::types::ShortStr;

use crate::support::peer::{CHANNEL, Peer, consumer};
use crate::support::*;

/// A queue `q` with these messages, and a peer whose consumer 1 holds the first of them.
async fn holding(bodies: &[&str], held: u32) -> (rialto::server::Embedded, Peer) {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.fill("q", bodies).await;
    peer.consume(consumer(1, "q", held)).await;
    peer.deliveries(held as usize).await;
    (broker, peer)
}

fn figures(broker: &rialto::server::Embedded) -> (u64, u64) {
    let stats = stats(broker, "q").unwrap();
    (stats.ready, stats.unacked)
}

#[tokio::test]
async fn a_range_of_tags_is_settled_at_once() {
    let (broker, mut peer) = holding(&["m"; 5], 5).await;
    let ranges = vec![(1, 2), (4, 5)];
    let settle = Settle { consumer: 1, settlement: Settlement::Ack, ranges };
    peer.send(CHANNEL, Command::Settle(settle)).await;
    peer.settled().await;
    assert_eq!(figures(&broker), (0, 1));
}

#[tokio::test]
async fn settling_twice_is_harmless() {
    let (broker, mut peer) = holding(&["1", "2", "3"], 3).await;
    peer.ack(1, 2, 2).await;
    peer.settle(1, Settlement::Requeue, 2, 2).await;
    peer.ack(1, 1, 3).await;
    peer.ack(1, 1, 3).await;
    peer.settled().await;
    assert_eq!(figures(&broker), (0, 0));
    assert!(peer.inbox.is_empty(), "{:?}", peer.inbox);
}

#[tokio::test]
async fn a_requeued_message_returns_to_its_old_place() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill_numbers(&client, "q", 5).await;
    let mut consumer = client.consume("q").prefetch(3).start().await.unwrap();
    let mut held = take(&mut consumer, 3).await;
    consumer.cancel().await.unwrap();
    held.remove(2).ack().unwrap();
    held.remove(0).requeue().unwrap();
    settled(&client).await;
    assert_eq!(depth(&client, "q").await, (3, 1));
    held.remove(0).requeue().unwrap();
    assert_eq!(drain(&client, "q").await, ["1", "2", "4", "5"]);
}

#[tokio::test]
async fn a_message_that_came_back_says_so_and_counts() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    publish(&client, "", "q", "again and again").await;
    let mut consumer = client.consume("q").start().await.unwrap();
    for round in 0..3 {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.redelivered(), delivery.delivery_count()), (round > 0, round));
        delivery.requeue().unwrap();
    }
}

#[tokio::test]
async fn a_delivery_that_is_dropped_goes_back() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    publish(&client, "", "q", "m").await;
    let mut consumer = client.consume("q").start().await.unwrap();
    drop(next(&mut consumer).await);
    assert!(next(&mut consumer).await.redelivered());
}

#[tokio::test]
async fn a_rejected_message_is_gone_where_nobody_wants_dead_letters() {
    let (broker, mut peer) = holding(&["1", "2"], 1).await;
    peer.settle(1, Settlement::Reject { reason: ShortStr::default() }, 1, 1).await;
    assert_eq!(peer.deliveries(1).await[0].body, "2");
    assert_eq!(figures(&broker), (0, 1));
    assert_eq!(stats(&broker, "q").unwrap().totals.rejected, 1);
}

#[tokio::test]
async fn a_connection_that_dies_gives_its_messages_back_in_order() {
    let (broker, peer) = holding(&["1", "2", "3", "4", "5"], 3).await;
    drop(peer);
    until("the messages to come back", || figures(&broker) == (5, 0)).await;
    let client = connect(&broker).await;
    let mut consumer = client.consume("q").start().await.unwrap();
    let deliveries = take(&mut consumer, 5).await;
    assert_eq!(bodies(&deliveries), numbers(5));
    let redelivered: Vec<_> = deliveries.iter().map(|delivery| delivery.redelivered()).collect();
    assert_eq!(redelivered, [true, true, true, false, false]);
}

#[tokio::test]
async fn what_several_consumers_of_a_dead_connection_held_comes_back_once() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.open_channel(2).await;
    for number in [1, 2] {
        peer.consume(consumer(number, "q", 0)).await;
        peer.consume_on(2, consumer(number, "q", 0)).await;
    }
    peer.fill("q", &["1", "2", "3", "4", "5", "6", "7", "8"]).await;
    peer.deliveries(8).await;
    // Each of them has room for what the others give back, and none may get it.
    drop(peer);
    until("the messages to come back", || figures(&broker) == (8, 0)).await;
    let client = connect(&broker).await;
    let mut consumer = client.consume("q").start().await.unwrap();
    let deliveries = take(&mut consumer, 8).await;
    assert_eq!(bodies(&deliveries), numbers(8));
    let counts: Vec<_> = deliveries.iter().map(|delivery| delivery.delivery_count()).collect();
    assert_eq!(counts, [1; 8], "one failed delivery each");
}

#[tokio::test]
async fn closing_a_channel_gives_back_what_it_holds_and_nothing_else() {
    let (broker, mut peer) = holding(&["1", "2", "3", "4"], 2).await;
    peer.open_channel(2).await;
    peer.consume_on(2, consumer(1, "q", 1)).await;
    peer.deliveries(1).await;
    assert_eq!(figures(&broker), (1, 3));
    peer.send(CHANNEL, Command::CloseChannel { correlation: 99 }).await;
    peer.open_channel(3).await;
    assert_eq!(figures(&broker), (3, 1));
}

#[tokio::test]
async fn a_tag_that_was_never_delivered_closes_the_channel_only() {
    let (broker, mut peer) = holding(&["1", "2"], 1).await;
    peer.open_channel(2).await;
    peer.ack(1, 1, 2).await;
    let closing = peer.channel_closed().await;
    assert_eq!(closing.code, 406);
    until("the message to come back", || figures(&broker) == (2, 0)).await;
    let request = Request::QueueInfo { name: crate::support::peer::name("q") };
    peer.request_on(2, request).await.expect("the connection goes on");
    peer.open_channel(CHANNEL).await;
    peer.consume(consumer(1, "q", 1)).await;
    let again = peer.deliveries(1).await;
    assert_eq!((again[0].tag, again[0].redelivered), (1, true), "tags start anew");
}

#[tokio::test]
async fn settling_for_a_consumer_that_never_was_closes_the_channel_only() {
    let (_broker, mut peer) = holding(&["1"], 1).await;
    peer.ack(7, 1, 1).await;
    assert_eq!(peer.channel_closed().await.code, 406);
    peer.open_channel(CHANNEL).await;
}

#[tokio::test]
async fn a_message_is_answered_before_the_question_is_settled() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    for queue in ["questions", "answers"] {
        peer.declare_queue(queue).await;
    }
    peer.fill("questions", &["?"]).await;
    peer.consume(consumer(1, "questions", 1)).await;
    peer.deliveries(1).await;
    peer.publish("", "answers", &[b"!"]).await;
    peer.ack(1, 1, 1).await;
    peer.settled().await;
    assert_eq!(stats(&broker, "answers").unwrap().ready, 1);
    assert_eq!(stats(&broker, "questions").unwrap().unacked, 0);
}
