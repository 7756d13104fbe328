//! Queues, exchanges, bindings, messages: what is declared over HTTP is there, and is told as RabbitMQ tells it.

use serde_json::{Value, json};

use crate::fixture::Broker;

#[test]
fn a_queue_is_declared_listed_and_deleted() {
    let broker = Broker::start();
    let body = r#"{"durable": true, "arguments": {"x-max-length": 10}}"#;
    assert_eq!(broker.ask("PUT", "/queues/%2F/tasks", body).status, 201);
    assert_eq!(broker.ask("PUT", "/queues/%2F/tasks", body).status, 204);
    let queue = broker.get("/queues/%2F/tasks");
    assert_eq!(queue["name"], "tasks");
    assert_eq!((&queue["durable"], &queue["type"]), (&json!(true), &json!("classic")));
    assert_eq!(queue["arguments"], json!({"x-max-length": 10}));
    assert_eq!(broker.get("/queues?columns=name,vhost"), json!([{"name": "tasks", "vhost": "/"}]));
    let page = broker.get("/queues/%2F?page=1&columns=name");
    assert_eq!((&page["total_count"], &page["items"]), (&json!(1), &json!([{"name": "tasks"}])));

    let differs = broker.ask("PUT", "/queues/%2F/tasks", r#"{"durable": false}"#);
    assert_eq!(differs.status, 400);
    assert!(
        differs.reason().contains("inequivalent arg 'durable' for queue 'tasks' in vhost '/'"),
        "{differs:?}"
    );

    assert_eq!(broker.ask("DELETE", "/queues/%2F/tasks?if-empty=true", "").status, 204);
    assert_eq!(broker.ask("DELETE", "/queues/%2F/tasks", "").status, 404);
    assert_eq!(broker.ask("GET", "/queues/%2F/tasks", "").status, 404);
}

#[test]
fn yes_and_no_may_come_as_texts_as_rabbitmqadmin_sends_them() {
    let broker = Broker::start();
    let body = r#"{"vhost": "/", "name": "e", "type": "topic", "durable": "true", "internal": "false", "arguments": {}}"#;
    assert_eq!(broker.ask("PUT", "/exchanges/%2F/e", body).status, 201);
    let exchange = broker.get("/exchanges/%2F/e");
    assert_eq!((&exchange["type"], &exchange["durable"]), (&json!("topic"), &json!(true)));
    assert_eq!(broker.ask("PUT", "/exchanges/%2F/f", r#"{"durable": "maybe"}"#).status, 400);
    assert_eq!(broker.ask("PUT", "/exchanges/%2F/f", r#"{"type": "nope"}"#).status, 400);
    assert_eq!(broker.ask("DELETE", "/exchanges/%2F/e", "").status, 204);
}

#[test]
fn a_binding_is_made_found_by_its_key_and_undone() {
    let broker = Broker::start();
    broker.ask("PUT", "/queues/%2F/q", "{}");
    broker.ask("PUT", "/exchanges/%2F/e", r#"{"type": "topic"}"#);
    let bound =
        broker.ask("POST", "/bindings/%2F/e/e/q/q", r#"{"routing_key": "a b/*", "arguments": {"x": 1}}"#);
    assert_eq!(bound.status, 201, "{bound:?}");
    let bindings = broker.get("/bindings/%2F/e/e/q/q");
    let key = bindings[0]["properties_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("a+b%2F%2A~"), "{key}");
    let twice = key.replace('%', "%25").replace('+', "%2B");
    assert!(bound.headers.contains(&format!("location: q/{twice}").to_ascii_lowercase()), "{bound:?}");
    assert_eq!(broker.get("/exchanges/%2F/e/bindings/source").as_array().map(Vec::len), Some(1));
    assert_eq!(broker.get("/queues/%2F/q/bindings").as_array().map(Vec::len), Some(2));
    let path = format!("/bindings/%2F/e/e/q/q/{twice}");
    assert_eq!(broker.get(&path)["arguments"], json!({"x": 1}));
    assert_eq!(broker.ask("DELETE", &path, "").status, 204);
    assert_eq!(broker.ask("DELETE", &path, "").status, 404);
    assert_eq!(broker.ask("POST", "/bindings/%2F/e/none/q/q", "{}").status, 404);
    assert_eq!(broker.ask("POST", "/bindings/%2F/e/e/x/q", "{}").status, 404);
}

#[test]
fn what_is_published_can_be_looked_at_and_taken() {
    let broker = Broker::start();
    broker.ask("PUT", "/queues/%2F/q", "{}");
    let message = r#"{"properties": {"delivery_mode": 2, "headers": {"h": 1}, "type": "t"}, "routing_key": "q",
                      "payload": "hello", "payload_encoding": "string"}"#;
    let published = broker.ask("POST", "/exchanges/%2F/amq.default/publish", message);
    assert_eq!((published.status, published.json()), (200, json!({"routed": true})));
    let nowhere = message.replace("\"routing_key\": \"q\"", "\"routing_key\": \"nowhere\"");
    assert_eq!(
        broker.ask("POST", "/exchanges/%2F/amq.default/publish", &nowhere).json(),
        json!({"routed": false})
    );
    let get = |mode: &str| {
        let body = format!(r#"{{"count": 2, "ackmode": "{mode}", "encoding": "auto", "truncate": 3}}"#);
        broker.ask("POST", "/queues/%2F/q/get", &body).json()
    };
    let looked = get("ack_requeue_true");
    assert_eq!(
        looked,
        json!([{"payload_bytes": 5, "redelivered": false, "exchange": "", "routing_key": "q", "message_count": 0,
                "properties": {"delivery_mode": 2, "headers": {"h": 1}, "type": "t"}, "payload": "hel",
                "payload_encoding": "string"}])
    );
    assert_eq!(get("ack_requeue_false")[0]["redelivered"], true);
    assert_eq!(get("ack_requeue_false"), json!([]));
    broker.ask("POST", "/exchanges/%2F/amq.default/publish", message);
    assert_eq!(broker.get("/queues/%2F/q?columns=messages")["messages"], 1);
    assert_eq!(broker.ask("DELETE", "/queues/%2F/q/contents", "").status, 204);
    assert_eq!(broker.get("/queues/%2F/q")["messages"], 0);
}

#[test]
fn rejected_messages_become_dead_letters() {
    let broker = Broker::start();
    broker.ask("PUT", "/queues/%2F/dead", "{}");
    let arguments = r#"{"arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}}"#;
    broker.ask("PUT", "/queues/%2F/q", arguments);
    let message =
        r#"{"properties": {}, "routing_key": "q", "payload": "/w==", "payload_encoding": "base64"}"#;
    broker.ask("POST", "/exchanges/%2F/amq.default/publish", message);
    let body = r#"{"count": 1, "ackmode": "reject_requeue_false", "encoding": "auto"}"#;
    assert_eq!(broker.ask("POST", "/queues/%2F/q/get", body).json()[0]["payload_encoding"], "base64");
    assert_eq!(broker.get("/queues/%2F/dead")["messages"], 1);
}

#[test]
fn the_broker_tells_what_it_is() {
    let broker = Broker::start();
    let overview = broker.get("/overview");
    assert_eq!(overview["product_name"], "Rialto");
    assert_eq!(overview["object_totals"]["exchanges"], 7);
    let node = overview["node"].as_str().unwrap();
    assert_eq!(broker.get("/nodes")[0]["name"], node);
    assert_eq!(broker.get(&format!("/nodes/{node}"))["running"], true);
    assert_eq!(broker.get("/whoami")["tags"], json!(["administrator"]));
    assert_eq!(broker.get("/connections"), json!([]));
    assert_eq!(broker.get("/channels"), json!([]));
    assert_eq!(broker.get("/consumers"), json!([]));
}

#[test]
fn columns_narrow_every_answer() {
    let broker = Broker::start();
    let row = |path: &str| match broker.get(path) {
        Value::Array(mut rows) => rows.swap_remove(0),
        row => row,
    };
    broker.ask("PUT", "/queues/%2F/q", "{}");
    broker.ask("PUT", "/policies/%2F/name", r#"{"pattern": "x", "definition": {"max-length": 1}}"#);
    broker.ask("PUT", "/parameters/shovel/%2F/name", r#"{"value": 1}"#);
    broker.ask("PUT", "/global-parameters/name", r#"{"value": 1}"#);
    broker.ask("PUT", "/users/new", r#"{"password_hash": "", "tags": ""}"#);
    let node = broker.get("/overview")["node"].as_str().expect("a name").to_owned();
    for path in [
        "/queues/%2F/q",
        "/users/guest",
        "/users/without-permissions",
        "/policies",
        "/policies/%2F/name",
        "/parameters",
        "/global-parameters",
        "/feature-flags",
        "/nodes",
        &format!("/nodes/{node}"),
    ] {
        let row = row(&format!("{path}?columns=name,nothing"));
        assert_eq!(row.as_object().expect("an object").keys().collect::<Vec<_>>(), ["name"], "{path}");
    }
    assert_eq!(broker.get("/permissions?columns=user"), json!([{"user": "guest"}]));
    assert_eq!(
        broker.get("/overview?columns=object_totals.queues,listeners.protocol")["object_totals"],
        json!({"queues": 1})
    );
    assert_eq!(broker.get("/queues?page=1&columns=name")["items"], json!([{"name": "q"}]));
    // What is refused says why, whatever is wanted.
    assert!(broker.ask("GET", "/queues/%2F/none?columns=name", "").json()["reason"].is_string());
}

#[test]
fn health_checks_say_what_is_wrong() {
    let broker = Broker::start();
    let port = broker.messages().port();
    for path in [
        "alarms",
        "local-alarms",
        "virtual-hosts",
        "node-is-quorum-critical",
        "is-in-service",
        "ready-to-serve-clients",
        "below-node-connection-limit",
        "protocol-listener/amqp091",
        "certificate-expiration/1/months",
        &format!("port-listener/{port}"),
    ] {
        assert_eq!(broker.get(&format!("/health/checks/{path}"))["status"], "ok", "{path}");
    }
    let missing = broker.ask("GET", "/health/checks/port-listener/1", "");
    assert_eq!((missing.status, &missing.json()["missing"]), (503, &json!(1)));
    assert_eq!(broker.ask("GET", "/health/checks/protocol-listener/mqtt", "").status, 503);
    assert_eq!(broker.get("/aliveness-test/%2F"), json!({"status": "ok"}));
    assert_eq!(broker.ask("GET", "/aliveness-test/none", "").status, 404);
}

#[test]
fn a_connection_is_listed_and_closed_with_a_reason() {
    let broker = Broker::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = format!("rialto://guest:guest@{}/", broker.messages());
        let client = rialto_client::Client::connect(&url).await.unwrap();
        client.queue("q").declare().await.unwrap();
        let connections = broker.get("/connections");
        let name = connections[0]["name"].as_str().unwrap().to_owned();
        assert!(name.contains(" -> "), "{name}");
        assert_eq!(connections[0]["user"], "guest");
        let channels = broker.get("/channels");
        assert_eq!(channels[0]["connection_details"]["name"], name.as_str());
        let path = format!("/connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
        assert_eq!(broker.get(&path)["vhost"], "/");
        let guest = Some(("guest", "guest"));
        let closed = broker.ask_as(guest, "DELETE", &path, &[("X-Reason", "enough")], "");
        assert_eq!(closed.status, 204, "{closed:?}");
        assert_eq!(broker.ask("DELETE", "/connections/none", "").status, 404);
        let refused = client.queue("other").declare().await;
        // It may have connected again by then; either way the old one is gone.
        drop(refused);
    });
}

#[test]
fn a_slash_at_the_end_of_an_address_is_overlooked() {
    let broker = Broker::start();
    broker.ask("PUT", "/queues/%2F/q/", "{}");
    assert_eq!(broker.get("/queues/").as_array().map(Vec::len), Some(1), "Flower asks so for the vhost /");
    assert_eq!(broker.get("/queues/%2F/q/")["name"], "q");
    assert_eq!(broker.ask("GET", "/queues/%2F//", "").status, 200);
    assert_eq!(broker.ask("GET", "/nothing/", "").status, 404);
}
