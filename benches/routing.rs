//! What bindings cost: bytes and time for each to be made, and time for a route among them.
//!
//! `cargo bench --bench routing`

use std::hint::black_box;
use std::time::Instant;

use rialto::model::{ExchangeKind, ExchangeName, ExchangeOptions, QueueId, QueueName, RoutingKey};
use rialto::routing::{Destination, RouteInput, Routed, RoutingTable};
use rialto_protocol::types::{FieldTable, Properties, RawProperties};

const QUEUES: u64 = 1000;
const ROUTES: usize = 1_000_000;

/// The key (and arguments) of the nth binding, and of a message that matches it.
struct Case {
    name: &'static str,
    kind: ExchangeKind,
    binding: fn(usize) -> (String, FieldTable),
    key: fn(usize) -> String,
    headers: fn(usize) -> FieldTable,
    routes: usize,
}

fn plain(key: String) -> (String, FieldTable) {
    (key, FieldTable::new())
}

fn topic_binding(n: usize) -> (String, FieldTable) {
    plain(match n % 4 {
        0 => format!("site.device{n}.sensor.temperature"),
        1 => format!("site.device{n}.*.temperature"),
        2 => format!("site.device{n}.#"),
        _ => format!("*.device{n}.#.temperature"),
    })
}

const CASES: [Case; 3] = [
    Case {
        name: "direct",
        kind: ExchangeKind::Direct,
        binding: |n| plain(format!("site.device{n}.sensor")),
        key: |n| format!("site.device{n}.sensor"),
        headers: |_| FieldTable::new(),
        routes: ROUTES,
    },
    Case {
        name: "topic",
        kind: ExchangeKind::Topic,
        binding: topic_binding,
        key: |n| format!("site.device{n}.sensor.temperature"),
        headers: |_| FieldTable::new(),
        routes: ROUTES,
    },
    Case {
        name: "headers",
        kind: ExchangeKind::Headers,
        binding: |n| (String::new(), FieldTable::new().with("site", "here").with("device", n as i64)),
        key: |_| String::new(),
        headers: |n| FieldTable::new().with("site", "here").with("device", n as i64).with("seq", 5),
        routes: ROUTES / 10,
    },
];

fn table_of(case: &Case, inputs: Vec<(RoutingKey, FieldTable)>, exchange: &ExchangeName) -> RoutingTable {
    let mut table = RoutingTable::new();
    table.declare_exchange(exchange.clone(), ExchangeOptions::new(case.kind)).expect("the table is empty");
    for n in 0..QUEUES {
        table.add_queue(QueueName::new(format!("queue{n}")).expect("short"), QueueId(n));
    }
    for (n, (key, arguments)) in inputs.into_iter().enumerate() {
        let destination = Destination::Queue(QueueId(n as u64 % QUEUES));
        table.bind(exchange, &destination, key, &arguments).expect("below the limits");
    }
    table
}

fn main() {
    let exchange = ExchangeName::new("exchange").expect("short");
    println!(
        "{:>8} {:>9} {:>14} {:>9} {:>9} {:>11}",
        "kind", "bindings", "bytes/binding", "ns/bind", "ns/route", "ns/unbind"
    );
    for case in &CASES {
        for bindings in [10, 10_000, 1_000_000] {
            measure(case, bindings, &exchange);
        }
    }
}

fn measure(case: &Case, bindings: usize, exchange: &ExchangeName) {
    let inputs = |n| {
        let (key, arguments) = (case.binding)(n);
        (RoutingKey::new(key).expect("short"), arguments)
    };
    // The keys' texts are counted: they live as long as the bindings.
    let mut table = None;
    let memory = allocation_counter::measure(|| {
        table = Some(table_of(case, (0..bindings).map(inputs).collect(), exchange));
    });
    let empty = allocation_counter::measure(|| {
        black_box(Box::leak(Box::new(table_of(case, Vec::new(), exchange))));
    });
    let mut table = table.expect("the closure ran");
    let bytes = (memory.bytes_current - empty.bytes_current) as f64 / bindings as f64;

    let inputs_again: Vec<_> = (0..bindings).map(inputs).collect();
    let started = Instant::now();
    black_box(table_of(case, inputs_again.clone(), exchange));
    let per_bind = started.elapsed().as_nanos() as f64 / bindings as f64;

    // A thousand different messages, spread over all bindings: caches see what a busy broker's do.
    let messages: Vec<_> = (0..1000)
        .map(|n| {
            let n = n * 7919 % bindings;
            let properties = Properties { headers: Some((case.headers)(n)), ..Properties::default() };
            ((case.key)(n), properties.encoded())
        })
        .collect();
    let mut found = Routed::new();
    let mut hits = 0;
    let started = Instant::now();
    for n in 0..case.routes {
        let (key, properties) = &messages[n % messages.len()];
        let (routing_keys, properties) = (&[&**key], RawProperties::trusted(properties));
        let input = RouteInput { exchange, routing_keys, properties };
        table.route(&input, &mut found).expect("the exchange exists");
        hits += found.queues.len();
    }
    let per_route = started.elapsed().as_nanos() as f64 / case.routes as f64;
    assert_eq!(hits, case.routes, "each message matches one binding");

    let started = Instant::now();
    for (n, (key, arguments)) in inputs_again.iter().enumerate() {
        let destination = Destination::Queue(QueueId(n as u64 % QUEUES));
        table.unbind(exchange, &destination, key, arguments).expect("it is bound");
    }
    let per_unbind = started.elapsed().as_nanos() as f64 / bindings as f64;
    println!(
        "{:>8} {bindings:>9} {bytes:>14.0} {per_bind:>9.0} {per_route:>9.0} {per_unbind:>11.0}",
        case.name
    );
}
