//! A body for many durable queues is stored once.

use super::broker::{Broker, mib};
use super::traffic::message;

pub(crate) async fn run(queues: u64, bytes: usize, messages: u64) {
    println!("fanout: messages of {bytes} bytes, each into {queues} durable queues");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let broker = Broker::start(&folder.path().join("data"), &[]);
    let client = broker.client().await;
    client.exchange("all").fanout().durable().declare().await.expect("a new exchange");
    for number in 0..queues {
        let queue = client.queue(&format!("queue-{number}")).durable();
        queue.declare().await.expect("a new queue");
        client.queue(&format!("queue-{number}")).bind("all", "").await.expect("a new binding");
    }
    let to = client.publisher("all", "").expect("a short name");
    let (written, (disk, _)) = (broker.written(), broker.disk());
    // Several, because space may be taken in larger pieces.
    for number in 0..messages {
        let confirm = to.publish(message(number, bytes)).await.expect("the broker is there");
        confirm.await.and_then(|outcome| outcome.accepted()).expect("everything is confirmed");
    }
    let (written_after, (disk_after, _)) = (broker.written(), broker.disk());
    let each = |before: u64, after: u64| mib(after.saturating_sub(before)) / messages as f64;
    println!(
        "  each of {messages} messages: {:.2} MiB written, {:.2} MiB more on disk; the broker had {} MiB at most",
        each(written, written_after),
        each(disk, disk_after),
        broker.memory_mib().1
    );
}
