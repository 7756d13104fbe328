//! Exchanges that drop what was published before.

use rialto_protocol::types::{FieldTable, Properties};

use super::*;

/// A direct exchange `x` that drops duplicates, in front of the queue `q`.
fn world(arguments: FieldTable) -> World {
    let mut world = World::new();
    world.exchange("direct", "x", arguments.with("x-message-deduplication", true)).unwrap();
    world.queue("q");
    world.bind("x", "q", "k");
    world
}

fn keyed(key: &str) -> Properties {
    headers(FieldTable::new().with("x-deduplication-header", key))
}

#[test]
fn a_message_that_was_published_before_goes_nowhere() {
    let mut world = world(FieldTable::new());
    for (key, body) in [("a", "1"), ("a", "2"), ("b", "3")] {
        world.publish("x", "k", &keyed(key), body).unwrap();
    }
    for body in ["4", "5"] {
        world.publish("x", "k", &Properties::default(), body).unwrap();
    }
    assert_eq!(world.drain("q"), ["1", "3", "4", "5"], "without a key nothing is a duplicate");
    world.publish("x", "k", &keyed("a"), "6").unwrap();
    assert!(world.drain("q").is_empty(), "seen, though long consumed");
}

#[test]
fn a_duplicate_is_told_apart_from_what_nobody_wants() {
    let mut world = world(FieldTable::new());
    let mut resolve = |key: &str, properties: &Properties| {
        let encoded = properties.encoded();
        let raw = RawProperties::check(&encoded).unwrap();
        let resolved = world.vhost.resolve("x", key, raw, ME, &mut world.scratch).unwrap();
        assert_eq!(resolved.generation, None, "never to be remembered");
        (resolved.targets.clone(), resolved.repeats)
    };
    let (first, repeats) = resolve("k", &keyed("a"));
    assert_eq!((first.queues.len(), repeats), (1, Repeats::Nothing));
    let (again, repeats) = resolve("k", &keyed("a"));
    assert_eq!((again.queues.len(), repeats), (0, Repeats::Own), "also before the first one is in its queue");
    let (nowhere, repeats) = resolve("other", &keyed("b"));
    assert_eq!((nowhere.queues.len(), repeats), (0, Repeats::Nothing));
    let (heard, _) = resolve("k", &keyed("b"));
    assert_eq!(heard.queues.len(), 1, "what came to nothing is no repetition's original");
}

#[test]
fn a_message_that_was_refused_may_come_again() {
    let mut world = world(FieldTable::new());
    let full = FieldTable::new().with("x-max-length", 0).with("x-overflow", "reject-publish");
    world.queue_with("full", full);
    world.bind("x", "full", "full");
    for _ in 0..2 {
        assert_eq!(world.publish("x", "full", &keyed("a"), "m"), Ok(1), "it is tried");
    }
    assert_eq!(world.publish("x", "k", &keyed("a"), "m"), Ok(1));
    let expiration = Some(rialto_protocol::types::ShortStr::truncated("soon"));
    let broken = Properties { expiration, ..keyed("b") };
    assert_eq!(refused(world.publish("x", "k", &broken, "m")).0, 406);
    assert_eq!(world.publish("x", "k", &keyed("b"), "m"), Ok(1));
}

#[test]
fn keys_are_forgotten_after_their_time_and_when_there_are_too_many() {
    let mut world = world(FieldTable::new().with("x-cache-ttl", 100).with("x-cache-size", 2));
    world.publish("x", "k", &keyed("a"), "1").unwrap();
    world.advance(100);
    world.publish("x", "k", &keyed("a"), "2").unwrap();
    for key in ["b", "c", "a"] {
        world.publish("x", "k", &keyed(key), key).unwrap();
    }
    assert_eq!(world.drain("q"), ["1", "2", "b", "c", "a"]);
}

#[test]
fn the_plugins_type_routes_to_every_binding_and_a_header_can_be_named() {
    let mut world = World::new();
    let arguments = FieldTable::new().with("x-cache-size", 10).with("x-deduplication-header", "id");
    world.exchange("x-message-deduplication", "x", arguments).unwrap();
    for queue in ["a", "b"] {
        world.queue(queue);
        world.bind("x", queue, queue);
    }
    for _ in 0..2 {
        world.publish("x", "whatever", &headers(FieldTable::new().with("id", 7)), "m").unwrap();
    }
    assert_eq!((world.drain("a"), world.drain("b")), (vec!["m".to_owned()], vec!["m".to_owned()]));
}

#[test]
fn a_new_exchange_of_the_name_has_seen_nothing() {
    let mut world = world(FieldTable::new());
    world.publish("x", "k", &keyed("a"), "1").unwrap();
    world.vhost.delete_exchange(&exchange("x"), false).unwrap();
    world.exchange("direct", "x", FieldTable::new().with("x-message-deduplication", true)).unwrap();
    world.bind("x", "q", "k");
    world.publish("x", "k", &keyed("a"), "2").unwrap();
    assert_eq!(world.drain("q"), ["1", "2"]);
}
