//! Peers that do not read: what is for them waits bounded, and others do not notice.

use rialto_protocol::native::*;
use rialto_protocol::types::FieldTable;
use tokio::io::AsyncWriteExt;

use crate::support::*;

fn shared(name: &str) -> Request {
    Request::DeclareQueue {
        name: short(name),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::new(),
    }
}

#[tokio::test]
async fn a_consumer_that_never_reads_holds_a_bounded_share_of_its_backlog() {
    let victim = Victim::start().await;
    let mut owner = Peer::on_channel(victim.address()).await;
    owner.request(shared("backlog")).await.unwrap();
    let messages = 2000u64;
    for number in 1..=messages {
        owner.publish(number, "backlog", &[7; 20_000]).await;
        owner.next_outcomes().await;
    }
    let mut deaf = Peer::on_channel(victim.address()).await;
    deaf.send(1, Command::Request { correlation: 1, request: Request::Consume(consume("backlog", 1)) }).await;
    let vhost = victim.broker().vhost("/").unwrap();
    let queue = vhost.queue("backlog", rialto::model::ConnectionId(0)).unwrap();
    until("it is sent something", || queue.stats().unacked > 0).await;
    victim.serves_others().await;
    // The sockets' buffers take some megabytes, the broker's own share is two more: most of it stays in the queue.
    let mut before = 0;
    until("it gets no more", || {
        let unacked = queue.stats().unacked;
        std::mem::replace(&mut before, unacked) == unacked
    })
    .await;
    assert!(queue.stats().ready > messages / 4, "{:?}", queue.stats());
    drop(deaf);
    until("everything is back", || queue.stats().ready == messages).await;
    owner
        .request(Request::DeleteQueue { name: short("backlog"), if_unused: false, if_empty: false })
        .await
        .unwrap();
    owner.close().await;
    drop((queue, vhost));
    victim.survives().await;
}

#[tokio::test]
async fn answers_that_nobody_reads_stop_the_asking() {
    let victim = Victim::start().await;
    let mut owner = Peer::on_channel(victim.address()).await;
    owner.request(shared("large")).await.unwrap();
    for number in 1..=100 {
        owner.publish(number, "large", &[7; 1 << 20]).await;
        owner.next_outcomes().await;
    }
    let vhost = victim.broker().vhost("/").unwrap();
    let queue = vhost.queue("large", rialto::model::ConnectionId(0)).unwrap();
    let mut deaf = Peer::on_channel(victim.address()).await;
    // A kilobyte and a half of requests for a hundred megabytes of answers, all in one read.
    let mut bytes = Vec::new();
    for correlation in 1..=100 {
        let request = Request::Get { queue: short("large"), auto_ack: false };
        bytes.extend(encoded(1, &Command::Request { correlation, request }));
    }
    deaf.send_bytes(&bytes).await;
    until("it is answered", || queue.stats().unacked > 0).await;
    victim.serves_others().await;
    assert!(queue.stats().unacked < 50, "{:?}", queue.stats());
    // Once it reads, everything is carried out, in order.
    for asked in 1..=100 {
        match deaf.next().await.unwrap().command {
            Command::Response { correlation, response: Response::Got { tag, .. } } => {
                assert_eq!((correlation, tag), (asked, u64::from(asked)));
            }
            other => panic!("{other:?}"),
        }
    }
    deaf.close().await;
    owner
        .request(Request::DeleteQueue { name: short("large"), if_unused: false, if_empty: false })
        .await
        .unwrap();
    owner.close().await;
    drop((queue, vhost));
    victim.survives().await;
}

#[tokio::test]
async fn who_provokes_answers_without_end_and_reads_none_is_not_read_from() {
    let victim = Victim::start().await;
    let deaf = Peer::on_channel(victim.address()).await;
    let list = Request::List { what: ListOf::Exchanges, after: Default::default(), limit: 1000 };
    let one = encoded(1, &Command::Request { correlation: 1, request: list });
    let bytes = one.repeat(10_000);
    let mut stream = deaf.into_stream();
    // Writing comes to a stop: the broker reads no more.
    let endless = async { while stream.write_all(&bytes).await.is_ok() {} };
    tokio::select! {
        () = endless => panic!("the broker hung up"),
        () = async {
            for _ in 0..20 {
                victim.serves_others().await;
            }
        } => {}
    }
    drop(stream);
    victim.survives().await;
}

#[tokio::test]
async fn a_returned_message_with_long_names_is_no_lever() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let (exchange, key) = ("amq.topic", "k".repeat(255));
    let count = 60_000u64;
    let mut out = bytes::BytesMut::new();
    let mut frame = PublishWriter::begin(1, 1, true, &mut out);
    frame.run(RouteRef::Inline { exchange, routing_key: &key }, true, &mut out);
    for _ in 0..count {
        frame.entry(&[], b"", &mut out);
    }
    frame.finish(&mut out);
    peer.send_bytes(&out).await;
    let mut returned = 0;
    loop {
        match peer.next().await.unwrap().command {
            Command::Returned(back) => {
                returned += 1;
                assert_eq!((back.sequence, back.code), (returned, 312));
            }
            Command::Outcomes(outcomes) => {
                assert_eq!(outcomes.len(), 1);
                assert_eq!((outcomes[0].last, returned), (count, count));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    peer.close().await;
    victim.survives().await;
}
