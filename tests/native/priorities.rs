//! Message priorities.

use rialto_client::Message;

use crate::support::*;

#[tokio::test]
async fn higher_priorities_first_and_each_in_order() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_priority(10).declare().await.unwrap();
    for (body, priority) in [("low 1", 1), ("high 1", 9), ("low 2", 1), ("high 2", 9), ("middle", 5)] {
        publish(&client, "", "q", Message::new(body).priority(priority)).await;
    }
    publish(&client, "", "q", "none is lowest").await;
    assert_eq!(drain(&client, "q").await, ["high 1", "high 2", "middle", "low 1", "low 2", "none is lowest"]);
}

#[tokio::test]
async fn priorities_above_the_queues_highest_count_as_the_highest() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_priority(5).declare().await.unwrap();
    for (body, priority) in [("five", 5), ("two hundred", 200), ("six", 6), ("four", 4)] {
        publish(&client, "", "q", Message::new(body).priority(priority)).await;
    }
    assert_eq!(drain(&client, "q").await, ["five", "two hundred", "six", "four"]);
}

#[tokio::test]
async fn all_of_256_priorities_are_told_apart() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_priority(255).declare().await.unwrap();
    for priority in 0..=255 {
        publish(&client, "", "q", Message::new(priority.to_string()).priority(priority)).await;
    }
    let expected: Vec<_> = (0..=255).rev().map(|priority: i32| priority.to_string()).collect();
    assert_eq!(drain(&client, "q").await, expected);
}

#[tokio::test]
async fn a_queue_without_priorities_ignores_them() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    for (body, priority) in [("1", 0), ("2", 9)] {
        publish(&client, "", "q", Message::new(body).priority(priority)).await;
    }
    assert_eq!(drain(&client, "q").await, ["1", "2"]);
}

#[tokio::test]
async fn a_requeued_message_returns_to_its_place_in_its_own_priority() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_priority(9).declare().await.unwrap();
    for (body, priority) in [("low 1", 1), ("low 2", 1), ("high 1", 9), ("high 2", 9)] {
        publish(&client, "", "q", Message::new(body).priority(priority)).await;
    }
    let queue = client.queue("q");
    let (high, _other, low) =
        (queue.get().await.unwrap(), queue.get().await.unwrap(), queue.get().await.unwrap());
    low.unwrap().requeue().unwrap();
    high.unwrap().requeue().unwrap();
    settled(&client).await;
    assert_eq!(drain(&client, "q").await, ["high 1", "low 1", "low 2"]);
}
