//! Retry with back-off, made of two features: time to live and dead letters.
//!
//! A worker that fails rejects the message. The queue's dead-letter exchange takes it to a waiting queue, where
//! nobody consumes and messages live for a short time; then they are dead letters again, and go back to work.
//! After some attempts the message is parked, with its whole history, for a person to look at.
//!
//! ```text
//!          reject              expires              gave up
//! work ------------> waiting ----------> work ... -----------> parked
//! ```
//!
//! Run it: `cargo run --example retry_with_dead_letter [rialto://user:password@host:port/vhost]`

mod common;

use std::time::Duration;

use rialto_client::{Delivery, FieldValue, Message};

const ATTEMPTS: i64 = 3;

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;

    // The exchange with the empty name routes to the queue that the key names.
    let work = client.queue("example.work").exclusive();
    work.dead_letter("").dead_letter_key("example.waiting").declare().await?;
    let waiting = client.queue("example.waiting").exclusive().message_ttl(Duration::from_millis(50));
    waiting.dead_letter("").dead_letter_key("example.work").declare().await?;
    client.queue("example.parked").exclusive().declare().await?;

    let orders = client.publisher("", "example.work")?;
    for order in ["a good order", "an order for nobody"] {
        orders.publish(order).await?.await?.accepted()?;
    }

    let mut consumer = client.consume("example.work").prefetch(1).start().await?;
    while let Some(order) = consumer.next().await {
        let order = order?;
        let text = order.text().unwrap_or_default().to_owned();
        let attempt = rejections(&order) + 1;
        if text != "an order for nobody" {
            println!("attempt {attempt}: {text}: done");
            order.ack()?;
        } else if attempt < ATTEMPTS {
            println!("attempt {attempt}: {text}: failed, to be tried again in a moment");
            order.reject("no such customer")?;
        } else {
            println!("attempt {attempt}: {text}: failed, given up");
            // First the copy is safe, then the original goes.
            let parked = Message::new(text).properties(order.properties());
            client.publish("", "example.parked", parked).await?.await?.accepted()?;
            order.ack()?;
            break;
        }
    }

    let parked = client.queue("example.parked").get().await?.ok_or("nothing was parked")?;
    println!("\nparked: {}", parked.text().unwrap_or_default());
    for header in ["x-death-reason-text", "x-death"] {
        println!("  {header}: {}", parked.header(header).ok_or("no history")?);
    }
    parked.ack()?;
    client.close().await?;
    Ok(())
}

/// How often a message was rejected: the broker counts it in the header `x-death`.
fn rejections(message: &Delivery) -> i64 {
    let Some(FieldValue::Array(deaths)) = message.header("x-death") else { return 0 };
    let rejected = |death: &FieldValue| {
        let FieldValue::Table(death) = death else { return None };
        let is_rejection = death.get("reason")?.as_str()? == "rejected";
        is_rejection.then(|| death.get("count")?.as_int())?
    };
    deaths.iter().filter_map(rejected).sum()
}
