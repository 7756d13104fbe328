//! A broker inside a test process, with a clock that the test moves.

use std::time::Duration;

use rialto::server::Embedded;
use rialto_client::{Client, Message, Result};

#[tokio::test]
async fn a_message_crosses_the_broker() -> Result<()> {
    let broker = Embedded::with_manual_clock().await.unwrap();
    let client = Client::connect(&broker.url()).await?;
    client.exchange("events").topic().declare().await?;
    client.queue("all").declare().await?;
    client.queue("all").bind("events", "order.#").await?;

    let publisher = client.publisher("events", "order.created")?;
    publisher.publish("first").await?.await?.accepted()?;

    let mut consumer = client.consume("all").start().await?;
    let delivery = consumer.next().await.expect("a delivery")?;
    assert_eq!((delivery.text(), delivery.routing_key()), (Some("first"), "order.created"));
    delivery.ack()?;
    client.close().await?;
    assert!(broker.stop().await);
    Ok(())
}

#[tokio::test]
async fn an_hour_passes_in_a_moment_and_a_dead_letter_is_retried() -> Result<()> {
    const HOUR: Duration = Duration::from_secs(3600);
    let broker = Embedded::with_manual_clock().await.unwrap();
    let client = Client::connect(&broker.url()).await?;
    client.queue("work").dead_letter("").dead_letter_key("retry").declare().await?;
    client.queue("retry").message_ttl(HOUR).dead_letter("").dead_letter_key("work").declare().await?;

    client.publisher("", "work")?.publish(Message::new("job")).await?.await?.accepted()?;
    let mut worker = client.consume("work").start().await?;
    worker.next().await.expect("a delivery")?.reject("not now")?;

    // The rejection has no answer; an answered request behind it tells that it was carried out.
    client.queue("retry").info().await?;
    broker.advance(HOUR - Duration::from_millis(1));
    assert_eq!(broker.broker().vhost("/").unwrap().queues().len(), 2);
    broker.advance(Duration::from_millis(1));

    let again = worker.next().await.expect("a delivery")?;
    let deaths = again.header("x-death").expect("a history").to_string();
    assert_eq!(again.text(), Some("job"));
    assert!(deaths.contains("reason: expired") && deaths.contains("reason: rejected"), "{deaths}");
    again.ack()?;
    client.close().await
}
