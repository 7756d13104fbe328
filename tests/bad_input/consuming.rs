//! Settling and giving credit for what never was.

use rialto_protocol::native::*;
use rialto_protocol::types::FieldTable;

use crate::support::*;

fn settle(consumer: u32, ranges: &[(u64, u64)]) -> Command {
    Command::Settle(Settle { consumer, settlement: Settlement::Ack, ranges: ranges.to_vec() })
}

async fn with_one_delivered(victim: &Victim) -> (Peer, String) {
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    peer.publish(1, &queue, b"x").await;
    peer.next_outcomes().await;
    let consuming = Request::Consume(consume(&queue, 1));
    peer.send(1, Command::Request { correlation: 3, request: consuming }).await;
    let mut kinds =
        vec![peer.next().await.unwrap().command.kind(), peer.next().await.unwrap().command.kind()];
    kinds.sort_by_key(|kind| kind.octet());
    assert_eq!(kinds, [Kind::Response, Kind::Deliver]);
    (peer, queue)
}

#[tokio::test]
async fn tags_that_were_never_delivered_close_the_channel_and_give_the_message_back() {
    let victim = Victim::start().await;
    for (consumer, ranges) in [
        (1, &[(2, 2)][..]),
        (1, &[(1, 2)]),
        (1, &[(0, u64::MAX)]),
        (1, &[(u64::MAX, u64::MAX)]),
        (2, &[(1, 1)]),
        (u32::MAX, &[(1, 1)]),
        (0, &[(1, 1)]),
        (0, &[(0, 0)]),
    ] {
        let (mut peer, queue) = with_one_delivered(&victim).await;
        peer.send(1, settle(consumer, ranges)).await;
        peer.channel_closed_with(1, 406, Kind::Settle).await;
        peer.open_channel(1).await;
        match peer.request(Request::Get { queue: short(&queue), auto_ack: false }).await {
            Ok(Response::Got { run, .. }) => {
                let entry = run.walk().next().unwrap().unwrap();
                assert!(entry.flags.contains(EntryFlags::REDELIVERED));
            }
            other => panic!("{other:?}"),
        }
        peer.close().await;
    }
    victim.survives().await;
}

#[tokio::test]
async fn settling_twice_or_late_is_passed_over() {
    let victim = Victim::start().await;
    let (mut peer, queue) = with_one_delivered(&victim).await;
    for _ in 0..3 {
        peer.send(1, settle(1, &[(1, 1)])).await;
    }
    peer.send(1, settle(1, &[])).await;
    peer.request(Request::Cancel { consumer: 1 }).await.unwrap();
    peer.send(1, settle(1, &[(1, 1)])).await;
    peer.send(1, Command::Credit { consumer: 1, messages: 1, bytes: 1 }).await;
    assert_eq!(peer.request(Request::PurgeQueue { name: short(&queue) }).await, Ok(Response::Count(0)));
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn credit_for_nobody_closes_the_channel_and_credit_without_end_is_no_harm() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.send(1, Command::Credit { consumer: 1, messages: 1, bytes: 1 }).await;
    peer.channel_closed_with(1, 406, Kind::Credit).await;
    peer.open_channel(1).await;
    let queue = peer.declare_exclusive().await;
    let with_credit = Consume { credit: Some((0, 0)), ..consume(&queue, 1) };
    peer.request(Request::Consume(with_credit)).await.unwrap();
    for _ in 0..1000 {
        peer.send(1, Command::Credit { consumer: 1, messages: u32::MAX, bytes: u32::MAX }).await;
    }
    peer.publish(1, &queue, b"x").await;
    let mut kinds =
        vec![peer.next().await.unwrap().command.kind(), peer.next().await.unwrap().command.kind()];
    kinds.sort_by_key(|kind| kind.octet());
    assert_eq!(kinds, [Kind::Outcomes, Kind::Deliver]);
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_consumer_whose_queue_goes_is_told_once_and_its_number_is_free() {
    let victim = Victim::start().await;
    let (mut peer, queue) = with_one_delivered(&victim).await;
    let delete = Request::DeleteQueue { name: short(&queue), if_unused: false, if_empty: false };
    peer.send(1, Command::Request { correlation: 4, request: delete }).await;
    let mut kinds =
        vec![peer.next().await.unwrap().command.kind(), peer.next().await.unwrap().command.kind()];
    kinds.sort_by_key(|kind| kind.octet());
    assert_eq!(kinds, [Kind::Response, Kind::ConsumerCancelled]);
    let other = peer.declare_exclusive().await;
    peer.request(Request::Consume(consume(&other, 1))).await.expect("the number is free");
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn cancelled_consumers_of_deleted_queues_do_not_add_up() {
    let victim = Victim::with(|session| session.consumers_max = 3, |_| {}).await;
    let mut peer = Peer::on_channel(victim.address()).await;
    for round in 1..=10 {
        let queue = peer.declare_exclusive().await;
        peer.send_bytes(&publish(round, &queue, &[b"x"])).await;
        peer.next_outcomes().await;
        peer.request(Request::Consume(consume(&queue, 1))).await.expect("there is room");
        peer.request(Request::Cancel { consumer: 1 }).await.unwrap();
        let delete = Request::DeleteQueue { name: short(&queue), if_unused: false, if_empty: false };
        peer.request(delete).await.unwrap();
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_channel_prefetch_held_by_a_deleted_queue_is_given_back() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.request(Request::SetPrefetch { messages: 1 }).await.unwrap();
    let (first, second) = (peer.declare_exclusive().await, peer.declare_exclusive().await);
    for (number, queue) in [(1, &first), (2, &second)] {
        peer.publish(number, queue, queue.as_bytes()).await;
        peer.next_outcomes().await;
    }
    for (number, queue) in [(1, &first), (2, &second)] {
        peer.request(Request::Consume(consume(queue, number))).await.unwrap();
    }
    // The first consumer's message fills the channel; with its queue the place is free for the second.
    let delete = Request::DeleteQueue { name: short(&first), if_unused: false, if_empty: false };
    peer.send(1, Command::Request { correlation: 4, request: delete }).await;
    loop {
        if let Command::Deliver(deliver) = peer.next().await.unwrap().command
            && deliver.consumer == 2
        {
            break;
        }
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn so_is_what_a_cancelled_consumer_held_of_it() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.request(Request::SetPrefetch { messages: 1 }).await.unwrap();
    let (first, second) = (peer.declare_exclusive().await, peer.declare_exclusive().await);
    for (number, queue) in [(1, &first), (2, &second)] {
        peer.publish(number, queue, b"x").await;
        peer.next_outcomes().await;
    }
    for (number, queue) in [(1, &first), (2, &second)] {
        peer.request(Request::Consume(consume(queue, number))).await.unwrap();
    }
    peer.request(Request::Cancel { consumer: 1 }).await.unwrap();
    let delete = Request::DeleteQueue { name: short(&first), if_unused: false, if_empty: false };
    peer.send(1, Command::Request { correlation: 4, request: delete }).await;
    loop {
        match peer.next().await.unwrap().command {
            Command::Deliver(deliver) if deliver.consumer == 2 => break,
            Command::ConsumerCancelled { .. } => panic!("it had been cancelled before"),
            _ => {}
        }
    }
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn gets_from_queues_that_go_do_not_add_up_and_settle_late() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    for round in 1..=200 {
        let queue = peer.declare("passing", FieldTable::new()).await.unwrap();
        peer.publish(round, &queue, b"x").await;
        peer.next_outcomes().await;
        let got = peer.request(Request::Get { queue: short(&queue), auto_ack: false }).await;
        assert!(matches!(got, Ok(Response::Got { tag, .. }) if tag == round), "{got:?}");
        peer.request(Request::DeleteQueue { name: short(&queue), if_unused: false, if_empty: false })
            .await
            .unwrap();
    }
    peer.send(1, settle(0, &[(1, 200)])).await;
    peer.close().await;
    victim.survives().await;
}
