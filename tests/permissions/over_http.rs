//! The matrix over HTTP, and that of what only HTTP offers.

use rialto::access::{Permission, Tags, TopicPermission, UserLimits};
use rialto::model::{ExchangeName, VhostName};
use serde_json::json;

use crate::amqp::methods::{bind, publish};
use crate::amqp::*;
use crate::http::{Answer, Http};
use crate::matrix::{Operation, Right, Row, check, check_rows, row};
use crate::support::peer::name;
use crate::world::{PASSWORD, WORKER, World};

/// What no protocol has, done to what [`World::furnish`] has made.
#[derive(Clone, Copy, Debug)]
enum OverHttp {
    Peek,
    ListUnacked,
    ShowMessage,
    DeleteMessage,
    DeleteMessages,
    MoveMessageToQueue,
    MoveMessageToExchange,
    MoveMessagesToQueue,
    MoveMessagesToExchange,
    Redrive,
    RedriveToExchange,
    Pause,
    Resume,
    Explain,
}

const ROWS: [Row<OverHttp>; 14] = {
    use OverHttp::*;
    use Right::*;
    [
        row(Peek, &[(Read, "queue 'q'")]),
        row(ListUnacked, &[(Read, "queue 'q'")]),
        row(ShowMessage, &[(Read, "queue 'q'")]),
        row(DeleteMessage, &[(Read, "queue 'q'")]),
        row(DeleteMessages, &[(Read, "queue 'q'")]),
        row(MoveMessageToQueue, &[(Read, "queue 'q'"), (Write, "exchange 'amq.default'")]),
        row(MoveMessageToExchange, &[(Read, "queue 'q'"), (Write, "exchange 'x'")]),
        row(MoveMessagesToQueue, &[(Read, "queue 'q'"), (Write, "exchange 'amq.default'")]),
        row(MoveMessagesToExchange, &[(Read, "queue 'q'"), (Write, "exchange 'x'")]),
        row(Redrive, &[(Read, "queue 'q'"), (Write, "exchange 'amq.default'")]),
        row(RedriveToExchange, &[(Read, "queue 'q'"), (Write, "exchange 'x'")]),
        row(Pause, &[(Read, "queue 'q'")]),
        row(Resume, &[(Read, "queue 'q'")]),
        row(Explain, &[]),
    ]
};

/// A worker who may use the API.
fn start() -> (World, Http) {
    let world = World::start();
    world.set_worker(Tags::from_list("management"), UserLimits::default());
    let http = Http::start(&world);
    (world, http)
}

fn ask(http: &Http, method: &str, path: &str, body: &str) -> Answer {
    http.ask(Some((WORKER, PASSWORD)), method, &format!("/api/{path}"), body)
}

/// In the protocols' words: there, a channel is closed with 403 for what is 401 here. That a message is not there is
/// told to whoever may know.
fn outcome(answer: &Answer) -> Result<(), (u16, String)> {
    match answer.status {
        200..300 | 404 => Ok(()),
        401 => Err((403, format!("ACCESS_REFUSED - {}", answer.reason()))),
        _ => panic!("{answer:?}"),
    }
}

fn act(http: &Http, operation: Operation) -> Result<(), (u16, String)> {
    let message =
        r#"{"properties": {}, "routing_key": "q", "payload": "hello", "payload_encoding": "string"}"#;
    let (method, path, body) = match operation {
        Operation::DeclareExchange => ("PUT", "exchanges/%2F/new", r#"{"type": "direct"}"#),
        Operation::DeclareExchangeWithAlternate => {
            ("PUT", "exchanges/%2F/new", r#"{"type": "direct", "arguments": {"alternate-exchange": "x"}}"#)
        }
        Operation::DeclareExchangePassively => ("GET", "exchanges/%2F/x", ""),
        Operation::DeleteExchange => ("DELETE", "exchanges/%2F/x", ""),
        Operation::BindExchange => ("POST", "bindings/%2F/e/y/e/x", r#"{"routing_key": "k2"}"#),
        Operation::UnbindExchange => ("DELETE", "bindings/%2F/e/y/e/x/k", ""),
        Operation::DeclareQueue => ("PUT", "queues/%2F/new", "{}"),
        Operation::DeclareQueueAgain => ("PUT", "queues/%2F/q", "{}"),
        Operation::DeclareQueueWithDeadLetters => {
            ("PUT", "queues/%2F/new", r#"{"arguments": {"x-dead-letter-exchange": "x"}}"#)
        }
        Operation::DeclareQueuePassively => ("GET", "queues/%2F/q", ""),
        Operation::DeleteQueue => ("DELETE", "queues/%2F/q", ""),
        Operation::PurgeQueue => ("DELETE", "queues/%2F/q/contents", ""),
        Operation::BindQueue => ("POST", "bindings/%2F/e/x/q/r", r#"{"routing_key": "k"}"#),
        Operation::UnbindQueue => ("DELETE", "bindings/%2F/e/x/q/q/k", ""),
        Operation::Publish => ("POST", "exchanges/%2F/x/publish", message),
        Operation::PublishToQueue => ("POST", "exchanges/%2F/amq.default/publish", message),
        // The nearest that there is.
        Operation::Consume | Operation::Get => {
            ("POST", "queues/%2F/q/get", r#"{"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}"#)
        }
    };
    let answer = ask(http, method, path, body);
    assert_ne!(answer.status, 404, "{operation:?}: {answer:?}");
    outcome(&answer)
}

fn act_over_http(http: &Http, operation: OverHttp) -> Result<(), (u16, String)> {
    let (method, path, body) = match operation {
        OverHttp::Peek => ("POST", "queues/%2F/q/peek", "{}"),
        OverHttp::ListUnacked => ("GET", "queues/%2F/q/unacked", ""),
        OverHttp::ShowMessage => ("GET", "queues/%2F/q/messages/1", ""),
        OverHttp::DeleteMessage => ("DELETE", "queues/%2F/q/messages/1", ""),
        OverHttp::DeleteMessages => ("POST", "queues/%2F/q/messages/delete", r#"{"ids": [1]}"#),
        OverHttp::MoveMessageToQueue => ("POST", "queues/%2F/q/messages/1/move", r#"{"to": {"queue": "r"}}"#),
        OverHttp::MoveMessageToExchange => {
            ("POST", "queues/%2F/q/messages/1/move", r#"{"to": {"exchange": "x"}}"#)
        }
        OverHttp::MoveMessagesToQueue => {
            ("POST", "queues/%2F/q/messages/move", r#"{"ids": [1], "to": {"queue": "r"}}"#)
        }
        OverHttp::MoveMessagesToExchange => {
            ("POST", "queues/%2F/q/messages/move", r#"{"ids": [1], "to": {"exchange": "x"}}"#)
        }
        OverHttp::Redrive => ("POST", "queues/%2F/q/redrive", "{}"),
        OverHttp::RedriveToExchange => {
            ("POST", "queues/%2F/q/redrive", r#"{"to": {"exchange": "x", "routing_key": "k"}}"#)
        }
        OverHttp::Pause => ("POST", "queues/%2F/q/pause", ""),
        OverHttp::Resume => ("POST", "queues/%2F/q/resume", ""),
        OverHttp::Explain => ("POST", "explain", r#"{"exchange": "x", "routing_key": "k"}"#),
    };
    outcome(&ask(http, method, path, body))
}

#[test]
fn every_operation_needs_its_rights_and_no_others() {
    let (world, http) = start();
    check(&world, |operation| act(&http, operation));
}

#[test]
fn what_only_http_offers_needs_the_rights_of_what_it_amounts_to() {
    let (world, http) = start();
    check_rows(&world, &ROWS, |operation| act_over_http(&http, operation));
}

#[test]
fn a_declare_again_needs_no_right_to_what_it_names() {
    let (world, http) = start();
    world.furnish();
    world.allow(".*", ".*", ".*");
    let queue = r#"{"arguments": {"x-dead-letter-exchange": "elsewhere"}}"#;
    let exchange = r#"{"type": "fanout", "arguments": {"alternate-exchange": "elsewhere"}}"#;
    for status in [201, 204] {
        assert_eq!(ask(&http, "PUT", "queues/%2F/new", queue).status, status);
        assert_eq!(ask(&http, "PUT", "exchanges/%2F/new", exchange).status, status);
        world.allow("new", "", "");
    }
}

#[test]
fn a_message_that_is_moved_with_its_own_key_needs_the_right_to_that_key() {
    let (world, http) = start();
    world.furnish();
    world.allow(".*", ".*", ".*");
    let mut client = world.amqp();
    client.call(1, bind("q", "x", "in.1").into()).expect("bound");
    client.call(1, bind("r", "y", "#").into()).expect("bound");
    client.send_content(1, publish("x", "in.1"), &Properties::default(), b"hello");
    client.sync(1).expect("published");
    let (vhost, exchange) = (VhostName::new("/").expect("short"), ExchangeName::from(name("y")));
    let topic = TopicPermission::new(WORKER, vhost, exchange, "^out\\.", ".*").expect("good patterns");
    world.access().put_topic_permission(topic);
    let id = ask(&http, "POST", "queues/%2F/q/peek", "{}").body["messages"][0]["id"].clone();
    let body = |to: serde_json::Value| json!({ "ids": [id], "to": to }).to_string();
    let refused = ask(&http, "POST", "queues/%2F/q/messages/move", &body(json!({"exchange": "y"})));
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.reason().starts_with("access to topic 'in.1' in exchange topic 'y'"), "{refused:?}");
    let moved = ask(
        &http,
        "POST",
        "queues/%2F/q/messages/move",
        &body(json!({"exchange": "y", "routing_key": "out.1"})),
    );
    assert_eq!((moved.status, &moved.body["done"]), (200, &json!(1)), "{moved:?}");
}

#[test]
fn whoever_watches_over_connections_closes_only_their_own() {
    let (world, http) = start();
    let vhost = || VhostName::new("/").expect("short");
    world.access().put_permission(Permission::full("slow", vhost()));
    let _other = world.log_in("slow", "/").expect("let in");
    let mut own = world.amqp();
    let names = || -> Vec<(String, String)> {
        let answer = ask(&http, "GET", "connections", "");
        let rows = answer.body.as_array().expect("a list").iter();
        rows.map(|row| {
            (row["user"].as_str().unwrap().to_owned(), row["name"].as_str().unwrap().replace(' ', "%20"))
        })
        .collect()
    };
    assert_eq!(names().len(), 1, "its own");
    world.set_worker(Tags::from_list("monitoring"), UserLimits::default());
    let all = names();
    assert_eq!(all.len(), 2);
    let of = |user: &str| all.iter().find(|row| row.0 == user).expect("it is listed").1.replace('>', "%3E");
    let foreign = format!("connections/{}", of("slow"));
    assert_eq!(ask(&http, "GET", &foreign, "").status, 200);
    assert_eq!(ask(&http, "DELETE", &foreign, "").status, 401);
    assert_eq!(ask(&http, "DELETE", "connections/username/slow", "").status, 401);
    assert_eq!(world.embedded.broker().connection_count(), 2, "nobody was closed");
    let closed = ask(&http, "DELETE", &format!("connections/{}", of(WORKER)), "");
    assert_eq!(closed.status, 204, "{closed:?}");
    assert_eq!(own.closed(0).code, 320);
}
