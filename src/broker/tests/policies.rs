//! Policies: for what they hold, since when, and which of several.

use rialto_protocol::types::{FieldTable, FieldValue, Properties};

use super::*;
use crate::model::{POLICIES_MAX, Policy, PolicyTarget};

fn policy(name: &str, pattern: &str, priority: i64, definition: FieldTable) -> Policy {
    Policy::new(name, pattern, PolicyTarget::All, priority, &definition).unwrap()
}

fn max_length(most: i32) -> FieldTable {
    FieldTable::new().with("max-length", most)
}

fn shown(row: &FieldTable) -> Option<String> {
    row.get("policy").and_then(FieldValue::as_str).map(str::to_owned)
}

#[test]
fn a_queue_declared_later_is_held_to_it() {
    let mut world = World::new();
    world.vhost.set_policy(policy("short", "^q", 0, max_length(1))).unwrap();
    for queue in ["q", "other"] {
        world.queue(queue);
        for body in ["1", "2"] {
            world.publish("", queue, &Properties::default(), body).unwrap();
        }
    }
    assert_eq!((world.drain("q").len(), world.drain("other").len()), (1, 2));
    assert_eq!(shown(&world.vhost.queue_info("q", ME).unwrap()).as_deref(), Some("short"));
    assert_eq!(shown(&world.vhost.queue_info("other", ME).unwrap()), None);
    // Declared again as it was: the policy is no difference.
    world.queue("q");
    assert_eq!(world.vhost.queue("q", ME).unwrap().options().arguments, FieldTable::new());
}

#[test]
fn only_the_one_with_the_highest_priority_holds() {
    let mut world = World::new();
    world.vhost.set_policy(policy("b", "q", 5, max_length(1))).unwrap();
    world.vhost.set_policy(policy("a", "q", 1, FieldTable::new().with("message-ttl", 1))).unwrap();
    world.vhost.set_policy(policy("c", "q", 5, max_length(9))).unwrap();
    let queue = world.queue("q");
    assert_eq!((queue.options().max_length, queue.options().message_ttl_ms), (Some(1), None));
    assert_eq!(
        world.vhost.policies().iter().map(|policy| policy.name()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert!(world.vhost.clear_policy("b") && !world.vhost.clear_policy("b"));
    assert_eq!(shown(&world.vhost.queue_info("q", ME).unwrap()).as_deref(), Some("c"));
}

#[test]
fn exchanges_change_their_alternate_at_once_and_back() {
    let mut world = World::new();
    world.exchange("direct", "x", FieldTable::new()).unwrap();
    world.exchange("direct", "own", FieldTable::new().with("alternate-exchange", "nowhere")).unwrap();
    world.queue("k");
    let mut routed = |exchange| world.publish(exchange, "k", &Properties::default(), "m");
    assert_eq!(routed("x"), Ok(0));
    let definition = FieldTable::new().with("alternate-exchange", "");
    world.vhost.set_policy(policy("ae", ".", 0, definition)).unwrap();
    let mut routed = |exchange| world.publish(exchange, "k", &Properties::default(), "m");
    assert_eq!((routed("x"), routed("own")), (Ok(1), Ok(0)));
    world.exchange("direct", "later", FieldTable::new()).unwrap();
    assert_eq!(world.publish("later", "k", &Properties::default(), "m"), Ok(1));
    assert_eq!(shown(&world.vhost.exchange_info("later").unwrap()).as_deref(), Some("ae"));
    let known = world.vhost.generation();
    world.vhost.clear_policy("ae");
    assert!(world.vhost.generation() > known, "remembered routes hold no more");
    assert_eq!(world.publish("x", "k", &Properties::default(), "m"), Ok(0));
}

#[test]
fn queues_of_the_broker_itself_are_passed_over() {
    let mut world = World::new();
    world.vhost.set_policy(policy("all", ".*", 0, max_length(0))).unwrap();
    world.exchange("x-delayed-message", "x", FieldTable::new().with("x-delayed-type", "direct")).unwrap();
    world.publish("x", "k", &headers(FieldTable::new().with("x-delay", 5)), "m").unwrap();
    let waiting = world.vhost.passive_queue("amq.delayed.x", ME).unwrap();
    assert_eq!(waiting.stats().ready, 1);
    assert_eq!(shown(&world.vhost.queue_info("amq.delayed.x", ME).unwrap()), None);
}

#[test]
fn there_is_a_limit() {
    let world = World::new();
    for n in 0..POLICIES_MAX {
        world.vhost.set_policy(policy(&n.to_string(), "q", 0, max_length(1))).unwrap();
    }
    assert_eq!(refused(world.vhost.set_policy(policy("more", "q", 0, max_length(1)))).0, 406);
    assert!(world.vhost.set_policy(policy("7", "q", 1, max_length(2))).is_ok(), "in the place of another");
}
