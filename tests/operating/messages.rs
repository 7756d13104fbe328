//! Looking at messages, deleting and moving them, seeing who holds them, and pausing queues.

use rialto_client::Message;
use serde_json::json;

use crate::http::{World, texts};
use crate::support::{fill, publish};

#[tokio::test]
async fn looking_shows_messages_and_takes_none() {
    let world = World::start().await;
    world.client.queue("q").declare().await.unwrap();
    let message = Message::new("hello").header("type", "report").message_id("m1").priority(2);
    publish(&world.client, "", "q", message).await;
    publish(&world.client, "", "q", Message::new(&b"\xff\x00"[..])).await;
    let found = world.post("queues/%2F/q/peek", json!({})).await;
    let first = &found["messages"][0];
    assert_eq!((&first["payload"], &first["payload_encoding"]), (&json!("hello"), &json!("string")));
    assert_eq!(first["properties"]["headers"], json!({"type": "report"}));
    assert_eq!((&first["routing_key"], &first["redelivered"]), (&json!("q"), &json!(false)));
    let second = &found["messages"][1];
    assert_eq!((&second["payload"], &second["payload_encoding"]), (&json!("/wA="), &json!("base64")));
    assert_eq!((&found["scanned"], &found["next"]), (&json!(2), &json!(null)));
    let one = world.get(&format!("queues/%2F/q/messages/{}", first["id"])).await;
    assert_eq!(one["properties"]["message_id"], "m1");
    let got = world.client.queue("q").get().await.unwrap().unwrap();
    assert!(!got.redelivered(), "nobody has seen it");
    world.stop().await;
}

#[tokio::test]
async fn a_filter_finds_messages_page_by_page() {
    let world = World::start().await;
    world.client.queue("q").declare().await.unwrap();
    let bodies: Vec<String> =
        (0..40).map(|n| format!("order {n}, {}", if n % 4 == 0 { "red" } else { "blue" })).collect();
    fill(&world.client, "q", bodies.iter().map(String::as_str)).await;
    let (mut found, mut after) = (Vec::new(), json!(null));
    loop {
        let body = json!({"limit": 3, "after": after, "filter": {"body": "red"}});
        let page = world.post("queues/%2F/q/peek", body).await;
        found.extend(texts(&page["messages"], "payload"));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    let wanted: Vec<_> = bodies.iter().filter(|body| body.contains("red")).cloned().collect();
    assert_eq!(found, wanted);
    world.stop().await;
}

#[tokio::test]
async fn single_messages_are_deleted_and_moved() {
    let world = World::start().await;
    for queue in ["q", "other"] {
        world.client.queue(queue).declare().await.unwrap();
    }
    fill(&world.client, "q", ["1", "2", "3", "4"]).await;
    let found = world.post("queues/%2F/q/peek", json!({})).await;
    let ids: Vec<u64> = (0..4).map(|n| found["messages"][n]["id"].as_u64().unwrap()).collect();
    let path = |id: u64| format!("queues/%2F/q/messages/{id}");
    assert_eq!(world.ask("DELETE", &path(ids[1]), None).await.0, 204);
    assert_eq!(world.ask("DELETE", &path(ids[1]), None).await.0, 404, "it is gone");
    let moved = world.post(&format!("{}/move", path(ids[2])), json!({"to": {"queue": "other"}})).await;
    assert_eq!(moved["done"], 1);
    assert_eq!(
        (world.waiting("q").await, world.waiting("other").await),
        (vec!["1".into(), "4".into()], vec!["3".into()])
    );
    let body = json!({"ids": [ids[0], ids[1], ids[3]], "to": {"exchange": "", "routing_key": "other"}});
    let moved = world.post("queues/%2F/q/messages/move", body).await;
    assert_eq!((&moved["done"], &moved["gone"]), (&json!(2), &json!([ids[1]])));
    assert_eq!(world.waiting("other").await, ["3", "1", "4"]);
    let found = world.post("queues/%2F/other/peek", json!({"limit": 2})).await;
    let ids: Vec<_> = (0..2).map(|n| found["messages"][n]["id"].clone()).collect();
    let deleted = world.post("queues/%2F/other/messages/delete", json!({"ids": ids})).await;
    assert_eq!((&deleted["done"], world.waiting("other").await), (&json!(2), vec!["4".to_owned()]));
    world.stop().await;
}

#[tokio::test]
async fn who_holds_what_is_told_and_what_is_held_is_left_alone() {
    let world = World::start().await;
    for queue in ["q", "other"] {
        world.client.queue(queue).declare().await.unwrap();
    }
    publish(&world.client, "", "q", "m").await;
    let mut consumer = world.client.consume("q").prefetch(10).start().await.unwrap();
    let delivery = crate::support::soon("a delivery", consumer.next()).await;
    let held = world.get("queues/%2F/q/unacked").await;
    let message = &held["messages"][0];
    assert_eq!((&message["payload"], &message["holder"]["kind"]), (&json!("m"), &json!("consumer")));
    assert_eq!(message["holder"]["user"], "guest");
    assert!(message["holder"]["connection"].is_string(), "{message}");
    let id = message["id"].as_u64().unwrap();
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/move")] {
        let path = format!("queues/%2F/q/messages/{id}{path}");
        let (status, reason) = world.refused(method, &path, json!({"to": {"queue": "other"}})).await;
        assert_eq!(status, 409, "{method}");
        assert!(reason.contains("with a consumer"), "{reason}");
    }
    drop(delivery);
    world.stop().await;
}

#[tokio::test]
async fn a_paused_queue_gives_nothing_until_it_is_resumed() {
    let world = World::start().await;
    world.client.queue("q").declare().await.unwrap();
    assert_eq!(world.ask("POST", "queues/%2F/q/pause", None).await.0, 204);
    publish(&world.client, "", "q", "m").await;
    assert!(world.client.queue("q").get().await.unwrap().is_none());
    let mut consumer = world.client.consume("q").prefetch(10).start().await.unwrap();
    assert_eq!(world.waiting("q").await, ["m"], "the consumer has got nothing");
    assert_eq!(world.ask("POST", "queues/%2F/q/resume", None).await.0, 204);
    let delivery = crate::support::soon("a delivery", consumer.next()).await;
    assert!(delivery.is_some());
    world.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_clearly() {
    let world = World::start().await;
    world.client.queue("q").declare().await.unwrap();
    for (path, body, wanted) in [
        ("queues/%2F/q/peek", json!({"limit": 0}), "limit"),
        ("queues/%2F/q/peek", json!({"limit": 100_000}), "management.peek_max"),
        ("queues/%2F/q/peek", json!({"after": "yesterday"}), "where a list ended"),
        ("queues/%2F/q/peek", json!({"filter": {"colour": "red"}}), "colour"),
        ("queues/%2F/q/messages/delete", json!({"ids": []}), "names no message"),
        ("queues/%2F/q/messages/move", json!({"ids": [1], "to": {}}), "\"queue\""),
        ("queues/%2F/q/redrive", json!({"rate": 0}), "rate"),
        ("queues/%2F/q/redrive", json!({"to": {"queue": "q"}}), "where the messages are"),
    ] {
        let (status, reason) = world.refused("POST", path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(reason.contains(wanted), "{path} {body}: {reason}");
    }
    for (method, path) in [
        ("POST", "queues/%2F/none/peek"),
        ("GET", "queues/%2F/none/unacked"),
        ("POST", "queues/%2F/none/pause"),
        ("POST", "queues/none/q/redrive"),
        ("GET", "jobs/999"),
        ("DELETE", "jobs/999"),
        ("GET", "queues/%2F/q/messages/999"),
    ] {
        assert_eq!(world.ask(method, path, None).await.0, 404, "{method} {path}");
    }
    assert_eq!(world.ask("GET", "queues/%2F/q/messages/x", None).await.0, 400);
    world.stop().await;
}

#[tokio::test]
async fn what_is_published_over_http_is_counted() {
    let world = World::start().await;
    world.client.queue("q").declare().await.unwrap();
    for key in ["q", "nowhere"] {
        let message = json!({
            "routing_key": key, "payload": "m", "payload_encoding": "string", "properties": {},
        });
        let published = world.post("exchanges/%2F/amq.default/publish", message).await;
        assert_eq!(published["routed"], key == "q");
    }
    let counted = world.broker.broker().counts().publishing;
    assert_eq!((counted.received, counted.routed, counted.unroutable_dropped), (2, 1, 1));
    world.stop().await;
}
