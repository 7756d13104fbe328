//! Bad input: each is refused with a status of the 400s and a reason, and nothing is done.

use crate::fixture::Broker;

#[test]
fn nobody_comes_in_without_a_password() {
    let broker = Broker::start();
    for login in
        [None, Some(("guest", "wrong")), Some(("nobody", "guest")), Some(("", "")), Some(("a\u{7}", "b"))]
    {
        for (method, path) in [("GET", "/whoami"), ("PUT", "/queues/%2F/q"), ("DELETE", "/queues/%2F/q")] {
            let answer = broker.ask_as(login, method, path, &[], "{}");
            assert_eq!((answer.status, answer.reason().as_str()), (401, "Login failed"), "{login:?} {path}");
            assert!(answer.headers.contains("www-authenticate: basic"), "{answer:?}");
        }
    }
    for header in ["Basic", "Basic !!", "Bearer x", "Basic Z3Vlc3Q=", "Basic /w=="] {
        let answer = broker.ask_as(None, "GET", "/whoami", &[("authorization", header)], "");
        assert_eq!(answer.status, 401, "{header}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let broker = Broker::start();
    for body in ["{", "[]", "1", "\"text\"", "{\"durable\": }", "\u{0}", "{} {}"] {
        let answer = broker.ask("PUT", "/queues/%2F/q", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(!answer.reason().is_empty());
    }
    let deep = format!("{}{}", "{\"a\":".repeat(200), "1").to_owned() + &"}".repeat(200);
    let nested = format!("{{\"arguments\": {}1{}}}", "{\"a\":".repeat(60), "}".repeat(60));
    for body in [deep, nested] {
        assert_eq!(broker.ask("PUT", "/queues/%2F/q", &body).status, 400);
    }
    assert_eq!(broker.ask("GET", "/queues/%2F/q", "").status, 404, "nothing was declared");
}

#[test]
fn values_of_another_type_are_refused_with_their_name() {
    let broker = Broker::start();
    broker.ask("PUT", "/queues/%2F/q", "{}");
    let refused = [
        ("PUT", "/queues/%2F/x", r#"{"durable": 1}"#, "durable"),
        ("PUT", "/queues/%2F/x", r#"{"arguments": "none"}"#, "arguments"),
        ("PUT", "/queues/%2F/x", r#"{"arguments": {"x-max-length": "ten"}}"#, "x-max-length"),
        (
            "POST",
            "/queues/%2F/q/get",
            r#"{"count": "many", "ackmode": "ack_requeue_true", "encoding": "auto"}"#,
            "count",
        ),
        (
            "POST",
            "/queues/%2F/q/get",
            r#"{"count": -1, "ackmode": "ack_requeue_true", "encoding": "auto"}"#,
            "count",
        ),
        ("POST", "/queues/%2F/q/get", r#"{"count": 1, "ackmode": "x", "encoding": "auto"}"#, "ackmode"),
        (
            "POST",
            "/queues/%2F/q/get",
            r#"{"count": 1, "ackmode": "ack_requeue_true", "encoding": "x"}"#,
            "encoding",
        ),
        ("POST", "/queues/%2F/q/get", "{}", "count"),
        ("POST", "/exchanges/%2F/amq.default/publish", r#"{"routing_key": "q"}"#, "payload"),
        (
            "POST",
            "/exchanges/%2F/amq.default/publish",
            r#"{"routing_key": "q", "payload": "x", "payload_encoding": "string", "properties": {"prioritty": 1}}"#,
            "prioritty",
        ),
        (
            "POST",
            "/exchanges/%2F/amq.default/publish",
            r#"{"routing_key": "q", "payload": "x", "payload_encoding": "string", "properties": {"expiration": "x"}}"#,
            "x",
        ),
        ("POST", "/queues/%2F/q/actions", r#"{"action": "dance"}"#, "dance"),
    ];
    for (method, path, body, named) in refused {
        let answer = broker.ask(method, path, body);
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.reason().contains(named), "{path} {body}: {answer:?}");
    }
    assert_eq!(broker.get("/queues/%2F/q")["messages"], 0);
}

#[test]
fn names_that_could_steer_a_terminal_are_not_declared_and_others_are_told_as_they_are() {
    let broker = Broker::start();
    for name in ["a%00b", "a%1Bb", "a%0Ab"] {
        assert_eq!(broker.ask("PUT", &format!("/queues/%2F/{name}"), "{}").status, 400, "{name}");
        assert_eq!(broker.ask("PUT", &format!("/exchanges/%2F/{name}"), "{}").status, 400, "{name}");
    }
    assert_eq!(broker.ask("PUT", &format!("/queues/%2F/{}", "x".repeat(256)), "{}").status, 400);
    assert_eq!(broker.ask("PUT", "/queues/%2F/%FF", "{}").status, 400);
    let name = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    assert_eq!(broker.ask("PUT", &format!("/queues/%2F/{name}"), "{}").status, 201);
    let answer = broker.ask("GET", &format!("/queues/%2F/{name}"), "");
    assert_eq!(answer.json()["name"], "<script>alert(1)</script>");
    assert!(answer.headers.contains("content-type: application/json"), "{answer:?}");
    assert!(answer.headers.contains("x-content-type-options: nosniff"), "{answer:?}");
    assert!(answer.headers.contains("cache-control: no-store"), "{answer:?}");
}

#[test]
fn paths_lead_nowhere_but_to_routes() {
    let broker = Broker::start();
    for path in ["/../../etc/passwd", "/queues/..%2F..%2Fetc", "/nothing", "/queues/none", "//"] {
        let answer = broker.ask("GET", path, "");
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.reason().is_empty());
    }
    let answer = broker.ask("PUT", "/bindings/%2F", "{}");
    assert_eq!(answer.status, 405, "{answer:?}");
    assert!(answer.headers.contains("allow: "), "{answer:?}");
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let broker = Broker::with(|settings| settings.management.origins = vec!["https://good.example".into()]);
    let guest = Some(("guest", "guest"));
    let own = format!("http://{}", broker.http());
    let try_from = |origin: &str| broker.ask_as(guest, "PUT", "/queues/%2F/q", &[("origin", origin)], "{}");
    for foreign in ["https://evil.example", "null", "http://127.0.0.1", "https://good.example.evil", "x"] {
        let answer = try_from(foreign);
        assert_eq!(answer.status, 403, "{foreign}: {answer:?}");
        assert!(!answer.headers.contains("access-control-allow-origin"), "{answer:?}");
    }
    assert_eq!(broker.ask("GET", "/queues/%2F/q", "").status, 404);
    assert_eq!(try_from(&own).status, 201);
    let good = try_from("https://good.example");
    assert_eq!(good.status, 204);
    assert!(good.headers.contains("access-control-allow-origin: https://good.example"), "{good:?}");
}

#[test]
fn patterns_that_explode_are_refused_or_harmless() {
    let broker = Broker::start();
    broker.ask("PUT", "/queues/%2F/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "{}");
    for pattern in ["(a%2B)%2B%24", "(a*)*b", "(a|aa)%2B%24"] {
        let page = broker.get(&format!("/queues?page=1&use_regex=true&name={pattern}"));
        assert_eq!(page["page"], 1);
    }
    for pattern in ["(", "a{1000}{1000}{1000}", "%5B"] {
        let answer = broker.ask("GET", &format!("/queues?page=1&use_regex=true&name={pattern}"), "");
        assert_eq!(answer.status, 400, "{pattern}: {answer:?}");
    }
}
