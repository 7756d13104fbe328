//! One message's way through an exchange with ten thousand bindings.

use std::hint::black_box;

use rialto::model::{ExchangeKind, ExchangeName, ExchangeOptions, QueueId, QueueName, RoutingKey};
use rialto::routing::{Destination, RouteInput, Routed, RoutingTable};
use rialto_protocol::types::{FieldTable, Properties, RawProperties};

use super::Workload;

const BINDINGS: usize = 10_000;
const QUEUES: usize = 1000;
/// Different keys, so that caches see what a busy broker's do.
const KEYS: usize = 1000;

/// Keys that a table routes.
pub(super) struct Routes {
    table: RoutingTable,
    exchange: ExchangeName,
    keys: Vec<String>,
    properties: Vec<u8>,
    found: Routed,
}

/// By equal keys.
pub(super) fn direct() -> Routes {
    routes(ExchangeKind::Direct, |n| format!("site.device{n}.sensor.temperature"))
}

/// By patterns, half of them with wildcards at the front or in the middle.
pub(super) fn topic() -> Routes {
    routes(ExchangeKind::Topic, |n| match n % 4 {
        0 => format!("site.device{n}.sensor.temperature"),
        1 => format!("site.device{n}.*.temperature"),
        2 => format!("site.device{n}.#"),
        _ => format!("*.device{n}.#.temperature"),
    })
}

fn routes(kind: ExchangeKind, binding: fn(usize) -> String) -> Routes {
    let exchange = ExchangeName::new("exchange").expect("short");
    let mut table = RoutingTable::new();
    table.declare_exchange(exchange.clone(), ExchangeOptions::new(kind)).expect("the table is empty");
    for n in 0..QUEUES {
        table.add_queue(QueueName::new(format!("queue{n}")).expect("short"), QueueId(n as u64));
    }
    for n in 0..BINDINGS {
        let destination = Destination::Queue(QueueId((n % QUEUES) as u64));
        let key = RoutingKey::new(binding(n)).expect("short");
        table.bind(&exchange, &destination, key, &FieldTable::new()).expect("below the limits");
    }
    // A prime: neighbours among the keys are none among the bindings.
    let keys = (0..KEYS).map(|n| format!("site.device{}.sensor.temperature", n * 7919 % BINDINGS)).collect();
    let properties = Properties::default().encoded().to_vec();
    Routes { table, exchange, keys, properties, found: Routed::new() }
}

impl Workload for Routes {
    fn prepare(&mut self) {}

    fn work(&mut self) {
        for key in &self.keys {
            let properties = RawProperties::trusted(&self.properties);
            let input = RouteInput { exchange: &self.exchange, routing_keys: &[key.as_str()], properties };
            self.table.route(&input, &mut self.found).expect("the exchange exists");
            assert_eq!(black_box(&self.found).queues.len(), 1, "each key matches one binding");
        }
    }

    fn operations(&self) -> usize {
        KEYS
    }
}
