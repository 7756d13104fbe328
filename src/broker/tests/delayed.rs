//! Delayed exchanges: who waits, for how long, where, and what goes on.

use rialto_protocol::types::{FieldTable, FieldValue, Properties};

use super::*;

fn delayed(world: &mut World, kind: &str, name: &str) {
    world.exchange("x-delayed-message", name, FieldTable::new().with("x-delayed-type", kind)).unwrap();
}

fn delay(ms: i32) -> Properties {
    headers(FieldTable::new().with("x-delay", ms))
}

/// A delayed exchange `later` that routes by topic to the queue `q`.
fn topic() -> World {
    let mut world = World::new();
    delayed(&mut world, "topic", "later");
    world.queue("q");
    world.bind("later", "q", "order.#");
    world
}

fn waiting(world: &World) -> u64 {
    world.vhost.passive_queue("amq.delayed.later", OTHER).unwrap().stats().ready
}

#[test]
fn messages_go_on_when_their_time_has_come_and_not_before() {
    let mut world = topic();
    for (ms, body) in [(300, "third"), (100, "first"), (200, "second"), (100, "first too")] {
        assert_eq!(world.publish("later", "order.new", &delay(ms), body), Ok(1), "it has a place");
    }
    world.advance(99);
    assert_eq!((world.drain("q").len(), waiting(&world)), (0, 4));
    world.advance(1);
    assert_eq!(world.drain("q"), ["first", "first too"]);
    world.advance(200);
    assert_eq!(world.drain("q"), ["second", "third"]);
    assert_eq!(waiting(&world), 0);
}

#[test]
fn without_a_delay_messages_go_at_once() {
    let mut world = topic();
    let text = headers(FieldTable::new().with("x-delay", "100"));
    for properties in [Properties::default(), delay(0), delay(-5), text] {
        world.publish("later", "order.new", &properties, "m").unwrap();
        assert_eq!(world.drain("q"), ["m"]);
    }
    assert_eq!(world.publish("later", "other", &Properties::default(), "m"), Ok(0), "unroutable now");
}

#[test]
fn what_has_waited_is_as_it_was_published_but_for_the_sign_of_its_delay() {
    let mut world = topic();
    let published = Properties {
        headers: Some(FieldTable::new().with("k", "v").with("x-delay", 10)),
        priority: Some(3),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    world.publish("later", "order.new", &published, "m").unwrap();
    world.advance(10);
    let got = world.get("q").unwrap();
    assert_eq!((&**got.message.exchange(), &**got.message.routing_key()), ("later", "order.new"));
    let table = FieldTable::new().with("k", "v").with("x-delay", -10);
    assert_eq!(got.message.properties().decode(), Properties { headers: Some(table), ..published });
    assert!(got.message.is_persistent() && !got.redelivered);
}

#[test]
fn its_own_expiration_begins_when_it_goes_on() {
    let mut world = topic();
    let expiration = Some(rialto_protocol::types::ShortStr::truncated("50"));
    let published = Properties { expiration, ..delay(1000) };
    world.publish("later", "order.new", &published, "m").unwrap();
    world.advance(1000);
    world.advance(49);
    assert_eq!(world.vhost.queue("q", ME).unwrap().stats().ready, 1);
    world.advance(1);
    assert!(world.get("q").is_none());
}

#[test]
fn all_its_keys_count_when_it_goes_on() {
    let mut world = topic();
    world.queue("copy");
    world.bind("later", "copy", "blind");
    let table = FieldTable::new().with("x-delay", 5).with("BCC", texts(&["blind"]));
    world.publish("later", "order", &headers(table), "m").unwrap();
    world.advance(5);
    assert_eq!(world.drain("q"), ["m"]);
    let copy = world.get("copy").unwrap();
    assert_eq!(copy.message.properties().decode(), delay(-5), "blind as ever");
}

#[test]
fn a_message_that_comes_through_another_exchange_waits_too() {
    let mut world = topic();
    world.exchange("fanout", "front", FieldTable::new()).unwrap();
    world.queue("at-once");
    world.bind("front", "at-once", "");
    let to = crate::routing::Destination::Exchange(exchange("later"));
    world.vhost.bind(&exchange("front"), &to, RoutingKey::default(), &FieldTable::new()).unwrap();
    assert_eq!(world.publish("front", "order", &delay(5), "m"), Ok(2));
    assert_eq!(world.drain("at-once"), ["m"]);
    world.advance(5);
    assert_eq!(&**world.get("q").unwrap().message.exchange(), "front");
}

#[test]
fn who_matches_nothing_in_the_end_goes_to_the_alternate_exchange_or_is_counted() {
    let mut world = World::new();
    let arguments = FieldTable::new().with("x-delayed-type", "direct");
    world.exchange("x-delayed-message", "plain", arguments.clone()).unwrap();
    world.exchange("x-delayed-message", "careful", arguments.with("alternate-exchange", "")).unwrap();
    world.queue("q");
    for name in ["plain", "careful"] {
        world.publish(name, "q", &delay(5), "m").unwrap();
    }
    world.advance(5);
    assert_eq!(world.drain("q"), ["m"]);
    assert_eq!(world.broker.counters().delayed_unroutable(), 1);
}

#[test]
fn a_dead_letter_can_wait_and_waits_once() {
    let mut world = topic();
    world.queue_with(
        "dying",
        FieldTable::new().with("x-dead-letter-exchange", "later").with("x-message-ttl", 0),
    );
    world.bind("later", "dying", "again");
    world.publish("", "dying", &delay(20), "m").unwrap();
    assert_eq!(waiting(&world), 1);
    world.advance(20);
    assert_eq!(
        (waiting(&world), world.broker.counters().delayed_unroutable()),
        (0, 1),
        "key 'dying' is not bound"
    );
}

#[test]
fn waiting_messages_are_listed_and_counted_with_their_exchange() {
    let mut world = topic();
    world.publish("later", "order", &delay(50), "m").unwrap();
    let row = world.vhost.exchange_info("later").unwrap();
    assert_eq!(row.get("messages_delayed"), Some(&FieldValue::I64(1)));
    let row = world.vhost.queue_info("amq.delayed.later", OTHER).unwrap();
    assert_eq!(row.get("messages"), Some(&FieldValue::I64(1)));
    let rows = world.vhost.list(Listed::Queues, "", 10).unwrap().rows;
    assert!(rows.iter().any(|row| row.get("name") == Some(&"amq.delayed.later".into())));
    assert!(world.vhost.exchange_info("amq.topic").unwrap().get("messages_delayed").is_none());
}

#[test]
fn to_purge_is_to_cancel_and_nothing_else_is_allowed() {
    let mut world = topic();
    world.publish("later", "order", &delay(50), "m").unwrap();
    let name = "amq.delayed.later";
    let locked = |result: (u16, String)| {
        assert_eq!(result, (405, format!("cannot obtain access to internal queue '{name}' in vhost '/'")));
    };
    locked(refused(world.vhost.queue(name, ME)));
    locked(refused(world.vhost.delete_queue(name, false, false, ME, &mut world.turn)));
    let key = RoutingKey::default();
    locked(refused(world.vhost.bind_queue(&exchange("amq.fanout"), name, key, FieldTable::new(), ME)));
    assert_eq!(refused(world.declare(name, QueueOptions::default())).0, 403);
    assert_eq!(world.publish("", name, &Properties::default(), "m"), Ok(0), "no way around the exchange");
    assert_eq!(world.vhost.purge_queue(name, ME, &mut world.turn), Ok(1));
    world.advance(50);
    assert!(world.get("q").is_none());
}

#[test]
fn waiting_messages_go_with_their_exchange_however_it_goes() {
    let mut world = topic();
    world.publish("later", "order", &delay(50), "m").unwrap();
    world.vhost.delete_exchange(&exchange("later"), false).unwrap();
    assert_eq!(refused(world.vhost.passive_queue("amq.delayed.later", ME)).0, 404);
    delayed(&mut world, "topic", "later");
    assert_eq!(waiting(&world), 0, "a new exchange has a new queue");
    let arguments = FieldTable::new().with("x-delayed-type", "direct");
    for (name, end) in [("by-unbind", 0), ("by-queue", 1)] {
        let options =
            ExchangeOptions::from_arguments("x-delayed-message", true, true, false, arguments.clone())
                .unwrap();
        world.vhost.declare_exchange(&exchange(name), options).unwrap();
        world.queue("last");
        world.bind(name, "last", "");
        match end {
            0 => {
                let key = RoutingKey::default();
                world.vhost.unbind_queue(&exchange(name), "last", &key, &FieldTable::new(), ME).unwrap();
            }
            _ => drop(world.vhost.delete_queue("last", false, false, ME, &mut world.turn).unwrap()),
        }
        assert_eq!(refused(world.vhost.passive_queue(&format!("amq.delayed.{name}"), ME)).0, 404, "{name}");
    }
    world.advance(1000);
    assert_eq!(world.broker.timers_len(), 0);
}

#[test]
fn a_delayed_exchange_is_declared_as_others_are() {
    let mut world = World::new();
    delayed(&mut world, "fanout", "later");
    let arguments = FieldTable::new().with("x-delayed-type", "fanout");
    assert_eq!(world.exchange("x-delayed-message", "later", arguments.clone()), Ok(Declared::Existed));
    assert_eq!(refused(world.exchange("fanout", "later", FieldTable::new())).0, 406);
    let other =
        world.exchange("x-delayed-message", "later", FieldTable::new().with("x-delayed-type", "topic"));
    let text = "inequivalent arg 'x-delayed-type' for exchange 'later' in vhost '/': \
                received 'topic' but current is 'fanout'";
    assert_eq!(refused(other), (406, text.to_owned()));
    let long = "x".repeat(244);
    assert_eq!(refused(world.exchange("x-delayed-message", &long, arguments.clone())).0, 406);
    assert_eq!(world.exchange("x-delayed-message", &long[..243], arguments), Ok(Declared::Created));
}

#[test]
fn many_due_at_once_are_released_in_many_turns() {
    let mut world = topic();
    for n in 0..10_000 {
        world.publish("later", "order", &delay(10), &n.to_string()).unwrap();
    }
    world.clock.advance(Duration::from_millis(10));
    let mut turns = 0;
    let mut released = 0;
    loop {
        let more = world.broker.run_some_timers(&mut world.turn);
        let now = world.vhost.queue("q", ME).unwrap().stats().ready;
        assert!(now - released <= 16 * 256, "{} in one turn", now - released);
        released = now;
        turns += 1;
        if !more {
            break;
        }
    }
    assert!(turns > 2, "{turns}");
    world.turn.begin(world.broker.now());
    let numbers: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    assert_eq!(world.drain("q"), numbers, "in order");
}

#[test]
fn other_timers_have_their_turn_while_many_delayed_messages_are_due() {
    let mut world = topic();
    for n in 0..10_000 {
        world.publish("later", "order", &delay(10), &n.to_string()).unwrap();
    }
    world.queue_with("short", FieldTable::new().with("x-message-ttl", 11));
    world.publish("", "short", &Properties::default(), "m").unwrap();
    world.clock.advance(Duration::from_millis(20));
    assert!(world.broker.run_some_timers(&mut world.turn), "there is more");
    assert_eq!(world.vhost.queue("short", ME).unwrap().stats().ready, 0, "expired all the same");
}
