use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use bytes::Bytes;
use fastrand::Rng;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::*;
use crate::model::{
    ExchangeFlags, ExchangeKind, ExchangeName, PolicyTarget, QueueFlags, QueueId, QueueName, RoutingKey,
    VhostName,
};
use crate::store::{FileDisk, SimDisk};

fn open(disk: &SimDisk) -> (Catalog, CatalogContents) {
    Catalog::open(Arc::new(disk.clone())).unwrap()
}

fn vhost(name: &str) -> VhostName {
    VhostName::new(name).unwrap()
}

fn queue(of: &str, name: &str, id: u64) -> QueueRow {
    QueueRow {
        vhost: vhost(of),
        name: QueueName::new(name).unwrap(),
        id: QueueId(id),
        purpose: QueueUse::Ordinary,
        paused: false,
        flags: QueueFlags { durable: true, exclusive: false, auto_delete: id.is_multiple_of(2) },
        arguments: FieldTable::new().with("x-max-length", id as i64),
    }
}

fn exchange(of: &str, name: &str) -> ExchangeRow {
    ExchangeRow {
        vhost: vhost(of),
        name: ExchangeName::new(name).unwrap(),
        kind: ExchangeKind::Topic,
        flags: ExchangeFlags { durable: true, ..ExchangeFlags::default() },
        arguments: FieldTable::new(),
    }
}

fn binding(of: &str, source: &str, destination: BindingEnd, key: &str) -> BindingRow {
    BindingRow {
        vhost: vhost(of),
        source: ExchangeName::new(source).unwrap(),
        destination,
        routing_key: RoutingKey::new(key).unwrap(),
        arguments: FieldTable::new(),
    }
}

fn to_queue(name: &str) -> BindingEnd {
    BindingEnd::Queue(QueueName::new(name).unwrap())
}

fn to_exchange(name: &str) -> BindingEnd {
    BindingEnd::Exchange(ExchangeName::new(name).unwrap())
}

fn delete_queue(of: &str, name: &str, id: u64) -> Change {
    Change::DeleteQueue { vhost: vhost(of), name: QueueName::new(name).unwrap(), id: QueueId(id) }
}

fn delete_exchange(of: &str, name: &str) -> Change {
    Change::DeleteExchange { vhost: vhost(of), name: ExchangeName::new(name).unwrap() }
}

fn topic(user: &str, of: &str, exchange: &str) -> TopicPermissionRow {
    TopicPermissionRow {
        user: user.to_owned(),
        vhost: vhost(of),
        exchange: ExchangeName::new(exchange).unwrap(),
        write: "^a".to_owned(),
        read: String::new(),
    }
}

fn parameter(of: Option<&str>, component: &str, name: &str) -> ParameterRow {
    ParameterRow {
        vhost: of.map(vhost),
        component: component.to_owned(),
        name: name.to_owned(),
        value: "{\"a\":1}".to_owned(),
    }
}

fn permission(user: &str, of: &str) -> PermissionRow {
    PermissionRow {
        user: user.to_owned(),
        vhost: vhost(of),
        configure: "^a".to_owned(),
        write: ".*".to_owned(),
        read: String::new(),
    }
}

/// Commits changes and gives what there is then.
fn commit(catalog: &Catalog, changes: impl IntoIterator<Item = Change>) -> CatalogContents {
    catalog.change_all(changes).unwrap();
    assert_eq!(catalog.pump(), CatalogPumped::Committed);
    catalog.contents().unwrap()
}

/// Where bindings lead and by which key, by source.
fn ends(contents: &CatalogContents) -> Vec<String> {
    let end = |row: &BindingRow| {
        let destination = match &row.destination {
            BindingEnd::Queue(name) => format!("queue {name}"),
            BindingEnd::Exchange(name) => format!("exchange {name}"),
        };
        format!("{}: {} -{}> {destination}", row.vhost, row.source, row.routing_key)
    };
    contents.bindings.iter().map(end).collect()
}

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
    assert!(catalog.is_new());
    assert_eq!(commit(&catalog, contents.clone().into_changes()), contents);
    assert_eq!(
        commit(&catalog, contents.clone().into_changes()),
        contents,
        "to put it again changes nothing"
    );
    let node = catalog.node();
    drop(catalog);
    let (catalog, found) = open(&disk);
    assert_eq!((found, catalog.node(), catalog.is_new()), (contents.clone(), node, false));
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

#[test]
fn what_has_gathered_is_committed_together() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    catalog.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(catalog.pump(), CatalogPumped::Idle);
    let versions: Vec<_> = (1..=50)
        .map(|id| catalog.change(Change::PutQueue(queue("/", &format!("q{id}"), id))).unwrap())
        .collect();
    assert_eq!(versions, (1..=50).collect::<Vec<_>>());
    assert_eq!((catalog.committed(), catalog.contents().unwrap()), (0, CatalogContents::default()));
    let before = disk.operations();
    assert_eq!(catalog.pump(), CatalogPumped::Committed);
    assert!(disk.operations() - before < 50, "{} operations", disk.operations() - before);
    assert_eq!((catalog.committed(), calls.load(Ordering::Relaxed)), (50, 1));
    let group = [Change::PutQueue(queue("/", "a", 51)), delete_queue("/", "q1", 1)];
    assert_eq!(catalog.change_all(group).unwrap(), 52);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Committed, 52));
}

/// A change at random, of few names, so that they meet.
fn random_change(rng: &mut Rng) -> Change {
    let of = ["/", "v"][rng.usize(..2)];
    let name = ["a", "b", "c"][rng.usize(..3)];
    let end = |rng: &mut Rng| match rng.bool() {
        true => to_queue(["a", "b", "c"][rng.usize(..3)]),
        false => to_exchange(["a", "b", "c"][rng.usize(..3)]),
    };
    match rng.u8(..10) {
        0..3 => Change::PutQueue(queue(of, name, rng.u64(1..4))),
        3 => delete_queue(of, name, rng.u64(1..4)),
        4 => Change::PutExchange(exchange(of, name)),
        5 => delete_exchange(of, name),
        6 if rng.u8(..4) == 0 => Change::DeleteVhost { name: vhost(of) },
        6 => Change::PutVhost(VhostRow { name: vhost(of), metadata: FieldTable::new() }),
        7 => Change::DeleteBinding(binding(of, name, end(rng), "k")),
        _ => Change::PutBinding(BindingRow {
            arguments: FieldTable::new().with("large", "x".repeat(rng.usize(..3000))),
            ..binding(of, name, end(rng), "k")
        }),
    }
}

#[test]
fn after_a_crash_at_any_operation_there_is_all_that_was_committed_and_nothing_in_part() {
    for seed in 0..3 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new();
        let (catalog, _) = open(&disk);
        // After so many operations there was this.
        let mut states = vec![(disk.operations(), CatalogContents::default())];
        for _ in 0..12 {
            let count = rng.usize(1..6);
            let contents = commit(&catalog, (0..count).map(|_| random_change(&mut rng)));
            states.push((disk.operations(), contents));
        }
        let mut kept = 0;
        for operations in 0..=disk.operations() {
            for _ in 0..2 {
                let image = disk.image_at(operations, &mut rng);
                let (again, found) = Catalog::open(Arc::new(image.clone())).unwrap();
                let safe = states.iter().rposition(|(at, _)| *at <= operations).unwrap_or(0);
                let next = states.get(safe + 1).map(|(_, contents)| contents);
                let is_next = next == Some(&found);
                assert!(
                    found == states[safe].1 || is_next,
                    "seed {seed}, operation {operations}: {found:?} is neither what was committed nor what was on the way"
                );
                kept += usize::from(is_next && found != states[safe].1);
                let went_on = commit(&again, [Change::PutQueue(queue("z", "z", 9))]);
                assert_eq!(went_on.queues.len(), found.queues.len() + 1, "and it goes on");
            }
        }
        assert!(kept > 0, "some crashes come too late to lose what was on the way");
    }
}

#[test]
fn identities_of_queues_are_never_used_twice_whatever_crashes() {
    let mut rng = Rng::with_seed(5);
    let mut disk = SimDisk::new();
    let mut used = 0;
    for _ in 0..40 {
        let (catalog, _) = open(&disk);
        let ids = catalog.queue_ids();
        assert!(ids.start >= used && ids.end - ids.start == QUEUE_IDS, "{ids:?} after {used}");
        used = ids.end;
        disk = disk.crash(&mut rng);
    }
}

#[test]
fn a_failed_sync_ends_it_for_good() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    catalog.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let before = commit(&catalog, [Change::PutQueue(queue("/", "safe", 1))]);
    catalog.change(Change::PutQueue(queue("/", "lost", 2))).unwrap();
    disk.fail_syncs(1);
    assert_eq!(catalog.pump(), CatalogPumped::Stopped);
    assert_eq!((catalog.committed(), told.load(Ordering::Relaxed)), (1, 2));
    assert_eq!(catalog.pump(), CatalogPumped::Stopped, "though syncs would work again");
    let error = catalog.change(delete_queue("/", "safe", 1)).unwrap_err();
    assert!(matches!(&error, CatalogError::Stopped(why) if why.contains("failure to sync")), "{error}");
    assert!(catalog.failure().unwrap().contains("failure to sync"));
    assert!(matches!(catalog.contents(), Err(CatalogError::Stopped(_))), "nor is the file touched again");
    drop(catalog);
    assert_eq!(Catalog::read(&disk.only_synced()).unwrap(), Some(before));
}

#[test]
fn a_failed_write_ends_it_too() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let before = commit(&catalog, [Change::PutQueue(queue("/", "safe", 1))]);
    catalog.change(Change::PutQueue(queue("/", "lost", 2))).unwrap();
    disk.fail_writes(true);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Stopped, 1));
    disk.fail_writes(false);
    drop(catalog);
    assert_eq!(open(&disk).1, before);
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    catalog.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    disk.set_capacity(Some(0));
    let large = |number: u64| {
        let arguments = FieldTable::new().with("x", "x".repeat(100_000));
        Change::PutQueue(QueueRow { arguments, ..queue("/", &format!("q{number}"), number) })
    };
    let mut queued = 0;
    while catalog.full().is_none() {
        queued += 1;
        assert!(queued < 1000, "the file has to grow some time");
        catalog.change(large(queued)).unwrap();
        catalog.pump();
    }
    let committed = catalog.committed();
    assert_eq!((committed, told.load(Ordering::Relaxed) as u64), (queued - 1, queued));
    assert!(catalog.full().unwrap().contains("full") && catalog.failure().is_none());
    catalog.change(large(queued + 1)).unwrap();
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Full, committed));
    assert_eq!(told.load(Ordering::Relaxed) as u64, queued, "nothing new, nobody told");
    assert_eq!(catalog.contents().unwrap().queues.len() as u64, committed, "it can be read meanwhile");
    disk.set_capacity(None);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Committed, queued + 1));
    assert_eq!(catalog.full(), None);
    assert_eq!(catalog.contents().unwrap().queues.len() as u64, queued + 1);
    assert_eq!(Catalog::read(&disk.only_synced()).unwrap().unwrap().queues.len() as u64, queued + 1);
}

#[test]
fn a_snapshot_is_a_catalog_of_its_own() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let mut rng = Rng::with_seed(3);
    let contents = commit(&catalog, (0..40).map(|_| random_change(&mut rng)));
    catalog.change(Change::PutQueue(queue("/", "later", 9))).unwrap();
    let copy = SimDisk::new();
    catalog.snapshot_to(&copy).unwrap();
    let error = catalog.snapshot_to(&copy).unwrap_err();
    assert!(error.to_string().contains("is there already"), "{error}");
    assert_eq!(catalog.pump(), CatalogPumped::Committed);
    let (restored, found) = open(&copy.only_synced());
    assert_eq!((found, restored.node()), (contents, catalog.node()));
    assert_eq!(restored.queue_ids().start, catalog.queue_ids().end);
}

#[test]
fn reading_changes_nothing_on_the_disk() {
    let disk = SimDisk::new();
    assert!(Catalog::read(&disk).unwrap().is_none());
    assert_eq!(disk.operations(), 0);
    let (catalog, _) = open(&disk);
    let contents = commit(&catalog, [Change::PutQueue(queue("/", "q", 1))]);
    let killed = disk.killed();
    assert_eq!(Catalog::read(&killed).unwrap(), Some(contents));
    assert_eq!(killed.operations(), 0);
}

#[test]
fn what_is_no_catalog_is_refused_with_what_to_do() {
    for bytes in [&b""[..], b"x", &[7; 100_000]] {
        let disk = SimDisk::new();
        disk.create(FILE).unwrap().write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
        let error = Catalog::open(Arc::new(disk)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(FILE) && text.contains("restore the data folder"), "{text}");
    }
}

#[test]
fn a_later_format_is_refused() {
    let disk = SimDisk::new();
    let database = {
        let meta = Meta { node: 1, next_queue_id: 1 };
        create_database(&disk, meta, CatalogContents::default(), &Arc::default()).unwrap()
    };
    let write = database.begin_write().unwrap();
    {
        let meta: redb::TableDefinition<'_, &str, u128> = redb::TableDefinition::new("meta");
        write.open_table(meta).unwrap().insert("format", FORMAT + 1).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    for error in [Catalog::open(Arc::new(disk.clone())).unwrap_err(), Catalog::read(&disk).unwrap_err()] {
        assert!(matches!(error, CatalogError::Newer { found: 2, known: 1 }), "{error}");
    }
}

#[test]
fn a_damaged_byte_is_told_or_means_nothing() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let mut rng = Rng::with_seed(11);
    let contents = commit(&catalog, (0..60).map(|_| random_change(&mut rng)));
    drop(catalog);
    let len = disk.open(FILE).unwrap().len().unwrap();
    let mut told = 0;
    for _ in 0..150 {
        let image = disk.killed();
        let (file, at) = (image.open(FILE).unwrap(), rng.u64(..len.min(64 << 10)));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_at(&[io::IoSlice::new(&[byte[0] ^ (1 << rng.u8(..8))])], at).unwrap();
        match Catalog::read(&image) {
            Ok(found) => assert_eq!(found.as_ref(), Some(&contents), "byte {at}"),
            Err(_) => told += 1,
        }
    }
    assert!(told > 0);
}

#[test]
fn the_thread_commits_what_comes_and_what_is_left_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FileDisk::open(folder.path()).unwrap());
    let (catalog, _) = Catalog::open(disk.clone()).unwrap();
    let catalog = Arc::new(catalog);
    let (tell, told) = mpsc::channel();
    catalog.on_progress(Box::new(move || {
        let _ = tell.send(());
    }));
    let thread = catalog.spawn_writer().unwrap();
    let version = catalog.change(Change::PutQueue(queue("/", "a", 1))).unwrap();
    while catalog.committed() < version {
        told.recv().unwrap();
    }
    for id in 2..100 {
        catalog.change(Change::PutQueue(queue("/", &format!("q{id}"), id))).unwrap();
    }
    catalog.close();
    let error = catalog.change(delete_queue("/", "a", 1)).unwrap_err();
    assert_eq!(error.to_string(), "the catalog takes no changes: the broker is stopping");
    thread.join().unwrap();
    assert_eq!((catalog.committed(), catalog.failure()), (99, None));
    drop(catalog);
    let (_, found) = Catalog::open(disk).unwrap();
    assert_eq!(found.queues.len(), 99);
}

#[test]
fn no_more_changes_wait_than_there_may() {
    let (catalog, _) = open(&SimDisk::new());
    let change = delete_queue("/", "q", 1);
    catalog.change_all(std::iter::repeat_n(change.clone(), BACKLOG_MAX - 1)).unwrap();
    catalog.change(change.clone()).unwrap();
    assert!(matches!(catalog.change(change), Err(CatalogError::Behind)));
}

#[test]
fn what_changes_while_it_is_held_is_there_after_a_crash_as_a_whole_or_not_at_all() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let catalog = Arc::new(catalog);
    let before = commit(&catalog, [Change::PutQueue(queue("/", "before", 1))]);
    let from = disk.operations();
    let hold = catalog.hold(3).unwrap();
    let second = catalog.hold(0).unwrap();
    for id in 2..5 {
        let version = catalog.change(Change::PutQueue(queue("/", &format!("q{id}"), id))).unwrap();
        assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Idle, 1), "{version}");
    }
    drop(hold);
    assert_eq!(catalog.pump(), CatalogPumped::Idle, "one of two");
    drop(second);
    assert_eq!((catalog.pump(), catalog.committed()), (CatalogPumped::Committed, 4));
    let after = catalog.contents().unwrap();
    assert_eq!(after.queues.len(), 4);
    let mut rng = Rng::with_seed(13);
    for operations in from..=disk.operations() {
        let (_, found) = open(&disk.image_at(operations, &mut rng));
        assert!(found == before || found == after, "operation {operations}: {found:?}");
    }
    assert_eq!(open(&disk.only_synced()).1, after);
}

#[test]
fn what_is_held_when_it_is_closed_is_brought_to_its_end() {
    let disk = SimDisk::new();
    let (catalog, _) = open(&disk);
    let catalog = Arc::new(catalog);
    let thread = catalog.spawn_writer().unwrap();
    let hold = catalog.hold(2).unwrap();
    catalog.change(Change::PutQueue(queue("/", "a", 1))).unwrap();
    catalog.close();
    catalog.change(Change::PutQueue(queue("/", "b", 2))).unwrap();
    drop(hold);
    thread.join().unwrap();
    assert!(catalog.change(delete_queue("/", "a", 1)).is_err() && catalog.hold(1).is_err());
    assert_eq!(open(&disk).1.queues.len(), 2);
}

#[test]
fn it_is_held_only_with_room_for_what_comes() {
    let (catalog, _) = open(&SimDisk::new());
    let catalog = Arc::new(catalog);
    assert!(matches!(catalog.hold(BACKLOG_MAX + 1), Err(CatalogError::Behind)));
    let changes = || std::iter::repeat_n(delete_queue("/", "q", 1), BACKLOG_MAX / 2);
    let hold = catalog.hold(BACKLOG_MAX).unwrap();
    catalog.change_all(changes()).unwrap();
    assert!(!catalog.is_behind(), "whoever has asked for room may use it");
    drop(hold);
    assert!(catalog.is_behind());
}
