//! Exchanges and queues come and go: declares, their refusals, and what deletes things by itself.

use std::time::Duration;

use crate::support::peer::Peer;
use crate::support::*;

#[tokio::test]
async fn declaring_again_with_the_same_options_is_fine() {
    let (_broker, client) = start_and_connect().await;
    for _ in 0..2 {
        client.exchange("x").topic().durable().declare().await.unwrap();
        client.queue("q").durable().max_priority(5).declare().await.unwrap();
    }
}

#[tokio::test]
async fn a_declare_tells_ready_messages_and_consumers() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill(&client, "q", ["1", "2", "3"]).await;
    let mut consumer = client.consume("q").prefetch(1).start().await.unwrap();
    let _held = next(&mut consumer).await;
    let info = client.queue("q").declare().await.unwrap();
    assert_eq!((&*info.name, info.messages, info.consumers), ("q", 2, 1));
}

#[tokio::test]
async fn a_passive_declare_only_looks() {
    let (_broker, client) = start_and_connect().await;
    assert_eq!(client.queue("q").exists().await.unwrap(), None);
    assert!(!client.exchange("x").exists().await.unwrap());
    client.queue("q").durable().declare().await.unwrap();
    client.exchange("x").fanout().declare().await.unwrap();
    assert!(client.queue("q").exists().await.unwrap().is_some(), "whatever its options");
    assert!(client.exchange("x").exists().await.unwrap(), "whatever its type");
}

#[tokio::test]
async fn a_queue_declared_differently_is_refused_in_the_words_that_clients_know() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").message_ttl(Duration::from_secs(1)).declare().await.unwrap();
    assert_eq!(
        refusal(client.queue("q").durable().message_ttl(Duration::from_secs(1)).declare().await),
        (
            406,
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': \
             received 'true' but current is 'false'"
                .to_owned()
        )
    );
    let (code, text) = refusal(client.queue("q").declare().await);
    assert_eq!(code, 406);
    assert!(text.contains("inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/'"), "{text}");
    client.queue("q").message_ttl(Duration::from_secs(1)).declare().await.expect("unharmed");
}

#[tokio::test]
async fn an_exchange_declared_differently_is_refused_in_the_words_that_clients_know() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").topic().declare().await.unwrap();
    assert_eq!(
        refusal(client.exchange("x").direct().declare().await),
        (
            406,
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': \
             received 'direct' but current is 'topic'"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn names_that_begin_with_amq_belong_to_the_broker() {
    let (_broker, client) = start_and_connect().await;
    let (code, text) = refusal(client.queue("amq.mine").declare().await);
    assert_eq!(
        (code, text.as_str()),
        (403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'")
    );
    assert_eq!(refusal(client.exchange("amq.mine").declare().await).0, 403);
    assert_eq!(refusal(client.exchange("amq.topic").delete().await).0, 403);
    client.exchange("amq.topic").topic().durable().declare().await.expect("it exists like that");
}

#[tokio::test]
async fn arguments_without_sense_are_refused() {
    let (broker, client) = start_and_connect().await;
    for (argument, value) in [("x-max-priority", 256), ("x-message-ttl", -1), ("x-expires", 0)] {
        let (code, text) = refusal(client.queue("q").argument(argument, value).declare().await);
        assert_eq!(code, 406, "{text}");
        assert!(text.contains(argument), "{text}");
    }
    assert_eq!(refusal(client.exchange("x").kind("tropic").declare().await).0, 406);
    assert!(stats(&broker, "q").is_none());
}

#[tokio::test]
async fn a_queue_without_a_name_gets_one() {
    let (_broker, client) = start_and_connect().await;
    let one = client.queue("").declare().await.unwrap().name;
    let other = client.queue("").declare().await.unwrap().name;
    assert!(one.starts_with("amq.gen-") && one != other, "{one} {other}");
    publish(&client, "", &one, "there").await;
    assert_eq!(drain(&client, &one).await, ["there"]);
}

#[tokio::test]
async fn an_exclusive_queue_is_locked_for_everybody_else() {
    let (broker, owner) = start_and_connect().await;
    let other = connect(&broker).await;
    owner.queue("mine").exclusive().declare().await.unwrap();
    let (code, text) = refusal(other.queue("mine").exclusive().declare().await);
    assert_eq!(code, 405);
    assert!(
        text.starts_with("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine'"),
        "{text}"
    );
    assert_eq!(refusal(other.queue("mine").get().await).0, 405);
    assert_eq!(refusal(other.queue("mine").purge().await).0, 405);
    assert_eq!(refusal(other.queue("mine").delete().await).0, 405);
    assert_eq!(refusal(other.consume("mine").start().await).0, 405);
    publish(&other, "", "mine", "publishing is free for all").await;
    assert_eq!(drain(&owner, "mine").await.len(), 1);
}

#[tokio::test]
async fn exclusive_queues_vanish_with_their_connection() {
    let (broker, owner) = start_and_connect().await;
    owner.queue("mine").exclusive().declare().await.unwrap();
    owner.queue("ours").declare().await.unwrap();
    owner.close().await.unwrap();
    until("the exclusive queue to go", || stats(&broker, "mine").is_none()).await;
    assert!(stats(&broker, "ours").is_some());
}

#[tokio::test]
async fn exclusive_queues_vanish_with_a_connection_that_dies() {
    let (broker, client) = start_and_connect().await;
    let mut peer = Peer::connect(&broker).await;
    let request = rialto_protocol::native::Request::DeclareQueue {
        name: crate::support::peer::name("mine"),
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: false,
        arguments: Default::default(),
    };
    peer.request(request).await.unwrap();
    drop(peer);
    until("the exclusive queue to go", || stats(&broker, "mine").is_none()).await;
    client.queue("mine").declare().await.expect("the name is free again");
}

#[tokio::test]
async fn an_auto_delete_queue_goes_with_its_last_consumer_not_before_its_first() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").auto_delete().declare().await.unwrap();
    settled(&client).await;
    assert!(stats(&broker, "q").is_some(), "nobody has consumed yet");
    let one = client.consume("q").start().await.unwrap();
    let two = client.consume("q").start().await.unwrap();
    one.cancel().await.unwrap();
    assert!(stats(&broker, "q").is_some());
    two.cancel().await.unwrap();
    assert!(stats(&broker, "q").is_none());
}

#[tokio::test]
async fn an_auto_delete_exchange_goes_with_its_last_binding_not_before_its_first() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").fanout().auto_delete().declare().await.unwrap();
    client.queue("q").declare().await.unwrap();
    assert!(client.exchange("x").exists().await.unwrap());
    client.queue("q").bind("x", "a").await.unwrap();
    client.queue("q").bind("x", "b").await.unwrap();
    client.queue("q").unbind("x", "a").await.unwrap();
    assert!(client.exchange("x").exists().await.unwrap());
    client.queue("q").delete().await.unwrap();
    assert!(!client.exchange("x").exists().await.unwrap());
}

#[tokio::test]
async fn deleting_counts_the_messages_and_what_does_not_exist_is_fine() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    fill(&client, "q", ["1", "2"]).await;
    assert_eq!(client.queue("q").delete().await.unwrap(), 2);
    assert_eq!(client.queue("q").delete().await.unwrap(), 0);
    client.exchange("never there").delete().await.unwrap();
}

#[tokio::test]
async fn if_unused_and_if_empty_protect_a_queue() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let consumer = client.consume("q").start().await.unwrap();
    assert_eq!(
        refusal(client.queue("q").delete_if_unused().await),
        (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use".to_owned())
    );
    consumer.cancel().await.unwrap();
    fill(&client, "q", ["1"]).await;
    assert_eq!(
        refusal(client.queue("q").delete_if_empty().await),
        (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty".to_owned())
    );
    assert_eq!(client.queue("q").delete_if_unused().await.unwrap(), 1);
}

#[tokio::test]
async fn if_unused_protects_an_exchange_that_has_bindings() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").declare().await.unwrap();
    client.queue("q").declare().await.unwrap();
    client.queue("q").bind("x", "k").await.unwrap();
    assert_eq!(
        refusal(client.exchange("x").delete_if_unused().await),
        (406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use".to_owned())
    );
    client.queue("q").unbind("x", "k").await.unwrap();
    client.exchange("x").delete_if_unused().await.unwrap();
}

#[tokio::test]
async fn what_does_not_exist_is_named_in_the_refusal() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let no_queue = (404, "NOT_FOUND - no queue 'none' in vhost '/'".to_owned());
    let no_exchange = (404, "NOT_FOUND - no exchange 'none' in vhost '/'".to_owned());
    assert_eq!(refusal(client.queue("none").get().await), no_queue);
    assert_eq!(refusal(client.queue("none").purge().await), no_queue);
    assert_eq!(refusal(client.queue("none").info().await), no_queue);
    assert_eq!(refusal(client.consume("none").start().await), no_queue);
    assert_eq!(refusal(client.queue("none").bind("amq.direct", "").await), no_queue);
    assert_eq!(refusal(client.queue("q").bind("none", "").await), no_exchange);
    assert_eq!(refusal(client.exchange("amq.topic").bind("none", "").await), no_exchange);
    assert_eq!(refusal(client.exchange("none").info().await), no_exchange);
}
