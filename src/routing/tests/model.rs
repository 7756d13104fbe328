//! Random operations on a table and on a naive model of it, which keeps bindings in one list and asks each of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const KEYS: [&str; 8] = ["", "a", "a.b", "a.*", "#", "*.b.#", "#.a.#.b", "b"];
const EXCHANGES: [&str; 6] = ["x0", "x1", "x2", "x3", "x4", "x5"];
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];

#[derive(Clone, Debug)]
enum Step {
    Declare { exchange: usize, kind: usize, auto_delete: bool, alternate: Option<usize> },
    Delete { exchange: usize, if_unused: bool },
    AddQueue(usize),
    RemoveQueue(usize),
    Bind(Edge),
    Unbind(Edge),
    Route { exchange: usize, key: usize, headers: usize },
}

/// A binding by numbers; destinations from `EXCHANGES.len()` on are queues.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    source: usize,
    destination: usize,
    key: usize,
    arguments: usize,
}

fn arguments(n: usize) -> FieldTable {
    match n {
        0 => FieldTable::new(),
        1 => FieldTable::new().with("h", 1),
        2 => FieldTable::new().with("x-match", "any").with("h", 1).with("i", "text"),
        _ => FieldTable::new().with("x-match", "all").with("h", 2_i64).with("i", "text"),
    }
}

fn headers(n: usize) -> FieldTable {
    [FieldTable::new(), FieldTable::new().with("h", 1_i64), FieldTable::new().with("h", 2).with("i", "text")]
        [n]
        .clone()
}

#[derive(Clone)]
struct ModelExchange {
    kind: ExchangeKind,
    auto_delete: bool,
    alternate: Option<usize>,
}

#[derive(Default)]
struct Model {
    exchanges: BTreeMap<usize, ModelExchange>,
    queues: BTreeSet<usize>,
    bindings: BTreeSet<Edge>,
}

impl Model {
    fn exists(&self, destination: usize) -> bool {
        match destination.checked_sub(EXCHANGES.len()) {
            Some(queue) => self.queues.contains(&queue),
            None => self.exchanges.contains_key(&destination),
        }
    }

    /// Removes bindings, and auto-delete exchanges that lose their last one.
    fn remove_bindings(&mut self, mut gone: impl FnMut(&Edge) -> bool) {
        let mut removed: Vec<Edge> = self.bindings.iter().filter(|edge| gone(edge)).cloned().collect();
        while let Some(edge) = removed.pop() {
            self.bindings.remove(&edge);
            let source = edge.source;
            let unused = !self.bindings.iter().any(|edge| edge.source == source);
            if unused && self.exchanges.get(&source).is_some_and(|exchange| exchange.auto_delete) {
                self.exchanges.remove(&source);
                removed.extend(self.bindings.iter().filter(|edge| edge.destination == source).cloned());
            }
        }
    }

    fn route(&self, first: usize, key: &str, headers: &FieldTable) -> BTreeSet<usize> {
        let mut queues = BTreeSet::new();
        let mut visits = vec![first];
        let mut next = 0;
        while let Some(&at) = visits.get(next) {
            next += 1;
            let exchange = &self.exchanges[&at];
            let matching = |edge: &&Edge| {
                let pattern = KEYS[edge.key];
                edge.source == at
                    && match exchange.kind {
                        ExchangeKind::Direct => pattern == key,
                        ExchangeKind::Fanout => true,
                        ExchangeKind::Topic => topic_matches(pattern, key),
                        ExchangeKind::Headers => headers_match(edge.arguments, headers),
                        kind => unreachable!("{kind} is not among the steps"),
                    }
            };
            let mut found: Vec<usize> =
                self.bindings.iter().filter(matching).map(|edge| edge.destination).collect();
            if found.is_empty() {
                found.extend(exchange.alternate.filter(|alternate| self.exchanges.contains_key(alternate)));
            }
            for destination in found {
                match destination.checked_sub(EXCHANGES.len()) {
                    Some(queue) => drop(queues.insert(queue)),
                    None if visits.contains(&destination) => {}
                    None => visits.push(destination),
                }
            }
        }
        queues
    }
}

/// The bindings of [`arguments`], each read by hand.
fn headers_match(arguments: usize, headers: &FieldTable) -> bool {
    let h = headers.get("h").and_then(|value| value.as_int());
    let text = headers.get("i").is_some_and(|value| value.as_str() == Some("text"));
    match arguments {
        0 => true,
        1 => h == Some(1),
        2 => h == Some(1) || text,
        _ => h == Some(2) && text,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let edge = || {
        (0..EXCHANGES.len(), 0..EXCHANGES.len() + QUEUES.len(), 0..KEYS.len(), 0..4_usize)
            .prop_map(|(source, destination, key, arguments)| Edge { source, destination, key, arguments })
    };
    prop_oneof![
        4 => (0..EXCHANGES.len(), 0..4_usize, any::<bool>(), prop::option::of(0..EXCHANGES.len())).prop_map(
            |(exchange, kind, auto_delete, alternate)| Step::Declare { exchange, kind, auto_delete, alternate },
        ),
        1 => (0..EXCHANGES.len(), any::<bool>())
            .prop_map(|(exchange, if_unused)| Step::Delete { exchange, if_unused }),
        3 => (0..QUEUES.len()).prop_map(Step::AddQueue),
        1 => (0..QUEUES.len()).prop_map(Step::RemoveQueue),
        14 => edge().prop_map(Step::Bind),
        4 => edge().prop_map(Step::Unbind),
        8 => (0..EXCHANGES.len(), 0..KEYS.len(), 0..3_usize)
            .prop_map(|(exchange, key, headers)| Step::Route { exchange, key, headers }),
    ]
}

/// The table and the model side by side.
struct Pair {
    table: RoutingTable,
    model: Model,
    found: Routed,
}

impl Pair {
    fn destination(n: usize) -> Destination {
        match n.checked_sub(EXCHANGES.len()) {
            // A queue keeps its number as its id, also when it comes again.
            Some(queue) => Destination::Queue(QueueId(queue as u64)),
            None => to_exchange(EXCHANGES[n]),
        }
    }

    fn apply(&mut self, step: &Step) {
        let (table, model) = (&mut self.table, &mut self.model);
        match step {
            Step::Declare { exchange: n, kind, auto_delete, alternate } => {
                let kind = ExchangeKind::ALL[*kind];
                let options = ExchangeOptions {
                    auto_delete: *auto_delete,
                    alternate: alternate.map(|n| exchange(EXCHANGES[n])),
                    ..ExchangeOptions::new(kind)
                };
                let created =
                    table.declare_exchange(exchange(EXCHANGES[*n]), options) == Ok(Declared::Created);
                assert_eq!(created, !model.exchanges.contains_key(n));
                if created {
                    let (auto_delete, alternate) = (*auto_delete, *alternate);
                    model.exchanges.insert(*n, ModelExchange { kind, auto_delete, alternate });
                }
            }
            Step::Delete { exchange: n, if_unused } => {
                let in_use = *if_unused && model.bindings.iter().any(|edge| edge.source == *n);
                let deleted = table.delete_exchange(&exchange(EXCHANGES[*n]), *if_unused);
                assert_eq!(deleted.is_err(), in_use);
                if !in_use {
                    assert_eq!(deleted.unwrap().existed, model.exchanges.remove(n).is_some());
                    model.remove_bindings(|edge| edge.source == *n || edge.destination == *n);
                }
            }
            Step::AddQueue(n) => {
                assert_eq!(table.add_queue(queue(QUEUES[*n]), QueueId(*n as u64)), model.queues.insert(*n));
            }
            Step::RemoveQueue(n) => {
                table.remove_queue(&queue(QUEUES[*n]));
                model.queues.remove(n);
                model.remove_bindings(|edge| edge.destination == n + EXCHANGES.len());
            }
            Step::Bind(edge) => {
                let valid = model.exchanges.contains_key(&edge.source) && model.exists(edge.destination);
                let (source, destination) =
                    (exchange(EXCHANGES[edge.source]), Self::destination(edge.destination));
                let bound =
                    table.bind(&source, &destination, key(KEYS[edge.key]), &arguments(edge.arguments));
                assert_eq!(bound.ok(), valid.then(|| model.bindings.insert(edge.clone())));
            }
            Step::Unbind(edge) => {
                let (source, destination) =
                    (exchange(EXCHANGES[edge.source]), Self::destination(edge.destination));
                let arguments = arguments(edge.arguments);
                let unbound = table.unbind(&source, &destination, &key(KEYS[edge.key]), &arguments).unwrap();
                assert_eq!(unbound.existed, model.bindings.contains(edge));
                model.remove_bindings(|other| other == edge);
            }
            Step::Route { exchange, key, headers: n } => {
                let properties = Properties { headers: Some(headers(*n)), ..Properties::default() }.encoded();
                let properties = RawProperties::check(&properties).unwrap();
                let keys = [KEYS[*key]];
                let input = RouteInput { exchange: EXCHANGES[*exchange], routing_keys: &keys, properties };
                let routed = table.route(&input, &mut self.found);
                assert_eq!(routed.is_ok(), model.exchanges.contains_key(exchange));
                if routed.is_ok() {
                    let expected = model.route(*exchange, KEYS[*key], &headers(*n));
                    let found: Vec<usize> = self.found.queues.iter().map(|id| id.0 as usize).collect();
                    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
                }
            }
        }
    }

    /// Every list shows the model's bindings, each once.
    fn check_lists(&self) {
        let text = |binding: Binding| {
            let (source, name) = (&binding.source, binding.destination.name());
            format!("{source} {name} {} {}", binding.routing_key, binding.arguments)
        };
        let sorted = |bindings: &mut dyn Iterator<Item = Binding>| {
            let explicit = bindings.filter(|binding| !binding.source.is_empty());
            let mut texts: Vec<String> = explicit.map(text).collect();
            texts.sort();
            texts
        };
        let expected = |keep: &dyn Fn(&Edge) -> bool| {
            let names: Vec<&str> = EXCHANGES.iter().chain(&QUEUES).copied().collect();
            let texts = self.model.bindings.iter().filter(|edge| keep(edge)).map(|edge| {
                let arguments = super::super::binding::BindingArguments::new(&arguments(edge.arguments));
                let arguments = arguments.map_or_else(String::new, |a| a.table.to_string());
                let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
                let (source, destination) = (names[edge.source], names[edge.destination]);
                format!("{source} {destination} {} {arguments}", KEYS[edge.key])
            });
            let mut texts: Vec<String> = texts.collect();
            texts.sort();
            texts
        };
        assert_eq!(sorted(&mut self.table.bindings()), expected(&|_| true));
        for (n, name) in EXCHANGES.iter().enumerate() {
            let from = expected(&|edge| edge.source == n);
            let to = expected(&|edge| edge.destination == n);
            let exchange = self.table.exchange(name);
            assert_eq!(exchange.is_some(), self.model.exchanges.contains_key(&n));
            assert_eq!(exchange.map_or(0, |exchange| exchange.bindings_from()), from.len());
            assert_eq!(exchange.map_or(0, |exchange| exchange.bindings_to()), to.len());
            assert_eq!(sorted(&mut self.table.bindings_from(name)), from);
            assert_eq!(sorted(&mut self.table.bindings_to(&to_exchange(name))), to);
        }
        for n in EXCHANGES.len()..EXCHANGES.len() + QUEUES.len() {
            let to = expected(&|edge| edge.destination == n);
            assert_eq!(sorted(&mut self.table.bindings_to(&Self::destination(n))), to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_does(steps in prop::collection::vec(step(), 0..250)) {
        let mut pair = Pair { table: RoutingTable::new(), model: Model::default(), found: Routed::new() };
        for (n, step) in steps.iter().enumerate() {
            pair.apply(step);
            if n % 10 == 0 {
                pair.check_lists();
            }
        }
        pair.check_lists();
    }
}
