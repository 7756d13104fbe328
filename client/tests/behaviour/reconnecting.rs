//! A lost connection: what was declared, consumed and published is restored, nothing confirmed-wanted is lost.

use rialto_client::{ConnectionState, Error, Event, MAYBE_DUPLICATE_HEADER, Outcome};
use rialto_protocol::native::{Closing, Command, Outcome as WireOutcome, Request, Response};

use crate::fake::{FakeBroker, Published, name, soon};

fn is_marked(message: &Published) -> bool {
    message.properties.headers.as_ref().is_some_and(|headers| headers.get(MAYBE_DUPLICATE_HEADER).is_some())
}

#[tokio::test]
async fn what_was_declared_is_declared_again_in_order() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let declare = async {
        client.exchange("x").fanout().declare().await.unwrap();
        client.queue("gone").declare().await.unwrap();
        client.queue("q").exclusive().declare().await.unwrap();
        client.queue("q").bind("x", "k").await.unwrap();
        client.queue("gone").delete().await.unwrap();
    };
    let mut asked = Vec::new();
    tokio::join!(declare, async {
        for _ in 0..5 {
            asked.push(peer.grant().await);
        }
    });
    drop(peer);
    let mut peer = broker.serve().await;
    for expected in [0, 2, 3] {
        assert_eq!(peer.grant().await, asked[expected]);
    }
    let mut state = client.state();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Connected))).await.unwrap();
}

#[tokio::test]
async fn a_queue_named_by_the_broker_is_followed_to_its_new_name() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut events = client.events();
    let (consumer, ()) = tokio::join!(
        async {
            let queue = client.queue("").exclusive().declare().await.unwrap();
            client.queue(&queue.name).bind("x", "k").await.unwrap();
            client.consume(&queue.name).start().await.unwrap()
        },
        async {
            for _ in 0..3 {
                peer.grant().await;
            }
        }
    );
    drop(peer);
    let mut peer = broker.serve().await;
    let (channel, correlation, request) = peer.request().await;
    assert!(matches!(&request, Request::DeclareQueue { name, .. } if name.is_empty()), "{request:?}");
    let declared = Response::QueueDeclared { name: name("made-2"), messages: 0, consumers: 0 };
    peer.respond(channel, correlation, declared).await;
    let Request::BindQueue(binding) = peer.grant().await else { panic!() };
    assert_eq!(&*binding.destination, "made-2");
    assert_eq!(&*peer.consumer().await.queue, "made-2");
    loop {
        if let Event::QueueRenamed { old, new } = soon(events.next()).await.unwrap() {
            assert_eq!((&*old, &*new), ("made", "made-2"));
            break;
        }
    }
    drop(consumer);
}

#[tokio::test]
async fn consumers_go_on_and_old_deliveries_say_that_they_are_stale() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (consumer, first) = tokio::join!(client.consume("q").prefetch(7).start(), peer.consumer());
    let mut consumer = consumer.unwrap();
    peer.deliver(1, 1, &["old", "never taken"]).await;
    let old = soon(consumer.next()).await.unwrap().unwrap();
    drop(peer);

    let mut peer = broker.serve().await;
    assert_eq!(peer.consumer().await, first);
    peer.deliver(1, 1, &["old again", "new"]).await;
    let again = soon(consumer.next()).await.unwrap().unwrap();
    assert_eq!(again.text(), Some("old again"), "what was left of the old connection is not handed out");
    assert!(matches!(old.ack(), Err(Error::StaleDelivery)));
    again.ack().unwrap();
    let Command::Settle(settle) = peer.next().await.command else { panic!() };
    assert_eq!(settle.ranges, [(1, 1)]);
}

#[tokio::test]
async fn auto_acked_messages_outlive_their_connection() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let builder = client.consume("q").auto_ack().buffer_messages(10).buffer_bytes(1000);
    let (consumer, _) = tokio::join!(builder.start(), peer.consumer());
    let mut consumer = consumer.unwrap();
    peer.deliver(1, 1, &["a", "b", "c"]).await;
    // The answer to a request shows that the deliveries before it were read.
    tokio::join!(async { client.queue("q").purge().await.unwrap() }, peer.grant());
    drop(peer);
    let mut peer = broker.serve().await;
    assert_eq!(peer.consumer().await.credit, Some((7, 970)), "what still waits here is not given again");
    peer.deliver(1, 1, &["d"]).await;
    for expected in ["a", "b", "c", "d"] {
        assert_eq!(soon(consumer.next()).await.unwrap().unwrap().text(), Some(expected));
    }
}

#[tokio::test]
async fn unconfirmed_messages_are_published_again_in_order_and_marked() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut events = client.events();
    let publisher = client.publisher("x", "k").unwrap();
    let mut confirms = Vec::new();
    for n in 0..6 {
        confirms.push(publisher.publish(format!("m{n}")).await.unwrap());
    }
    let messages = peer.published(6).await;
    assert!(!messages.iter().any(is_marked));
    peer.outcome(messages[0].channel, 1, 2, WireOutcome::Confirmed).await;
    peer.outcome(messages[0].channel, 4, 4, WireOutcome::Confirmed).await;
    let mut confirms = confirms.into_iter();
    for _ in 0..2 {
        let outcome = soon(confirms.next().unwrap()).await.unwrap();
        assert_eq!(outcome, Outcome::Confirmed { maybe_duplicate: false });
    }
    let third = confirms.next().unwrap();
    let fourth = soon(confirms.next().unwrap()).await.unwrap();
    assert_eq!(fourth, Outcome::Confirmed { maybe_duplicate: false });
    drop(peer);
    while !matches!(soon(events.next()).await.unwrap(), Event::Disconnected { .. }) {}
    // Published while there is no connection: goes out after those that come again.
    let late = publisher.publish("late").await.unwrap();

    let mut peer = broker.serve().await;
    let messages = peer.published(4).await;
    let bodies: Vec<_> = messages.iter().map(|message| &*message.body).collect();
    assert_eq!(bodies, ["m2", "m4", "m5", "late"]);
    assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(messages.iter().map(is_marked).collect::<Vec<_>>(), [true, true, true, false]);
    peer.confirm(&messages).await;
    for confirm in std::iter::once(third).chain(confirms) {
        assert_eq!(soon(confirm).await.unwrap(), Outcome::Confirmed { maybe_duplicate: true });
    }
    assert_eq!(soon(late).await.unwrap(), Outcome::Confirmed { maybe_duplicate: false });
    loop {
        if let Event::Reconnected { republished } = soon(events.next()).await.unwrap() {
            assert_eq!(republished, 3);
            break;
        }
    }
}

#[tokio::test]
async fn unconfirmed_messages_survive_two_lost_connections() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let batch = client.publisher("x", "k").unwrap().publish_batch(["a", "b", "c"]).await.unwrap();
    peer.published(3).await;
    drop(peer);
    let mut peer = broker.serve().await;
    let messages = peer.published(3).await;
    peer.outcome(messages[0].channel, 2, 2, WireOutcome::Rejected { code: 506, reason: name("full") }).await;
    // Seen before the connection goes, because the answer to the request comes behind it.
    tokio::join!(async { client.queue("q").purge().await.unwrap() }, peer.grant());
    drop(peer);
    let mut peer = broker.serve().await;
    let messages = peer.published(2).await;
    assert_eq!((&*messages[0].body, &*messages[1].body), ("a", "c"));
    peer.confirm(&messages).await;
    let outcome = soon(batch).await.unwrap();
    assert!(outcome.maybe_duplicates);
    assert_eq!((outcome.failures.len(), outcome.failures[0].index), (1, 1));
}

#[tokio::test]
async fn smaller_limits_of_a_new_broker_are_kept() {
    let mut broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (one, two) = (client.publisher("x", "one").unwrap(), client.publisher("x", "two").unwrap());
    let small = one.publish("small").await.unwrap();
    let large = two.publish("l".repeat(100_000)).await.unwrap();
    peer.published(2).await;
    (broker.welcome.frame_max, broker.welcome.route_max) = (64 * 1024, 1);
    drop(peer);
    let mut peer = broker.serve().await;
    let waiting = two.publish("after").await.unwrap();
    let messages = peer.published(2).await;
    assert_eq!((&*messages[0].body, &*messages[1].body), ("small", "after"));
    assert_eq!((&*messages[0].routing_key, &*messages[1].routing_key), ("one", "two"));
    peer.confirm(&messages).await;
    soon(small).await.unwrap().accepted().unwrap();
    soon(waiting).await.unwrap().accepted().unwrap();
    assert!(matches!(soon(large).await, Err(Error::MessageTooLarge { .. })));
}

#[tokio::test]
async fn a_publisher_whose_number_is_too_high_for_a_new_broker_goes_on() {
    let mut broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let keys = ["one", "two", "three", "four"];
    let publishers = keys.map(|key| client.publisher("x", key).unwrap());
    for next_route_max in [4, 0, 16, 16] {
        for (publisher, key) in publishers.iter().zip(keys) {
            publisher.send(key).await.unwrap();
            drop(publisher.publish(key).await.unwrap());
        }
        // The peer knows no route that was not defined.
        let messages = peer.published(8).await;
        assert!(messages.iter().all(|message| message.routing_key == message.body), "{messages:?}");
        peer.confirm(&messages.into_iter().filter(|message| message.outcomes).collect::<Vec<_>>()).await;
        // Seen before the connection goes, because the answer to the request comes behind it.
        tokio::join!(async { client.queue("q").purge().await.unwrap() }, peer.grant());

        broker.welcome.route_max = next_route_max;
        drop(peer);
        let mut state = client.state();
        peer = broker.serve().await;
        soon(state.wait_for(|state| matches!(state, ConnectionState::Connected))).await.unwrap();
    }
}

#[tokio::test]
async fn requests_wait_for_the_connection_and_a_get_is_not_repeated() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (purge, get) = (client.queue("q"), client.queue("q"));
    let (purged, got, ()) = tokio::join!(soon(purge.purge()), soon(get.get()), async {
        peer.request().await;
        peer.request().await;
        drop(peer);
        let mut peer = broker.serve().await;
        assert!(matches!(peer.grant().await, Request::PurgeQueue { .. }));
    });
    assert_eq!(purged.unwrap(), 0);
    assert!(matches!(got, Err(Error::ConnectionLost { .. })));
}

#[tokio::test]
async fn a_request_that_was_given_up_without_a_connection_is_not_sent_later() {
    let broker = FakeBroker::start().await;
    let builder = broker.client().request_timeout(std::time::Duration::from_millis(20));
    let (client, peer) = broker.connected_with(builder).await;
    let mut events = client.events();
    drop(peer);
    while !matches!(soon(events.next()).await.unwrap(), Event::Disconnected { .. }) {}
    let error = soon(client.queue("full").purge()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    {
        let queue = client.queue("full");
        let mut dropped = std::pin::pin!(queue.purge());
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "there is nobody to answer");
    }
    let mut peer = broker.serve().await;
    let mut state = client.state();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Connected))).await.unwrap();
    let (_, request) = tokio::join!(client.queue("other").purge(), peer.grant());
    assert!(matches!(&request, Request::PurgeQueue { name } if &**name == "other"), "{request:?}");
}

#[tokio::test]
async fn what_cannot_be_restored_is_told_and_the_rest_is_restored() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut events = client.events();
    let (mut consumer, ()) = tokio::join!(
        async {
            client.queue("changed").declare().await.unwrap();
            client.queue("fine").declare().await.unwrap();
            client.consume("changed").start().await.unwrap()
        },
        async {
            for _ in 0..3 {
                peer.grant().await;
            }
        }
    );
    drop(peer);
    let mut peer = broker.serve().await;
    let (channel, correlation, _) = peer.request().await;
    peer.say(channel, Command::Failure { correlation, code: 406, text: name("PRECONDITION_FAILED") }).await;
    assert!(matches!(peer.grant().await, Request::DeclareQueue { .. }));
    let (channel, correlation, _) = peer.request().await;
    peer.say(channel, Command::Failure { correlation, code: 404, text: name("NOT_FOUND") }).await;
    let error = soon(consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Refused { code: 404, .. }), "{error}");
    let mut failed = Vec::new();
    while failed.len() < 2 {
        if let Event::RestoreFailed { what, .. } = soon(events.next()).await.unwrap() {
            failed.push(what);
        }
    }
    assert_eq!(failed, ["declare queue \"changed\"", "consume from queue \"changed\""]);
}

#[tokio::test]
async fn a_broker_that_restarts_is_waited_for_and_one_that_refuses_is_not() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let closing = |code| Closing { code, text: name("the broker says so"), kind: 0, correlation: 0 };
    peer.say(0, Command::Close(closing(320))).await;
    assert_eq!(peer.next().await.command, Command::CloseOk);
    drop(peer);
    let mut peer = broker.serve().await;
    let mut state = client.state();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Connected))).await.unwrap();
    peer.say(0, Command::Close(closing(530))).await;
    let state = soon(state.wait_for(|state| matches!(state, ConnectionState::Closed(_)))).await.unwrap();
    assert!(matches!(&*state, ConnectionState::Closed(Some(Error::ClosedByBroker { code: 530, .. }))));
}

#[tokio::test]
async fn a_consumer_dropped_while_there_is_no_connection_is_not_restored() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (consumer, _) = tokio::join!(client.consume("q").start(), peer.consumer());
    let mut events = client.events();
    drop(peer);
    while !matches!(soon(events.next()).await.unwrap(), Event::Disconnected { .. }) {}
    drop(consumer);
    let mut peer = broker.serve().await;
    let (_, request) = tokio::join!(client.queue("q").purge(), peer.grant());
    assert!(matches!(request, Request::PurgeQueue { .. }), "{request:?}");
}

#[tokio::test]
async fn closing_while_there_is_no_connection_ends_at_once_with_nothing_to_wait_for() {
    let broker = FakeBroker::start().await;
    let (client, peer) = broker.connected().await;
    let mut events = client.events();
    drop((peer, broker));
    while !matches!(soon(events.next()).await.unwrap(), Event::Disconnected { .. }) {}
    soon(client.close()).await.unwrap();
}
