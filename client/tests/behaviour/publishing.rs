//! Publishing: outcomes as ranges, returned messages, credit, back-pressure, batches.

use crate::fake::{FakeBroker, Published, name, soon};
use rialto_client::{Error, Event, Message, Outcome, ReplyCode};
use rialto_protocol::native::{Closing, Command, DeliveredRun, EntryFlags, Outcome as WireOutcome, Returned};

fn bodies(messages: &[Published]) -> Vec<&str> {
    messages.iter().map(|message| &*message.body).collect()
}

#[tokio::test]
async fn one_range_confirms_many_messages() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("orders", "eu.new").unwrap();
    let mut confirms = Vec::new();
    for n in 0..100 {
        confirms.push(publisher.publish(format!("m{n}")).await.unwrap());
    }
    let messages = peer.published(100).await;
    assert_eq!(messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    assert_eq!((&*messages[0].exchange, &*messages[0].routing_key), ("orders", "eu.new"));
    assert!(messages.iter().all(|message| message.outcomes));
    peer.confirm(&messages).await;
    for confirm in confirms {
        assert_eq!(soon(confirm).await.unwrap(), Outcome::Confirmed { maybe_duplicate: false });
    }
}

#[tokio::test]
async fn outcomes_may_come_in_any_order() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    let mut confirms = Vec::new();
    for n in 0..5 {
        confirms.push(publisher.publish(format!("m{n}")).await.unwrap());
    }
    let channel = peer.published(5).await[0].channel;
    let rejected = WireOutcome::Rejected { code: 506, reason: name("the queue is full") };
    peer.outcome(channel, 4, 4, rejected).await;
    peer.outcome(channel, 2, 3, WireOutcome::Confirmed).await;
    peer.outcome(channel, 5, 5, WireOutcome::Unroutable).await;
    peer.outcome(channel, 1, 1, WireOutcome::Confirmed).await;
    let mut outcomes = Vec::new();
    for confirm in confirms {
        outcomes.push(soon(confirm).await.unwrap());
    }
    let confirmed = Outcome::Confirmed { maybe_duplicate: false };
    assert_eq!(outcomes[..3], [confirmed.clone(), confirmed.clone(), confirmed]);
    let error = outcomes[3].clone().accepted().unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::ResourceError));
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(outcomes[4], Outcome::Unroutable { returned: None });
}

#[tokio::test]
async fn outcomes_for_what_was_never_published_end_the_connection() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let confirm = client.publish("x", "k", "m").await.unwrap();
    let channel = peer.published(1).await[0].channel;
    peer.outcome(channel, 1, 2, WireOutcome::Confirmed).await;
    let error = soon(confirm).await.unwrap_err();
    assert!(error.to_string().contains("outcomes for messages 1-2"), "{error}");
}

#[tokio::test]
async fn a_returned_message_comes_with_its_outcome() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "nobody").unwrap().mandatory();
    let confirm = publisher.publish("lost").await.unwrap();
    let message = peer.published(1).await.remove(0);
    assert!(message.mandatory);
    peer.say(message.channel, returned(1, "lost")).await;
    peer.outcome(message.channel, 1, 1, WireOutcome::Unroutable).await;
    let Outcome::Unroutable { returned: Some(returned) } = soon(confirm).await.unwrap() else { panic!() };
    assert_eq!((&*returned.body, &*returned.routing_key), (&b"lost"[..], "nobody"));
    assert_eq!(returned.code, 312);
}

#[tokio::test]
async fn a_returned_message_nobody_waits_for_goes_to_the_returns() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut returns = client.returns();
    let publisher = client.publisher("x", "nobody").unwrap().mandatory();
    publisher.send("lost").await.unwrap();
    let message = peer.published(1).await.remove(0);
    assert!(!message.outcomes);
    peer.say(message.channel, returned(1, "lost")).await;
    assert_eq!(&*soon(returns.next()).await.unwrap().body, b"lost");
    // The same for a confirm that was dropped.
    drop(publisher.publish("again").await.unwrap());
    peer.published(1).await;
    peer.say(message.channel, returned(2, "again")).await;
    assert_eq!(&*soon(returns.next()).await.unwrap().body, b"again");
}

fn returned(sequence: u64, body: &str) -> Command {
    let run = DeliveredRun {
        exchange: name("x"),
        routing_key: name("nobody"),
        count: 1,
        entries: crate::fake::entry(EntryFlags::NONE, 0, body).freeze(),
    };
    Command::Returned(Returned { sequence, code: 312, text: name("NO_ROUTE"), run })
}

#[tokio::test]
async fn nothing_is_published_without_credit() {
    let mut broker = FakeBroker::start().await;
    broker.welcome.publish_window = 1;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    publisher.send("first").await.unwrap();
    // One frame may take the credit below zero.
    let (first, cost) = peer.published_frame().await;
    assert_eq!(bodies(&first), ["first"]);
    for n in 0..10 {
        publisher.send(format!("m{n}")).await.unwrap();
    }
    // A request goes past the messages that wait: had they been sent, they would come before it.
    let (purged, request) = tokio::join!(client.queue("q").purge(), peer.grant());
    assert!(matches!(request, rialto_protocol::native::Request::PurgeQueue { .. }));
    assert_eq!(purged.unwrap(), 0);
    // Credit that only makes good for the first frame is still none.
    peer.say(0, Command::PublishCredit(cost as u32 - 1)).await;
    let (_, request) = tokio::join!(client.queue("q").purge(), peer.grant());
    assert!(matches!(request, rialto_protocol::native::Request::PurgeQueue { .. }));
    peer.say(0, Command::PublishCredit(1)).await;
    assert_eq!(peer.published(10).await.len(), 10);
}

#[tokio::test]
async fn a_batch_is_one_future_with_its_failures_by_place() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    let batch = publisher.publish_batch((0..10).map(|n| Message::new(format!("m{n}")))).await.unwrap();
    let messages = peer.published(10).await;
    let channel = messages[0].channel;
    peer.outcome(channel, 1, 4, WireOutcome::Confirmed).await;
    peer.outcome(channel, 6, 10, WireOutcome::Confirmed).await;
    peer.outcome(channel, 5, 5, WireOutcome::Rejected { code: 506, reason: name("full") }).await;
    let outcome = soon(batch).await.unwrap();
    assert_eq!((outcome.messages, outcome.failures.len()), (10, 1));
    assert_eq!(outcome.failures[0].index, 4);
    assert!(matches!(outcome.accepted(), Err(Error::NotConfirmed(Outcome::Rejected { code: 506, .. }))));
    let empty: [Message; 0] = [];
    soon(publisher.publish_batch(empty).await.unwrap()).await.unwrap().accepted().unwrap();
}

#[tokio::test]
async fn what_is_queued_at_a_moment_leaves_in_one_frame() {
    let mut broker = FakeBroker::start().await;
    broker.welcome.publish_window = 1;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    publisher.send("first").await.unwrap();
    let (_, cost) = peer.published_frame().await;
    for n in 0..1000 {
        publisher.send(format!("m{n}")).await.unwrap();
    }
    peer.say(0, Command::PublishCredit(cost as u32)).await;
    assert_eq!(peer.published_frame().await.0.len(), 1000);
}

#[tokio::test]
async fn frames_stay_within_the_limit_of_the_broker() {
    let mut broker = FakeBroker::start().await;
    broker.welcome.frame_max = 8 * 1024;
    broker.welcome.message_size_max = 4 * 1024;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    let _batch = publisher.publish_batch((0..50).map(|_| Message::new("y".repeat(1000)))).await.unwrap();
    // The peer's codec refuses longer frames.
    assert_eq!(peer.published(50).await.len(), 50);
    publisher.send("z".repeat(4096)).await.unwrap();
    let error = publisher.send("z".repeat(4097)).await.unwrap_err();
    assert!(matches!(error, Error::MessageTooLarge { size: 4097, limit: 4096 }), "{error}");
    assert_eq!(peer.published(1).await[0].body.len(), 4096);
}

#[tokio::test]
async fn properties_beyond_the_protocol_are_refused_and_harm_nobody() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    let before = publisher.publish("before").await.unwrap();
    let large = || Message::new("large").header("h", "h".repeat(140_000));
    for error in [
        publisher.publish(large()).await.unwrap_err(),
        publisher.send(large()).await.unwrap_err(),
        publisher.try_publish(large()).unwrap_err(),
        publisher.publish_batch([Message::new("fine"), large()]).await.unwrap_err(),
        client.publish("x", "k", large()).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsendable { .. }), "{error}");
        assert!(error.to_string().contains("at most 131072 fit"), "{error}");
    }
    let after = publisher.publish("after").await.unwrap();
    let messages = peer.published(2).await;
    assert_eq!(bodies(&messages), ["before", "after"]);
    peer.confirm(&messages).await;
    soon(before).await.unwrap().accepted().unwrap();
    soon(after).await.unwrap().accepted().unwrap();
}

#[tokio::test]
async fn publishing_waits_for_room_in_the_order_of_arrival() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected_with(broker.client().publish_buffer(4096)).await;
    let publisher = client.publisher("x", "k").unwrap();
    let first = publisher.publish("a".repeat(3000)).await.unwrap();
    assert!(publisher.try_publish("b".repeat(3000)).unwrap().is_none());
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish("c".repeat(3000)).await.unwrap().await.unwrap() }
    });
    let messages = peer.published(1).await;
    assert!(!waiting.is_finished());
    peer.confirm(&messages).await;
    let _ = soon(first).await.unwrap();
    let messages = peer.published(1).await;
    assert!(messages[0].body.starts_with('c'));
    peer.confirm(&messages).await;
    soon(waiting).await.unwrap().accepted().unwrap();
}

#[tokio::test]
async fn a_publish_that_is_dropped_while_it_waits_has_published_nothing() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected_with(broker.client().publish_buffer(4096)).await;
    let publisher = client.publisher("x", "k").unwrap();
    let first = publisher.publish("a".repeat(3000)).await.unwrap();
    let messages = peer.published(1).await;
    {
        let dropped = publisher.publish("b".repeat(3000));
        tokio::pin!(dropped);
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx))).await.is_pending()
        );
    }
    peer.confirm(&messages).await;
    let _ = soon(first).await.unwrap();
    let third = publisher.publish("c".repeat(3000)).await.unwrap();
    let messages = peer.published(1).await;
    assert!(messages[0].body.starts_with('c'));
    peer.confirm(&messages).await;
    let _ = soon(third).await.unwrap();
}

#[tokio::test]
async fn a_dropped_confirm_forgets_the_outcome_and_gives_its_room_back() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected_with(broker.client().publish_buffer(4096)).await;
    let publisher = client.publisher("x", "k").unwrap();
    for round in 0..5 {
        drop(soon(publisher.publish("a".repeat(3000))).await.unwrap());
        let messages = peer.published(1).await;
        assert_eq!(messages[0].sequence, round + 1);
        peer.confirm(&messages).await;
    }
}

#[tokio::test]
async fn numbers_for_routes_run_out_without_anybody_noticing() {
    let mut broker = FakeBroker::start().await;
    // On two channels each; the peer refuses more.
    broker.welcome.route_max = 5;
    let (client, mut peer) = broker.connected().await;
    for key in ["a", "b", "c", "a", "d"] {
        client.publisher("x", key).unwrap().send(key).await.unwrap();
    }
    let messages = peer.published(5).await;
    let keys: Vec<_> = messages.iter().map(|message| &*message.routing_key).collect();
    assert_eq!(keys, bodies(&messages));
}

#[tokio::test]
async fn a_refused_send_costs_no_message_whose_outcome_is_wanted() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut events = client.events();
    let (wanted, missing) = (client.publisher("x", "k").unwrap(), client.publisher("missing", "k").unwrap());
    let before = wanted.publish("before").await.unwrap();
    missing.send("lost").await.unwrap();
    let messages = peer.published(2).await;
    assert_ne!(messages[0].channel, messages[1].channel);
    peer.say(messages[1].channel, channel_closed("NOT_FOUND - no exchange 'missing'")).await;
    let Some(Event::PublishRefused { error }) = soon(events.next()).await else { panic!() };
    assert_eq!(error.reply_code(), Some(ReplyCode::NotFound));

    wanted.send("after").await.unwrap();
    let after = peer.published(1).await;
    assert_ne!(after[0].channel, messages[1].channel, "the closed channel is not used again");
    assert_eq!((after[0].sequence, &*after[0].exchange), (1, "x"));
    peer.confirm(&messages[..1]).await;
    soon(before).await.unwrap().accepted().unwrap();
}

#[tokio::test]
async fn messages_with_and_without_outcomes_leave_in_their_order() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    for n in 0..3 {
        publisher.send(format!("s{n}")).await.unwrap();
        drop(publisher.publish(format!("p{n}")).await.unwrap());
    }
    let messages = peer.published(6).await;
    assert_eq!(bodies(&messages), ["s0", "p0", "s1", "p1", "s2", "p2"]);
    assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [1, 1, 2, 2, 3, 3]);
}

#[tokio::test]
async fn a_closed_channel_of_wanted_outcomes_ends_what_was_sent_and_publishing_goes_on() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let publisher = client.publisher("x", "k").unwrap();
    let confirm = publisher.publish("m").await.unwrap();
    let channel = peer.published(1).await[0].channel;
    peer.say(channel, channel_closed("PRECONDITION_FAILED")).await;
    let error = soon(confirm).await.unwrap_err();
    assert!(matches!(error, Error::ChannelClosed { .. }), "{error}");

    let confirm = publisher.publish("n").await.unwrap();
    let messages = peer.published(1).await;
    assert_ne!(messages[0].channel, channel);
    assert_eq!((messages[0].sequence, &*messages[0].exchange), (1, "x"));
    peer.confirm(&messages).await;
    soon(confirm).await.unwrap().accepted().unwrap();
}

fn channel_closed(text: &str) -> Command {
    Command::ChannelClosed(Closing { code: 404, text: name(text), kind: 0x31, correlation: 0 })
}

#[tokio::test]
async fn closing_waits_for_outcomes() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let confirm = client.publish("x", "k", "m").await.unwrap();
    client.publisher("x", "k").unwrap().send("n").await.unwrap();
    let (closed, ()) = tokio::join!(soon(client.close()), async {
        let messages = peer.published(2).await;
        peer.confirm(&messages[..1]).await;
        peer.expect_close().await;
    });
    closed.unwrap();
    soon(confirm).await.unwrap().accepted().unwrap();
}

#[tokio::test]
async fn closing_without_all_outcomes_says_so() {
    let broker = FakeBroker::start().await;
    let builder = broker.client().close_timeout(std::time::Duration::from_millis(20));
    let (client, mut peer) = broker.connected_with(builder).await;
    let confirm = client.publish("x", "k", "m").await.unwrap();
    let (closed, ()) = tokio::join!(soon(client.close()), async {
        peer.published(1).await;
        peer.expect_close().await;
    });
    let error = closed.unwrap_err();
    assert!(matches!(&error, Error::Timeout { what, .. } if what.contains("outcomes")), "{error}");
    assert!(soon(confirm).await.unwrap_err().is_final());
}
