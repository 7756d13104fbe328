//! One message that is never acknowledged must not hold the space of all that came and went beside it.

use std::time::Instant;

use super::broker::{Broker, mib};
use super::traffic::{consumer, message, publish, take};

pub(crate) async fn run(gigabytes: u64, bytes: usize) {
    println!("old-message: one unacknowledged message, {gigabytes} GB of settled ones of {bytes} bytes");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let broker = Broker::start(&folder.path().join("data"), &[]);
    let client = broker.client().await;
    for queue in ["old", "traffic"] {
        client.queue(queue).durable().declare().await.expect("a new queue");
    }
    let confirm = client.publish("", "old", message(0, bytes)).await.expect("the broker is there");
    confirm.await.and_then(|outcome| outcome.accepted()).expect("it is confirmed");
    let mut old = consumer(&client, "old").await;
    let held = old.next().await.expect("the broker is there").expect("the message");

    let other = broker.client().await;
    let to = other.publisher("", "traffic").expect("a short name");
    let mut taking = consumer(&client, "traffic").await;
    let messages = 1_000_000_000 / bytes as u64;
    let mut most = (0, 0);
    for gigabyte in 0..gigabytes {
        let began = Instant::now();
        let numbers = gigabyte * messages..(gigabyte + 1) * messages;
        let tenth = messages / 10 + 1;
        let looking = async {
            // Looked at all along the way: the most counts, not what is left when it is quiet.
            let mut most = (0, 0);
            let mut next = numbers.start;
            while next < numbers.end {
                let end = (next + tenth).min(numbers.end);
                take(&mut taking, next..end).await;
                most = most.max(broker.disk());
                next = end;
            }
            most
        };
        let ((), highest) = tokio::join!(publish(&to, numbers.clone(), bytes), looking);
        most = most.max(highest);
        println!(
            "  {} GB: at most {:.0} MiB on disk in {} segments ({:.0} MB/s)",
            gigabyte + 1,
            mib(highest.0),
            highest.1,
            1000.0 / began.elapsed().as_secs_f64()
        );
    }
    println!("  most of all: {:.0} MiB on disk in {} segments", mib(most.0), most.1);
    held.ack().expect("the broker is there");
    client.close().await.expect("acknowledgements are told");
}
