//! The rules of routing as a specification, through the table as the broker uses it.

mod declaring;
mod lists;
mod model;
mod rules;

use rialto_protocol::types::{FieldTable, Properties, RawProperties};

use super::*;
use crate::model::{ExchangeKind, ExchangeName, ExchangeOptions, QueueId, QueueName, RoutingKey};

pub(super) fn exchange(name: &str) -> ExchangeName {
    ExchangeName::new(name).unwrap()
}

pub(super) fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(exchange(name))
}

pub(super) fn key(text: &str) -> RoutingKey {
    RoutingKey::new(text).unwrap()
}

pub(super) fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// A table that tests write as text. `declare`: words as in `topic t auto-delete internal alternate=a`;
/// `bind`: `source -> destination key`; a destination begins with `q` if it is a queue.
pub(super) struct World {
    pub(super) table: RoutingTable,
    queues: u64,
    found: Routed,
}

impl World {
    pub(super) fn new(lines: &[&str]) -> World {
        let mut world = World { table: RoutingTable::new(), queues: 0, found: Routed::new() };
        lines.iter().for_each(|line| world.run(line));
        world
    }

    pub(super) fn run(&mut self, line: &str) {
        if line.contains("->") {
            assert!(self.bind(line, FieldTable::new()).unwrap(), "{line}");
        } else {
            assert_eq!(self.declare(line), Ok(Declared::Created), "{line}");
        }
    }

    pub(super) fn declare(&mut self, line: &str) -> Result<Declared, DeclareExchangeError> {
        let mut words = line.split(' ');
        let kind = ExchangeKind::from_name(words.next().unwrap()).unwrap();
        let name = exchange(words.next().unwrap());
        let mut options = ExchangeOptions::new(kind);
        for word in words {
            match word.split_once('=') {
                Some(("alternate", name)) => options.alternate = Some(exchange(name)),
                None if word == "durable" => options.durable = true,
                None if word == "auto-delete" => options.auto_delete = true,
                None if word == "internal" => options.internal = true,
                _ => panic!("{word:?} in {line:?}"),
            }
        }
        self.table.declare_exchange(name, options)
    }

    /// The queue with this name, added if it is new. Queues get their ids in the order of their appearance.
    pub(super) fn queue(&mut self, name: &str) -> QueueId {
        self.table.queue(name).unwrap_or_else(|| {
            self.queues += 1;
            assert!(self.table.add_queue(queue(name), QueueId(self.queues)));
            QueueId(self.queues)
        })
    }

    fn ends(&mut self, line: &str) -> (ExchangeName, Destination, RoutingKey) {
        let (source, rest) = line.split_once(" -> ").unwrap();
        let (destination, binding_key) = rest.split_once(' ').unwrap_or((rest, ""));
        let destination = match destination.starts_with('q') {
            true => Destination::Queue(self.queue(destination)),
            false => to_exchange(destination),
        };
        (exchange(source), destination, key(binding_key))
    }

    pub(super) fn bind(&mut self, line: &str, arguments: FieldTable) -> Result<bool, BindError> {
        let (source, destination, key) = self.ends(line);
        self.table.bind(&source, &destination, key, &arguments)
    }

    pub(super) fn unbind(&mut self, line: &str, arguments: FieldTable) -> Result<Unbound, BindError> {
        let (source, destination, key) = self.ends(line);
        self.table.unbind(&source, &destination, &key, &arguments)
    }

    /// The names of the queues that get a message, in the order found.
    pub(super) fn route(&mut self, exchange: &str, keys: &[&str], headers: Option<FieldTable>) -> String {
        let properties = Properties { headers, ..Properties::default() }.encoded();
        let properties = RawProperties::check(&properties).unwrap();
        self.table.route(&RouteInput { exchange, routing_keys: keys, properties }, &mut self.found).unwrap();
        let names = self.found.queues.iter().map(|&id| {
            let bindings = self.table.bindings_to(&Destination::Queue(id));
            bindings.take(1).map(|binding| binding.destination.name().to_string()).collect::<String>()
        });
        names.collect::<Vec<_>>().join(" ")
    }

    /// Whether the last result may be kept.
    pub(super) fn cacheable(&self) -> bool {
        self.found.cacheable
    }

    /// Expects a message with this key to go to these queues.
    #[track_caller]
    pub(super) fn check(&mut self, exchange: &str, key: &str, expected: &str) {
        assert_eq!(self.route(exchange, &[key], None), expected, "{exchange:?} with key {key:?}");
    }
}
