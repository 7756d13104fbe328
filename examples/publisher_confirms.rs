//! Publisher confirms: the broker tells what became of every message.
//!
//! `publish` returns as soon as the message is on its way, with a future for its outcome. Waiting for each before the
//! next is the slowest way to be safe; waiting for many together costs next to nothing.
//!
//! Run it: `cargo run --release --example publisher_confirms [rialto://user:password@host:port/vhost]`

mod common;

use std::time::Instant;

use rialto_client::{Message, Outcome, Overflow};

const MESSAGES: usize = 5_000;

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;
    client.queue("example.ledger").exclusive().declare().await?;
    let ledger = client.publisher("", "example.ledger")?;
    let rate = |start: Instant| MESSAGES as f64 / start.elapsed().as_secs_f64();

    // One at a time: a round trip for each.
    let start = Instant::now();
    for n in 0..MESSAGES {
        ledger.publish(format!("entry {n}")).await?.await?.accepted()?;
    }
    println!("one at a time:       {:>9.0} confirmed per second", rate(start));

    // Many under way: publish all, then collect the outcomes.
    let start = Instant::now();
    let mut confirms = Vec::new();
    for n in 0..MESSAGES {
        confirms.push(ledger.publish(format!("entry {n}")).await?);
    }
    for confirm in confirms {
        confirm.await?.accepted()?;
    }
    println!("all under way:       {:>9.0} confirmed per second", rate(start));

    // A batch: one future for all.
    let start = Instant::now();
    let confirm = ledger.publish_batch((0..MESSAGES).map(|n| format!("entry {n}"))).await?;
    confirm.await?.accepted()?;
    println!("as a batch:          {:>9.0} confirmed per second\n", rate(start));

    // A mandatory message that no queue wants comes back, whole.
    let nowhere = client.publisher("", "example.nowhere")?.mandatory();
    match nowhere.publish("is anybody there?").await?.await? {
        Outcome::Unroutable { returned: Some(message) } => {
            println!(
                "returned: {}, because: {} {}",
                String::from_utf8_lossy(&message.body),
                message.code,
                message.reason
            );
        }
        other => return Err(format!("expected it back: {other}").into()),
    }

    // A full queue may reject: then its publisher is told, and nothing is lost in silence.
    let full = client.queue("example.full").exclusive().max_length(1);
    full.overflow(Overflow::RejectPublish).declare().await?;
    let publisher = client.publisher("", "example.full")?;
    let confirm = publisher.publish_batch(["fits", "does not"].map(Message::new)).await?;
    for failure in confirm.await?.failures {
        println!("message {} of the batch: {}", failure.index, failure.outcome);
    }
    client.close().await?;
    Ok(())
}
