//! Requests: what the builders say, refusals, pages, timeouts, replies.

use std::time::Duration;

use bytes::Bytes;
use rialto_client::{
    Client, Error, FieldTable, ListKind, Message, Outcome, Overflow, ReplyCode, Rpc, ShortStr,
};
use rialto_protocol::native::{Command, DeliverWriter, Outcome as WireOutcome, Request, Response};

use crate::fake::{FakeBroker, Peer, name, soon};

#[tokio::test]
async fn a_queue_is_declared_with_everything_that_was_chosen() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let queue = client
        .queue("tasks")
        .durable()
        .exclusive()
        .auto_delete()
        .max_priority(5)
        .message_ttl(Duration::from_secs(60))
        .expires(Duration::from_secs(120))
        .dead_letter("dlx")
        .dead_letter_key("dead")
        .max_length(10)
        .max_length_bytes(1000)
        .overflow(Overflow::RejectPublish)
        .single_active_consumer()
        .delivery_limit(3)
        .argument("x-own", true);
    let (info, request) = tokio::join!(queue.declare(), peer.grant());
    assert_eq!(&*info.unwrap().name, "tasks");
    let Request::DeclareQueue {
        name,
        passive: false,
        durable: true,
        exclusive: true,
        auto_delete: true,
        arguments,
    } = request
    else {
        panic!("{request:?}")
    };
    assert_eq!(&*name, "tasks");
    assert_eq!(
        arguments.to_string(),
        "{x-max-priority: 5, x-message-ttl: 60000, x-expires: 120000, x-dead-letter-exchange: dlx, \
         x-dead-letter-routing-key: dead, x-max-length: 10, x-max-length-bytes: 1000, \
         x-overflow: reject-publish, x-single-active-consumer: true, x-delivery-limit: 3, x-own: true}"
    );
}

#[tokio::test]
async fn an_exchange_is_declared_bound_and_deleted() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let exchange = client.exchange("orders").topic().durable().alternate("lost");
    let (done, request) = tokio::join!(exchange.declare(), peer.grant());
    done.unwrap();
    let Request::DeclareExchange { kind, durable: true, internal: false, arguments, .. } = request else {
        panic!("{request:?}")
    };
    assert_eq!((&*kind, &*arguments.to_string()), ("topic", "{alternate-exchange: lost}"));

    let audit = client.exchange("audit");
    let (done, request) = tokio::join!(audit.bind("orders", "#"), peer.grant());
    done.unwrap();
    let Request::BindExchange(binding) = request else { panic!("{request:?}") };
    assert_eq!((&*binding.source, &*binding.destination, &*binding.routing_key), ("orders", "audit", "#"));

    let (done, request) = tokio::join!(audit.delete_if_unused(), peer.grant());
    done.unwrap();
    assert!(matches!(request, Request::DeleteExchange { if_unused: true, .. }), "{request:?}");
}

#[tokio::test]
async fn a_refusal_leaves_everything_else_working() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (purged, ()) = tokio::join!(client.queue("none").purge(), async {
        let (channel, correlation, _) = peer.request().await;
        peer.say(channel, Command::Failure { correlation, code: 404, text: name("NOT_FOUND") }).await;
    });
    let error = purged.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NotFound));
    assert!(error.to_string().contains("purge queue \"none\""), "{error}");

    let (there, ()) = tokio::join!(client.queue("none").exists(), async {
        let (channel, correlation, _) = peer.request().await;
        peer.say(channel, Command::Failure { correlation, code: 404, text: name("NOT_FOUND") }).await;
    });
    assert!(there.unwrap().is_none());
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_by_number() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (a, b) = (client.queue("a"), client.queue("b"));
    let (a, b, ()) = tokio::join!(a.purge(), b.purge(), async {
        let (channel, first, _) = peer.request().await;
        let (_, second, _) = peer.request().await;
        peer.respond(channel, second, Response::Count(2)).await;
        peer.respond(channel, first, Response::Count(1)).await;
    });
    assert_eq!((a.unwrap(), b.unwrap()), (1, 2));
}

#[tokio::test]
async fn a_name_that_does_not_fit_is_refused_without_asking() {
    let broker = FakeBroker::start().await;
    let (client, _peer) = broker.connected().await;
    let long = "q".repeat(256);
    let error = client.queue(&long).declare().await.unwrap_err();
    assert!(matches!(error, Error::NameTooLong { what: "queue name", len: 256 }), "{error}");
    assert!(client.publisher("x", &long).is_err());
    assert!(client.consume(&long).start().await.is_err());
}

#[tokio::test]
async fn arguments_beyond_the_protocol_are_refused_and_harm_nobody() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let large = "a".repeat(70_000);
    let table = FieldTable::new().with("x", large.as_str());
    for error in [
        client.queue("q").argument("x-large", large.as_str()).declare().await.unwrap_err(),
        client.exchange("e").argument("x-large", large.as_str()).declare().await.unwrap_err(),
        client.queue("q").bind_with("e", "k", table).await.unwrap_err(),
        client.consume("q").argument("x-large", large.as_str()).start().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsendable { .. }), "{error}");
        assert!(error.to_string().contains("at most 65536 fit"), "{error}");
    }
    let (purged, request) = tokio::join!(client.queue("q").purge(), peer.grant());
    assert!(matches!(request, Request::PurgeQueue { .. }), "{request:?}");
    purged.unwrap();
}

#[tokio::test]
async fn a_request_without_an_answer_costs_its_timeout() {
    let broker = FakeBroker::start().await;
    let (client, _peer) =
        broker.connected_with(broker.client().request_timeout(Duration::from_millis(10))).await;
    let error = soon(client.queue("q").purge()).await.unwrap_err();
    assert!(error.to_string().contains("purge queue \"q\""), "{error}");
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (rows, ()) = tokio::join!(client.list(ListKind::Queues).page_size(2).all(), async {
        for (place, rows, next) in [("", 2, "p2"), ("p2", 1, "")] {
            let (channel, correlation, request) = peer.request().await;
            let Request::List { what: ListKind::Queues, after, limit: 2 } = request else { panic!() };
            assert_eq!(after, place.as_bytes());
            let rows = (0..rows).map(|n| FieldTable::new().with("n", n)).collect();
            let next = Bytes::from(next);
            peer.respond(channel, correlation, Response::Page { rows, next }).await;
        }
    });
    assert_eq!(rows.unwrap().len(), 3);
}

#[tokio::test]
async fn a_call_is_answered_by_its_reply() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let rpc = client.rpc("", "sums").unwrap();
    let (reply, _peer) = tokio::join!(rpc.call("1+1", Duration::from_secs(20)), async {
        let Request::DeclareQueue { exclusive: true, .. } = peer.grant().await else { panic!() };
        assert!(peer.consumer().await.auto_ack);
        let messages = peer.published(1).await;
        let properties = &messages[0].properties;
        assert!(messages[0].mandatory && properties.reply_to.is_some());
        peer.confirm(&messages).await;
        let mut out = bytes::BytesMut::new();
        let mut frame = DeliverWriter::begin(2, 1, 1, &mut out);
        frame.run("", "replies", &mut out);
        let strange = Message::new("").correlation_id("nobody's");
        for (id, body) in [(None, "stray"), (properties.correlation_id.clone(), "2")] {
            let message = match id {
                None => strange.clone(),
                Some(id) => Message::new("").correlation_id(id),
            };
            frame.entry(&encoded(message), body.as_bytes(), &mut out);
        }
        frame.finish(&mut out);
        peer.say_bytes(&out).await;
        peer
    });
    assert_eq!(reply.unwrap().text(), Some("2"));
}

/// A message's properties, on the way they would take.
fn encoded(message: Message) -> Bytes {
    let id = format!("{message:?}");
    let id = id.split("correlation_id: Some(\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    rialto_client::Properties { correlation_id: Some(name(id)), ..Default::default() }.encoded()
}

/// A desk for replies, opened by a call that nobody serves; and the name of its queue.
async fn opened(rpc: &Rpc, peer: &mut Peer) -> ShortStr {
    let (reply, queue) = tokio::join!(rpc.call("1+1", Duration::from_secs(20)), async {
        let Request::DeclareQueue { name: queue, .. } = peer.grant().await else { panic!() };
        assert_eq!(peer.consumer().await.queue, queue);
        let message = peer.published(1).await.remove(0);
        peer.outcome(message.channel, message.sequence, message.sequence, WireOutcome::Unroutable).await;
        queue
    });
    assert!(matches!(reply, Err(Error::NotConfirmed(_))));
    queue
}

/// The client deletes this queue, and says nothing but cancels before.
async fn deletes(peer: &mut Peer, queue: &ShortStr) {
    loop {
        match peer.grant().await {
            Request::Cancel { .. } => {}
            Request::DeleteQueue { name, .. } => return assert_eq!(name, *queue),
            other => panic!("{other:?} instead of a delete"),
        }
    }
}

/// The next request is a new one: nothing is restored any more.
async fn nothing_but_a_purge(client: &Client, peer: &mut Peer) {
    let (_, request) = tokio::join!(client.queue("q").purge(), peer.grant());
    assert!(matches!(request, Request::PurgeQueue { .. }), "{request:?}");
}

#[tokio::test]
async fn a_queue_for_replies_goes_with_its_reader_and_does_not_come_back() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (short, long) = (client.rpc("", "sums").unwrap(), client.rpc("", "sums").unwrap());
    let queue = opened(&short, &mut peer).await;
    let kept = opened(&long, &mut peer).await;
    drop(short);
    deletes(&mut peer, &queue).await;
    drop(peer);
    let mut peer = broker.serve().await;
    assert!(matches!(peer.grant().await, Request::DeclareQueue { name, .. } if name == kept));
    assert_eq!(peer.consumer().await.queue, kept);
    nothing_but_a_purge(&client, &mut peer).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_half_way_leaves_no_queue_behind() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let rpc = client.rpc("", "sums").unwrap();
    let (given_up, declare) = tokio::join!(rpc.call("1+1", Duration::from_millis(10)), peer.request());
    assert!(matches!(given_up, Err(Error::Timeout { .. })));
    let (channel, correlation, Request::DeclareQueue { name: queue, .. }) = declare else { panic!() };
    let declared = Response::QueueDeclared { name: queue.clone(), messages: 0, consumers: 0 };
    peer.respond(channel, correlation, declared).await;
    deletes(&mut peer, &queue).await;
    drop(peer);
    let mut peer = broker.serve().await;
    nothing_but_a_purge(&client, &mut peer).await;
}

#[tokio::test]
async fn a_queue_for_replies_that_is_discarded_while_others_are_restored_stays_away() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (made, _) = tokio::join!(client.queue("").exclusive().declare(), peer.grant());
    made.unwrap();
    let rpc = client.rpc("", "sums").unwrap();
    let queue = opened(&rpc, &mut peer).await;
    drop(peer);
    let mut peer = broker.serve().await;
    // What follows in the restoring waits for this one's answer.
    let (channel, correlation, Request::DeclareQueue { name: first, .. }) = peer.request().await else {
        panic!()
    };
    assert!(first.is_empty());
    drop(rpc);
    deletes(&mut peer, &queue).await;
    let declared = Response::QueueDeclared { name: name("made-2"), messages: 0, consumers: 0 };
    peer.respond(channel, correlation, declared).await;
    nothing_but_a_purge(&client, &mut peer).await;
}

#[tokio::test]
async fn a_call_nobody_serves_ends_at_once() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let rpc = client.rpc("", "sums").unwrap();
    let (reply, ()) = tokio::join!(rpc.call("1+1", Duration::from_secs(20)), async {
        peer.grant().await;
        peer.consumer().await;
        let channel = peer.published(1).await[0].channel;
        peer.outcome(channel, 1, 1, WireOutcome::Unroutable).await;
    });
    let error = reply.unwrap_err();
    assert!(matches!(error, Error::NotConfirmed(Outcome::Unroutable { .. })), "{error}");
}

#[tokio::test]
async fn a_call_without_a_reply_costs_its_timeout() {
    let broker = FakeBroker::start().await;
    let (client, _peer) = broker.connected().await;
    let rpc = client.rpc("", "sums").unwrap();
    let error = soon(rpc.call("1+1", Duration::from_millis(10))).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_reply_goes_where_the_request_says() {
    let broker = FakeBroker::start().await;
    let (client, mut peer) = broker.connected().await;
    let (consumer, _) = tokio::join!(client.consume("sums").start(), peer.consumer());
    let mut consumer = consumer.unwrap();
    let properties = rialto_client::Properties {
        reply_to: Some(name("caller-7")),
        correlation_id: Some(name("41")),
        ..Default::default()
    };
    let mut out = bytes::BytesMut::new();
    let mut frame = DeliverWriter::begin(2, 1, 1, &mut out);
    frame.run("", "sums", &mut out);
    frame.entry(&properties.encoded(), b"1+1", &mut out);
    frame.entry(&[], b"no address", &mut out);
    frame.finish(&mut out);
    peer.say_bytes(&out).await;
    let request = soon(consumer.next()).await.unwrap().unwrap();
    let _confirm = request.reply("2").await.unwrap();
    let messages = peer.published(1).await;
    assert_eq!((&*messages[0].exchange, &*messages[0].routing_key), ("", "caller-7"));
    assert_eq!(messages[0].properties.correlation_id.as_deref(), Some("41"));
    let silent = soon(consumer.next()).await.unwrap().unwrap();
    assert!(matches!(silent.reply("2").await, Err(Error::NoReplyAddress)));
}
