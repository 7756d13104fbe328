//! RabbitMQ's own `rabbitmqadmin`, and `curl`, as people use them.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::fixture::Broker;

/// Runs `rabbitmqadmin` against a broker. None: it is not installed here.
fn run(broker: &Broker, arguments: &[&str]) -> Option<Output> {
    let port = broker.http().port().to_string();
    let output = Command::new("rabbitmqadmin")
        .args(["--host", "127.0.0.1", "--port", &port])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.ok()
}

fn is_there() -> bool {
    let found = Command::new("rabbitmqadmin").arg("--version").output().is_ok();
    if !found {
        eprintln!("rabbitmqadmin is not installed: nothing is tested");
    }
    found
}

fn admin(broker: &Broker, arguments: &[&str]) -> String {
    let output = run(broker, arguments).expect("it was there before");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text
}

fn rows(broker: &Broker, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = ["-f", "raw_json"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&admin(broker, &arguments)).expect("JSON")
}

/// What a broker has, in an order of its own.
fn topology(broker: &Broker) -> Value {
    let mut bindings =
        broker.get("/bindings?columns=source,vhost,destination,destination_type,routing_key,arguments");
    let list = bindings.as_array_mut().expect("an array");
    list.sort_by_key(Value::to_string);
    json!({
        "queues": broker.get("/queues?columns=name,vhost,durable,auto_delete,arguments,type,policy"),
        "exchanges": broker.get("/exchanges?columns=name,vhost,type,durable,auto_delete,internal,arguments"),
        "bindings": bindings,
    })
}

fn declare_all(broker: &Broker) {
    for (arguments, told) in [
        (
            &["declare", "queue", "name=orders", "durable=true", "arguments={\"x-max-length\": 100}"][..],
            "queue declared\n",
        ),
        (&["declare", "queue", "name=audit", "durable=true", "queue_type=quorum"], "queue declared\n"),
        (&["declare", "exchange", "name=shop", "type=topic"], "exchange declared\n"),
        (&["declare", "exchange", "name=inner", "type=fanout", "internal=true"], "exchange declared\n"),
        (
            &["declare", "binding", "source=shop", "destination=orders", "routing_key=order.*"],
            "binding declared\n",
        ),
        (
            &[
                "declare",
                "binding",
                "source=shop",
                "destination_type=exchange",
                "destination=inner",
                "routing_key=#",
                "arguments={\"why\": \"all\"}",
            ],
            "binding declared\n",
        ),
        (&["declare", "binding", "source=inner", "destination=audit"], "binding declared\n"),
    ] {
        assert_eq!(admin(broker, arguments), told, "{arguments:?}");
    }
}

#[test]
fn rabbitmqadmin_declares_publishes_gets_and_deletes() {
    if !is_there() {
        return;
    }
    let broker = Broker::start();
    declare_all(&broker);
    let queues = rows(&broker, &["list", "queues", "name", "durable", "messages"]);
    assert_eq!(queues[0], json!({"name": "audit", "durable": true, "messages": 0}));
    assert!(admin(&broker, &["list", "queues", "name"]).contains("| orders |"));
    let said = admin(&broker, &["publish", "exchange=shop", "routing_key=order.1", "payload=hello"]);
    assert_eq!(said, "Message published\n");
    let said = admin(&broker, &["publish", "routing_key=nowhere", "payload=lost"]);
    assert_eq!(said, "Message published but NOT routed\n");
    for queue in ["orders", "audit"] {
        let got = rows(&broker, &["get", &format!("queue={queue}"), "ackmode=ack_requeue_false"]);
        assert_eq!((&got[0]["payload"], &got[0]["exchange"]), (&json!("hello"), &json!("shop")), "{queue}");
    }
    for what in ["exchanges", "bindings", "connections", "channels", "consumers", "nodes"] {
        rows(&broker, &["list", what]);
    }
    assert_eq!(rows(&broker, &["show", "overview"])[0]["product_name"], "Rialto");
    admin(&broker, &["purge", "queue", "name=orders"]);
    for gone in [
        &[
            "delete",
            "binding",
            "source=shop",
            "destination=orders",
            "destination_type=queue",
            "properties_key=order.%2A",
        ][..],
        &["delete", "queue", "name=orders"],
        &["delete", "exchange", "name=inner"],
    ] {
        admin(&broker, gone);
    }
    assert_eq!(broker.ask("GET", "/bindings/%2F/e/shop/e/inner", "").status, 404);
    let refused = run(&broker, &["declare", "exchange", "name=x", "type=nope"]).expect("it was there before");
    assert!(!refused.status.success());
    let told =
        String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("400") && told.contains("nope"), "{told}");
}
