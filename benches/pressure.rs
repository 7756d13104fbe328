//! One queue filled to its limit: what that costs the publisher of another, on another connection.
//!
//! `cargo bench --bench pressure`. Rates in turns, before and while the queue is full; the last line compares medians.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rialto::broker::{Broker, Limits};
use rialto::server::{Embedded, ServerOptions};
use rialto_client::{Client, Message};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

/// A body of the measured flow, and one of those that fill.
const BODY: usize = 128;
const FILLING: usize = 8 << 10;

/// What the full queue holds: its limit.
const QUEUE_BUDGET: u64 = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rates = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        // A broker each: what a round leaves behind is not the next one's.
        for (is_full, rates) in [false, true].into_iter().zip(&mut rates) {
            rates.push(measure(is_full).await?);
        }
        let [free, full] = rates.each_ref().map(|rates| rates[round - 1]);
        println!("round {round}: {free:9.0} msg/s alone, {full:9.0} msg/s beside a full queue");
    }
    let [free, full] = rates.map(median);
    println!(
        "median:  {free:9.0} msg/s alone, {full:9.0} msg/s beside a full queue: {:.1} %",
        100.0 * full / free
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Confirmed messages a second of one publisher, whose queue is consumed.
async fn measure(is_full: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let limits = Limits { queue_budget: QUEUE_BUDGET, ..Limits::default() };
    let broker =
        Embedded::start_with(Broker::in_memory().limits(limits).build(), ServerOptions::default()).await?;
    let (flow, filling) = (Client::connect(&broker.url()).await?, Client::connect(&broker.url()).await?);
    let over = Arc::new(AtomicBool::new(false));
    let filler = is_full.then(|| tokio::spawn(fill(filling.clone(), over.clone())));
    if is_full {
        while broker.broker().full_queues().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    flow.queue("flow").declare().await?;
    let taken = Client::connect(&broker.url()).await?;
    let mut consumer = taken.consume("flow").auto_ack().start().await?;
    let consuming = tokio::spawn(async move { while let Some(Ok(_)) = consumer.next().await {} });
    let confirmed = Arc::new(AtomicU64::new(0));
    let publishing = tokio::spawn(publish(flow, confirmed.clone(), over.clone()));
    // Not before it is in full swing.
    tokio::time::sleep(ROUND / 4).await;
    let (began, before) = (Instant::now(), confirmed.load(Ordering::Relaxed));
    tokio::time::sleep(ROUND).await;
    let rate = (confirmed.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    assert_eq!(!broker.broker().full_queues().is_empty(), is_full, "the queue stays as it was");
    over.store(true, Ordering::Relaxed);
    publishing.await??;
    consuming.abort();
    if let Some(filler) = filler {
        filler.abort();
    }
    broker.stop().await;
    Ok(rate)
}

/// Publishes to a queue that nobody consumes, and goes on when it is held back.
async fn fill(client: Client, over: Arc<AtomicBool>) -> rialto_client::Result<()> {
    client.queue("full").declare().await?;
    let publisher = client.publisher("", "full")?;
    while !over.load(Ordering::Relaxed) {
        publisher.send(Message::new(vec![b'x'; FILLING])).await?;
    }
    Ok(())
}

async fn publish(
    client: Client,
    confirmed: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> rialto_client::Result<()> {
    const BATCH: u64 = 500;
    let publisher = client.publisher("", "flow")?;
    let body = vec![b'x'; BODY];
    let mut waiting = std::collections::VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        let batch = (0..BATCH).map(|_| Message::new(body.clone())).collect::<Vec<_>>();
        waiting.push_back(publisher.publish_batch(batch).await?);
        if waiting.len() > 4
            && let Some(first) = waiting.pop_front()
        {
            first.await?.accepted()?;
            confirmed.fetch_add(BATCH, Ordering::Relaxed);
        }
    }
    Ok(())
}
