//! Queues, exchanges, bindings and policies that outlive the broker.

use super::*;

#[test]
fn what_was_declared_and_published_is_as_it_was() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.exchange("topic", "events", table()).unwrap();
        for queue in ["one", "two", "three"] {
            durable.world.queue(queue);
            durable.world.bind("events", queue, "order.*");
        }
        durable.world.bind("events", "three", "other");
        for body in ["1", "2", "3"] {
            durable.publish("events", "order.new", &Properties::default(), body);
        }
        durable.publish("events", "other", &Properties::default(), "4");
        // What the client had before the end does not come back.
        assert_eq!(durable.world.get("two").map(|got| super::body(&got)).as_deref(), Some("1"));
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert_eq!(
            (durable.ready("one"), durable.ready("two"), durable.ready("three")),
            (3, 2, 4),
            "{end:?}"
        );
        let got = durable.world.get("one").unwrap();
        assert_eq!((&**got.message.exchange(), &**got.message.routing_key()), ("events", "order.new"));
        assert!(got.message.is_persistent());
        assert_eq!(got.redelivered, end.is_sudden(), "it may have been with a consumer");
        assert_eq!(durable.drain("one"), ["2", "3"]);
        assert_eq!(durable.drain("two"), ["2", "3"]);
        assert_eq!(durable.drain("three"), ["1", "2", "3", "4"]);
        // Its topology works as before, and what comes is behind what was there.
        durable.publish("events", "order.old", &Properties::default(), "5");
        assert_eq!(
            (durable.drain("one"), durable.drain("two")),
            (vec!["5".to_owned()], vec!["5".to_owned()])
        );
    }
}

#[test]
fn what_need_not_outlive_the_broker_does_not() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("q");
        durable.world.declare("transient", options(false, false)).unwrap();
        durable.world.declare("exclusive", options(true, true)).unwrap();
        durable.world.exchange("fanout", "x", table()).unwrap();
        for queue in ["q", "transient", "exclusive"] {
            durable.world.bind("x", queue, "");
        }
        durable.publish("x", "", &Properties::default(), "kept");
        durable.world.publish("x", "", &Properties::default(), "transient").unwrap();
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let names: Vec<_> =
            durable.world.vhost.queues().iter().map(|queue| queue.name().to_string()).collect();
        assert_eq!(names, ["q"], "{end:?}");
        assert_eq!(durable.drain("q"), ["kept"]);
        assert_eq!(durable.world.publish("x", "", &Properties::default(), "m"), Ok(1), "one binding is left");
    }
}

#[test]
fn a_queue_whose_deletion_is_not_safe_still_has_its_messages() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2", "3"]);
    durable.sync();
    let got = durable.world.get("q").unwrap();
    assert_eq!(super::body(&got), "1");
    durable.sync();
    durable.delete_queue("q");
    durable.journal.rotate();
    durable.world.queue("other");
    durable.send("other", &["x"]);
    // The catalog is not told to the disk.
    for _ in 0..4 {
        durable.journal.pump();
        durable.journal.maintain();
    }
    let mut durable = durable.restart(End::PowerCut, 0);
    assert_eq!(durable.drain("q"), ["2", "3"]);
}

#[test]
fn a_queue_declared_again_does_not_get_the_messages_of_the_one_that_was_deleted() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("q");
        durable.send("q", &["old"]);
        durable.sync();
        durable.delete_queue("q");
        durable.world.queue("q");
        durable.send("q", &["new"]);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert_eq!(durable.drain("q"), ["new"], "{end:?}");
        // Nor one that another process declares.
        durable.send("q", &["old too"]);
        durable.sync();
        durable.delete_queue("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert!(durable.world.vhost.queue("q", ME).is_err());
        durable.world.queue("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert!(durable.drain("q").is_empty(), "{end:?}");
    }
}

#[test]
fn what_was_unbound_and_deleted_stays_so() {
    let mut durable = Durable::new();
    durable.world.exchange("direct", "x", table()).unwrap();
    durable.world.exchange("direct", "gone", table()).unwrap();
    durable.world.queue("q");
    for key in ["stays", "goes"] {
        durable.world.bind("x", "q", key);
    }
    durable.world.bind("gone", "q", "k");
    durable.sync();
    let (vhost, goes) = (&durable.world.vhost, RoutingKey::new("goes").unwrap());
    vhost.unbind_queue(&exchange("x"), "q", &goes, &table(), ME).unwrap();
    vhost.delete_exchange(&exchange("gone"), false).unwrap();
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    let mut routed = |to: &str, key: &str| durable.world.publish(to, key, &Properties::default(), "m");
    assert_eq!((routed("x", "stays"), routed("x", "goes")), (Ok(1), Ok(0)));
    assert_eq!(routed("gone", "k").unwrap_err().reply_code().number(), 404);
}

#[test]
fn policies_set_before_the_messages_come_hold_for_them() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2", "3"]);
    durable.sync();
    let ttl = Policy::new("p", "q", PolicyTarget::All, 0, &table().with("message-ttl", 1000)).unwrap();
    let mut durable =
        durable.restart_with(End::Killed, 999, |vhost, turn| vhost.set_policy(ttl, turn).unwrap());
    assert_eq!(durable.ready("q"), 3);
    durable.world.advance(1);
    assert_eq!(durable.ready("q"), 0);
}

#[test]
fn nothing_durable_is_declared_or_published_when_the_disk_has_failed() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.sync();
    durable.world.queue("other");
    durable.disk.fail_syncs(1);
    assert_eq!(durable.catalog.pump(), CatalogPumped::Stopped);
    assert!(durable.world.broker.log_stopped().is_some());
    assert_eq!(refused(durable.world.declare("more", options(true, false))).0, 541);
    assert!(durable.world.declare("transient", options(false, false)).is_ok());
}
