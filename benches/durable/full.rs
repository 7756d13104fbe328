//! A disk that fills up amid a load: publishers wait, consumers go on, and nothing confirmed is lost.

use std::path::Path;

use rialto_client::{Event, Events};

use super::broker::{Broker, mib};
use super::traffic::{BATCH, consumer, message, number};

const BYTES: usize = 16 << 10;
const SETTINGS: [(&str, &str); 2] =
    [("RIALTO_STORE__SEGMENT_SIZE", "16 MiB"), ("RIALTO_STORE__FREE_SPACE_MIN", "64 MiB")];

pub(crate) async fn run(folder: &Path) {
    println!("full: messages of {BYTES} bytes until the disk of {} is full", folder.display());
    let data = folder.join("data");
    let broker = Broker::start(&data, &SETTINGS);
    let client = broker.client().await;
    client.queue("q").durable().declare().await.expect("a new queue");
    let mut events = client.events();
    let to = client.publisher("", "q").expect("a short name");

    let (mut published, mut confirmed) = (0, 0);
    let reason = loop {
        let batch = published..published + BATCH;
        let confirm = to.publish_batch(batch.map(|number| message(number, BYTES)));
        tokio::select! {
            biased;
            reason = blocked(&mut events) => break reason,
            outcome = async { confirm.await.expect("the broker is there").await } => {
                outcome.and_then(|outcome| outcome.accepted()).expect("everything is confirmed");
                published += BATCH;
                confirmed = published;
            }
        }
    };
    println!("  blocked after {confirmed} confirmed messages: {reason}");
    println!("  {:.0} MiB on disk", mib(broker.disk().0));

    // Those of the batch that was stopped may be there too, in order, or in part.
    let other = broker.client().await;
    let mut taking = consumer(&other, "q").await;
    let keep = confirmed / 10;
    for expected in 0..confirmed - keep {
        let delivery = taking.next().await.expect("the broker is there").expect("a message");
        assert_eq!(number(&delivery), expected, "lost or out of order");
        delivery.ack().expect("the broker is there");
    }
    println!("  a consumer took {} of them meanwhile", confirmed - keep);
    other.close().await.expect("acknowledgements are told");
    while !matches!(events.next().await.expect("the client lives"), Event::Unblocked) {}
    println!("  unblocked; {:.0} MiB on disk", mib(broker.disk().0));

    let after = 1_000_000..1_000_000 + BATCH;
    let confirm = to.publish_batch(after.clone().map(|number| message(number, BYTES))).await;
    let outcome = confirm.expect("the broker is there").await.and_then(|outcome| outcome.accepted());
    outcome.expect("publishing goes on");
    drop((to, client));
    broker.kill();

    let broker = Broker::start(&data, &SETTINGS);
    let client = broker.client().await;
    let mut taking = consumer(&client, "q").await;
    let (mut expected, mut again) = (confirmed - keep, 0);
    while expected < confirmed || after.contains(&expected) {
        let delivery = taking.next().await.expect("the broker is there").expect("a message");
        match number(&delivery) {
            found if found == expected => {
                expected += 1;
                if expected == confirmed {
                    expected = after.start;
                }
            }
            found if found < confirmed - keep => again += 1,
            // Of the batch that was stopped.
            found if found >= confirmed && found < published + BATCH => {}
            found => panic!("{found}, where {expected} was due: lost or out of order"),
        }
        delivery.ack().expect("the broker is there");
    }
    println!("  all confirmed messages are there after kill -9, {again} acknowledged ones once more");
}

async fn blocked(events: &mut Events) -> String {
    loop {
        if let Event::Blocked { reason } = events.next().await.expect("the client lives") {
            return reason.to_string();
        }
    }
}
