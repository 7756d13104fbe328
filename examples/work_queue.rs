//! A work queue: several workers share one queue, and each task is done by exactly one of them.
//!
//! Prefetch is what makes it fair. A worker that holds one unfinished task gets no other, so the fast ones take
//! more and nobody piles up tasks that an idle colleague could do.
//!
//! Run it: `cargo run --example work_queue [rialto://user:password@host:port/vhost]`

mod common;

use std::time::Duration;

use rialto_client::{Client, Result};
use tokio::sync::mpsc;

const TASKS: usize = 60;

#[tokio::main]
async fn main() -> common::Outcome {
    let (client, _broker) = common::connect().await?;

    // `exclusive` makes the queue go with this connection. A real one would be `.durable()`.
    client.queue("example.tasks").exclusive().declare().await?;

    // Two workers, one three times as fast as the other.
    let (report, mut reports) = mpsc::channel(TASKS);
    for (name, pace) in [("quick", 5), ("slow", 15)] {
        tokio::spawn(worker(client.clone(), name, Duration::from_millis(pace), report.clone()));
    }

    // One future tells when the broker has all of them.
    let tasks = client.publisher("", "example.tasks")?;
    let confirm = tasks.publish_batch((1..=TASKS).map(|n| format!("task {n}"))).await?;
    confirm.await?.accepted()?;

    let (mut quick, mut slow) = (0, 0);
    for _ in 0..TASKS {
        match reports.recv().await {
            Some("quick") => quick += 1,
            Some(_) => slow += 1,
            None => return Err("the workers went home early".into()),
        }
    }
    println!("{TASKS} tasks are done: {quick} by the quick worker, {slow} by the slow one");
    client.close().await?;
    Ok(())
}

async fn worker(
    client: Client,
    name: &'static str,
    pace: Duration,
    report: mpsc::Sender<&'static str>,
) -> Result<()> {
    // At most one task at a time: the next comes when this one is acknowledged.
    let mut tasks = client.consume("example.tasks").prefetch(1).start().await?;
    while let Some(task) = tasks.next().await {
        let task = task?;
        tokio::time::sleep(pace).await; // the work
        if report.send(name).await.is_err() {
            break;
        }
        // Only now: had this process died before, the broker would give the task to somebody else.
        task.ack()?;
    }
    Ok(())
}
