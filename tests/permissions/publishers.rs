//! What holds for publishers besides the matrix: topics, user ids, and rights that change while routes are remembered.

use rialto::access::{Permission, Tags, TopicPermission, UserLimits};
use rialto::model::{ExchangeName, VhostName};

use crate::amqp::methods::*;
use crate::amqp::*;
use crate::support::peer::name;
use crate::world::{WORKER, World};

#[test]
fn a_right_that_is_taken_away_ends_a_remembered_route_and_comes_back_with_it() {
    let world = World::start();
    world.furnish();
    let mut client = world.amqp();
    let publish_some = |client: &mut Client| {
        for _ in 0..3 {
            client.send_content(1, publish("x", "k"), &Properties::default(), b"hello");
        }
        client.sync(1)
    };
    world.allow("", "x", "");
    publish_some(&mut client).expect("it may");
    world.allow("", "other", "");
    let refused = publish_some(&mut client).expect_err("it may not");
    assert_eq!(refused.code, 403, "{refused}");
    client.open_channel(1);
    world.allow("", "x", "");
    publish_some(&mut client).expect("it may again");
    assert_eq!(world.vhost().queues().iter().map(|queue| queue.stats().ready).sum::<u64>(), 6);
}

#[test]
fn keys_of_topic_exchanges_are_restricted_apart_for_publishing_and_binding() {
    let world = World::start();
    world.furnish();
    world.allow(".*", ".*", ".*");
    let (vhost, exchange) = (VhostName::new("/").expect("short"), ExchangeName::from(name("y")));
    let topic = TopicPermission::new(WORKER, vhost, exchange, "^out\\.", "^in\\.").expect("good patterns");
    world.access().put_topic_permission(topic);
    let mut client = world.amqp();
    let publish_to = |client: &mut Client, exchange: &str, key: &str| {
        client.send_content(1, publish(exchange, key), &Properties::default(), b"hello");
        let outcome = client.sync(1);
        if outcome.is_err() {
            client.open_channel(1);
        }
        outcome
    };
    publish_to(&mut client, "y", "out.1").expect("a key that may be written");
    let refused = publish_to(&mut client, "y", "in.1").expect_err("a key that may only be read");
    assert!(refused.text.starts_with("ACCESS_REFUSED - access to topic 'in.1' in exchange"), "{refused}");
    publish_to(&mut client, "x", "in.1").expect("no topic exchange");
    for header in ["CC", "BCC"] {
        let keys = |key: &str| FieldValue::Array(vec!["out.2".into(), key.into()]);
        let copies = |key: &str| Properties {
            headers: Some(FieldTable::new().with(header, keys(key))),
            ..Properties::default()
        };
        client.send_content(1, publish("y", "out.1"), &copies("out.3"), b"hello");
        client.sync(1).expect("keys that may be written");
        client.send_content(1, publish("y", "out.1"), &copies("in.1"), b"hello");
        let refused = client.sync(1).expect_err("one of its keys may only be read");
        assert!(refused.text.starts_with("ACCESS_REFUSED - access to topic 'in.1' in exchange"), "{refused}");
        client.open_channel(1);
    }
    let bound = client.call(1, bind("q", "y", "in.1").into());
    assert!(bound.is_ok(), "{bound:?}");
    let refused = client.call(1, bind("q", "y", "out.1").into()).expect_err("may not be read");
    assert_eq!(refused.code, 403, "{refused}");
    client.open_channel(1);
    // What is no topic exchange any more has no such keys.
    let replaced = ExchangeDeclare { ..declare_exchange("y", "direct") };
    client.call(1, ExchangeDelete { exchange: short("y"), ..Default::default() }.into()).expect("gone");
    client.call(1, replaced.into()).expect("there again");
    publish_to(&mut client, "y", "in.1").expect("a direct exchange");
}

#[test]
fn a_user_id_is_the_publishers_own_unless_it_may_act_for_others() {
    let world = World::start();
    world.furnish();
    world.allow("", ".*", "");
    let claims = |user: &str| Properties { user_id: Some(short(user)), ..Properties::default() };
    let mut client = world.amqp();
    client.send_content(1, publish("", "q"), &claims(WORKER), b"mine");
    client.sync(1).expect("its own name");
    client.send_content(1, publish("", "q"), &claims("boss"), b"not mine");
    let refused = client.sync(1).expect_err("another's name");
    let text = "PRECONDITION_FAILED - user_id property set to 'boss' but authenticated user was 'worker'";
    assert_eq!((refused.code, refused.text.as_str()), (406, text));
    world.set_worker(Tags::from_list("impersonator"), UserLimits::default());
    let permission = Permission::full(WORKER, VhostName::new("/").expect("short"));
    world.access().put_permission(permission);
    let mut client = world.amqp();
    client.send_content(1, publish("", "q"), &claims("boss"), b"for the boss");
    client.sync(1).expect("it may act for others");
}
