//! The catalog on a disk that can fail. Here: rows to put into it.

mod commits;
mod contents;
mod files;

use fastrand::Rng;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::*;
use crate::model::{
    ExchangeFlags, ExchangeKind, ExchangeName, PolicyTarget, QueueFlags, QueueId, QueueName, RoutingKey,
    VhostName,
};
use crate::store::SimDisk;

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
