//! Requests that cannot be carried out: each fails with RabbitMQ's code and words, and changes nothing.

use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, FieldValue};

use crate::support::*;

fn args(name: &str, value: impl Into<FieldValue>) -> FieldTable {
    FieldTable::new().with(name, value)
}

#[tokio::test]
async fn every_invalid_queue_argument_is_refused_in_rabbitmqs_words() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let ten_years_and_more = 315_360_000_001i64;
    let long = "x".repeat(256);
    for (arg, value, problem) in [
        ("x-message-ttl", FieldValue::from(-1), "{value_negative,-1}"),
        ("x-message-ttl", ten_years_and_more.into(), "{value_too_large,315360000001}"),
        ("x-message-ttl", "soon".into(), "\"expected integer, got "),
        ("x-expires", 0.into(), "{value_zero,0}"),
        ("x-expires", (-5).into(), "{value_negative,-5}"),
        ("x-expires", ten_years_and_more.into(), "{value_too_large,315360000001}"),
        ("x-expires", true.into(), "\"expected integer, got "),
        ("x-max-length", (-1).into(), "{value_negative,-1}"),
        ("x-max-length", "many".into(), "\"expected integer, got "),
        ("x-max-length-bytes", (-1).into(), "{value_negative,-1}"),
        ("x-max-length-bytes", FieldValue::Void, "\"expected integer, got "),
        ("x-overflow", "explode".into(), "invalid_overflow"),
        ("x-overflow", 1.into(), "{unacceptable_type,"),
        ("x-dead-letter-exchange", long.as_str().into(), "value_too_long"),
        ("x-dead-letter-routing-key", "key".into(), "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-strategy", "maybe".into(), "invalid_dead_letter_strategy"),
        ("x-max-priority", 256.into(), "{max_value_exceeded,256}"),
        ("x-max-priority", (-1).into(), "{value_negative,-1}"),
        ("x-max-priority", "high".into(), "\"expected integer, got "),
        ("x-single-active-consumer", 1.into(), "{unacceptable_type,"),
        ("x-delivery-limit", (-2).into(), "{value_negative,-2}"),
        ("x-delivery-limit", "never".into(), "\"expected integer, got "),
        ("x-queue-type", "tape".into(), "\"unsupported queue type 'tape'\""),
        ("x-queue-type", 1.into(), "{unacceptable_type,"),
    ] {
        let (code, text) = peer.declare("jobs", args(arg, value)).await.unwrap_err();
        let expected =
            format!("PRECONDITION_FAILED - invalid arg '{arg}' for queue 'jobs' in vhost '/': {problem}");
        assert_eq!(code, 406, "{text}");
        assert!(text.starts_with(&expected), "{text}\nnot {expected}");
    }
    let (code, text) = peer.declare("jobs", args("x-queue-type", "quorum")).await.unwrap_err();
    assert_eq!(code, 406);
    assert_eq!(
        text,
        "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'jobs' in vhost '/'"
    );
    assert_eq!(victim.queues(), 0, "nothing was declared");
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn a_declare_that_differs_is_refused_and_says_where() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    peer.declare("jobs", args("x-max-length", 5)).await.unwrap();
    peer.declare("jobs", args("x-max-length", 5i64)).await.expect("integers of any width are the same");
    let (code, text) = peer.declare("jobs", args("x-max-length", 6)).await.unwrap_err();
    assert_eq!(code, 406);
    assert!(text.starts_with("PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'jobs' in vhost '/': received '6' but current is '5'"), "{text}");
    let (code, text) = peer.declare("jobs", FieldTable::new()).await.unwrap_err();
    assert!((code, text.contains("received none but current is the value '5'")) == (406, true), "{text}");
    let Request::DeclareQueue { name, passive, durable, auto_delete, arguments, .. } =
        declare("jobs", args("x-max-length", 5))
    else {
        unreachable!()
    };
    let shared = Request::DeclareQueue { name, passive, durable, exclusive: false, auto_delete, arguments };
    let (code, _) = peer.request(shared).await.unwrap_err();
    assert_eq!(code, 405);
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn requests_about_what_is_not_there_or_not_theirs_fail_with_their_codes() {
    let victim = Victim::start().await;
    let mut owner = Peer::on_channel(victim.address()).await;
    owner.declare("private", FieldTable::new()).await.unwrap();
    let mut peer = Peer::on_channel(victim.address()).await;
    let q = |name: &str| short(name);
    let binding = |source: &str, destination: &str, arguments: FieldTable| Binding {
        source: short(source),
        destination: short(destination),
        routing_key: short("k"),
        arguments,
    };
    let passive_exchange = Request::DeclareExchange {
        name: q("nothing"),
        kind: q(""),
        passive: true,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::new(),
    };
    let exchange = |name: &str, kind: &str, arguments: FieldTable| Request::DeclareExchange {
        name: q(name),
        kind: q(kind),
        passive: false,
        durable: false,
        auto_delete: true,
        internal: false,
        arguments,
    };
    let passive_queue = |name: &str| match declare(name, FieldTable::new()) {
        Request::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } => {
            Request::DeclareQueue { name, passive: true, durable, exclusive, auto_delete, arguments }
        }
        other => other,
    };
    let none = FieldTable::new;
    for (request, code) in [
        (passive_queue("nothing"), 404),
        (passive_queue("private"), 405),
        (passive_exchange, 404),
        (declare("amq.mine", none()), 403),
        (declare("private", none()), 405),
        (exchange("amq.mine", "direct", none()), 403),
        (exchange("", "direct", none()), 403),
        (exchange("e", "magic", none()), 406),
        (exchange("e", "", none()), 406),
        (exchange("e", "direct", args("alternate-exchange", 1)), 406),
        (exchange("amq.direct", "fanout", none()), 406),
        (Request::DeleteExchange { name: q(""), if_unused: false }, 403),
        (Request::DeleteExchange { name: q("amq.topic"), if_unused: false }, 403),
        (Request::DeleteQueue { name: q("private"), if_unused: false, if_empty: false }, 405),
        (Request::PurgeQueue { name: q("nothing") }, 404),
        (Request::PurgeQueue { name: q("private") }, 405),
        (Request::BindQueue(binding("amq.direct", "nothing", none())), 404),
        (Request::BindQueue(binding("amq.direct", "private", none())), 405),
        (Request::BindExchange(binding("nothing", "amq.direct", none())), 404),
        (Request::BindExchange(binding("amq.direct", "nothing", none())), 404),
        (Request::BindExchange(binding("", "amq.direct", none())), 403),
        (Request::BindExchange(binding("amq.direct", "", none())), 403),
        (Request::BindExchange(binding("amq.headers", "amq.direct", args("x-match", "most"))), 406),
        (Request::UnbindExchange(binding("", "amq.direct", none())), 403),
        (Request::Consume(consume("nothing", 1)), 404),
        (Request::Consume(consume("private", 1)), 405),
        (Request::Get { queue: q("nothing"), auto_ack: true }, 404),
        (Request::Get { queue: q("private"), auto_ack: true }, 405),
        (Request::QueueInfo { name: q("nothing") }, 404),
        (Request::QueueInfo { name: q("private") }, 405),
        (Request::ExchangeInfo { name: q("nothing") }, 404),
        (Request::List { what: ListOf::Queues, after: "elsewhere".into(), limit: 1 }, 406),
        (Request::List { what: ListOf::Queues, after: vec![0xff, 0xfe].into(), limit: 1 }, 406),
    ] {
        let (got, text) = peer.request(request.clone()).await.expect_err(&format!("{request:?}"));
        assert_eq!(got, code, "{request:?}: {text}");
    }
    // What is gone already can be deleted and undone again: nothing to fail.
    for request in [
        Request::DeleteQueue { name: q("nothing"), if_unused: true, if_empty: true },
        Request::DeleteExchange { name: q("nothing"), if_unused: true },
        Request::UnbindExchange(binding("amq.direct", "amq.topic", none())),
        Request::Cancel { consumer: 77 },
    ] {
        let answer = peer.request(request.clone()).await;
        assert!(answer.is_ok(), "{request:?}: {answer:?}");
    }
    peer.close().await;
    owner.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn conditions_of_a_delete_are_kept() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    peer.publish(1, &queue, b"x").await;
    peer.next_outcomes().await;
    let delete = |if_unused, if_empty| Request::DeleteQueue { name: short(&queue), if_unused, if_empty };
    assert_eq!(peer.request(delete(false, true)).await.unwrap_err().0, 406);
    peer.request(Request::Consume(consume(&queue, 1))).await.unwrap();
    assert_eq!(peer.request(delete(true, false)).await.unwrap_err().0, 406);
    peer.request(delete(false, false)).await.unwrap();
    peer.close().await;
    victim.survives().await;
}

#[tokio::test]
async fn consumers_that_cannot_be_are_refused() {
    let victim = Victim::start().await;
    let mut peer = Peer::on_channel(victim.address()).await;
    let queue = peer.declare_exclusive().await;
    let tagged = |consumer, tag: &str| Consume { tag: short(tag), ..consume(&queue, consumer) };
    peer.request(Request::Consume(tagged(1, "worker"))).await.unwrap();
    for (consume, code) in [
        (consume(&queue, 0), 406),
        (consume(&queue, 1), 406),
        (tagged(2, "worker"), 530),
        (Consume { exclusive: true, ..consume(&queue, 2) }, 403),
        (Consume { arguments: args("x-priority", "high"), ..consume(&queue, 2) }, 406),
    ] {
        let (got, text) =
            peer.request(Request::Consume(consume.clone())).await.expect_err(&format!("{consume:?}"));
        assert_eq!(got, code, "{consume:?}: {text}");
    }
    peer.close().await;
    victim.survives().await;
}
