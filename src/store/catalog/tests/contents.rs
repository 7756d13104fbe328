//! What is in it: all that was put there, and nothing of what went.

use bytes::Bytes;

use super::*;

#[test]
fn everything_is_there_again_exactly() {
    // Names may repeat on the wire, and every type must come back as it was.
    let odd: FieldTable = [
        ("x", FieldValue::Bytes(Bytes::from_static(b"\xFF\0"))),
        ("x", FieldValue::from(7)),
        ("a", FieldValue::from(7_i64)),
        ("t", FieldValue::from(FieldTable::new().with("inner", true))),
    ]
    .into_iter()
    .map(|(name, value)| (ShortStr::new(name).unwrap(), value))
    .collect();
    let contents = CatalogContents {
        vhosts: vec![
            VhostRow { name: vhost("/"), metadata: FieldTable::new() },
            VhostRow { name: vhost("é"), metadata: odd.clone() },
        ],
        exchanges: vec![
            ExchangeRow {
                kind: ExchangeKind::Delayed,
                flags: ExchangeFlags { durable: true, auto_delete: true, internal: true },
                arguments: odd.clone(),
                ..exchange("/", "all")
            },
            exchange("/", "plain"),
        ],
        queues: vec![
            QueueRow { purpose: QueueUse::Delays, ..queue("/", "amq.delayed.all", u64::MAX) },
            QueueRow {
                flags: QueueFlags { durable: true, exclusive: true, auto_delete: true },
                arguments: odd.clone(),
                ..queue("/", "q", 1)
            },
            QueueRow { paused: true, ..queue("é", "q", 2) },
        ],
        bindings: vec![
            binding("/", "amq.topic", to_queue("q"), ""),
            binding("/", "amq.topic", to_queue("q"), "key.#"),
            binding("/", "amq.topic", to_exchange("all"), "key.#"),
            BindingRow {
                arguments: FieldTable::new().with("a", 1).with("b", 2),
                ..binding("é", "amq.headers", to_queue("q"), "k")
            },
        ],
        policies: vec![PolicyRow {
            vhost: vhost("/"),
            name: "p".to_owned(),
            pattern: "^a|b$".to_owned(),
            target: PolicyTarget::QuorumQueues,
            priority: -3,
            definition: FieldTable::new().with("max-length", 5),
        }],
        users: vec![UserRow {
            name: "u".to_owned(),
            password_hash: "$secret".to_owned(),
            tags: "administrator".to_owned(),
            details: FieldTable::new().with("max-channels", 7),
        }],
        permissions: vec![permission("u", "/"), permission("u", "é")],
        topic_permissions: vec![topic("u", "/", "amq.topic"), topic("u", "é", "")],
        operator_policies: vec![PolicyRow {
            vhost: vhost("/"),
            name: "p".to_owned(),
            pattern: ".*".to_owned(),
            target: PolicyTarget::Queues,
            priority: 9,
            definition: FieldTable::new().with("max-length", 6),
        }],
        parameters: vec![
            parameter(None, "", "cluster_name"),
            parameter(Some("/"), "shovel", "s"),
            parameter(Some("é"), "shovel", "s"),
        ],
    };
    let disk = SimDisk::new();
    let (catalog, empty) = open(&disk);
    assert_eq!(empty, CatalogContents::default());
    assert_eq!(commit(&catalog, contents.clone().into_changes()), contents);
    assert_eq!(
        commit(&catalog, contents.clone().into_changes()),
        contents,
        "to put it again changes nothing"
    );
    let node = catalog.node();
    drop(catalog);
    let (catalog, found) = open(&disk);
    assert_eq!((found, catalog.node()), (contents.clone(), node));
    let lost = disk.only_synced();
    assert_eq!(Catalog::read(&lost).unwrap(), Some(contents.clone()), "nor does it need a clean end");
    assert!(!format!("{contents:?}").contains("$secret"));
}

#[test]
fn a_bindings_arguments_have_no_order() {
    let (catalog, _) = open(&SimDisk::new());
    let with = |arguments| BindingRow { arguments, ..binding("/", "e", to_queue("q"), "k") };
    let (ab, ba) = (FieldTable::new().with("a", 1).with("b", 2), FieldTable::new().with("b", 2).with("a", 1));
    let found = commit(&catalog, [ba.clone(), ab.clone()].map(with).map(Change::PutBinding));
    assert_eq!(found.bindings, [with(ab)]);
    let other = FieldTable::new().with("a", 1_i64).with("b", 2);
    let found = commit(&catalog, [Change::DeleteBinding(with(other))]);
    assert_eq!(found.bindings.len(), 1, "equal numbers of different types are different arguments");
    assert_eq!(commit(&catalog, [Change::DeleteBinding(with(ba))]), CatalogContents::default());
}

#[test]
fn what_goes_takes_its_bindings_along_and_no_others() {
    let (catalog, _) = open(&SimDisk::new());
    let all = [
        binding("/", "e", to_queue("q"), "1"),
        binding("/", "e", to_queue("q2"), "2"),
        binding("/", "e2", to_queue("q"), "3"),
        binding("/", "e2", to_exchange("e"), "4"),
        binding("/", "q", to_exchange("q"), "5"),
        binding("v", "e", to_queue("q"), "6"),
    ];
    let of_exchange = |name| Change::PutExchange(exchange("/", name));
    commit(&catalog, all.map(Change::PutBinding).into_iter().chain(["e", "e2", "q"].map(of_exchange)));
    commit(&catalog, [queue("/", "q", 1), queue("/", "q2", 2), queue("v", "q", 3)].map(Change::PutQueue));
    let found = commit(&catalog, [delete_queue("/", "q", 1)]);
    assert_eq!(
        ends(&found),
        ["/: e -2> queue q2", "/: e2 -4> exchange e", "/: q -5> exchange q", "v: e -6> queue q"]
    );
    assert_eq!(found.queues, [queue("/", "q2", 2), queue("v", "q", 3)]);
    let found = commit(&catalog, [delete_exchange("/", "e")]);
    assert_eq!(ends(&found), ["/: q -5> exchange q", "v: e -6> queue q"], "from it and to it");
    assert_eq!(found.exchanges, [exchange("/", "e2"), exchange("/", "q")]);
    let found = commit(&catalog, [delete_exchange("/", "q"), delete_exchange("/", "q")]);
    assert_eq!(ends(&found), ["v: e -6> queue q"]);
}

#[test]
fn another_queue_of_the_same_name_begins_without_bindings() {
    let (catalog, _) = open(&SimDisk::new());
    let bind = || Change::PutBinding(binding("/", "e", to_queue("q"), "k"));
    let found = commit(&catalog, [Change::PutQueue(queue("/", "q", 1)), bind()]);
    assert_eq!(ends(&found).len(), 1);
    let found = commit(&catalog, [Change::PutQueue(queue("/", "q", 1))]);
    assert_eq!(ends(&found).len(), 1, "the same one keeps them");
    let found = commit(&catalog, [Change::PutQueue(queue("/", "q", 2))]);
    assert_eq!((ends(&found).len(), found.queues), (0, vec![queue("/", "q", 2)]));
    let found = commit(&catalog, [bind(), delete_queue("/", "q", 1)]);
    assert_eq!(
        (ends(&found).len(), found.queues.len()),
        (1, 1),
        "a late goodbye of the old one is not for it"
    );
}

#[test]
fn a_vhost_or_a_user_goes_with_everything() {
    let (catalog, _) = open(&SimDisk::new());
    let policy = |of: &str| PolicyRow {
        vhost: vhost(of),
        name: "p".to_owned(),
        pattern: String::new(),
        target: PolicyTarget::All,
        priority: 0,
        definition: FieldTable::new(),
    };
    let user = |name: &str| UserRow {
        name: name.to_owned(),
        password_hash: String::new(),
        tags: String::new(),
        details: FieldTable::new().with("max-channels", 7),
    };
    commit(&catalog, [Change::PutParameter(parameter(None, "", "g"))]);
    let of = |name: &str| CatalogContents {
        vhosts: vec![VhostRow { name: vhost(name), metadata: FieldTable::new() }],
        exchanges: vec![exchange(name, "e")],
        queues: vec![queue(name, "q", 1)],
        bindings: vec![binding(name, "e", to_exchange("e"), "k"), binding(name, "e", to_queue("q"), "k")],
        policies: vec![policy(name)],
        users: vec![user("u")],
        permissions: vec![permission("u", name)],
        topic_permissions: vec![topic("u", name, "e")],
        operator_policies: vec![policy(name)],
        parameters: vec![parameter(None, "", "g"), parameter(Some(name), "shovel", "s")],
    };
    for name in ["v", "v1", "w"] {
        commit(&catalog, of(name).into_changes());
    }
    let found = commit(&catalog, ["v", "w"].map(|name| Change::DeleteVhost { name: vhost(name) }));
    let kinds = |row: &BindingRow| matches!(row.destination, BindingEnd::Queue(_));
    assert_eq!(found.bindings.iter().filter(|row| kinds(row)).count(), 1);
    let found = CatalogContents { bindings: found.bindings.iter().rev().cloned().collect(), ..found };
    assert_eq!(found, of("v1"));
    let topic_of_other = topic("u2", "v1", "e");
    let others = [
        Change::PutUser(user("u2")),
        Change::PutPermission(permission("u2", "v1")),
        Change::PutTopicPermission(topic_of_other.clone()),
    ];
    commit(&catalog, others);
    let found = commit(&catalog, [Change::DeleteUser { name: "u".to_owned() }]);
    assert_eq!((found.users, found.permissions), (vec![user("u2")], vec![permission("u2", "v1")]));
    assert_eq!(found.topic_permissions, std::slice::from_ref(&topic_of_other));
    let TopicPermissionRow { user, vhost: of, exchange, .. } = topic_of_other;
    let found = commit(
        &catalog,
        [
            Change::DeletePermission { user: "u2".to_owned(), vhost: vhost("v1") },
            Change::DeletePolicy { vhost: vhost("v1"), name: "p".to_owned() },
            Change::DeleteOperatorPolicy { vhost: vhost("v1"), name: "p".to_owned() },
            Change::DeleteTopicPermission { user, vhost: of, exchange },
            Change::DeleteParameter {
                vhost: Some(vhost("v1")),
                component: "shovel".to_owned(),
                name: "s".to_owned(),
            },
            Change::DeleteParameter { vhost: None, component: String::new(), name: "g".to_owned() },
        ],
    );
    assert_eq!((found.permissions.len(), found.policies.len(), found.operator_policies.len()), (0, 0, 0));
    assert_eq!((found.topic_permissions.len(), found.parameters.len()), (0, 0));
}
