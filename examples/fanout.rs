//! Fan-out: one publisher, a hundred subscribers, and each of them gets a copy of everything.
//!
//! A subscriber is a queue of its own, bound to a fanout exchange. The publisher knows nothing of them. The body of
//! a message is kept once in the broker's memory, however many queues it is in.
//!
//! Run it: `cargo run --release --example fanout [rialto://user:password@host:port/vhost]`

mod common;

use std::time::Instant;

use rialto_client::{Client, Message, Result};
use tokio::task::JoinSet;

const SUBSCRIBERS: usize = 100;
const MESSAGES: usize = if cfg!(debug_assertions) { 500 } else { 20_000 };
const BATCH: usize = 500;

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;
    // `auto_delete`: it goes with its last binding.
    client.exchange("example.news").fanout().auto_delete().declare().await?;

    // Everybody subscribes before the first message: what is published earlier is not for them.
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let consumer = subscribe(&client).await?;
        subscribers.spawn(count(consumer));
    }

    let start = Instant::now();
    let news = client.publisher("example.news", "")?;
    let body = bytes::Bytes::from(vec![b'.'; 128]);
    let mut confirms = Vec::new();
    for _ in 0..MESSAGES / BATCH {
        let batch = (0..BATCH).map(|_| Message::new(body.clone()));
        confirms.push(news.publish_batch(batch).await?);
    }
    for confirm in confirms {
        confirm.await?.accepted()?;
    }
    let published = start.elapsed().as_secs_f64();

    let mut copies = 0;
    while let Some(counted) = subscribers.join_next().await {
        copies += counted??;
    }
    let delivered = start.elapsed().as_secs_f64();

    println!(
        "published {MESSAGES} messages of {} bytes: {:.0} per second",
        body.len(),
        MESSAGES as f64 / published
    );
    println!(
        "delivered {copies} copies to {SUBSCRIBERS} queues: {:.0} per second",
        copies as f64 / delivered
    );
    assert_eq!(copies, MESSAGES * SUBSCRIBERS, "every subscriber gets every message");
    client.close().await?;
    Ok(())
}

/// A queue without a name gets one from the broker, which is what a subscriber wants.
async fn subscribe(client: &Client) -> Result<rialto_client::Consumer> {
    let queue = client.queue("").exclusive().declare().await?.name;
    client.queue(&queue).bind("example.news", "").await?;
    // News are not worth an acknowledgement each.
    client.consume(&queue).auto_ack().start().await
}

/// Counts until everything has come.
async fn count(mut consumer: rialto_client::Consumer) -> Result<usize> {
    let (mut copies, mut news) = (0, Vec::new());
    while copies < MESSAGES {
        // Takes what is there in one go; cheaper than one by one.
        match consumer.recv_many(&mut news, 1000).await? {
            0 => break,
            count => copies += count,
        }
        news.clear();
    }
    Ok(copies)
}
