//! Definitions over HTTP: what a RabbitMQ has exported is taken over whole, with its users' passwords, and goes back.

mod rabbitmq;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rialto::access::{Origin, Protocol, Step};
use rialto::admin::{AdminState, router};
use rialto::broker::Broker;
use rialto::config::Settings;
use serde_json::{Value, json};
use tower::ServiceExt;

/// What `tests/fixtures/definitions/make` has made of a RabbitMQ 3.10.
const EXPORT: &str = include_str!("../fixtures/definitions/rabbitmq-3.10.json");

/// A broker behind its HTTP API, without sockets.
struct World {
    broker: Broker,
    router: Router,
}

impl World {
    fn new() -> Self {
        let broker = Broker::in_memory().build();
        let state = AdminState::new(broker.clone(), Arc::new(Settings::default()), Vec::new());
        World { broker, router: router(state) }
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/{path}"))
            .header("authorization", format!("Basic {}", STANDARD.encode("guest:guest")))
            .header("content-type", kind)
            .body(body.into())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.send(method, path, "application/json", body.to_string()).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, "application/json", "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn import(&self, json: impl Into<Body>) -> (u16, Value) {
        self.send("POST", "definitions", "application/json", json).await
    }

    fn logs_in(&self, user: &str, password: &str) -> bool {
        let origin = Origin::plain("192.0.2.1:5672".parse().unwrap(), Protocol::Amqp);
        match self.broker.access().check_password(user, password, &origin, self.broker.now()) {
            Step::Verify(verification) => matches!(verification.run(), Step::Done(_)),
            step => matches!(step, Step::Done(_)),
        }
    }
}

/// The rows of a section that mean the same everywhere, sorted.
fn rows(document: &Value, section: &str) -> Vec<Value> {
    let mut rows = document[section].as_array().cloned().unwrap_or_default();
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        if section == "queues" {
            row.remove("type");
        }
        if section == "users" {
            let mut tags: Vec<_> = row["tags"].as_array().unwrap().to_vec();
            tags.sort_by_key(Value::to_string);
            row.insert("tags".to_owned(), tags.into());
            row.get_mut("limits").unwrap().as_object_mut().unwrap().retain(|_, limit| limit != &json!(-1));
        }
    }
    rows.sort_by_cached_key(Value::to_string);
    rows
}

const SECTIONS: [&str; 9] = [
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
    "users",
];

#[tokio::test]
async fn an_export_of_a_rabbitmq_is_taken_over_with_its_passwords() {
    let world = World::new();
    let began = Instant::now();
    let (status, answer) = world.import(EXPORT).await;
    assert_eq!(status, 200, "{answer}");
    // Not a measurement: what the import must never come near, even here.
    assert!(began.elapsed() < Duration::from_secs(60));
    let notices = answer["notices"].to_string();
    for what in ["x-queue-mode", "ha-mode", "shovel", "federation-upstream"] {
        assert!(notices.contains(what), "{what}: {notices}");
    }
    // SHA-256, SHA-512 and MD5.
    for user in ["user-001", "user-002", "user-003", "user-004", "user-099", "by-the-node", "Ünser <user> 25"]
    {
        assert!(world.logs_in(user, &format!("password of {user}")), "{user}");
        assert!(!world.logs_in(user, "another"), "{user}");
    }
    assert!(!world.logs_in("certificate-only", ""));
    let original: Value = serde_json::from_str(EXPORT).unwrap();
    let exported = world.get("definitions").await;
    for section in SECTIONS {
        let (is, was) = (rows(&exported, section), rows(&original, section));
        let differs = was.iter().find(|row| !is.contains(row));
        assert_eq!(differs, None, "{section} lost it");
        assert_eq!(is.len(), was.len(), "{section}");
    }
    // Once more: everything is there, and the same.
    let (status, answer) = world.import(EXPORT).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(world.get("definitions").await, exported);
    // What was exported makes an equal broker.
    let second = World::new();
    let (status, answer) = second.import(exported.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(second.get("definitions").await, exported);
}

#[tokio::test]
async fn an_import_with_errors_changes_nothing_and_tells_all_of_them() {
    let world = World::new();
    world.call("PUT", "queues/%2F/there", &json!({"durable": true})).await;
    let before = world.get("definitions").await;
    let (status, answer) = world
        .import(
            json!({
                "vhosts": [{"name": "new"}],
                "users": [{"name": "u", "tags": "", "password": "x"}],
                "permissions": [{"user": "nobody", "vhost": "nowhere", "configure": "", "write": "", "read": ""}],
                "policies": [{"vhost": "/", "name": "p", "pattern": ".*", "definition": {"max-length": 1}}],
                "queues": [
                    {"vhost": "/", "name": "there", "durable": false},
                    {"vhost": "new", "name": "q", "durable": true},
                    {"vhost": "nowhere", "name": "q", "durable": true},
                ],
                "exchanges": [{"vhost": "/", "name": "amq.mine", "type": "direct"}],
                "bindings": [{"vhost": "new", "source": "x", "destination": "q", "destination_type": "queue"}],
            })
            .to_string(),
        )
        .await;
    assert_eq!(status, 400);
    let errors: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| error["at"].as_str().unwrap()).collect();
    for at in ["permissions[0]", "queues[0]", "queues[2]", "exchanges[0]", "bindings[0]"] {
        assert!(errors.contains(&at), "{at}: {answer}");
    }
    assert!(answer["reason"].as_str().unwrap().contains("inequivalent arg 'durable' for queue 'there'"));
    assert_eq!(world.get("definitions").await, before);
}

#[tokio::test]
async fn what_only_shows_while_it_is_made_undoes_all_of_it() {
    let world = World::new();
    let mut set = json!({"users": [{"name": "u", "tags": "", "password_hash": ""}],
        "vhosts": [{"name": "new"}, {"name": "/", "description": "changed"}],
        "queues": [{"vhost": "new", "name": "q", "durable": true}, {"vhost": "/", "name": "q", "durable": true}],
        "exchanges": [{"vhost": "new", "name": "x", "type": "headers"}],
        "policies": [{"vhost": "/", "name": "p", "pattern": ".*", "definition": {"max-length": 1}}],
        "global_parameters": [{"name": "g", "value": null}]});
    let before = world.get("definitions").await;
    // Whether a binding's arguments fit its exchange is asked when it is made.
    set["bindings"] = json!([{"vhost": "new", "source": "x", "destination": "q", "destination_type": "queue",
        "arguments": {"x-match": "perhaps"}}]);
    let (status, answer) = world.import(set.to_string()).await;
    assert_eq!((status, answer["errors"][0]["at"].as_str()), (400, Some("bindings[0]")), "{answer}");
    assert_eq!(world.get("definitions").await, before);
    set["bindings"] = json!([]);
    assert_eq!(world.import(set.to_string()).await.0, 200);
}

#[tokio::test]
async fn a_form_and_a_single_vhost_are_taken_too() {
    let world = World::new();
    let json = json!({"queues": [{"name": "q", "durable": true}], "shards": 1}).to_string();
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\r\n{json}\r\n--x--\r\n"
    );
    let kind = "multipart/form-data; boundary=x";
    let (status, answer) = world.send("POST", "definitions/%2F", kind, form).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["notices"][0]["notice"], "'shards' is not known here and was left out");
    let exported = world.get("definitions/%2F").await;
    assert_eq!(exported["queues"][0]["name"], "q");
    assert_eq!(exported["queues"][0].get("vhost"), None);
    for (body, text) in [("{", "not JSON"), ("[]", "is a list")] {
        let (status, answer) = world.import(body).await;
        assert!(status == 400 && answer["reason"].as_str().unwrap().contains(text), "{answer}");
    }
    assert_eq!(world.send("POST", "definitions/nowhere", "application/json", "{}").await.0, 404);
}

#[tokio::test]
async fn what_definitions_are_made_of_is_set_one_by_one() {
    let world = World::new();
    let put = async |path: &str, body: Value| world.call("PUT", path, &body).await.0;
    let delete = async |path: &str| world.call("DELETE", path, &json!({})).await.0;
    assert_eq!(put("vhosts/v", json!({"description": "d", "tags": "a,b"})).await, 201);
    assert_eq!(put("vhosts/v", json!({})).await, 204);
    assert_eq!(world.get("vhosts/v").await["tags"], json!(["a", "b"]));
    assert_eq!(put("users/u", json!({"password": "secret"})).await, 400, "tags are missing");
    assert_eq!(put("users/u", json!({"password": "secret", "tags": "management"})).await, 201);
    assert!(world.logs_in("u", "secret"));
    assert_eq!(put("permissions/v/u", json!({"configure": "(", "write": "", "read": ""})).await, 400);
    assert_eq!(put("permissions/v/u", json!({"configure": "", "write": "", "read": ""})).await, 201);
    assert_eq!(put("permissions/v/nobody", json!({"configure": "", "write": "", "read": ""})).await, 400);
    assert_eq!(world.get("users/u/permissions").await[0]["vhost"], "v");
    let topic = json!({"exchange": "amq.topic", "write": "^{username}", "read": ""});
    assert_eq!(put("topic-permissions/v/u", topic).await, 201);
    assert_eq!(world.get("topic-permissions/v/u").await[0]["write"], "^{username}");
    let policy =
        |most: i64| json!({"pattern": "^q", "definition": {"max-length": most}, "apply-to": "queues"});
    assert_eq!(put("queues/v/q", json!({"durable": true})).await, 201);
    assert_eq!(put("policies/v/p", policy(-1)).await, 400);
    assert_eq!(put("policies/v/p", policy(100)).await, 201);
    assert_eq!(put("operator-policies/v/o", policy(10)).await, 201);
    let queue = world.get("queues/v/q").await;
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&json!("p"), &json!("o")));
    assert_eq!(queue["effective_policy_definition"], json!({"max-length": 10}));
    assert_eq!(put("vhost-limits/v/max-queues", json!({"value": 7})).await, 204);
    assert_eq!(put("vhost-limits/v/nothing", json!({"value": 7})).await, 400);
    assert_eq!(put("user-limits/u/max-channels", json!({"value": 9})).await, 204);
    assert_eq!(world.get("user-limits").await, json!([{"user": "u", "value": {"max-channels": 9}}]));
    assert_eq!(put("parameters/shovel/v/s", json!({"value": {"a": 1}})).await, 201);
    assert_eq!(put("parameters/operator_policy/v/s", json!({"value": {"a": 1}})).await, 400);
    assert_eq!(put("global-parameters/g", json!({"value": null})).await, 201);
    let components: Vec<_> = world
        .get("parameters")
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["component"].clone())
        .collect();
    assert_eq!(components, ["shovel", "operator_policy", "vhost-limits"]);
    let paths = [
        "permissions/v/u",
        "topic-permissions/v/u",
        "policies/v/p",
        "operator-policies/v/o",
        "parameters/shovel/v/s",
        "global-parameters/g",
        "users/u",
        "vhosts/v",
    ];
    for path in paths {
        assert_eq!((delete(path).await, delete(path).await), (204, 404), "{path}");
    }
    assert_eq!(world.get("policies").await, json!([]));
}

#[tokio::test]
async fn every_route_is_in_the_document_that_is_served() {
    let world = World::new();
    let document = world.get("openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/api/definitions",
        "/api/users/{user}",
        "/api/operator-policies/{vhost}/{name}",
        "/api/openapi.json",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let operations: Vec<_> = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .filter_map(|operation| operation.get("operationId"))
        .collect();
    let names: std::collections::BTreeSet<_> = operations.iter().map(|name| name.to_string()).collect();
    assert_eq!(names.len(), operations.len(), "each has a name of its own");
}
