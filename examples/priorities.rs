//! Priorities: urgent messages overtake the others that still wait.
//!
//! They overtake what waits in the broker, not what a consumer has been given already: a small prefetch keeps the
//! order fresh.
//!
//! Run it: `cargo run --example priorities [rialto://user:password@host:port/vhost]`

mod common;

use rialto_client::Message;

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;
    // The queue says how many priorities it tells apart: 0 (the default of a message) to 10.
    client.queue("example.letters").max_priority(10).exclusive().declare().await?;

    let letters = client.publisher("", "example.letters")?;
    for (text, priority) in [
        ("a postcard", 0),
        ("an invoice", 5),
        ("another invoice", 5),
        ("a telegram", 10),
        ("another postcard", 0),
    ] {
        println!("sent {text}, priority {priority}");
        letters.publish(Message::new(text).priority(priority)).await?.await?.accepted()?;
    }

    println!();
    let mut consumer = client.consume("example.letters").prefetch(1).start().await?;
    for _ in 0..5 {
        let letter = consumer.next().await.ok_or("the consumer has ended")??;
        println!("received {}", letter.text().unwrap_or("something unreadable"));
        letter.ack()?;
    }
    client.close().await?;
    Ok(())
}
