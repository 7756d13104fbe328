//! Where messages go: exchange types, exchanges behind exchanges, and what happens when nobody wants one.

use rialto_client::{Client, FieldTable, FieldValue, Message, Outcome};

use crate::support::peer::Peer;
use crate::support::*;
use rialto_protocol::native::{self, Command};

/// Queues bound to the exchange `x`, each with its keys.
async fn bind(client: &Client, bindings: &[(&str, &[&str])]) {
    for (queue, keys) in bindings {
        client.queue(queue).declare().await.unwrap();
        for key in *keys {
            client.queue(queue).bind("x", key).await.unwrap();
        }
    }
}

async fn outcome(client: &Client, exchange: &str, key: &str, message: impl Into<Message>) -> Outcome {
    client.publish(exchange, key, message).await.unwrap().await.unwrap()
}

#[tokio::test]
async fn the_default_exchange_routes_to_the_queue_of_that_name() {
    let (_broker, client) = start_and_connect().await;
    for queue in ["a", "b"] {
        client.queue(queue).declare().await.unwrap();
    }
    publish(&client, "", "b", "for b").await;
    assert_eq!((drain(&client, "a").await, drain(&client, "b").await), (vec![], vec!["for b".to_owned()]));
}

#[tokio::test]
async fn nothing_can_be_bound_to_the_default_exchange() {
    let (_broker, client) = start_and_connect().await;
    client.queue("q").declare().await.unwrap();
    assert_eq!(refusal(client.queue("q").bind("", "key").await).0, 403);
}

#[tokio::test]
async fn direct_routes_by_equal_keys() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").direct().declare().await.unwrap();
    bind(&client, &[("red", &["red"]), ("both", &["red", "blue"])]).await;
    for key in ["red", "blue", "Red", ""] {
        let _ = outcome(&client, "x", key, key).await;
    }
    assert_eq!(drain(&client, "red").await, ["red"]);
    assert_eq!(drain(&client, "both").await, ["red", "blue"]);
}

#[tokio::test]
async fn fanout_routes_to_everything_bound_whatever_the_key() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").fanout().declare().await.unwrap();
    bind(&client, &[("a", &[""]), ("b", &["key"])]).await;
    publish(&client, "x", "other", "1").await;
    assert_eq!(drain(&client, "a").await, ["1"]);
    assert_eq!(drain(&client, "b").await, ["1"]);
}

#[tokio::test]
async fn topic_star_is_one_word_and_hash_any_number() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").topic().declare().await.unwrap();
    bind(&client, &[("star", &["order.*"]), ("hash", &["order.#"]), ("middle", &["#.eu.*"])]).await;
    for key in ["order", "order.new", "order.new.eu", "order.eu.new", "eu.new"] {
        publish(&client, "x", key, key).await;
    }
    assert_eq!(drain(&client, "star").await, ["order.new"]);
    assert_eq!(drain(&client, "hash").await, ["order", "order.new", "order.new.eu", "order.eu.new"]);
    assert_eq!(drain(&client, "middle").await, ["order.eu.new", "eu.new"]);
}

#[tokio::test]
async fn headers_all_any_and_the_forms_with_x() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").headers().declare().await.unwrap();
    for (queue, mode) in
        [("all", "all"), ("any", "any"), ("all-with-x", "all-with-x"), ("any-with-x", "any-with-x")]
    {
        client.queue(queue).declare().await.unwrap();
        let wanted = FieldTable::new().with("x-match", mode).with("format", "pdf").with("x-zone", "eu");
        client.queue(queue).bind_with("x", "", wanted).await.unwrap();
    }
    let message = |body: &'static str, headers: &[(&str, &str)]| {
        headers.iter().fold(Message::new(body), |message, (name, value)| message.header(name, *value))
    };
    for message in [
        message("pdf", &[("format", "pdf")]),
        message("pdf eu", &[("format", "pdf"), ("x-zone", "eu")]),
        message("eu", &[("format", "zip"), ("x-zone", "eu")]),
        message("none", &[]),
    ] {
        let _ = outcome(&client, "x", "", message).await;
    }
    // Without `-with-x`, names that begin with `x-` are not looked at.
    assert_eq!(drain(&client, "all").await, ["pdf", "pdf eu"]);
    assert_eq!(drain(&client, "any").await, ["pdf", "pdf eu"]);
    assert_eq!(drain(&client, "all-with-x").await, ["pdf eu"]);
    assert_eq!(drain(&client, "any-with-x").await, ["pdf", "pdf eu", "eu"]);
}

#[tokio::test]
async fn a_queue_that_several_bindings_lead_to_gets_the_message_once() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").topic().declare().await.unwrap();
    client.exchange("y").fanout().declare().await.unwrap();
    client.exchange("y").bind("x", "#").await.unwrap();
    bind(&client, &[("q", &["a.*", "*.b", "#"])]).await;
    client.queue("q").bind("y", "").await.unwrap();
    publish(&client, "x", "a.b", "once").await;
    assert_eq!(drain(&client, "q").await, ["once"]);
}

#[tokio::test]
async fn exchanges_route_into_exchanges_and_cycles_end() {
    let (_broker, client) = start_and_connect().await;
    for exchange in ["x", "y", "z"] {
        client.exchange(exchange).topic().declare().await.unwrap();
    }
    for (source, destination) in [("x", "y"), ("y", "z"), ("z", "x"), ("x", "x")] {
        client.exchange(destination).bind(source, "#").await.unwrap();
    }
    for (queue, exchange) in [("qy", "y"), ("qz", "z")] {
        client.queue(queue).declare().await.unwrap();
        client.queue(queue).bind(exchange, "k").await.unwrap();
    }
    publish(&client, "x", "k", "round").await;
    assert_eq!(drain(&client, "qy").await, ["round"]);
    assert_eq!(drain(&client, "qz").await, ["round"]);
}

#[tokio::test]
async fn a_binding_that_is_undone_routes_no_more() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").direct().declare().await.unwrap();
    client.exchange("y").fanout().declare().await.unwrap();
    bind(&client, &[("q", &["k"])]).await;
    client.queue("behind").declare().await.unwrap();
    client.queue("behind").bind("y", "").await.unwrap();
    client.exchange("y").bind("x", "k").await.unwrap();
    publish(&client, "x", "k", "1").await;
    client.queue("q").unbind("x", "k").await.unwrap();
    publish(&client, "x", "k", "2").await;
    client.exchange("y").unbind("x", "k").await.unwrap();
    assert!(!outcome(&client, "x", "k", "3").await.is_accepted());
    assert_eq!(drain(&client, "q").await, ["1"]);
    assert_eq!(drain(&client, "behind").await, ["1", "2"]);
    client.queue("q").unbind("x", "never bound").await.expect("undoing nothing is fine");
}

#[tokio::test]
async fn what_no_binding_takes_goes_to_the_alternate_exchange() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("rest").fanout().declare().await.unwrap();
    client.exchange("x").direct().alternate("rest").declare().await.unwrap();
    bind(&client, &[("taken", &["k"])]).await;
    client.queue("rest").declare().await.unwrap();
    client.queue("rest").bind("rest", "").await.unwrap();
    publish(&client, "x", "k", "wanted").await;
    publish(&client, "x", "other", "left over").await;
    assert_eq!(drain(&client, "taken").await, ["wanted"]);
    assert_eq!(drain(&client, "rest").await, ["left over"]);
}

#[tokio::test]
async fn alternate_exchanges_in_a_circle_end_as_unroutable() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").direct().alternate("y").declare().await.unwrap();
    client.exchange("y").direct().alternate("x").declare().await.unwrap();
    assert_eq!(outcome(&client, "x", "k", "lost").await, Outcome::Unroutable { returned: None });
}

#[tokio::test]
async fn an_internal_exchange_takes_messages_from_exchanges_only() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("inner").fanout().internal().declare().await.unwrap();
    client.exchange("x").fanout().declare().await.unwrap();
    client.exchange("inner").bind("x", "").await.unwrap();
    client.queue("q").declare().await.unwrap();
    client.queue("q").bind("inner", "").await.unwrap();
    publish(&client, "x", "", "through").await;
    let Outcome::Rejected { code, reason } = outcome(&client, "inner", "", "refused").await else {
        panic!("a client cannot publish there");
    };
    assert_eq!(code, 403);
    assert_eq!(&*reason, "cannot publish to internal exchange 'inner' in vhost '/'");
    assert_eq!(drain(&client, "q").await, ["through"]);
}

#[tokio::test]
async fn what_reaches_no_queue_is_told_as_unroutable() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").topic().declare().await.unwrap();
    assert_eq!(outcome(&client, "x", "nobody", "lost").await, Outcome::Unroutable { returned: None });
    assert_eq!(outcome(&client, "", "no such queue", "lost").await, Outcome::Unroutable { returned: None });
}

#[tokio::test]
async fn a_mandatory_message_that_reaches_no_queue_comes_back_whole() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").direct().declare().await.unwrap();
    let publisher = client.publisher("x", "nobody").unwrap().mandatory();
    let message = Message::new("back").content_type("text/plain").header("n", 7);
    let outcome = publisher.publish(message).await.unwrap().await.unwrap();
    let Outcome::Unroutable { returned: Some(returned) } = outcome else { panic!("{outcome:?}") };
    assert_eq!((returned.code, &*returned.exchange, &*returned.routing_key), (312, "x", "nobody"));
    assert_eq!(&*returned.body, b"back");
    assert_eq!(returned.properties.content_type.as_deref(), Some("text/plain"));
    assert!(returned.properties.headers.unwrap().get("n").is_some());
}

#[tokio::test]
async fn a_mandatory_message_comes_back_before_its_outcome() {
    let broker = start().await;
    let mut peer = Peer::connect(&broker).await;
    peer.declare_queue("q").await;
    peer.publish("", "q", &[b"fine"]).await;
    let lost = peer.publish_run("", "nobody", true, &[b"back"]).await;
    let mut order = Vec::new();
    while order.last() != Some(&"unroutable") {
        match peer.receive().await.expect("the connection lives") {
            Command::Returned(returned) => {
                assert_eq!((returned.sequence, returned.code), (lost, 312));
                order.push("returned");
            }
            Command::Outcomes(ranges) => order.extend(ranges.iter().map(|range| match range.outcome {
                native::Outcome::Confirmed => "confirmed",
                native::Outcome::Unroutable => "unroutable",
                _ => "other",
            })),
            other => panic!("{other:?}"),
        }
    }
    let place = |what| order.iter().position(|this| *this == what).unwrap();
    assert!(place("returned") < place("unroutable"), "{order:?}");
}

#[tokio::test]
async fn a_new_binding_counts_for_the_very_next_message() {
    let (_broker, client) = start_and_connect().await;
    client.exchange("x").direct().declare().await.unwrap();
    let publisher = client.publisher("x", "k").unwrap();
    for round in 0..3 {
        let queue = format!("q{round}");
        client.queue(&queue).declare().await.unwrap();
        client.queue(&queue).bind("x", "k").await.unwrap();
        publisher.publish("m").await.unwrap().await.unwrap().accepted().unwrap();
    }
    client.queue("q0").delete().await.unwrap();
    publisher.publish("m").await.unwrap().await.unwrap().accepted().unwrap();
    assert_eq!((depth(&client, "q1").await, depth(&client, "q2").await), ((3, 0), (2, 0)));
}

#[tokio::test]
async fn copies_are_routed_and_blind_ones_are_not_shown() {
    let (_broker, client) = start_and_connect().await;
    for queue in ["own", "cc", "bcc"] {
        client.queue(queue).declare().await.unwrap();
    }
    let keys = |key: &str| FieldValue::Array(vec![key.into()]);
    let copied = || Message::new("m").header("CC", keys("cc")).header("BCC", keys("bcc"));
    // Between two plain ones, whose route is known by then.
    publish(&client, "", "own", "before").await;
    publish(&client, "", "own", copied()).await;
    publish(&client, "", "own", "after").await;
    assert_eq!(drain(&client, "own").await, ["before", "m", "after"]);
    assert_eq!(drain(&client, "cc").await, ["m"]);
    let blind = client.queue("bcc").get().await.unwrap().unwrap();
    assert!(blind.header("CC").is_some() && blind.header("BCC").is_none());
    let refused = outcome(&client, "", "own", Message::new("m").header("CC", "no list")).await;
    let Outcome::Rejected { code, reason } = refused else { panic!("{refused:?}") };
    assert_eq!(code, 406);
    assert_eq!(&*reason, r#"invalid message: {unacceptable_type_in_header,"CC",longstr}"#);
}
