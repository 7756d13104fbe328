//! Consumers and channels that end in the middle of a flow: what was sent and what the broker counts agree.

use rialto::queue::{PauseReason, Readiness};
use rialto::server::Embedded;
use rialto_client::Message;
use rialto_protocol::native::{Command, Request, Settlement};

use crate::support::peer::{CHANNEL, Delivered, Peer, consumer};
use crate::support::*;

const MESSAGES: usize = 4000;

/// Publishes far more to `q` than sockets and windows hold, and waits until its consumers, whose peer does not
/// read, can take no more: from here on deliveries are under way in every place that there is.
async fn clog(broker: &Embedded) {
    let client = connect(broker).await;
    let publisher = client.publisher("", "q").unwrap();
    let batch = (0..MESSAGES).map(|_| Message::new(vec![b'x'; 8 << 10]));
    publisher.publish_batch(batch).await.unwrap().await.unwrap().accepted().unwrap();
    let queue = broker.broker().vhost("/").unwrap().queues().remove(0);
    let clogged = Readiness::Paused(PauseReason::OutboxFull);
    until("the consumers to be held up", || {
        queue.consumers().iter().all(|(_, info)| info.readiness == clogged)
    })
    .await;
}

fn assert_consecutive(deliveries: &[Delivered], number: u32) -> u64 {
    let tags: Vec<_> =
        deliveries.iter().filter(|this| this.consumer == number).map(|this| this.tag).collect();
    assert_eq!(tags, (1..=tags.len() as u64).collect::<Vec<_>>(), "tags of consumer {number}");
    tags.len() as u64
}

/// What a queue holds: ready and unacked.
fn held(broker: &Embedded) -> (u64, u64) {
    let figures = stats(broker, "q").unwrap();
    (figures.ready, figures.unacked)
}

#[tokio::test]
async fn nothing_comes_after_the_answer_to_a_cancel_and_all_before_it_counts() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 0)).await;
    clog(&broker).await;
    peer.request(Request::Cancel { consumer: 1 }).await.unwrap();
    let sent = assert_consecutive(&peer.inbox_deliveries(), 1);
    assert_eq!(peer.deliveries_so_far().await, [], "none after the answer");
    assert_eq!(held(&broker), (MESSAGES as u64 - sent, sent));
}

#[tokio::test]
async fn a_channel_that_closes_takes_nothing_from_its_neighbour() {
    for by_error in [false, true] {
        let broker = start().await;
        let mut peer = Peer::connect(&broker).await;
        peer.declare_queue("q").await;
        peer.open_channel(2).await;
        peer.consume(consumer(1, "q", 0)).await;
        peer.consume_on(2, consumer(2, "q", 0)).await;
        clog(&broker).await;
        if by_error {
            peer.settle(1, Settlement::Ack, u64::MAX, u64::MAX).await;
            assert_eq!(peer.channel_closed().await.code, 406);
        } else {
            peer.send(CHANNEL, Command::CloseChannel { correlation: 1_000_000 }).await;
            let closed = |command: &Command| match command {
                Command::Response { correlation: 1_000_000, .. } => Some(()),
                _ => None,
            };
            peer.wait_for("the channel to close", closed).await;
        }
        let mut deliveries = peer.inbox_deliveries();
        while deliveries.iter().filter(|this| this.consumer == 2).count() < MESSAGES {
            let more = peer.some_deliveries().await;
            assert!(more.iter().all(|this| this.consumer == 2), "the closed channel gets no more");
            deliveries.extend(more);
        }
        assert_consecutive(&deliveries, 1);
        assert_eq!(assert_consecutive(&deliveries, 2), MESSAGES as u64, "each once");
        assert_eq!(held(&broker), (0, MESSAGES as u64), "everything is with the channel that is left");
    }
}

#[tokio::test]
async fn a_queue_deleted_in_the_middle_of_a_flow_ends_its_consumer_after_what_was_sent() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 0)).await;
    clog(&broker).await;
    let delivered = stats(&broker, "q").unwrap().totals.delivered;
    connect(&broker).await.queue("q").delete().await.unwrap();
    let ended = |command: &Command| match command {
        Command::ConsumerCancelled { consumer, .. } => Some(*consumer),
        _ => None,
    };
    assert_eq!(peer.wait_for("the consumer's end", ended).await, 1);
    assert_eq!(assert_consecutive(&peer.inbox_deliveries(), 1), delivered, "all that the queue had given it");
    assert_eq!(peer.deliveries_so_far().await, [], "none after its end");
    peer.ack(1, 1, delivered).await;
    peer.settled().await;
}

#[tokio::test]
async fn a_consumer_that_never_acks_holds_its_publisher_back_not_the_memory() {
    const MIB: u64 = 1 << 20;
    let limits = rialto::broker::Limits { queue_budget: 2 * MIB, ..Default::default() };
    let broker = start_with(limits, Default::default()).await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.consume(consumer(1, "q", 0)).await;
    let client = connect(&broker).await;
    let publisher = client.publisher("", "q").unwrap();
    let publishing = tokio::spawn(async move {
        let batch = (0..1000).map(|_| Message::new(vec![b'x'; 8 << 10]));
        publisher.publish_batch(batch).await.unwrap().await.unwrap().accepted().unwrap();
    });
    // It reads everything it is sent, and settles nothing until there is no more to read.
    let mut read = 0;
    while read * (8 << 10) < 2 * MIB {
        read += peer.some_deliveries().await.len() as u64;
    }
    until("the queue to be full", || broker.broker().memory_bytes() > 2 * MIB).await;
    assert!(!publishing.is_finished());
    let mut acked = 0;
    while read < 1000 {
        peer.ack(1, acked + 1, read).await;
        acked = read;
        let memory = broker.broker().memory_bytes();
        assert!(memory < 8 * MIB, "{memory} bytes");
        read += peer.some_deliveries().await.len() as u64;
    }
    soon("the publisher", publishing).await.unwrap();
}
