//! Policies: for what they hold, since when, and which of several.

use rialto_protocol::types::{FieldTable, FieldValue, Properties};

use super::*;
use crate::model::{Policy, PolicyKind, PolicyTarget};

fn policy(name: &str, pattern: &str, priority: i64, definition: FieldTable) -> Policy {
    Policy::new(name, pattern, PolicyTarget::All, priority, &definition).unwrap()
}

fn operator(name: &str, definition: FieldTable) -> Policy {
    Policy::of_kind(PolicyKind::Operator, name, "q", PolicyTarget::Queues, 0, &definition).unwrap()
}

fn max_length(most: i32) -> FieldTable {
    FieldTable::new().with("max-length", most)
}

impl World {
    fn set_policy(&mut self, policy: Policy) -> Result<(), BrokerError> {
        let set = self.vhost.set_policy(policy, &mut self.turn);
        self.turn.finish(&self.broker);
        set
    }

    fn clear_policy(&mut self, name: &str) -> bool {
        let cleared = self.vhost.clear_policy(PolicyKind::User, name, &mut self.turn);
        self.turn.finish(&self.broker);
        cleared.unwrap()
    }
}

fn shown(row: &FieldTable) -> Option<String> {
    row.get("policy").and_then(FieldValue::as_str).map(str::to_owned)
}

#[test]
fn a_queue_declared_later_is_held_to_it() {
    let mut world = World::new();
    world.set_policy(policy("short", "^q", 0, max_length(1))).unwrap();
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
    world.set_policy(policy("b", "q", 5, max_length(1))).unwrap();
    world.set_policy(policy("a", "q", 1, FieldTable::new().with("message-ttl", 1))).unwrap();
    world.set_policy(policy("c", "q", 5, max_length(9))).unwrap();
    let queue = world.queue("q");
    let options = queue.effective_options();
    assert_eq!((options.max_length, options.message_ttl_ms), (Some(1), None));
    assert_eq!(
        world.vhost.policies(PolicyKind::User).iter().map(|policy| policy.name()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert!(world.clear_policy("b") && !world.clear_policy("b"));
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
    world.set_policy(policy("ae", ".", 0, definition)).unwrap();
    let mut routed = |exchange| world.publish(exchange, "k", &Properties::default(), "m");
    assert_eq!((routed("x"), routed("own")), (Ok(1), Ok(0)));
    world.exchange("direct", "later", FieldTable::new()).unwrap();
    assert_eq!(world.publish("later", "k", &Properties::default(), "m"), Ok(1));
    assert_eq!(shown(&world.vhost.exchange_info("later").unwrap()).as_deref(), Some("ae"));
    let known = world.vhost.generation();
    world.clear_policy("ae");
    assert!(world.vhost.generation() > known, "remembered routes hold no more");
    assert_eq!(world.publish("x", "k", &Properties::default(), "m"), Ok(0));
}

#[test]
fn queues_of_the_broker_itself_are_passed_over() {
    let mut world = World::new();
    world.set_policy(policy("all", ".*", 0, max_length(0))).unwrap();
    world.exchange("x-delayed-message", "x", FieldTable::new().with("x-delayed-type", "direct")).unwrap();
    world.publish("x", "k", &headers(FieldTable::new().with("x-delay", 5)), "m").unwrap();
    let waiting = world.vhost.passive_queue("amq.delayed.x", ME).unwrap();
    assert_eq!(waiting.stats().ready, 1);
    assert_eq!(shown(&world.vhost.queue_info("amq.delayed.x", ME).unwrap()), None);
}

#[test]
fn there_is_a_limit_for_each_kind_and_the_file_stands_above_it() {
    let mut world = World::with_limits(Limits { policies_max: 2, ..Limits::default() });
    for name in ["one", "two"] {
        world.set_policy(policy(name, "q", 0, max_length(1))).unwrap();
    }
    let (code, text) = refused(world.set_policy(policy("more", "q", 0, max_length(1))));
    assert!(code == 406 && text.contains("limit of 2 (topology.policies_per_vhost_max)"), "{text}");
    assert!(world.set_policy(policy("two", "q", 1, max_length(2))).is_ok(), "in the place of another");
    assert!(world.set_policy(operator("more", max_length(1))).is_ok(), "of another kind");
    world.vhost.set_file_policy(policy("file's", "q", 0, max_length(1)), &mut world.turn);
    assert_eq!(world.vhost.policies(PolicyKind::User).len(), 3);
}

#[test]
fn queues_change_at_once_and_back() {
    let mut world = World::new();
    world.queue("dead");
    world.queue_with("q", FieldTable::new().with("x-max-length", 3));
    for body in ["1", "2", "3", "4"] {
        world.publish("", "q", &Properties::default(), body).unwrap();
    }
    let definition = max_length(1).with("dead-letter-exchange", "").with("dead-letter-routing-key", "dead");
    world.set_policy(policy("p", "^q$", 0, definition)).unwrap();
    assert_eq!(world.drain("dead"), ["2", "3"], "what is too much dies as the policy has it");
    world.publish("", "q", &Properties::default(), "5").unwrap();
    assert_eq!((world.drain("dead"), world.drain("q")), (vec!["4".to_owned()], vec!["5".to_owned()]));
    // A change of the policy, then its end: the queue is as it was declared.
    world.set_policy(policy("p", "^q$", 0, FieldTable::new().with("message-ttl", 10))).unwrap();
    world.publish("", "q", &Properties::default(), "6").unwrap();
    world.advance(10);
    assert!(world.drain("q").is_empty() && world.drain("dead").is_empty());
    assert!(world.clear_policy("p"));
    let queue = world.vhost.queue("q", ME).unwrap();
    assert_eq!(*queue.effective_options(), *queue.options());
    assert_eq!(queue.options().max_length, Some(3));
}

#[test]
fn an_idle_queue_expires_when_a_policy_says_so() {
    let mut world = World::new();
    world.queue("q");
    world.advance(500);
    world.set_policy(policy("p", "q", 0, FieldTable::new().with("expires", 1000))).unwrap();
    world.advance(999);
    assert!(world.vhost.queue("q", ME).is_ok(), "its time begins with the policy");
    world.advance(1);
    assert_eq!(refused(world.vhost.queue("q", ME)).0, 404);
}

#[test]
fn an_operators_policy_holds_beside_the_users_and_limits_it() {
    let mut world = World::new();
    let queue = world.queue("q");
    world.set_policy(policy("p", "q", 0, max_length(100).with("overflow", "reject-publish"))).unwrap();
    world.set_policy(operator("cap", max_length(10).with("message-ttl", 1000))).unwrap();
    let options = queue.effective_options();
    assert_eq!((options.max_length, options.message_ttl_ms), (Some(10), Some(1000)));
    assert_eq!(options.overflow, crate::model::OverflowRule::RejectPublish);
    let holding = world.vhost.policies_of_queue(&queue);
    assert_eq!((holding.policy.unwrap().name(), holding.operator.unwrap().name()), ("p", "cap"));
    // Each kind has its own names.
    world.set_policy(operator("p", max_length(5))).unwrap();
    assert!(world.clear_policy("p"));
    assert_eq!(queue.effective_options().max_length, Some(10));
    assert!(world.vhost.policy(PolicyKind::Operator, "p").is_some());
}

#[test]
fn policies_of_the_file_change_in_the_file_only() {
    let mut world = World::new();
    world.vhost.set_file_policy(policy("p", "q", 0, max_length(1)), &mut world.turn);
    let refused = refused(world.set_policy(policy("p", "q", 0, max_length(2))));
    assert!(refused.1.contains("settings file"), "{}", refused.1);
    assert!(world.vhost.clear_policy(PolicyKind::User, "p", &mut world.turn).is_err());
}

#[test]
fn policies_set_together_are_set_all_or_none() {
    let mut world = World::new();
    world.vhost.set_file_policy(policy("file's", "q", 0, max_length(1)), &mut world.turn);
    let both = vec![policy("a", "q", 0, max_length(2)), policy("file's", "q", 0, max_length(2))];
    assert!(world.vhost.set_policies(both, &mut world.turn).is_err());
    assert!(world.vhost.policy(PolicyKind::User, "a").is_none());
}
