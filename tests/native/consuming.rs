//! Who gets a message: fair turns, prefetch, priorities, exclusive and single active consumers, credit.

use rialto_client::Error;
use rialto_protocol::native::{Command, Consume, Request, Settlement};
use rialto_protocol::types::FieldTable;

use crate::support::peer::{CHANNEL, Delivered, Peer, consumer, name};
use crate::support::*;

/// Who got what, as `consumer: body`.
fn turns(deliveries: &[Delivered]) -> Vec<(u32, &str)> {
    deliveries.iter().map(|delivery| (delivery.consumer, delivery.body.as_str())).collect()
}

#[tokio::test]
async fn consumers_with_room_take_strict_turns() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    for number in 1..=3 {
        peer.consume(consumer(number, "q", 0)).await;
    }
    peer.fill("q", &["a", "b", "c", "d", "e", "f", "g"]).await;
    let mut deliveries = peer.deliveries(7).await;
    deliveries.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!(turns(&deliveries), [(1, "a"), (2, "b"), (3, "c"), (1, "d"), (2, "e"), (3, "f"), (1, "g")]);
}

#[tokio::test]
async fn a_consumer_without_room_is_passed_over_and_joins_again_when_it_has_some() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 1)).await;
    peer.consume(consumer(2, "q", 3)).await;
    peer.fill("q", &["a", "b", "c", "d", "e", "f"]).await;
    let mut first = peer.deliveries_so_far().await;
    first.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!(turns(&first), [(1, "a"), (2, "b"), (2, "c"), (2, "d")]);
    peer.ack(1, 1, 1).await;
    assert_eq!(turns(&peer.deliveries_so_far().await), [(1, "e")]);
    peer.ack(2, 1, 1).await;
    assert_eq!(turns(&peer.deliveries_so_far().await), [(2, "f")]);
}

#[tokio::test]
async fn one_consumer_gets_messages_in_the_order_of_publishing() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let mut consumer = client.consume("q").prefetch(10).start().await.unwrap();
    fill_numbers(&client, "q", 1000).await;
    assert_eq!(take_bodies_one_by_one(&mut consumer, 1000).await, numbers(1000));
}

async fn take_bodies_one_by_one(consumer: &mut rialto_client::Consumer, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.extend(take_bodies(consumer, 1).await);
    }
    all
}

#[tokio::test]
async fn prefetch_is_the_most_that_a_consumer_holds_unsettled() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill_numbers(&client, "q", 10).await;
    let mut consumer = client.consume("q").prefetch(3).start().await.unwrap();
    let mut held = take(&mut consumer, 3).await;
    assert_idle(&client, &mut consumer).await;
    assert_eq!(depth(&client, "q").await, (7, 3));
    held.remove(1).ack().unwrap();
    held.push(next(&mut consumer).await);
    assert_eq!(bodies(&held), ["1", "3", "4"]);
    assert_idle(&client, &mut consumer).await;
}

#[tokio::test]
async fn prefetch_zero_means_unlimited() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.fill("q", &["m"; 500]).await;
    peer.consume(consumer(1, "q", 0)).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 500);
}

#[tokio::test]
async fn a_channel_prefetch_is_shared_by_its_consumers_and_by_no_other_channel() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    for queue in ["a", "b", "c"] {
        peer.declare_queue(queue).await;
        peer.fill(queue, &["1", "2", "3", "4"]).await;
    }
    peer.request(Request::SetPrefetch { messages: 3 }).await.unwrap();
    peer.consume(consumer(1, "a", 2)).await;
    peer.consume(consumer(2, "b", 0)).await;
    let held = peer.deliveries_so_far().await;
    assert_eq!(turns(&held), [(1, "1"), (1, "2"), (2, "1")], "two by its own prefetch, then what is left");
    peer.ack(1, 1, 1).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 1, "one place for both");
    peer.open_channel(2).await;
    peer.consume_on(2, consumer(1, "c", 0)).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 4, "another channel has no part in it");
    peer.request(Request::SetPrefetch { messages: 0 }).await.unwrap();
    assert!(!peer.deliveries_so_far().await.is_empty(), "no limit any more");
}

#[tokio::test]
async fn a_channel_prefetch_counts_what_its_consumers_held_before() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 0)).await;
    peer.fill("q", &["1", "2"]).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 2);
    peer.request(Request::SetPrefetch { messages: 2 }).await.unwrap();
    peer.fill("q", &["3", "4"]).await;
    assert_eq!(peer.deliveries_so_far().await, [], "both places are taken");
    peer.ack(1, 1, 1).await;
    assert_eq!(turns(&peer.deliveries_so_far().await), [(1, "3")]);
    peer.ack(1, 2, 3).await;
    assert_eq!(turns(&peer.deliveries_so_far().await), [(1, "4")]);
}

#[tokio::test]
async fn consumers_of_higher_priority_are_served_first_while_they_have_room() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    let priority = |number, prefetch, priority: i32| Consume {
        arguments: FieldTable::new().with("x-priority", priority),
        ..consumer(number, "q", prefetch)
    };
    peer.consume(priority(1, 0, -5)).await;
    peer.consume(priority(2, 2, 10)).await;
    peer.consume(consumer(3, "q", 1)).await;
    peer.fill("q", &["a", "b", "c", "d", "e"]).await;
    let mut deliveries = peer.deliveries_so_far().await;
    deliveries.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!(turns(&deliveries), [(2, "a"), (2, "b"), (3, "c"), (1, "d"), (1, "e")]);
    peer.ack(2, 1, 2).await;
    peer.fill("q", &["f"]).await;
    assert_eq!(turns(&peer.deliveries_so_far().await), [(2, "f")]);
}

#[tokio::test]
async fn an_exclusive_consumer_is_the_only_one() {
    let (broker, client) = start_and_connect().await;
    let other = connect(&broker).await;
    client.queue("q").declare().await.unwrap();
    let alone = client.consume("q").exclusive().start().await.unwrap();
    let in_use = (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use".to_owned());
    assert_eq!(refusal(other.consume("q").start().await), in_use);
    assert_eq!(refusal(client.consume("q").exclusive().start().await), in_use);
    alone.cancel().await.unwrap();
    let _shared = other.consume("q").start().await.expect("free again");
    assert_eq!(refusal(client.consume("q").exclusive().start().await), in_use);
}

#[tokio::test]
async fn a_single_active_consumer_has_all_and_the_next_takes_over_when_it_goes() {
    let broker = start().await;
    let (mut first, mut second) = (Peer::connect(&broker).await, Peer::connect(&broker).await);
    let client = connect(&broker).await;
    client.queue("q").single_active_consumer().declare().await.unwrap();
    first.consume(consumer(1, "q", 2)).await;
    second.consume(consumer(1, "q", 2)).await;
    fill(&client, "q", ["a", "b", "c"]).await;
    assert_eq!(turns(&first.deliveries_so_far().await), [(1, "a"), (1, "b")]);
    assert_eq!(second.deliveries_so_far().await, [], "though the active one has no room");
    drop(first);
    let taken_over = second.deliveries(2).await;
    assert_eq!(turns(&taken_over), [(1, "a"), (1, "b")], "in order, what the dead one held included");
    assert!(taken_over.iter().all(|delivery| delivery.redelivered));
}

#[tokio::test]
async fn a_cancelled_single_active_consumer_settles_before_the_next_begins() {
    let broker = start().await;
    let (mut first, mut second) = (Peer::connect(&broker).await, Peer::connect(&broker).await);
    let client = connect(&broker).await;
    client.queue("q").single_active_consumer().declare().await.unwrap();
    first.consume(consumer(1, "q", 1)).await;
    second.consume(consumer(1, "q", 1)).await;
    fill(&client, "q", ["a", "b"]).await;
    assert_eq!(turns(&first.deliveries(1).await), [(1, "a")]);
    first.request(Request::Cancel { consumer: 1 }).await.unwrap();
    first.ack(1, 1, 1).await;
    assert_eq!(turns(&second.deliveries(1).await), [(1, "b")]);
}

#[tokio::test]
async fn a_cancelled_consumer_gets_no_more_and_can_settle_what_it_holds() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 2)).await;
    peer.fill("q", &["a", "b", "c"]).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 2);
    peer.request(Request::Cancel { consumer: 1 }).await.unwrap();
    peer.ack(1, 1, 1).await;
    assert_eq!(peer.deliveries_so_far().await, []);
    let figures = stats(&broker, "q").unwrap();
    assert_eq!((figures.ready, figures.unacked, figures.consumers), (1, 1, 0));
    peer.settle(1, Settlement::Requeue, 2, 2).await;
    peer.settled().await;
    assert_eq!(stats(&broker, "q").unwrap().ready, 2);
}

#[tokio::test]
async fn a_consumer_number_is_free_again_when_all_is_settled() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 1)).await;
    peer.fill("q", &["a", "b"]).await;
    peer.deliveries(1).await;
    peer.request(Request::Cancel { consumer: 1 }).await.unwrap();
    let (code, _) = peer.request(Request::Consume(consumer(1, "q", 1))).await.unwrap_err();
    assert_eq!(code, 406);
    peer.ack(1, 1, 1).await;
    peer.consume(consumer(1, "q", 1)).await;
    assert_eq!(turns(&peer.deliveries(1).await), [(1, "b")]);
}

#[tokio::test]
async fn deleting_a_queue_tells_its_consumers_why_they_end() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let mut consumer = client.consume("q").start().await.unwrap();
    fill(&client, "q", ["last"]).await;
    let held = next(&mut consumer).await;
    client.queue("q").delete().await.unwrap();
    let end = soon("the end", consumer.next()).await.expect("a last word").expect_err("an error");
    let Error::ConsumerCancelled { queue, reason } = end else { panic!("{end}") };
    assert_eq!((&*queue, &*reason), ("q", "queue 'q' was deleted"));
    assert!(consumer.next().await.is_none());
    held.ack().expect("settling what went with the queue is late, not wrong");
    settled(&client).await;
    assert!(matches!(*client.state().borrow(), rialto_client::ConnectionState::Connected));
}

#[tokio::test]
async fn auto_ack_settles_as_it_sends() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill_numbers(&client, "q", 100).await;
    let mut consumer = client.consume("q").auto_ack().start().await.unwrap();
    assert_eq!(bodies(&take(&mut consumer, 100).await), numbers(100));
    let figures = stats(&broker, "q").unwrap();
    assert_eq!((figures.ready, figures.unacked), (0, 0));
    drop(consumer);
    assert_eq!(depth(&client, "q").await, (0, 0), "nothing comes back");
}

#[tokio::test]
async fn a_consumer_with_credit_gets_that_many_messages_and_no_more() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.fill("q", &["1", "2", "3", "4", "5"]).await;
    peer.consume(Consume { credit: Some((2, 1 << 20)), ..consumer(1, "q", 0) }).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 2);
    peer.ack(1, 1, 2).await;
    assert_eq!(peer.deliveries_so_far().await, [], "an ack is no credit");
    peer.send(CHANNEL, Command::Credit { consumer: 1, messages: 2, bytes: 0 }).await;
    assert_eq!(turns(&peer.deliveries_so_far().await), [(1, "3"), (1, "4")]);
}

#[tokio::test]
async fn credit_in_bytes_goes_below_zero_through_one_message_only() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    let body = "x".repeat(1000);
    peer.fill("q", &[body.as_str(); 4]).await;
    peer.consume(Consume { credit: Some((100, 1500)), ..consumer(1, "q", 0) }).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 2, "the second takes it below zero");
    peer.send(CHANNEL, Command::Credit { consumer: 1, messages: 0, bytes: 500 }).await;
    assert_eq!(peer.deliveries_so_far().await, [], "still at or below zero");
    peer.send(CHANNEL, Command::Credit { consumer: 1, messages: 0, bytes: 100 }).await;
    assert_eq!(peer.deliveries_so_far().await.len(), 1);
}

#[tokio::test]
async fn tags_are_the_consumers_own_and_consecutive() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    for number in [1, 2] {
        peer.consume(consumer(number, "q", 0)).await;
    }
    peer.fill("q", &["m"; 6]).await;
    let deliveries = peer.deliveries(6).await;
    for number in [1, 2] {
        let tags: Vec<_> =
            deliveries.iter().filter(|this| this.consumer == number).map(|this| this.tag).collect();
        assert_eq!(tags, [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_consumer_tag_is_unique_on_its_channel() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    let tagged = |number| Consume { tag: name("worker"), ..consumer(number, "q", 1) };
    peer.consume(tagged(1)).await;
    let (code, text) = peer.request(Request::Consume(tagged(2))).await.unwrap_err();
    assert_eq!((code, text.as_str()), (530, "NOT_ALLOWED - attempt to reuse consumer tag 'worker'"));
}

#[tokio::test]
async fn a_dead_connection_frees_its_exclusive_consumer_and_its_auto_delete_queue() {
    let (broker, client) = start_and_connect().await;
    client.queue("alone").declare().await.unwrap();
    client.queue("gone").auto_delete().declare().await.unwrap();
    let mut peer = Peer::connect(&broker).await;
    peer.consume(Consume { exclusive: true, ..consumer(1, "alone", 0) }).await;
    peer.consume(consumer(2, "gone", 0)).await;
    drop(peer);
    until("the auto-delete queue to go", || stats(&broker, "gone").is_none()).await;
    until("the consumer to go", || stats(&broker, "alone").unwrap().consumers == 0).await;
    client.consume("alone").exclusive().start().await.expect("free again");
}
