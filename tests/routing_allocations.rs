//! The hot path's budget: a warm route allocates nothing.

use rialto::model::{ExchangeKind, ExchangeName, ExchangeOptions, QueueId, QueueName, RoutingKey};
use rialto::routing::{Destination, RouteInput, Routed, RoutingTable};
use rialto_protocol::types::{FieldTable, RawProperties};

#[test]
fn a_warm_route_allocates_nothing() {
    let mut table = RoutingTable::new();
    let name = |name: &str| ExchangeName::new(name).unwrap();
    for (exchange, kind) in [
        ("topic", ExchangeKind::Topic),
        ("direct", ExchangeKind::Direct),
        ("fanout", ExchangeKind::Fanout),
        ("empty", ExchangeKind::Topic),
    ] {
        let options = ExchangeOptions { alternate: Some(name("topic")), ..ExchangeOptions::new(kind) };
        table.declare_exchange(name(exchange), options).unwrap();
    }
    let mut bind = |source: &str, destination, key: &str| {
        let key = RoutingKey::new(key).unwrap();
        assert!(table.bind(&name(source), &destination, key, &FieldTable::new()).unwrap());
    };
    for exchange in ["direct", "fanout"] {
        bind("topic", Destination::Exchange(name(exchange)), "#.#.b.#");
    }
    for n in 0..50 {
        let queue = Destination::Queue(QueueId(n));
        table.add_queue(QueueName::new(format!("q{n}")).unwrap(), QueueId(n));
        let mut bind = |source: &str, key: &str| {
            let key = RoutingKey::new(key).unwrap();
            assert!(table.bind(&name(source), &queue, key, &FieldTable::new()).unwrap());
        };
        ["a.*.c", "#.b.#.c", "*.#"].iter().for_each(|key| bind("topic", key));
        bind("direct", "a.b.c");
        bind("fanout", "");
    }
    let mut found = Routed::new();
    for exchange in ["topic", "direct", "fanout", "empty", ""] {
        let routing_keys = if exchange.is_empty() { ["q1", "q2"] } else { ["a.b.c", "x.y"] };
        let input = RouteInput { exchange, routing_keys: &routing_keys, properties: RawProperties::EMPTY };
        table.route(&input, &mut found).unwrap();
        let warm = allocation_counter::measure(|| {
            for _ in 0..100 {
                table.route(&input, &mut found).unwrap();
            }
        });
        assert_eq!(warm.count_total, 0, "{exchange:?}");
        assert_eq!(found.queues.len(), if exchange.is_empty() { 2 } else { 50 }, "{exchange:?}");
    }
}
