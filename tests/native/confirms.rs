//! Every published message has exactly one outcome, told in ranges.

use rialto_client::{Message, Outcome, Overflow};
use rialto_protocol::native::{self, Command, OutcomeRange, PublishWriter, RouteRef};

use crate::support::peer::{CHANNEL, Peer};
use crate::support::*;

#[tokio::test]
async fn a_run_of_messages_is_confirmed_with_one_range() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.publish("", "q", &[b"1", b"2", b"3", b"4"]).await;
    let confirmed = OutcomeRange { first: 1, last: 4, outcome: native::Outcome::Confirmed };
    assert_eq!(peer.outcomes().await, [confirmed]);
}

#[tokio::test]
async fn outcomes_of_one_frame_may_differ() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    let mut out = bytes::BytesMut::new();
    let mut frame = PublishWriter::begin(CHANNEL, 1, true, &mut out);
    for (key, count) in [("q", 2), ("nobody", 3), ("q", 1)] {
        frame.run(RouteRef::Inline { exchange: "", routing_key: key }, false, &mut out);
        (0..count).for_each(|_| frame.entry(&[], b"m", &mut out));
    }
    frame.run(RouteRef::Inline { exchange: "none", routing_key: "" }, false, &mut out);
    frame.entry(&[], b"m", &mut out);
    frame.finish(&mut out);
    peer.send_bytes(&out).await;
    let mut ranges = Vec::new();
    while ranges.iter().map(|range: &OutcomeRange| range.last).max() != Some(7) {
        ranges.extend(peer.outcomes().await);
    }
    ranges.sort_by_key(|range| range.first);
    let kinds: Vec<_> = ranges.iter().map(|range| (range.first, range.last, &range.outcome)).collect();
    let reason = crate::support::peer::name("no exchange 'none' in vhost '/'");
    assert_eq!(
        kinds,
        [
            (1, 2, &native::Outcome::Confirmed),
            (3, 5, &native::Outcome::Unroutable),
            (6, 6, &native::Outcome::Confirmed),
            (7, 7, &native::Outcome::Rejected { code: 404, reason }),
        ]
    );
}

#[tokio::test]
async fn a_missing_exchange_rejects_the_message_and_closes_nothing() {
    let (_broker, client) = start_and_connect().await;
    let outcome = client.publish("none", "k", "lost").await.unwrap().await.unwrap();
    let Outcome::Rejected { code, reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!((code, &*reason), (404, "no exchange 'none' in vhost '/'"));
    client.exchange("none").fanout().declare().await.unwrap();
    let outcome = client.publish("none", "k", "unroutable").await.unwrap().await.unwrap();
    assert_eq!(outcome, Outcome::Unroutable { returned: None });
}

#[tokio::test]
async fn a_full_queue_rejects_and_says_which_of_a_batch() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").max_length(3).overflow(Overflow::RejectPublish).declare().await.unwrap();
    let publisher = client.publisher("", "q").unwrap();
    let batch: Vec<_> = numbers(5).into_iter().map(Message::new).collect();
    let outcome = publisher.publish_batch(batch).await.unwrap().await.unwrap();
    let failed: Vec<_> = outcome.failures.iter().map(|failure| failure.index).collect();
    assert_eq!(failed, [3, 4]);
    let Outcome::Rejected { code, reason } = &outcome.failures[0].outcome else { panic!("{outcome:?}") };
    assert_eq!((*code, &**reason), (406, "the queue has reached its maximum length"));
    assert_eq!(drain(&client, "q").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_message_that_one_of_its_queues_refuses_is_rejected_and_stays_in_the_others() {
    let (_broker, client) = start_and_connect().await;
    client.queue("full").max_length(0).overflow(Overflow::RejectPublish).declare().await.unwrap();
    client.queue("roomy").declare().await.unwrap();
    for queue in ["full", "roomy"] {
        client.queue(queue).bind("amq.fanout", "").await.unwrap();
    }
    let outcome = client.publish("amq.fanout", "", "m").await.unwrap().await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected { code: 406, .. }), "{outcome:?}");
    assert_eq!(drain(&client, "roomy").await, ["m"]);
}

#[tokio::test]
async fn an_expiration_that_is_no_number_rejects_the_message() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let properties = rialto_client::Properties {
        expiration: Some(rialto_client::ShortStr::new("soon").unwrap()),
        ..Default::default()
    };
    let outcome = client.publish("", "q", Message::new("m").properties(properties)).await.unwrap().await;
    let Ok(Outcome::Rejected { code: 406, reason }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("invalid expiration 'soon'"), "{reason}");
    assert_eq!(depth(&client, "q").await, (0, 0));
}

#[tokio::test]
async fn a_user_id_that_is_not_ones_own_rejects_the_message() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    let outcome = client.publish("", "q", Message::new("m").user_id("admin")).await.unwrap().await.unwrap();
    let Outcome::Rejected { code: 406, reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!(&*reason, "user_id property set to 'admin' but authenticated user was 'guest'");
    publish(&client, "", "q", Message::new("m").user_id("guest")).await;
    assert_eq!(depth(&client, "q").await, (1, 0));
}

#[tokio::test]
async fn a_confirmed_message_is_in_the_queue() {
    let (broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    for count in 1..=10 {
        publish(&client, "", "q", "m").await;
        assert_eq!(stats(&broker, "q").unwrap().ready, count, "seen by everybody, not only by the publisher");
    }
}

#[tokio::test]
async fn without_outcomes_wanted_none_come_and_a_refusal_closes_the_channel() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    for (first, exchange) in [(1, ""), (2, "none")] {
        let mut out = bytes::BytesMut::new();
        let mut frame = PublishWriter::begin(CHANNEL, first, false, &mut out);
        frame.run(RouteRef::Inline { exchange, routing_key: "q" }, false, &mut out);
        frame.entry(&[], b"m", &mut out);
        frame.finish(&mut out);
        peer.send_bytes(&out).await;
    }
    let closing = peer.channel_closed().await;
    assert_eq!((closing.code, &*closing.text), (404, "NOT_FOUND - no exchange 'none' in vhost '/'"));
    assert!(!peer.inbox.iter().any(|command| matches!(command, Command::Outcomes(_))));
    assert_eq!(stats(&broker, "q").unwrap().ready, 1);
}

#[tokio::test]
async fn sequence_numbers_must_be_consecutive() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.publish("", "q", &[b"1"]).await;
    let mut out = bytes::BytesMut::new();
    let mut frame = PublishWriter::begin(CHANNEL, 3, true, &mut out);
    frame.run(RouteRef::Inline { exchange: "", routing_key: "q" }, false, &mut out);
    frame.entry(&[], b"3", &mut out);
    frame.finish(&mut out);
    peer.send_bytes(&out).await;
    assert_eq!(peer.channel_closed().await.code, 406);
    assert_eq!(stats(&broker, "q").unwrap().ready, 1);
}
