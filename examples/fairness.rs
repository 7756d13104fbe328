//! Measures fair dispatch: two workers, one at 10 ms and one at 100 ms per task, share 1,000 tasks.
//!
//! With a prefetch of one, each gets the next task when it has finished the last, so the work should be split ten to
//! one. Takes about nine seconds; exits with 1 if the split is off by more than 5 %.
//!
//! Run it: `cargo run --release --example fairness [rialto://user:password@host:port/vhost]`

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rialto_client::{Client, Result};
use tokio::sync::Notify;

const TASKS: usize = 1000;

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;
    client.queue("example.fair").exclusive().declare().await?;
    let done = Arc::new(Done::default());
    for (worker, pace) in [(0, 10), (1, 100)] {
        tokio::spawn(work(client.clone(), done.clone(), worker, Duration::from_millis(pace)));
    }

    let start = Instant::now();
    let tasks = client.publisher("", "example.fair")?;
    tasks.publish_batch((0..TASKS).map(|n| n.to_string())).await?.await?.accepted()?;
    done.all.notified().await;

    let took = start.elapsed().as_secs_f64();
    let [quick, slow] = done.by.each_ref().map(|count| count.load(Ordering::Relaxed));
    let ratio = quick as f64 / slow as f64;
    println!("{TASKS} tasks in {took:.2} s: {quick} at 10 ms, {slow} at 100 ms, {ratio:.2} to 1");
    client.close().await?;
    match (9.5..=10.5).contains(&ratio) {
        true => Ok(()),
        false => Err("the split is more than 5 % away from 10 to 1".into()),
    }
}

#[derive(Default)]
struct Done {
    by: [AtomicUsize; 2],
    all: Notify,
}

async fn work(client: Client, done: Arc<Done>, worker: usize, pace: Duration) -> Result<()> {
    let mut tasks = client.consume("example.fair").prefetch(1).start().await?;
    // A schedule, so that the timer's rounding does not add up: a worker that is late for one task is not
    // late for all others.
    let mut next = tokio::time::Instant::now();
    while let Some(task) = tasks.next().await {
        let task = task?;
        next = next.max(tokio::time::Instant::now() - pace) + pace;
        tokio::time::sleep_until(next).await;
        done.by[worker].fetch_add(1, Ordering::Relaxed);
        if done.by.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>() == TASKS {
            done.all.notify_one();
        }
        task.ack()?;
    }
    Ok(())
}
