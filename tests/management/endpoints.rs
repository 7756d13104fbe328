//! What tools of RabbitMQ ask for, as a list: each is served, and the document says so. And of those that do little, what
//! they do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixture::Broker;

/// Methods and paths that RabbitMQ's tools use. Names in braces stand for any.
const WANTED: &str = "
GET /overview
GET /whoami
GET /version
GET PUT /cluster-name
GET /extensions
POST /login
GET /auth
GET /nodes
GET /nodes/{}
GET /nodes/{}/memory
GET POST /definitions
GET POST /definitions/{}
GET /vhosts
GET PUT DELETE /vhosts/{}
POST DELETE /vhosts/{}/deletion/protection
GET /vhosts/{}/permissions
GET /vhosts/{}/topic-permissions
GET /vhosts/{}/connections
GET /vhosts/{}/channels
GET /users
GET /users/without-permissions
POST /users/bulk-delete
GET PUT DELETE /users/{}
GET /users/{}/permissions
GET /users/{}/topic-permissions
GET /permissions
GET PUT DELETE /permissions/{}/{}
GET /topic-permissions
GET PUT DELETE /topic-permissions/{}/{}
GET DELETE /topic-permissions/{}/{}/{}
GET /exchanges
GET /exchanges/{}
GET PUT DELETE /exchanges/{}/{}
POST /exchanges/{}/{}/publish
GET /exchanges/{}/{}/bindings/{}
GET /queues
GET /queues/detailed
GET /queues/{}
GET PUT DELETE /queues/{}/{}
DELETE /queues/{}/{}/contents
POST /queues/{}/{}/get
GET /queues/{}/{}/bindings
POST /queues/{}/{}/actions
GET /queues/quorum/{}/{}/status
POST /queues/quorum/{}/{}/replicas/add
DELETE /queues/quorum/{}/{}/replicas/delete
POST /queues/quorum/replicas/on/{}/grow
DELETE /queues/quorum/replicas/on/{}/shrink
POST /rebalance/queues
GET /bindings
GET /bindings/{}
GET POST /bindings/{}/e/{}/{}/{}
GET DELETE /bindings/{}/e/{}/{}/{}/{}
GET /connections
GET DELETE /connections/{}
GET DELETE /connections/username/{}
GET /connections/{}/channels
GET /channels
GET /channels/{}
GET /consumers
GET /consumers/{}
GET /policies
GET /policies/{}
GET PUT DELETE /policies/{}/{}
GET /operator-policies
GET /operator-policies/{}
GET PUT DELETE /operator-policies/{}/{}
GET /parameters
GET /parameters/{}
GET /parameters/{}/{}
GET PUT DELETE /parameters/{}/{}/{}
GET /global-parameters
GET PUT DELETE /global-parameters/{}
GET /vhost-limits
GET /vhost-limits/{}
PUT DELETE /vhost-limits/{}/{}
GET /user-limits
GET /user-limits/{}
PUT DELETE /user-limits/{}/{}
GET /shovels
GET /shovels/{}
GET DELETE /shovels/{}/{}
GET /federation-links
GET /federation-links/{}
GET /aliveness-test/{}
GET /healthchecks/node
GET /health/checks/alarms
GET /health/checks/local-alarms
GET /health/checks/certificate-expiration/{}/{}
GET /health/checks/port-listener/{}
GET /health/checks/protocol-listener/{}
GET /health/checks/virtual-hosts
GET /health/checks/node-is-quorum-critical
GET /health/checks/node-is-mirror-sync-critical
GET /health/checks/is-in-service
GET /health/checks/ready-to-serve-clients
GET /health/checks/below-node-connection-limit
GET /health/checks/metadata-store/initialized
GET /health/checks/metadata-store/initialized/with-data
GET DELETE /auth/attempts/{}
GET DELETE /auth/attempts/{}/source
GET /auth/hash_password/{}
GET /feature-flags
PUT /feature-flags/{}/enable
GET /deprecated-features
GET /deprecated-features/used
DELETE /reset
DELETE /reset/{}
";

/// The document's paths with their methods, names in braces left out.
fn documented(document: &Value) -> BTreeMap<String, Vec<String>> {
    let bare = |path: &str| {
        let names = regex::Regex::new(r"\{[^}]*\}").expect("a pattern");
        names.replace_all(path.trim_start_matches("/api"), "{}").into_owned()
    };
    let methods = |item: &Value| item.as_object().expect("operations").keys().cloned().collect();
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().map(|(path, item)| (bare(path), methods(item))).collect()
}

#[test]
fn what_tools_ask_for_is_served_and_documented() {
    let broker = Broker::start();
    let documented = documented(&broker.get("/openapi.json"));
    for line in WANTED.lines().filter(|line| !line.is_empty()) {
        let (methods, path) = line.rsplit_once(' ').expect("methods and a path");
        let known = documented.get(path).unwrap_or_else(|| panic!("{path} is not documented"));
        for method in methods.split(' ') {
            assert!(known.contains(&method.to_lowercase()), "{method} {path} is not documented");
            // Nobody is logged in, so nothing is done; and a route that was not there would say that.
            let asked = broker.ask_as(None, method, &path.replace("{}", "1"), &[], "");
            assert!(!matches!(asked.status, 0 | 404 | 405), "{method} {path}: {asked:?}");
        }
    }
}

#[test]
fn a_vhost_that_is_protected_is_not_deleted() {
    let broker = Broker::start();
    assert_eq!(broker.ask("PUT", "/vhosts/shop", "{}").status, 201);
    assert_eq!(broker.ask("POST", "/vhosts/shop/deletion/protection", "").status, 204);
    let refused = broker.ask("DELETE", "/vhosts/shop", "");
    assert_eq!(refused.status, 412, "{refused:?}");
    assert!(refused.reason().contains("protected from deletion"), "{refused:?}");
    // To describe it anew changes nothing about that, and definitions carry it.
    assert_eq!(broker.ask("PUT", "/vhosts/shop", r#"{"description": "x"}"#).status, 204);
    let definitions = broker.get("/definitions");
    let shop = definitions["vhosts"].as_array().unwrap().iter().find(|vhost| vhost["name"] == "shop");
    assert_eq!(shop.unwrap()["metadata"]["protected_from_deletion"], true);
    let other = Broker::start();
    assert_eq!(other.ask("POST", "/definitions", &definitions.to_string()).status, 200);
    assert_eq!(other.ask("DELETE", "/vhosts/shop", "").status, 412);

    assert_eq!(broker.ask("DELETE", "/vhosts/shop/deletion/protection", "").status, 204);
    assert_eq!(broker.ask("DELETE", "/vhosts/shop", "").status, 204);
    assert_eq!(broker.ask("POST", "/vhosts/shop/deletion/protection", "").status, 404);
}

#[test]
fn definitions_that_fail_leave_no_protected_vhost_behind() {
    let broker = Broker::start();
    let document = json!({
        "vhosts": [{"name": "shop", "metadata": {"protected_from_deletion": true}}],
        "permissions": [{"user": "nobody", "vhost": "shop", "configure": "", "write": "", "read": ""}],
    });
    assert_eq!(broker.ask("POST", "/definitions", &document.to_string()).status, 400);
    assert_eq!(broker.ask("GET", "/vhosts/shop", "").status, 404);
}

#[test]
fn a_cluster_has_the_name_that_it_is_given() {
    let broker = Broker::start();
    assert_eq!(broker.get("/cluster-name")["name"], broker.get("/overview")["node"]);
    for refused in [r#"{}"#, r#"{"name": 1}"#, r#"{"name": ""}"#, "{\"name\": \"a\\u0007\"}"] {
        assert_eq!(broker.ask("PUT", "/cluster-name", refused).status, 400, "{refused}");
    }
    assert_eq!(broker.ask("PUT", "/cluster-name", r#"{"name": "<shop>"}"#).status, 204);
    assert_eq!(broker.get("/cluster-name"), json!({"name": "<shop>"}));
    assert_eq!(broker.get("/overview")["cluster_name"], "<shop>");
    assert_eq!(broker.get("/global-parameters/cluster_name")["value"], "<shop>");
    assert_eq!(broker.get("/definitions")["original_cluster_name"], "<shop>");
    assert_eq!(broker.ask("DELETE", "/global-parameters/cluster_name", "").status, 204);
    assert_eq!(broker.get("/cluster-name")["name"], broker.get("/overview")["node"]);
}

#[test]
fn a_login_is_asked_by_a_form_and_remembered_only_if_it_fails() {
    let broker = Broker::start();
    let log_in =
        |form: &str, kind: &str| broker.ask_as(None, "POST", "/login", &[("content-type", kind)], form);
    const FORM: &str = "application/x-www-form-urlencoded";
    let right = log_in("username=guest&password=guest", FORM);
    assert_eq!((right.status, right.json()), (200, json!("ok")));
    assert!(!right.headers.contains("set-cookie"), "{right:?}");
    assert_eq!(log_in("username=guest&password=wrong", FORM).status, 401);
    assert_eq!(log_in("username=guest", FORM).status, 400);
    assert_eq!(log_in(r#"{"username": "guest"}"#, "application/json").status, 400);

    let node = broker.get("/overview")["node"].as_str().unwrap().to_owned();
    let path = format!("/auth/attempts/{node}/source");
    let _ = broker.ask_as(Some(("<b>", "x")), "GET", "/whoami", &[], "");
    let failed = broker.get(&path);
    assert_eq!((&failed[0]["username"], &failed[0]["auth_attempts_failed"]), (&json!("<b>"), &json!(1)));
    assert_eq!(failed[0]["remote_address"], "127.0.0.1");
    assert_eq!(broker.ask("DELETE", &path, "").status, 204);
    assert_eq!(broker.get(&path), json!([]));
    assert_eq!(broker.ask("GET", "/auth/attempts/elsewhere/source", "").status, 404);
}

#[test]
fn quorum_queues_have_their_only_member_here() {
    let broker = Broker::start();
    let body = r#"{"durable": true, "arguments": {"x-queue-type": "quorum"}}"#;
    assert_eq!(broker.ask("PUT", "/queues/%2F/q", body).status, 201);
    let node = broker.get("/overview")["node"].as_str().unwrap().to_owned();
    assert_eq!(broker.get("/queues/quorum/%2F/q/status")[0]["Node Name"], *node);
    assert_eq!(broker.ask("GET", "/queues/quorum/%2F/none/status", "").status, 404);
    let here = json!({ "node": node }).to_string();
    for (method, path) in [("POST", "replicas/add"), ("DELETE", "replicas/delete")] {
        let path = format!("/queues/quorum/%2F/q/{path}");
        assert!(broker.ask(method, &path, &here).reason().contains("this node"));
        assert!(broker.ask(method, &path, r#"{"node": "x"}"#).reason().contains("no node"));
    }
    let on = |end: &str| format!("/queues/quorum/replicas/on/{node}/{end}");
    assert_eq!(broker.ask("POST", &on("grow"), "").status, 204);
    assert_eq!(broker.ask("DELETE", &on("shrink"), "").status, 400);
    // A vhost of that name is none the worse for it.
    assert_eq!(broker.ask("PUT", "/vhosts/quorum", "{}").status, 201);
    assert_eq!(broker.ask("PUT", "/queues/quorum/q", "{}").status, 201);
    assert_eq!(broker.get("/queues/quorum/q")["name"], "q");
    assert_eq!(broker.get("/queues/quorum/q/bindings")[0]["destination"], "q");
}
