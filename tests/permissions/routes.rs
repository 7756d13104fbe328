//! Every route of the HTTP API, for users of every tag, in vhosts that they may enter, may not enter, and that are not
//! there. What is expected was read off a RabbitMQ 3.10.8; where this broker means to differ, `docs/http-api.md` says so.
//!
//! A route without a row fails the test.

use std::collections::BTreeSet;

use rialto::access::{AccessOptions, Permission, Tags, ThrottleLimits};
use rialto::model::VhostName;

use crate::audited;
use crate::http::Http;
use crate::world::{PASSWORD, World};

/// Who asks: by their tags, each also the user's name.
const TAGS: [&str; 5] = ["none", "management", "policymaker", "monitoring", "administrator"];

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Nothing, not even a login.
    Open,
    /// Any tag.
    Any,
    Policymaker,
    Monitoring,
    Administrator,
    /// To see what is in a vhost: any tag where the user may enter, and an administrator everywhere.
    See,
    /// To see a vhost from outside: as `See`, and whoever monitors everywhere.
    SeeOutside,
    /// To do what a client could: a permission in the vhost, whoever asks.
    Enter,
    /// A policymaker where the user may enter, and an administrator everywhere.
    PolicymakerThere,
}

/// Where a row is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// A vhost in which everybody has all rights.
    Own,
    /// One in which nobody has any.
    Foreign,
    /// None.
    Nowhere,
}

impl Rule {
    fn allows(self, tag: &str, place: Place) -> bool {
        let is_policymaker = matches!(tag, "policymaker" | "administrator");
        let is_monitoring = matches!(tag, "monitoring" | "administrator");
        // That there is no such vhost is told to whoever may ask at all.
        let enters = place != Place::Foreign;
        match self {
            Rule::Open | Rule::Any => true,
            Rule::Policymaker => is_policymaker,
            Rule::Monitoring => is_monitoring,
            Rule::Administrator => tag == "administrator",
            Rule::See => enters || tag == "administrator",
            Rule::SeeOutside => enters || is_monitoring,
            Rule::Enter => enters,
            Rule::PolicymakerThere => is_policymaker && (enters || tag == "administrator"),
        }
    }
}

/// Method, path, rule, status where it is allowed, the same where there is no such vhost if it is not 404, body.
const ROWS: &str = r#"
GET    /api/overview                                     Any              200
GET    /api/version                                      Any              200
GET    /api/cluster-name                                 Any              200
PUT    /api/cluster-name                                 Administrator    204 {"name": "shop"}
GET    /api/extensions                                   Any              200
GET    /api/auth                                         Open             200
GET    /api/whoami                                       Any              200
GET    /api/openapi.json                                 Any              200
GET    /api/feature-flags                                Administrator    200
PUT    /api/feature-flags/quorum_queue/enable            Administrator    204
GET    /api/deprecated-features                          Administrator    200
GET    /api/deprecated-features/used                     Administrator    200
GET    /api/nodes                                        Monitoring       200
GET    /api/nodes/{node}                                 Monitoring       200
GET    /api/nodes/{node}/memory                          Monitoring       200
GET    /api/auth/attempts/{node}                         Monitoring       200
DELETE /api/auth/attempts/{node}                         Monitoring       204
POST   /api/login                                        Open             400
GET    /api/auth/attempts/{node}/source                  Monitoring       200
DELETE /api/auth/attempts/{node}/source                  Administrator    204
GET    /api/shovels                                      Monitoring       200
GET    /api/shovels/{v}                                  Monitoring       200
GET    /api/shovels/{v}/s                                Monitoring       404
DELETE /api/shovels/{v}/s                                Policymaker      404
GET    /api/federation-links                             Monitoring       200
GET    /api/federation-links/{v}                         Monitoring       200
DELETE /api/reset                                        Administrator    204
DELETE /api/reset/{node}                                 Administrator    204
GET    /api/auth/hash_password/secret                    Administrator    200
GET    /api/log/level                                    Monitoring       404
PUT    /api/log/level                                    Administrator    404 {"level": "info"}
GET    /metrics                                          Monitoring       200
GET    /metrics/per-object                               Monitoring       200
GET    /metrics/detailed                                 Monitoring       200

GET    /api/definitions                                  Administrator    200
POST   /api/definitions                                  Administrator    200 {}
GET    /api/definitions/{v}                              Administrator    200
POST   /api/definitions/{v}                              Administrator    200 {}

GET    /api/connections                                  Any              200
GET    /api/connections/nobody                           Any              404
DELETE /api/connections/nobody                           Any              404
GET    /api/connections/nobody/channels                  Any              404
GET    /api/connections/username/other                   Any              200
DELETE /api/connections/username/other                   Administrator    204
GET    /api/vhosts/{v}/connections                       SeeOutside       200
GET    /api/channels                                     Any              200
GET    /api/channels/nobody                              Any              404
GET    /api/vhosts/{v}/channels                          SeeOutside       200
GET    /api/consumers                                    Any              200
GET    /api/consumers/{v}                                See              200

GET    /api/exchanges                                    Any              200
GET    /api/exchanges/{v}                                See              200
GET    /api/exchanges/{v}/x                              See              200
PUT    /api/exchanges/{v}/new                            Enter            201 {"type": "direct"}
DELETE /api/exchanges/{v}/x                              Enter            204
GET    /api/exchanges/{v}/x/bindings/source              See              200
POST   /api/exchanges/{v}/x/publish                      Enter            200 {"properties": {}, "routing_key": "k", "payload": "", "payload_encoding": "string"}

GET    /api/queues                                       Any              200
GET    /api/queues/detailed                              Any              200
GET    /api/queues/{v}                                   See              200
GET    /api/queues/{v}/q                                 See              200
PUT    /api/queues/{v}/new                               Enter            201 {}
DELETE /api/queues/{v}/q                                 Enter            204
GET    /api/queues/{v}/q/bindings                        See              200
DELETE /api/queues/{v}/q/contents                        Enter            204
POST   /api/queues/{v}/q/actions                         Administrator    204 {"action": "sync"}
POST   /api/queues/{v}/q/get                             Enter            200 {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
POST   /api/queues/{v}/q/peek                            Enter            200 {}
GET    /api/queues/{v}/q/unacked                         Enter            200
GET    /api/queues/{v}/q/messages/1                      Enter            404
DELETE /api/queues/{v}/q/messages/1                      Enter            404
POST   /api/queues/{v}/q/messages/1/move                 Enter            404 {"to": {"queue": "r"}}
POST   /api/queues/{v}/q/messages/delete                 Enter            200 {"ids": [1]}
POST   /api/queues/{v}/q/messages/move                   Enter            200 {"ids": [1], "to": {"queue": "r"}}
POST   /api/queues/{v}/q/redrive                         Enter            202 {}
POST   /api/queues/{v}/q/pause                           Enter            204
POST   /api/queues/{v}/q/resume                          Enter            204
GET    /api/queues/quorum/{v}/q/status                   See              200
POST   /api/queues/quorum/{v}/q/replicas/add             Administrator    400 {"node": "x"}
DELETE /api/queues/quorum/{v}/q/replicas/delete          Administrator    400 {"node": "x"}
POST   /api/queues/quorum/replicas/on/{node}/grow        Administrator    204
DELETE /api/queues/quorum/replicas/on/{node}/shrink      Administrator    400
POST   /api/rebalance/queues                             Administrator    204
POST   /api/explain                                      See              200 {"vhost": "{v}", "exchange": "x", "routing_key": "k"}
GET    /api/jobs                                         Any              200
GET    /api/jobs/0                                       Any              404
DELETE /api/jobs/0                                       Any              404

GET    /api/bindings                                     Any              200
GET    /api/bindings/{v}                                 See              200
GET    /api/bindings/{v}/e/x/q/q                         See              200
POST   /api/bindings/{v}/e/x/q/q                         Enter            201 {"routing_key": "k2"}
GET    /api/bindings/{v}/e/x/q/q/k                       See              200
DELETE /api/bindings/{v}/e/x/q/q/k                       Enter            204

GET    /api/vhosts                                       Any              200
GET    /api/vhosts/{v}                                   Administrator    200
PUT    /api/vhosts/{v}                                   Administrator    204/201 {}
DELETE /api/vhosts/{v}                                   Administrator    204
POST   /api/vhosts/{v}/deletion/protection               Administrator    204
DELETE /api/vhosts/{v}/deletion/protection               Administrator    204
GET    /api/vhosts/{v}/permissions                       Administrator    200
GET    /api/vhosts/{v}/topic-permissions                 Administrator    200
GET    /api/vhost-limits                                 Any              200
GET    /api/vhost-limits/{v}                             SeeOutside       200
PUT    /api/vhost-limits/{v}/max-queues                  Administrator    204 {"value": 100}
DELETE /api/vhost-limits/{v}/max-queues                  Administrator    204

GET    /api/users                                        Administrator    200
GET    /api/users/without-permissions                    Administrator    200
POST   /api/users/bulk-delete                            Administrator    204 {"users": ["other"]}
GET    /api/users/other                                  Administrator    200
PUT    /api/users/other                                  Administrator    204 {"password_hash": "", "tags": ""}
DELETE /api/users/other                                  Administrator    204
GET    /api/users/other/permissions                      Administrator    200
GET    /api/users/other/topic-permissions                Administrator    200
GET    /api/user-limits                                  Any              200
GET    /api/user-limits/other                            Administrator    200
PUT    /api/user-limits/other/max-channels               Administrator    204 {"value": 100}
DELETE /api/user-limits/other/max-channels               Administrator    204

GET    /api/permissions                                  Administrator    200
GET    /api/permissions/{v}/other                        Administrator    200
PUT    /api/permissions/{v}/other                        Administrator    204/400 {"configure": "", "write": "", "read": ""}
DELETE /api/permissions/{v}/other                        Administrator    204
GET    /api/topic-permissions                            Administrator    200
GET    /api/topic-permissions/{v}/other                  Administrator    200
PUT    /api/topic-permissions/{v}/other                  Administrator    204/400 {"exchange": "amq.topic", "write": "", "read": ""}
DELETE /api/topic-permissions/{v}/other                  Administrator    204
GET    /api/topic-permissions/{v}/other/amq.topic        Administrator    200
DELETE /api/topic-permissions/{v}/other/amq.topic        Administrator    204

GET    /api/parameters                                   Policymaker      200
GET    /api/parameters/shovel                            Policymaker      200
GET    /api/parameters/shovel/{v}                        PolicymakerThere 200
GET    /api/parameters/shovel/{v}/p                      PolicymakerThere 200
PUT    /api/parameters/shovel/{v}/p                      PolicymakerThere 204 {"value": {}}
DELETE /api/parameters/shovel/{v}/p                      PolicymakerThere 204
GET    /api/global-parameters                            Policymaker      200
GET    /api/global-parameters/p                          Policymaker      200
PUT    /api/global-parameters/p                          Policymaker      204 {"value": {}}
DELETE /api/global-parameters/p                          Policymaker      204
GET    /api/policies                                     Any              200
GET    /api/policies/{v}                                 See              200
GET    /api/policies/{v}/p                               PolicymakerThere 200
PUT    /api/policies/{v}/p                               PolicymakerThere 204 {"pattern": "^none", "definition": {"max-length": 5}}
DELETE /api/policies/{v}/p                               PolicymakerThere 204
GET    /api/operator-policies                            Any              200
GET    /api/operator-policies/{v}                        See              200
GET    /api/operator-policies/{v}/p                      Administrator    200
PUT    /api/operator-policies/{v}/p                      Administrator    204 {"pattern": "^none", "definition": {"max-length": 5}}
DELETE /api/operator-policies/{v}/p                      Administrator    204

GET    /api/aliveness-test/{v}                           See              200
GET    /api/healthchecks/node                            Any              200
GET    /api/health/checks/alarms                         Any              200
GET    /api/health/checks/local-alarms                   Any              200
GET    /api/health/checks/virtual-hosts                  Any              200
GET    /api/health/checks/port-listener/1                Any              503
GET    /api/health/checks/protocol-listener/amqp         Any              503
GET    /api/health/checks/certificate-expiration/1/days  Any              200
GET    /api/health/checks/node-is-quorum-critical        Any              200
GET    /api/health/checks/node-is-mirror-sync-critical   Any              200
GET    /api/health/checks/is-in-service                  Any              200
GET    /api/health/checks/ready-to-serve-clients         Any              200
GET    /api/health/checks/below-node-connection-limit    Any              200
GET    /api/health/checks/metadata-store/initialized     Any              200
GET    /api/health/checks/metadata-store/initialized/with-data  Any       200
"#;

/// What is there before a request that may change something, by the first name of its path.
const FURNITURE: &str = r#"
exchanges         DELETE exchanges/{v}/new
exchanges         PUT    exchanges/{v}/x {"type": "direct"}
exchanges         PUT    queues/{v}/q {}
exchanges         POST   bindings/{v}/e/x/q/q {"routing_key": "k"}
queues            DELETE queues/{v}/new
queues            PUT    queues/{v}/q {}
queues            PUT    queues/{v}/r {}
queues            POST   bindings/{v}/e/x/q/q {"routing_key": "k"}
bindings          PUT    exchanges/{v}/x {"type": "direct"}
bindings          PUT    queues/{v}/q {}
bindings          POST   bindings/{v}/e/x/q/q {"routing_key": "k"}
users             PUT    users/other {"password_hash": "", "tags": ""}
users             PUT    permissions/{v}/other {"configure": "", "write": "", "read": ""}
users             PUT    topic-permissions/{v}/other {"exchange": "amq.topic", "write": "", "read": ""}
permissions       PUT    permissions/{v}/other {"configure": "", "write": "", "read": ""}
topic-permissions PUT    topic-permissions/{v}/other {"exchange": "amq.topic", "write": "", "read": ""}
parameters        PUT    parameters/shovel/{v}/p {"value": {}}
global-parameters PUT    global-parameters/p {"value": {}}
policies          PUT    policies/{v}/p {"pattern": "^none", "definition": {"max-length": 5}}
operator-policies PUT    operator-policies/{v}/p {"pattern": "^none", "definition": {"max-length": 5}}
"#;

/// Ends of paths of requests that are no GET and change nothing.
const CHANGES_NOTHING: [&str; 13] = [
    "/actions",
    "/enable",
    "/explain",
    "/grow",
    "/login",
    "/peek",
    "/rebalance/queues",
    "/replicas/add",
    "/replicas/delete",
    "/reset",
    "/reset/{node}",
    "/shovels/{v}/s",
    "/shrink",
];

struct Row {
    method: &'static str,
    path: &'static str,
    rule: Rule,
    status: u16,
    status_nowhere: u16,
    body: &'static str,
}

impl Row {
    fn read(line: &'static str) -> Row {
        let mut rest = line;
        let mut word = || {
            let trimmed = rest.trim_start();
            let end = trimmed.find(' ').unwrap_or(trimmed.len());
            let (word, behind) = trimmed.split_at(end);
            rest = behind;
            word
        };
        let (method, path, rule, status) = (word(), word(), word(), word());
        let (status, nowhere) = status.split_once('/').unwrap_or((status, "404"));
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("no status: {line}"));
        Row {
            method,
            path,
            rule: match rule {
                "Open" => Rule::Open,
                "Any" => Rule::Any,
                "Policymaker" => Rule::Policymaker,
                "Monitoring" => Rule::Monitoring,
                "Administrator" => Rule::Administrator,
                "See" => Rule::See,
                "SeeOutside" => Rule::SeeOutside,
                "Enter" => Rule::Enter,
                "PolicymakerThere" => Rule::PolicymakerThere,
                other => panic!("no rule: {other}"),
            },
            status: number(status),
            status_nowhere: number(nowhere),
            body: rest.trim(),
        }
    }

    fn all() -> Vec<Row> {
        ROWS.lines().filter(|line| !line.is_empty()).map(Row::read).collect()
    }

    /// Whether it is a line of the audit trail, done or refused.
    fn is_act(&self) -> bool {
        let is_exported = self.path.starts_with("/api/definitions");
        is_exported || (self.method != "GET" && !CHANGES_NOTHING.iter().any(|path| self.path.ends_with(path)))
    }

    fn places(&self) -> &'static [Place] {
        let has_vhost = self.path.contains("{v}") || self.body.contains("{v}");
        if has_vhost { &[Place::Own, Place::Foreign, Place::Nowhere] } else { &[Place::Own] }
    }

    /// The route of the document that it is about: of several that fit, the one with most names of its own.
    fn route<'r>(&self, routes: &'r BTreeSet<(String, String)>) -> Option<&'r (String, String)> {
        let fits = |route: &&(String, String)| {
            let (own, theirs): (Vec<_>, Vec<_>) =
                (self.path.split('/').collect(), route.1.split('/').collect());
            let mut pairs = own.iter().zip(&theirs);
            route.0 == self.method
                && own.len() == theirs.len()
                && pairs.all(|(own, their)| own == their || their.starts_with('{'))
        };
        routes.iter().filter(fits).min_by_key(|route| route.1.matches('{').count())
    }
}

struct Cells {
    world: World,
    http: Http,
    node: String,
}

impl Cells {
    fn start() -> Cells {
        // Whoever mistypes as often as this test would wait for it.
        let throttle = ThrottleLimits { free_failures: u32::MAX, ..ThrottleLimits::default() };
        let world = World::with(AccessOptions { throttle, ..AccessOptions::default() }, &["own", "foreign"]);
        let http = Http::start(&world);
        for user in TAGS.into_iter().chain(["root"]) {
            let tags = if user == "root" { Tags::administrator() } else { Tags::from_list(user) };
            world.put_user(user, tags);
        }
        let mut cells = Cells { world, http, node: String::new() };
        cells.restore();
        let overview = cells.ask_as_root("GET", "/api/overview", "");
        cells.node = overview["node"].as_str().expect("a name").to_owned();
        cells.furnish("vhosts");
        cells
    }

    fn ask_as_root(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let answer = self.http.ask(Some(("root", PASSWORD)), method, path, body);
        assert!(answer.status < 300 || answer.status == 404, "{method} {path}: {answer:?}");
        answer.body
    }

    /// The vhosts, and who may enter them.
    fn restore(&self) {
        let broker = self.world.embedded.broker();
        for vhost in ["own", "foreign"] {
            broker.add_vhost(vhost, Default::default()).expect("room for it");
        }
        let _ = broker.delete_vhost("nowhere", &mut rialto::broker::Turn::new());
        let may = |user: &str, vhost: &str| {
            let vhost = VhostName::new(vhost).expect("short");
            self.world.access().put_permission(Permission::full(user, vhost));
        };
        TAGS.iter().for_each(|user| may(user, "own"));
        ["own", "foreign"].iter().for_each(|vhost| may("root", vhost));
        for user in TAGS {
            // Whoever makes a vhost gets permissions there.
            let foreign = VhostName::new("foreign").expect("short");
            self.world.access().remove_permission(user, &foreign);
        }
    }

    /// Makes what is about this noun anew.
    fn furnish(&self, noun: &str) {
        self.restore();
        for line in FURNITURE.lines().filter(|line| !line.is_empty()) {
            let (of, rest) = line.split_once(' ').expect("a noun");
            // A vhost has all of it.
            if of != noun && noun != "vhosts" {
                continue;
            }
            let (method, rest) = rest.trim().split_once(' ').expect("a method");
            let rest = rest.trim();
            let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
            for vhost in ["own", "foreign"] {
                self.ask_as_root(method, &format!("/api/{}", path.replace("{v}", vhost)), body);
            }
        }
    }

    fn ask(&self, row: &Row, place: Place, login: Option<(&str, &str)>) -> u16 {
        let vhost = match place {
            Place::Own => "own",
            Place::Foreign => "foreign",
            Place::Nowhere => "nowhere",
        };
        let path = row.path.replace("{v}", vhost).replace("{node}", &self.node);
        self.http.ask(login, row.method, &path, &row.body.replace("{v}", vhost)).status
    }

    /// Asks as everybody, and compares.
    fn check(&self, row: &Row, place: Place) {
        let what = format!("{} {} {place:?}", row.method, row.path);
        for login in [None, Some(("nobody", PASSWORD)), Some(("administrator", "wrong"))] {
            let expected = if row.rule == Rule::Open { row.status } else { 401 };
            assert_eq!(self.ask(row, place, login), expected, "{what} by {login:?}");
        }
        for tag in TAGS {
            let may_ask = tag != "none" || row.rule == Rule::Open;
            let expected = match (may_ask && row.rule.allows(tag, place), place) {
                (false, _) => 401,
                (true, Place::Nowhere) => row.status_nowhere,
                (true, _) => row.status,
            };
            if row.method != "GET" && expected < 300 {
                self.furnish(row.path.split('/').nth(2).expect("a noun"));
            }
            let before = audited::lines_of(tag);
            assert_eq!(self.ask(row, place, Some((tag, PASSWORD))), expected, "{what} by {tag}");
            let lines = usize::from(row.is_act() && tag != "none");
            assert_eq!(audited::lines_of(tag) - before, lines, "lines of the audit trail: {what} by {tag}");
        }
        if row.method != "GET" {
            self.furnish(row.path.split('/').nth(2).expect("a noun"));
        }
    }
}

#[test]
fn every_route_has_a_row() {
    let document = serde_json::to_value(rialto::admin::document()).expect("a document");
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("methods").keys();
        routes.extend(methods.map(|method| (method.to_ascii_uppercase(), path.clone())));
    }
    let rows = Row::all();
    let mut found = BTreeSet::new();
    for row in &rows {
        let route = row.route(&routes).unwrap_or_else(|| panic!("no route: {} {}", row.method, row.path));
        assert!(found.insert(route), "twice: {route:?}");
    }
    let missing: Vec<_> = routes.iter().filter(|route| !found.contains(route)).collect();
    assert!(missing.is_empty(), "routes without a row, and so without a rule: {missing:?}");
}

#[test]
fn every_route_asks_for_its_tag_and_its_vhost_and_every_act_is_audited() {
    audited::count();
    let cells = Cells::start();
    for row in Row::all() {
        for place in row.places() {
            cells.check(&row, *place);
        }
    }
}

/// Lists show what their user may see one by one.
#[test]
fn lists_show_what_is_in_the_vhosts_that_their_user_may_see() {
    let cells = Cells::start();
    let seen = |user: &str, list: &str| {
        let answer = cells.http.ask(Some((user, PASSWORD)), "GET", &format!("/api/{list}"), "");
        let rows = answer.body.as_array().unwrap_or_else(|| panic!("{list}: {answer:?}"));
        let vhosts = rows.iter().map(|row| row.get("vhost").unwrap_or(&row["name"]).as_str());
        vhosts.map(|vhost| vhost.expect("a name").to_owned()).collect::<BTreeSet<_>>()
    };
    let own = || BTreeSet::from(["own".to_owned()]);
    for list in ["queues", "exchanges", "bindings", "policies", "operator-policies"] {
        for user in ["management", "policymaker", "monitoring"] {
            assert_eq!(seen(user, list), own(), "{list} for {user}");
        }
        assert!(seen("administrator", list).contains("foreign"), "{list}");
    }
    for user in ["management", "policymaker"] {
        assert_eq!(seen(user, "vhosts"), own());
    }
    assert!(seen("monitoring", "vhosts").contains("foreign"));
    assert_eq!(seen("policymaker", "parameters"), own());
    assert!(seen("administrator", "parameters").contains("foreign"));
}
