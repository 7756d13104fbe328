//! What is explained is what happens, and near misses name what a person would have meant.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rialto_protocol::types::{FieldTable, Properties, RawProperties};

use super::*;
use crate::model::{ExchangeOptions, HashSource};
use crate::routing::Destination;
use crate::routing::tests::{World, exchange, key, queue};

fn explain(world: &World, exchange: &str, keys: &[&str], headers: Option<FieldTable>) -> Explanation {
    let properties = Properties { headers, ..Properties::default() }.encoded();
    let properties = RawProperties::check(&properties).unwrap();
    let input = RouteInput { exchange, routing_keys: keys, properties };
    world.table.explain(&input, ExplainLimits::default()).unwrap()
}

/// The nearest binding that does not match, and why.
fn nearest(world: &World, exchange: &str, key: &str) -> String {
    let explanation = explain(world, exchange, &[key], None);
    let Some(miss) = explanation.visits[0].near.first() else { return "nothing".to_owned() };
    let faults: Vec<_> = miss.faults.iter().map(Fault::to_string).collect();
    format!("{}: {}", miss.binding.routing_key, faults.join("; "))
}

#[test]
fn a_misspelt_key_names_the_binding_that_it_nearly_matched() {
    let world = World::new(&["direct x", "x -> q1 orders.new", "x -> q2 invoices"]);
    assert_eq!(
        nearest(&world, "x", "orders.nwe"),
        "orders.new: the routing key is 'orders.nwe', the binding wants 'orders.new' (1 letter off)"
    );
    assert_eq!(
        nearest(&world, "x", "Invoices"),
        "invoices: the routing key is 'Invoices', the binding wants 'invoices': capital letters count"
    );
    assert_eq!(nearest(&world, "x", "something else"), "nothing");
}

#[test]
fn a_misspelt_word_of_a_topic_key_is_named() {
    let world = World::new(&["topic t", "t -> q1 orders.*.created", "t -> q2 logs.#"]);
    assert_eq!(
        nearest(&world, "t", "order.eu.created"),
        "orders.*.created: word 1 is 'order', the binding wants 'orders' (1 letter off)"
    );
    assert_eq!(
        nearest(&world, "t", "orders.created"),
        "orders.*.created: there is no word for '*' at place 2: '*' is exactly one word, '#' may be none"
    );
    assert_eq!(
        nearest(&world, "t", "orders.eu.north.created"),
        "orders.*.created: word 3, 'north', is one too many: '*' is exactly one word, '#' any number"
    );
    assert_eq!(
        nearest(&world, "t", "orders.eu.deleted"),
        "orders.*.created: word 3 is 'deleted', the binding wants 'created'"
    );
    assert_eq!(
        nearest(&world, "t", "log.a.b.c"),
        "logs.#: word 1 is 'log', the binding wants 'logs' (1 letter off)"
    );
}

#[test]
fn a_pattern_in_a_direct_exchange_is_found_out() {
    let world = World::new(&["direct x", "x -> q1 orders.*"]);
    assert_eq!(
        nearest(&world, "x", "orders.new"),
        "orders.*: 'orders.*' would match in a topic exchange; a direct exchange knows no wildcards"
    );
}

#[test]
fn the_default_exchange_names_queues_that_are_like_the_key() {
    let world = World::new(&["direct x", "x -> q-payments a", "x -> q-orders b"]);
    assert_eq!(
        nearest(&world, "", "q-payment"),
        "q-payments: the routing key is 'q-payment', the binding wants 'q-payments' (1 letter off)"
    );
}

#[test]
fn header_tests_that_are_not_met_are_told() {
    let mut world = World::new(&["headers h"]);
    let wanted = FieldTable::new().with("x-match", "all").with("type", "report").with("format", "pdf");
    world.bind("h -> q1", wanted).unwrap();
    let faults = |headers: FieldTable| {
        let explanation = explain(&world, "h", &[""], Some(headers));
        let near = explanation.visits[0].near.first();
        near.map(|miss| miss.faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "))
    };
    let have = |format: &str| FieldTable::new().with("type", "report").with("format", format);
    assert_eq!(faults(have("zip")).unwrap(), "header 'format' is zip, the binding wants pdf");
    assert_eq!(faults(FieldTable::new().with("type", "report")).unwrap(), "header 'format' is missing");
    let misspelt = FieldTable::new().with("type", "report").with("formta", "pdf");
    assert_eq!(faults(misspelt).unwrap(), "header 'format' is missing; the message has 'formta'");
    assert_eq!(faults(FieldTable::new().with("other", 1)), None, "nothing is near");
    assert!(explain(&world, "h", &[""], Some(have("pdf"))).visits[0].near.is_empty(), "it matches");
}

#[test]
fn a_number_is_not_the_text_that_spells_it() {
    let mut world = World::new(&["headers h"]);
    world.bind("h -> q1", FieldTable::new().with("version", 5)).unwrap();
    let explanation = explain(&world, "h", &[""], Some(FieldTable::new().with("version", "5")));
    let text = explanation.visits[0].near[0].faults[0].to_string();
    assert!(text.contains("a value of type longstr and one of type signedint"), "{text}");
}

#[test]
fn the_way_through_exchanges_is_told() {
    let world = World::new(&[
        "topic orders alternate=rest",
        "fanout audit",
        "fanout rest",
        "orders -> audit #.created",
        "audit -> q1",
        "rest -> q2",
    ]);
    let explanation = explain(&world, "orders", &["eu.created"], None);
    let visits: Vec<_> =
        explanation.visits.iter().map(|visit| (visit.exchange.as_str(), &visit.via)).collect();
    let by_binding = Via::Binding { from: exchange("orders"), routing_key: key("#.created") };
    assert_eq!(visits, [("orders", &Via::Publish), ("audit", &by_binding)]);
    assert_eq!(explanation.visits[0].alternate, Some((exchange("rest"), Alternate::NotNeeded)));
    assert_eq!(explanation.queues, [world.table.queue("q1").unwrap()]);

    let explanation = explain(&world, "orders", &["eu.deleted"], None);
    assert_eq!(explanation.visits[0].alternate, Some((exchange("rest"), Alternate::Taken)));
    assert_eq!(explanation.visits[1].via, Via::Alternate { of: exchange("orders") });
    assert_eq!(explanation.queues, [world.table.queue("q2").unwrap()]);
}

#[test]
fn an_alternate_exchange_that_is_not_there_is_told() {
    let world = World::new(&["topic orders alternate=nowhere"]);
    let explanation = explain(&world, "orders", &["a"], None);
    assert_eq!(explanation.visits[0].alternate, Some((exchange("nowhere"), Alternate::Missing)));
}

#[test]
fn a_misspelt_exchange_has_a_likely_meaning() {
    let world = World::new(&["topic orders", "topic invoices"]);
    assert_eq!(world.table.exchanges_like("order", 3), [exchange("orders")]);
    let input = RouteInput { exchange: "order", routing_keys: &["a"], properties: RawProperties::EMPTY };
    assert!(world.table.explain(&input, ExplainLimits::default()).is_err());
}

#[test]
fn long_keys_do_not_make_an_explanation_long() {
    let mut world = World::new(&["topic t"]);
    for n in 0..2000 {
        world.run(&format!("t -> q1 {}{n}", "a".repeat(240)));
    }
    let explanation = explain(&world, "t", &[&"a".repeat(240)], None);
    assert_eq!(explanation.visits[0].near.len(), ExplainLimits::default().near_max);
}

const KEYS: [&str; 9] = ["", "a", "a.b", "a.*", "#", "*.b.#", "#.a.#.b", "b", "ab"];
const EXCHANGES: [&str; 5] = ["x0", "x1", "x2", "x3", "x4"];

fn arguments(n: usize) -> FieldTable {
    match n {
        0 => FieldTable::new(),
        1 => FieldTable::new().with("h", 1),
        2 => FieldTable::new().with("x-match", "any").with("h", 1).with("i", "text"),
        _ => FieldTable::new().with("x-match", "all").with("h", 2_i64).with("i", "text"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_agrees_with_the_rule(
        kinds in prop::collection::vec((0..5_usize, prop::option::of(0..6_usize)), 5),
        bindings in prop::collection::vec((0..5_usize, 0..9_usize, 0..KEYS.len(), 0..4_usize), 0..40),
        messages in prop::collection::vec(
            (prop::sample::select(vec!["", "x0", "x1", "x2", "x3", "x4"]),
             prop::collection::vec(0..KEYS.len(), 1..3), 0..4_usize),
            1..12),
    ) {
        let mut world = World::new(&[]);
        for n in 0..4 {
            world.queue(&format!("q{n}"));
        }
        prop_assert!(world.table.add_queue(queue("a"), QueueId(77)), "its name is a routing key");
        for (n, (kind, alternate)) in kinds.iter().enumerate() {
            let kind = ExchangeKind::ALL[*kind];
            let alternate = alternate.map(|n| exchange(EXCHANGES.get(n).unwrap_or(&"nowhere")));
            let hash_on = HashSource::RoutingKey;
            let options = ExchangeOptions { alternate, hash_on, ..ExchangeOptions::new(kind) };
            world.table.declare_exchange(exchange(EXCHANGES[n]), options).unwrap();
        }
        for (source, destination, binding_key, n) in bindings {
            let destination = match destination.checked_sub(EXCHANGES.len()) {
                Some(n) => Destination::Queue(world.queue(&format!("q{n}"))),
                None => Destination::Exchange(exchange(EXCHANGES[destination])),
            };
            // A hash exchange wants weights.
            let binding_key = match world.table.exchange(EXCHANGES[source]).unwrap().options().kind {
                ExchangeKind::ConsistentHash => key("7"),
                _ => key(KEYS[binding_key]),
            };
            world.table.bind(&exchange(EXCHANGES[source]), &destination, binding_key, &arguments(n)).unwrap();
        }
        for (to, keys, n) in messages {
            let keys: Vec<&str> = keys.into_iter().map(|n| KEYS[n]).collect();
            let properties = Properties { headers: Some(arguments(n)), ..Properties::default() }.encoded();
            let properties = RawProperties::check(&properties).unwrap();
            let input = RouteInput { exchange: to, routing_keys: &keys, properties };
            let mut routed = Routed::new();
            world.table.route(&input, &mut routed).unwrap();
            let limits = ExplainLimits { matches_max: 1000, near_max: 5 };
            let explanation = world.table.explain(&input, limits).unwrap();
            prop_assert!(explanation.is_complete);
            prop_assert_eq!(&explanation.queues, &routed.queues);
            let matched = explanation.visits.iter().flat_map(|visit| &visit.matches);
            let told: BTreeSet<u64> = matched.filter_map(|matched| match &matched.binding.destination {
                crate::routing::BindingTarget::Queue { id, .. } => Some(id.0),
                crate::routing::BindingTarget::Exchange(_) => None,
            }).collect();
            let found: BTreeSet<u64> = routed.queues.iter().map(|id| id.0).collect();
            prop_assert_eq!(told, found, "{:?}", explanation);
            for visit in &explanation.visits {
                prop_assert_eq!(visit.matches.len(), visit.matches_len);
                for near in &visit.near {
                    prop_assert!(!near.faults.is_empty());
                    let is_matched = |m: &Match| m.binding == near.binding && m.routing_key == near.routing_key;
                    prop_assert!(!visit.matches.iter().any(is_matched), "what matches is no near miss");
                }
            }
        }
    }
}
