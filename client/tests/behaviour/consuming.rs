//! Consuming: settlements as ranges, requeue on drop, credit, slow consumers, cancelling.

use rialto_client::{Consumer, Error, ShortStr};
use rialto_protocol::native::{Command, DeliverWriter, EntryFlags, Request, Response, Settle, Settlement};

use crate::fake::{FakeBroker, Peer, name, soon};

async fn settle(peer: &mut Peer) -> Settle {
    match peer.next().await.command {
        Command::Settle(settle) => settle,
        other => panic!("{other:?} instead of a settlement"),
    }
}

/// Settlements until these many tags are settled: how they are cut into frames is a matter of timing.
async fn settled(peer: &mut Peer, tags: u64) -> Vec<(Settlement, (u64, u64))> {
    let (mut all, mut count) = (Vec::new(), 0);
    while count < tags {
        let Settle { settlement, ranges, .. } = settle(peer).await;
        for range in ranges {
            count += range.1 - range.0 + 1;
            all.push((settlement.clone(), range));
        }
    }
    assert_eq!(count, tags);
    all
}

async fn started(client: &rialto_client::Client, peer: &mut Peer) -> Consumer {
    let (consumer, _) = tokio::join!(client.consume("q").start(), peer.consumer());
    consumer.unwrap()
}

#[tokio::test]
async fn a_consumer_asks_for_what_was_chosen() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let builder = client.consume("tasks").prefetch(10).priority(5).exclusive().tag("worker");
    let (consumer, asked) = tokio::join!(builder.start(), peer.consumer());
    consumer.unwrap();
    assert_eq!((&*asked.queue, &*asked.tag, asked.prefetch), ("tasks", "worker", 10));
    assert!(asked.exclusive && !asked.auto_ack && asked.credit.is_some());
    assert_eq!(asked.arguments.get("x-priority").and_then(|value| value.as_int()), Some(5));
}

#[tokio::test]
async fn a_consumer_of_no_queue_is_refused_with_the_reason() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (consumer, ()) = tokio::join!(client.consume("none").start(), async {
        let (channel, correlation, _) = peer.request().await;
        let text = name("NOT_FOUND - no queue 'none'");
        peer.say(channel, Command::Failure { correlation, code: 404, text }).await;
    });
    let error = consumer.unwrap_err();
    assert!(matches!(&error, Error::Refused { code: 404, .. }), "{error}");
    assert!(error.to_string().contains("consume from queue \"none\""), "{error}");
}

#[tokio::test]
async fn acks_in_order_become_ranges() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut consumer = started(&client, &mut peer).await;
    peer.deliver(1, 1, &["a", "b", "c", "d", "e"]).await;
    let mut deliveries = Vec::new();
    while deliveries.len() < 5 {
        soon(consumer.recv_many(&mut deliveries, 10)).await.unwrap();
    }
    let bodies: Vec<_> = deliveries.iter().map(|delivery| delivery.text().unwrap().to_owned()).collect();
    assert_eq!(bodies, ["a", "b", "c", "d", "e"]);
    // On a single-threaded runtime the writer only runs when we wait: all of these leave together.
    deliveries.drain(..).for_each(|delivery| delivery.ack().unwrap());
    assert_eq!(settled(&mut peer, 5).await, [(Settlement::Ack, (1, 5))]);
}

#[tokio::test]
async fn settlements_of_each_kind_are_told() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut consumer = started(&client, &mut peer).await;
    peer.deliver(1, 1, &["1", "2", "3", "4", "5", "6"]).await;
    let mut deliveries = Vec::new();
    while deliveries.len() < 6 {
        soon(consumer.recv_many(&mut deliveries, 6)).await.unwrap();
    }
    for delivery in deliveries {
        match delivery.text().unwrap() {
            "1" | "4" => delivery.ack().unwrap(),
            "2" => delivery.requeue().unwrap(),
            "3" | "5" => delivery.reject("bad order").unwrap(),
            _ => drop(delivery),
        }
    }
    let reject = Settlement::Reject { reason: name("bad order") };
    assert_eq!(
        settled(&mut peer, 6).await,
        [
            (Settlement::Ack, (1, 1)),
            (Settlement::Ack, (4, 4)),
            (Settlement::Requeue, (2, 2)),
            // A dropped delivery goes back.
            (Settlement::Requeue, (6, 6)),
            (reject.clone(), (3, 3)),
            (reject, (5, 5)),
        ]
    );
}

#[tokio::test]
async fn what_is_known_about_a_delivery_can_be_read() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut consumer = started(&client, &mut peer).await;
    let flags = EntryFlags::REDELIVERED.with(EntryFlags::DELIVERY_COUNT);
    let mut out = bytes::BytesMut::new();
    let mut frame = DeliverWriter::begin(2, 1, 1, &mut out);
    frame.run("orders", "eu.new", &mut out);
    frame.entries(1, &crate::fake::entry(flags, 3, "body"), &mut out);
    frame.finish(&mut out);
    peer.say_bytes(&out).await;
    let delivery = soon(consumer.next()).await.unwrap().unwrap();
    assert_eq!((delivery.exchange(), delivery.routing_key()), ("orders", "eu.new"));
    assert!(delivery.redelivered() && !delivery.maybe_duplicate());
    assert_eq!((delivery.delivery_count(), &**delivery.body()), (3, &b"body"[..]));
    let message = delivery.into_acked().unwrap();
    assert_eq!(message.text(), Some("body"));
    assert_eq!(settled(&mut peer, 1).await, [(Settlement::Ack, (1, 1))]);
}

#[tokio::test]
async fn dropping_a_consumer_cancels_it_and_gives_everything_back() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut consumer = started(&client, &mut peer).await;
    peer.deliver(1, 1, &["a", "b", "c"]).await;
    let first = soon(consumer.next()).await.unwrap().unwrap();
    drop(consumer);
    let mut commands = [peer.next().await.command, peer.next().await.command];
    commands.sort_by_key(|command| matches!(command, Command::Settle(_)));
    let Command::Request { correlation, request: Request::Cancel { consumer: 1 } } = commands[0] else {
        panic!("{commands:?}")
    };
    let Command::Settle(Settle { settlement: Settlement::Requeue, ranges, .. }) = &commands[1] else {
        panic!("{commands:?}")
    };
    assert_eq!(ranges, &[(2, 3)]);
    // What was on its way when the consumer was cancelled goes back too.
    peer.deliver(1, 4, &["d"]).await;
    peer.respond(2, correlation, Response::Done).await;
    assert_eq!(settled(&mut peer, 1).await, [(Settlement::Requeue, (4, 4))]);
    // The delivery in hand can still be settled.
    first.ack().unwrap();
    assert_eq!(settled(&mut peer, 1).await, [(Settlement::Ack, (1, 1))]);
}

#[tokio::test]
async fn a_start_that_is_dropped_half_way_cancels_the_consumer() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let consume = {
        let start = client.consume("q").start();
        tokio::pin!(start);
        tokio::select! {
            biased;
            _ = &mut start => panic!("nobody has answered"),
            request = peer.request() => request,
        }
    };
    let (channel, correlation, request) = consume;
    assert!(matches!(request, Request::Consume(_)));
    peer.respond(channel, correlation, Response::Consuming { tag: name("t") }).await;
    assert!(matches!(peer.grant().await, Request::Cancel { consumer: 1 }));
}

#[tokio::test]
async fn cancelling_waits_for_the_broker() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let consumer = started(&client, &mut peer).await;
    let (cancelled, request) = tokio::join!(soon(consumer.cancel()), peer.grant());
    cancelled.unwrap();
    assert!(matches!(request, Request::Cancel { consumer: 1 }));
}

#[tokio::test]
async fn a_consumer_whose_queue_is_deleted_ends_with_the_reason() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut consumer = started(&client, &mut peer).await;
    peer.deliver(1, 1, &["last"]).await;
    peer.say(2, Command::ConsumerCancelled { consumer: 1, reason: name("queue deleted") }).await;
    let last = soon(consumer.next()).await.unwrap().unwrap();
    assert_eq!(last.text(), Some("last"));
    let error = soon(consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConsumerCancelled { .. }), "{error}");
    assert!(soon(consumer.next()).await.is_none());
}

#[tokio::test]
async fn credit_follows_what_the_user_takes() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let builder = client.consume("q").auto_ack().buffer_messages(4).buffer_bytes(1_000_000);
    let (consumer, asked) = tokio::join!(builder.start(), peer.consumer());
    let mut consumer = consumer.unwrap();
    assert_eq!(asked.credit, Some((4, 1_000_000)));
    peer.deliver(1, 1, &["a", "b", "c", "d"]).await;
    for expected in ["a", "b"] {
        // Settling what is settled does nothing.
        let delivery = soon(consumer.next()).await.unwrap().unwrap();
        assert_eq!(delivery.text(), Some(expected));
        delivery.ack().unwrap();
    }
    let Command::Credit { consumer: 1, messages: 2, bytes } = peer.next().await.command else { panic!() };
    assert_eq!(bytes, 20);
}

#[tokio::test]
async fn more_than_the_credit_ends_the_connection_and_not_the_memory() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let builder = client.consume("q").auto_ack().buffer_messages(2);
    let (consumer, _) = tokio::join!(builder.start(), peer.consumer());
    let mut consumer = consumer.unwrap();
    peer.deliver(1, 1, &["a", "b", "c"]).await;
    let mut last = soon(consumer.next()).await;
    while let Some(Ok(_)) = last {
        last = soon(consumer.next()).await;
    }
    let error = last.unwrap().unwrap_err();
    assert!(error.to_string().contains("more than its credit"), "{error}");
}

#[tokio::test]
async fn a_consumer_that_does_not_read_holds_up_nobody() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let _slow = started(&client, &mut peer).await;
    let mut quick = started(&client, &mut peer).await;
    for tag in 1..=200 {
        peer.deliver(1, tag, &["slow"]).await;
    }
    for tag in 1..=200 {
        peer.deliver(2, tag, &["quick"]).await;
        let delivery = soon(quick.next()).await.unwrap().unwrap();
        assert_eq!(delivery.text(), Some("quick"));
        delivery.ack().unwrap();
    }
    let (purged, _) = tokio::join!(client.queue("q").purge(), async {
        loop {
            let frame = peer.next().await;
            if let Command::Request { correlation, .. } = frame.command {
                return peer.respond(1, correlation, Response::Count(0)).await;
            }
        }
    });
    purged.unwrap();
}

#[tokio::test]
async fn a_next_that_is_dropped_has_taken_nothing() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let mut consumer = started(&client, &mut peer).await;
    {
        let next = consumer.next();
        tokio::pin!(next);
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx))).await.is_pending());
    }
    peer.deliver(1, 1, &["a"]).await;
    assert_eq!(soon(consumer.next()).await.unwrap().unwrap().text(), Some("a"));
}

#[tokio::test]
async fn a_got_message_nobody_waits_for_goes_back() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let queue = client.queue("q");
    let got = |tag| Response::Got {
        tag,
        remaining: 0,
        run: rialto_protocol::native::DeliveredRun {
            exchange: ShortStr::default(),
            routing_key: name("q"),
            count: 1,
            entries: crate::fake::entry(EntryFlags::NONE, 0, "m").freeze(),
        },
    };
    let (channel, correlation, _) = tokio::select! {
        biased;
        _ = queue.get() => panic!("nobody has answered"),
        request = peer.request() => request,
    };
    peer.respond(channel, correlation, got(1)).await;
    let Settle { consumer: 0, settlement: Settlement::Requeue, ranges } = settle(&mut peer).await else {
        panic!()
    };
    assert_eq!(ranges, [(1, 1)]);

    let (delivery, ()) = tokio::join!(queue.get(), async {
        let (channel, correlation, _) = peer.request().await;
        peer.respond(channel, correlation, got(2)).await;
    });
    delivery.unwrap().unwrap().ack().unwrap();
    assert_eq!(settled(&mut peer, 1).await, [(Settlement::Ack, (2, 2))]);

    let (nothing, ()) = tokio::join!(queue.get(), async {
        let (channel, correlation, _) = peer.request().await;
        peer.respond(channel, correlation, Response::Empty).await;
    });
    assert!(nothing.unwrap().is_none());
}
