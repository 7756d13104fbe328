//! What lists of bindings show.

use super::*;

fn shown(bindings: impl Iterator<Item = Binding>) -> Vec<String> {
    bindings
        .map(|b| {
            let (kind, name) = (b.destination.kind(), b.destination.name());
            format!("{} -> {kind} {name} {} {}", b.source, b.routing_key, b.arguments)
        })
        .collect()
}

#[test]
fn every_queue_is_listed_as_bound_to_the_default_exchange() {
    let mut world = World::new(&[]);
    world.queue("q1");
    world.queue("q2");
    let implicit = [" -> queue q1 q1 {}", " -> queue q2 q2 {}"];
    assert_eq!(shown(world.table.bindings()), implicit);
    assert_eq!(shown(world.table.bindings_from("")), implicit);
    assert_eq!(shown(world.table.bindings_to(&Destination::Queue(QueueId(2)))), implicit[1..]);
    assert_eq!(world.table.bindings_len(), 0);
    assert_eq!(world.table.exchange("").unwrap().bindings_from(), 0);
}

#[test]
fn bindings_are_listed_by_either_end_oldest_first() {
    let mut world = World::new(&["direct d", "topic t", "t -> d a.#", "t -> q1 b", "t -> q1 a", "d -> q1 c"]);
    let q1 = Destination::Queue(world.queue("q1"));
    let from_t = ["t -> exchange d a.# {}", "t -> queue q1 b {}", "t -> queue q1 a {}"];
    assert_eq!(shown(world.table.bindings_from("t")), from_t);
    let to_q1 = [" -> queue q1 q1 {}", from_t[1], from_t[2], "d -> queue q1 c {}"];
    assert_eq!(shown(world.table.bindings_to(&q1)), to_q1);
    assert_eq!(shown(world.table.bindings_to(&to_exchange("d"))), [from_t[0]]);
    world.unbind("t -> q1 b", FieldTable::new()).unwrap();
    assert_eq!(shown(world.table.bindings_from("t")), [from_t[0], from_t[2]]);
    assert_eq!(shown(world.table.bindings_from("nowhere")), [""; 0]);
}

#[test]
fn arguments_are_listed_sorted() {
    let mut world = World::new(&["direct d"]);
    world.bind("d -> q1 k", FieldTable::new().with("b", 1).with("a", "x")).unwrap();
    assert_eq!(shown(world.table.bindings_from("d")), ["d -> queue q1 k {a: x, b: 1}"]);
}
