//! Messages that are numbered: published with confirms, taken in order.

use std::collections::VecDeque;

use rialto_client::{Client, Consumer, Delivery, Message, Publisher};

/// Messages published at a time.
pub(crate) const BATCH: u64 = 1000;
/// Batches without a confirm.
const WINDOW: usize = 8;

/// A persistent message that says its number.
pub(crate) fn message(number: u64, bytes: usize) -> Message {
    let mut body = vec![b'x'; bytes.max(8)];
    body[..8].copy_from_slice(&number.to_be_bytes());
    Message::new(body).persistent()
}

/// The number of a message.
pub(crate) fn number(delivery: &Delivery) -> u64 {
    u64::from_be_bytes(delivery.body()[..8].try_into().expect("bodies say their number"))
}

/// Publishes a range of numbers and returns when all are confirmed.
pub(crate) async fn publish(to: &Publisher, numbers: std::ops::Range<u64>, bytes: usize) {
    let mut waiting = VecDeque::new();
    let mut next = numbers.start;
    while next < numbers.end {
        let end = (next + BATCH).min(numbers.end);
        let confirm = to.publish_batch((next..end).map(|number| message(number, bytes))).await;
        waiting.push_back(confirm.expect("the broker is there"));
        next = end;
        if waiting.len() > WINDOW {
            let confirm = waiting.pop_front().expect("it is not empty");
            confirm.await.and_then(|outcome| outcome.accepted()).expect("everything is confirmed");
        }
    }
    for confirm in waiting {
        confirm.await.and_then(|outcome| outcome.accepted()).expect("everything is confirmed");
    }
}

/// A consumer that is far ahead.
pub(crate) async fn consumer(client: &Client, queue: &str) -> Consumer {
    let consume = client.consume(queue).prefetch(10_000).buffer_messages(10_000);
    consume.start().await.expect("the queue is there")
}

/// Takes and acknowledges a range of numbers, in order.
pub(crate) async fn take(consumer: &mut Consumer, numbers: std::ops::Range<u64>) {
    let mut expected = numbers.start;
    let mut deliveries = Vec::new();
    while expected < numbers.end {
        let most = (numbers.end - expected).min(BATCH) as usize;
        let taken = consumer.recv_many(&mut deliveries, most).await.expect("the broker is there");
        assert!(taken > 0, "the consumer was ended");
        for delivery in deliveries.drain(..) {
            assert_eq!(number(&delivery), expected, "lost or out of order");
            delivery.ack().expect("the broker is there");
            expected += 1;
        }
    }
}
