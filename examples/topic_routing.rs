//! Topic routing: subscribers say which messages they want with patterns over the words of the routing key.
//!
//! `*` stands for exactly one word, `#` for any number of words, none included.
//!
//! Run it: `cargo run --example topic_routing [rialto://user:password@host:port/vhost]`

mod common;

const SUBSCRIBERS: [(&str, &[&str]); 4] = [
    ("everything", &["#"]),
    ("europe", &["order.eu.#"]),
    ("created", &["order.*.created"]),
    ("money", &["invoice.#", "order.*.paid"]),
];

const EVENTS: [&str; 6] = [
    "order.eu.created",
    "order.eu.paid",
    "order.us.created",
    "order.eu.berlin.created",
    "invoice.sent",
    "order.us.paid",
];

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;
    client.exchange("example.events").topic().auto_delete().declare().await?;

    for (name, patterns) in SUBSCRIBERS {
        let queue = client.queue(&format!("example.{name}")).exclusive();
        queue.clone().declare().await?;
        for pattern in patterns {
            queue.bind("example.events", pattern).await?;
        }
    }

    for event in EVENTS {
        client.publish("example.events", event, event).await?.await?.accepted()?;
    }

    for (name, patterns) in SUBSCRIBERS {
        println!("{name} wanted {}:", patterns.join(" and "));
        let queue = client.queue(&format!("example.{name}"));
        // `get` takes one message at a time; a program that waits for messages uses `consume`.
        while let Some(event) = queue.get().await? {
            println!("  {}", event.routing_key());
            event.ack()?;
        }
    }
    client.close().await?;
    Ok(())
}
