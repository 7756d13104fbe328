//! Dead letters go back to where they came from.

use std::time::{Duration, Instant};

use rialto::access::Permission;
use rialto::model::VhostName;
use rialto_client::Message;
use serde_json::{Value, json};

use crate::http::World;
use crate::support::publish;

/// Publishes messages to a queue whose dead letters go to `dead`, and lets them expire there.
async fn die(world: &World, queue: &str, count: usize) {
    world.client.queue(queue).dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    let publisher = world.client.publisher("", queue).unwrap();
    for first in (0..count).step_by(2000) {
        let batch = (first..count.min(first + 2000))
            .map(|n| Message::new(format!("{queue} {n}")).ttl(Duration::from_secs(1)));
        let confirm = publisher.publish_batch(batch.collect::<Vec<_>>()).await.unwrap();
        confirm.await.and_then(|outcome| outcome.accepted()).unwrap();
    }
    world.broker.advance(Duration::from_secs(1));
}

fn ready(world: &World, queue: &str) -> u64 {
    world.broker.broker().vhost("/").unwrap().any_queue(queue).unwrap().stats().ready
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_dead_letters_go_back_to_their_three_origins_at_the_rate_asked() {
    let world = World::start().await;
    world.client.queue("dead").declare().await.unwrap();
    let counts = [("orders", 50_000), ("mails", 30_000), ("bills", 20_000)];
    for (queue, count) in counts {
        die(&world, queue, count).await;
    }
    assert_eq!(ready(&world, "dead"), 100_000);

    let began = Instant::now();
    let job = world.post("queues/%2F/dead/redrive", json!({"rate": 40_000})).await;
    let seen = world.finish(&job).await;
    let took = began.elapsed();
    let last = seen.last().unwrap();
    assert_eq!(last["state"], "done", "{last}");
    assert_eq!(number(&last["progress"]["moved"]), 100_000);
    assert!(took >= Duration::from_millis(2400), "100,000 at 40,000 a second took {took:?}");
    // What was seen on the way grew.
    let moved: Vec<u64> = seen.iter().map(|job| number(&job["progress"]["moved"])).collect();
    assert!(moved.is_sorted() && moved.len() > 2, "{moved:?}");
    assert!(seen.iter().all(|job| number(&job["progress"]["total"]) == 100_000 || job == &seen[0]));
    let by_destination = json!({"orders": 50_000, "mails": 30_000, "bills": 20_000});
    assert_eq!(last["progress"]["by_destination"], by_destination);
    assert_eq!(ready(&world, "dead"), 0);
    for (queue, count) in counts {
        assert_eq!(ready(&world, queue), count as u64, "{queue}");
        let first = world.client.queue(queue).get().await.unwrap().unwrap();
        assert_eq!(first.text(), Some(&*format!("{queue} 0")), "in their order");
        assert_eq!((first.exchange(), first.routing_key()), ("", queue), "as its publisher has sent it");
        assert!(first.header("x-death").is_none());
    }

    let job = world.post("queues/%2F/dead/redrive", json!({})).await;
    let again = world.finish(&job).await.pop().unwrap();
    assert_eq!((&again["state"], number(&again["progress"]["moved"])), (&json!("done"), 0));
    world.stop().await;
}

#[tokio::test]
async fn a_dry_run_counts_and_moves_nothing() {
    let world = World::start().await;
    world.client.queue("dead").declare().await.unwrap();
    die(&world, "a", 3).await;
    die(&world, "b", 2).await;
    publish(&world.client, "", "dead", "never died").await;
    let job = world.post("queues/%2F/dead/redrive", json!({"dry_run": true})).await;
    let done = world.finish(&job).await.pop().unwrap();
    assert_eq!(done["progress"]["by_destination"], json!({"a": 3, "b": 2}));
    assert_eq!(done["progress"]["skipped"]["no_origin"], 1);
    assert_eq!((ready(&world, "dead"), ready(&world, "a")), (6, 0));
    world.stop().await;
}

#[tokio::test]
async fn only_messages_that_the_filter_wants_go_back() {
    let world = World::start().await;
    world.client.queue("dead").declare().await.unwrap();
    die(&world, "a", 3).await;
    die(&world, "b", 2).await;
    let job = world.post("queues/%2F/dead/redrive", json!({"filter": {"origin": "b"}, "limit": 1})).await;
    let done = world.finish(&job).await.pop().unwrap();
    assert_eq!((&done["progress"]["moved"], ready(&world, "b")), (&json!(1), 1));
    let job = world.post("queues/%2F/dead/redrive", json!({"filter": {"body": "a 1"}})).await;
    world.finish(&job).await;
    assert_eq!((world.waiting("a").await, ready(&world, "dead")), (vec!["a 1".to_owned()], 3));
    world.stop().await;
}

#[tokio::test]
async fn letters_whose_queue_is_gone_stay_and_can_be_sent_elsewhere() {
    let world = World::start().await;
    for queue in ["dead", "rescue"] {
        world.client.queue(queue).declare().await.unwrap();
    }
    die(&world, "a", 2).await;
    world.client.queue("a").delete().await.unwrap();
    let job = world.post("queues/%2F/dead/redrive", json!({})).await;
    let done = world.finish(&job).await.pop().unwrap();
    assert_eq!(
        (&done["progress"]["moved"], &done["progress"]["skipped"]["no_queue"]),
        (&json!(0), &json!(2))
    );
    let job = world.post("queues/%2F/dead/redrive", json!({"to": {"queue": "rescue"}})).await;
    world.finish(&job).await;
    assert_eq!(
        (ready(&world, "dead"), world.waiting("rescue").await),
        (0, vec!["a 0".to_owned(), "a 1".to_owned()])
    );
    world.stop().await;
}

#[tokio::test]
async fn letters_go_back_through_their_exchange_if_asked() {
    let world = World::start().await;
    let client = &world.client;
    client.exchange("orders").topic().declare().await.unwrap();
    for queue in ["dead", "audit"] {
        client.queue(queue).declare().await.unwrap();
    }
    client.queue("work").dead_letter("").dead_letter_key("dead").declare().await.unwrap();
    client.queue("work").bind("orders", "order.#").await.unwrap();
    publish(client, "orders", "order.new", "m").await;
    client.queue("work").get().await.unwrap().unwrap().reject("no").unwrap();
    client.queue("audit").bind("orders", "#").await.unwrap();
    crate::support::until("a dead letter", || ready(&world, "dead") == 1).await;
    let job =
        world.post("queues/%2F/dead/redrive", json!({"back_to": "exchange", "keep_history": true})).await;
    world.finish(&job).await;
    let got = client.queue("audit").get().await.unwrap().unwrap();
    assert_eq!((got.exchange(), got.routing_key(), ready(&world, "work")), ("orders", "order.new", 1));
    assert!(got.header("x-death").is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_can_be_cancelled_and_a_later_one_does_the_rest() {
    let world = World::start().await;
    world.client.queue("dead").declare().await.unwrap();
    die(&world, "a", 500).await;
    let job = world.post("queues/%2F/dead/redrive", json!({"rate": 20})).await;
    assert_eq!(world.ask("DELETE", &format!("jobs/{}", job["id"]), None).await.0, 204);
    let ended = world.finish(&job).await.pop().unwrap();
    assert_eq!(ended["state"], "cancelled");
    let moved = number(&ended["progress"]["moved"]);
    assert!(moved < 500);
    assert_eq!((ready(&world, "a"), ready(&world, "dead")), (moved, 500 - moved));
    let job = world.post("queues/%2F/dead/redrive", json!({})).await;
    let done = world.finish(&job).await.pop().unwrap();
    assert_eq!(number(&done["progress"]["moved"]), 500 - moved);
    let all = world.get("jobs").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_api_ends_its_jobs() {
    let world = World::start().await;
    world.client.queue("dead").declare().await.unwrap();
    die(&world, "a", 100).await;
    world.post("queues/%2F/dead/redrive", json!({"rate": 1})).await;
    world.stop().await;
}

#[tokio::test]
async fn what_headers_name_is_no_permission_to_publish_there() {
    let world = World::start().await;
    for queue in ["dead", "vault"] {
        world.client.queue(queue).declare().await.unwrap();
    }
    world.client.queue("vault").bind("amq.fanout", "").await.unwrap();
    // A publisher who may not write to the exchange says that its message came from there.
    let entry = [("queue", json!("q")), ("reason", json!("expired")), ("exchange", json!("amq.fanout"))];
    let entry = entry.into_iter().chain([("routing-keys", json!([""])), ("count", json!(1))]);
    let entry = Value::Object(entry.map(|(key, value)| (key.to_owned(), value)).collect());
    let forged = json!({
        "routing_key": "dead", "payload": "forged", "payload_encoding": "string",
        "properties": {"headers": {"x-death": [entry], "x-first-death-exchange": "amq.fanout"}},
    });
    world.post("exchanges/%2F/amq.default/publish", forged).await;
    let home = VhostName::new("/").unwrap();
    let only_queues = Permission::new("guest", home, ".*", "^amq\\.default$", ".*").unwrap();
    world.broker.broker().access().put_permission(only_queues);
    let job = world.post("queues/%2F/dead/redrive", json!({"back_to": "exchange"})).await;
    let done = world.finish(&job).await.pop().unwrap();
    assert_eq!(done["progress"]["skipped"]["not_allowed"], 1, "{done}");
    assert_eq!((ready(&world, "dead"), ready(&world, "vault")), (1, 0));
    world.stop().await;
}
