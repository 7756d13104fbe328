//! Many small messages in one durable queue.

use std::time::{Duration, Instant};

use super::broker::{Broker, mib};
use super::traffic::{consumer, publish, take};

pub(crate) async fn run(messages: u64, bytes: usize) {
    println!("backlog: {messages} messages of {bytes} bytes in one durable queue, each confirmed");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let data = folder.path().join("data");
    let broker = Broker::start(&data, &[]);
    let client = broker.client().await;
    client.queue("backlog").durable().declare().await.expect("a new queue");
    let to = client.publisher("", "backlog").expect("a short name");

    let began = Instant::now();
    publish(&to, 0..messages, bytes).await;
    let took = began.elapsed();
    let ((rss, most), (disk, segments)) = (broker.memory_mib(), broker.disk());
    println!("  published and confirmed: {} ({:.1} s)", rate(messages, took), took.as_secs_f64());
    println!(
        "  the broker has {rss} MiB, had {most} MiB at most; {:.0} MiB on disk, {segments} segments",
        mib(disk)
    );
    drop((to, client));

    broker.kill();
    let broker = started_again(&data, "kill -9", messages).await;
    let took = broker.stop();
    println!("  stopped in {:.1} s", took.as_secs_f64());
    let broker = started_again(&data, "a stop in good order", messages).await;

    let client = broker.client().await;
    let mut taking = consumer(&client, "backlog").await;
    let began = Instant::now();
    take(&mut taking, 0..messages).await;
    let took = began.elapsed();
    client.close().await.expect("acknowledgements are told");
    let ((_, most), (disk, segments)) = (broker.memory_mib(), broker.disk());
    println!("  taken and acknowledged: {} ({:.1} s), in order", rate(messages, took), took.as_secs_f64());
    println!("  the broker had {most} MiB at most; {:.0} MiB left on disk, {segments} segments", mib(disk));
}

async fn started_again(data: &std::path::Path, after: &str, messages: u64) -> Broker {
    let broker = Broker::start(data, &[]);
    let (rss, most) = broker.memory_mib();
    let took = broker.start_took.as_secs_f64();
    println!("  restarted after {after} in {took:.2} s, with {rss} MiB ({most} MiB at most)");
    let client = broker.client().await;
    let info = client.queue("backlog").exists().await.expect("an answer").expect("the queue is there");
    assert_eq!(info.messages, messages, "messages are lost");
    broker
}

fn rate(messages: u64, took: Duration) -> String {
    format!("{:.0} messages/s", messages as f64 / took.as_secs_f64())
}
