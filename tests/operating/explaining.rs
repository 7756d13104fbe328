//! Where would a message go, and why not?

use rialto_client::Overflow;
use serde_json::json;

use crate::http::{World, texts};

#[tokio::test]
async fn a_misspelt_key_names_the_binding_that_it_nearly_matched() {
    let world = World::start().await;
    let client = &world.client;
    client.exchange("orders").topic().declare().await.unwrap();
    client.queue("shipping").declare().await.unwrap();
    client.queue("shipping").bind("orders", "order.*.paid").await.unwrap();
    let asked = json!({"exchange": "orders", "routing_key": "order.eu.payd"});
    let told = world.post("explain", asked).await;
    assert_eq!(told["outcome"], "unroutable");
    let near = &told["visits"][0]["near"][0];
    assert_eq!((&near["routing_key"], &near["destination"]), (&json!("order.*.paid"), &json!("shipping")));
    assert_eq!(near["reasons"][0]["kind"], "spelling");
    assert_eq!(near["reasons"][0]["text"], "word 3 is 'payd', the binding wants 'paid' (1 letter off)");
    let asked = json!({"exchange": "orders", "routing_key": "order.eu.paid"});
    let told = world.post("explain", asked).await;
    assert_eq!(
        (&told["outcome"], texts(&told["queues"], "name")),
        (&json!("routed"), vec!["shipping".to_owned()])
    );
    assert_eq!(
        told["summary"],
        json!([
            "exchange 'orders' (topic), published with routing key 'order.eu.paid'",
            "  matches 'order.*.paid' -> queue 'shipping'",
            "routed to 'shipping'"
        ])
    );
    world.stop().await;
}

#[tokio::test]
async fn explaining_publishes_nothing_and_tells_of_paused_and_full_queues() {
    let world = World::start().await;
    world.client.queue("q").max_length(0).overflow(Overflow::RejectPublish).declare().await.unwrap();
    world.post("queues/%2F/q/pause", json!({})).await;
    let told = world.post("explain", json!({"exchange": "", "routing_key": "q"})).await;
    let notes = told["queues"][0]["notes"].to_string();
    assert!(notes.contains("paused") && notes.contains("full"), "{notes}");
    assert_eq!(world.waiting("q").await, [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_clearly() {
    let world = World::start().await;
    world.client.exchange("orders").topic().declare().await.unwrap();
    let (status, reason) = world.refused("POST", "explain", json!({"exchange": "orderz"})).await;
    assert_eq!(status, 404);
    assert!(reason.contains("there is 'orders'"), "{reason}");
    for body in [
        json!({"exchange": 7}),
        json!({"exchange": "orders", "unknown": 1}),
        json!({"exchange": "orders", "routing_key": "x".repeat(256)}),
        json!({"exchange": "orders", "headers": {"CC": "not a list"}}),
    ] {
        assert_eq!(world.refused("POST", "explain", body).await.0, 400);
    }
    assert_eq!(world.refused("POST", "explain", json!({"vhost": "none", "exchange": "x"})).await.0, 404);
    world.stop().await;
}
