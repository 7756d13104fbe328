//! Reading definitions: what is taken, what is told.

mod whole;

use serde_json::{Value, json};

use super::findings::Findings;
use super::items::{BindingEnd, PasswordItem};
use super::*;
use crate::model::{PolicyKind, VhostLimits, VhostName};

/// What a RabbitMQ 3.10 has exported: see the script beside it.
const EXPORT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/definitions/rabbitmq-3.10.json"));

fn read(json: &Value) -> (Document, Findings) {
    let mut findings = Findings::default();
    let document = Document::read(json.as_object().unwrap(), None, &mut findings);
    (document, findings)
}

fn faults(json: &Value) -> Vec<String> {
    read(json).1.text().lines().map(str::to_owned).collect()
}

#[test]
fn an_export_of_rabbitmq_is_understood() {
    let (document, findings) = read(&serde_json::from_str(EXPORT).unwrap());
    assert_eq!(findings.text(), "");
    assert_eq!((document.queues.len(), document.exchanges.len(), document.users.len()), (1000, 40, 103));
    assert_eq!((document.bindings.len(), document.permissions.len(), document.vhosts.len()), (1692, 306, 5));
    let operators: Vec<_> = document
        .policies
        .iter()
        .filter(|policy| policy.item.policy.kind() == PolicyKind::Operator)
        .map(|policy| policy.item.policy.name())
        .collect();
    assert_eq!(operators.len(), 2);
    assert_eq!((document.policies.len(), document.vhost_limits.len(), document.parameters.len()), (37, 2, 2));
    let notices: Vec<_> = findings.notices().into_iter().map(|notice| notice.notice).collect();
    for what in ["'x-queue-mode'", "'ha-mode'", "component 'shovel'", "component 'federation-upstream'"] {
        assert!(notices.iter().any(|notice| notice.contains(what)), "{what}: {notices:?}");
    }
    assert!(!notices.iter().any(|notice| notice.contains("not known")), "{notices:?}");
    let nobody = document.users.iter().find(|user| user.item.name == "certificate-only").unwrap();
    let PasswordItem::Credentials(credentials) = &nobody.item.password else { panic!("no hash") };
    assert!(!credentials.has_password());
}

#[test]
fn every_error_is_told_with_its_place() {
    let told = faults(&json!({
        "vhosts": [{"name": ""}, {"name": "a\nb"}, {"name": "v", "default_queue_type": "stream", "tags": 7}],
        "users": [
            {"name": "u"},
            {"name": "w", "tags": [1], "password": "x", "password_hash": "y"},
            {"name": "h", "tags": "", "password_hash": "zzz"},
            {"name": "k", "tags": "", "password_hash": "AAAA", "hashing_algorithm": "rot13"},
            {"name": "l", "tags": "", "limits": {"max-channels": 4_294_967_296i64}},
        ],
        "permissions": [{"user": "u", "vhost": "v", "configure": "(", "write": ""}],
        "topic_permissions": [{"user": "u", "vhost": "v", "exchange": "x", "write": "[", "read": "{username}"}],
        "parameters": [
            {"vhost": "v", "component": "operator_policy", "name": "o",
             "value": {"pattern": "", "definition": {"dead-letter-exchange": "x"}}},
            {"vhost": "v", "component": "vhost-limits", "name": "limits", "value": {"max-queues": "many"}},
            {"vhost": "v", "component": "shovel", "name": "s"},
        ],
        "policies": [
            {"vhost": "v", "name": "p", "pattern": "(", "definition": {"max-length": 1}, "apply-to": "nothing"},
            {"vhost": "v", "name": "q", "pattern": "", "definition": {"max-length": -1, "max-lenght": 1}},
            {"vhost": "v", "name": "r", "pattern": "", "definition": {}},
        ],
        "queues": [
            {"name": "q", "durable": "perhaps", "arguments": {"x-max-length": -1, "x-overflow": "maybe"}},
            {"vhost": "v", "name": "s", "arguments": {"x-queue-type": "stream"}},
            {"vhost": "v", "name": "t", "durable": false, "type": "quorum"},
            7,
        ],
        "exchanges": [
            {"vhost": "v", "name": "x", "type": "x-random"},
            {"vhost": "v", "name": "y", "type": "direct", "arguments": {"alternate-exchange": 1}},
        ],
        "bindings": [
            {"vhost": "v", "source": "", "destination": "q", "destination_type": "queue"},
            {"vhost": "v", "source": "x", "destination": "q", "destination_type": "topic"},
        ],
    }));
    let starts = [
        "vhosts[0].name: is empty",
        "vhosts[1].name: has control characters",
        "vhosts[2].tags: must be a list of texts",
        "vhosts[2].default_queue_type: 'stream'",
        "users[0].tags: is missing",
        "users[1].password: stands beside a password_hash",
        "users[1].tags[0]: must be a text",
        "users[2].password_hash: the password_hash is no rabbit_password_hashing_sha256",
        "users[3].password_hash: unknown hashing_algorithm 'rot13'",
        "users[4].limits.max-channels: 4294967296 is more than can be",
        "permissions[0].configure: '(' is not a valid regular expression",
        "permissions[0].read: is missing",
        "topic_permissions[0].write: '[' is not a valid",
        "parameters[2].value: is missing",
        "parameters[0].definition.dead-letter-exchange: 'dead-letter-exchange' is not a setting of operator",
        "parameters[1].max-queues: must be a whole number, and is a text",
        "policies[0].apply-to: 'nothing'",
        "policies[0].pattern: pattern '(' is not a valid",
        "policies[1].definition.max-lenght: 'max-lenght' is not a recognised policy setting",
        "policies[1].definition.max-length: 'max-length' has an invalid value",
        "policies[2].definition: is empty",
        "exchanges[0].type: unknown exchange type 'x-random'",
        "exchanges[1].arguments: invalid type 'long'",
        "queues[0].vhost: is missing",
        "queues[0].durable: must be true or false",
        "queues[0].arguments.x-max-length: invalid arg",
        "queues[0].arguments.x-overflow: invalid arg",
        "queues[1].arguments.x-queue-type: queues of type 'stream' are not implemented",
        "queues[2]: invalid property 'non-durable'",
        "queues[3]: must be an object, and is a number",
        "bindings[0].source: is the default exchange",
        "bindings[1].destination_type: is 'topic'",
    ];
    for start in starts {
        assert!(told.iter().any(|line| line.starts_with(start)), "{start}\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), starts.len(), "{}", told.join("\n"));
}

#[test]
fn what_is_not_known_is_told() {
    let (_, findings) = read(&json!({
        "rabbit_version": "3.10.8",
        "shards": [],
        "queues": [
            {"vhost": "/", "name": "a", "colour": "red"},
            {"vhost": "/", "name": "b", "colour": "blue"},
            {"vhost": "/", "name": "b", "colour": "blue"},
        ],
        "global_parameters": [{"name": "internal_cluster_id", "value": "x"}],
    }));
    assert!(findings.is_sound());
    let notices = findings.notices();
    let told = |text: &str| notices.iter().find(|notice| notice.notice.starts_with(text)).cloned();
    assert_eq!(told("'colour' is not known").unwrap().count, 3);
    assert_eq!(told("'shards' is not known").unwrap().at, [""]);
    assert_eq!(told("stands there twice").unwrap().at, ["queues[2]"]);
    assert_eq!(told("'internal_cluster_id' names the cluster").unwrap().count, 1);
}

#[test]
fn what_is_named_twice_with_other_properties_is_an_error() {
    let told = faults(&json!({"queues": [
        {"vhost": "/", "name": "a", "durable": true}, {"vhost": "/", "name": "a", "durable": false},
        {"vhost": "other", "name": "a", "durable": false},
    ]}));
    assert_eq!(told, ["queues[1]: is the same as queues[0], with other properties"]);
}

#[test]
fn a_vhosts_own_definitions_go_into_any_vhost() {
    let json = json!({
        "rabbitmq_definition_format": "single_virtual_host", "original_vhost_name": "there",
        "description": "mine", "limits": {"max-queues": 7}, "users": [],
        "queues": [{"name": "a", "durable": true}, {"name": "b", "vhost": "there"}],
        "bindings": [{"source": "amq.direct", "destination": "a", "destination_type": "queue"}],
    });
    let mut findings = Findings::default();
    let here = VhostName::new("here").unwrap();
    let document = Document::read(json.as_object().unwrap(), Some(&here), &mut findings);
    assert_eq!(findings.text(), "");
    assert!(document.queues.iter().all(|queue| queue.item.vhost == here));
    let vhost = &document.vhosts[0].item;
    assert_eq!((vhost.description.as_deref(), vhost.limits.unwrap().max_queues), (Some("mine"), Some(7)));
    assert!(matches!(&document.bindings[0].item.destination, BindingEnd::Queue(name) if &**name == "a"));
    let notices: Vec<_> = findings.notices().into_iter().map(|notice| notice.notice).collect();
    assert!(notices.iter().any(|notice| notice.starts_with("'users' belongs to no single vhost")));
    assert!(notices.iter().any(|notice| notice == "what belonged to vhost 'there' goes to 'here'"));
}

#[test]
fn other_writers_forms_are_taken() {
    let (document, findings) = read(&json!({
        "rabbit_version": "3.5.7",
        "users": [{"name": "old", "tags": "administrator, ops", "password_hash": "AAAAAA4ar1f2XSoRWPD1LH0qcbg="}],
        "queues": [{"vhost": "/", "name": "a", "durable": "true", "auto_delete": "false", "arguments": []}],
        "vhosts": [{"name": "v", "limits": [], "metadata": {"description": "d", "tags": ["t"]}}],
        "parameters": [{"vhost": "/", "component": "vhost-limits", "name": "limits", "value": []}],
    }));
    assert_eq!(findings.text(), "", "hashes of such old versions are MD5");
    assert!(document.users[0].item.tags.administrator);
    assert_eq!(document.vhosts[0].item.description.as_deref(), Some("d"));
    assert_eq!(document.vhost_limits[0].item.1, VhostLimits::default());
    assert_eq!(document.len(), 4);
}
