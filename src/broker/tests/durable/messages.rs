//! Messages that outlive the broker: which, in what order, how old, and in how many places.

use super::*;

#[test]
fn what_was_not_safe_is_gone_as_a_whole() {
    let mut durable = Durable::new();
    durable.world.exchange("fanout", "x", table()).unwrap();
    for queue in ["one", "two"] {
        durable.world.queue(queue);
        durable.world.bind("x", queue, "");
    }
    durable.publish("x", "", &Properties::default(), "safe");
    durable.sync();
    durable.publish("x", "", &Properties::default(), "not yet");
    let mut durable = durable.restart(End::PowerCut, 0);
    assert_eq!(
        (durable.drain("one"), durable.drain("two")),
        (vec!["safe".to_owned()], vec!["safe".to_owned()])
    );
}

#[test]
fn order_is_by_priority_then_by_age_and_returned_messages_keep_their_place() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue_with("q", table().with("x-max-priority", 5));
        for (priority, body) in [(0, "low"), (5, "high"), (3, "middle"), (5, "high too"), (0, "low too")] {
            let properties = Properties { priority: Some(priority), ..Properties::default() };
            durable.publish("", "q", &properties, body);
        }
        durable.take_and_return("q");
        durable.take_and_return("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let first = durable.world.get("q").unwrap();
        let facts = (super::body(&first), first.redelivered, first.delivery_count, first.returns);
        assert_eq!(facts, ("high".to_owned(), true, 2, 2), "{end:?}");
        let second = durable.world.get("q").unwrap();
        assert_eq!((super::body(&second), second.redelivered), ("high too".to_owned(), end.is_sudden()));
        assert_eq!(durable.drain("q"), ["middle", "low", "low too"]);
    }
}

#[test]
fn what_was_being_delivered_is_ready_again() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2"]);
    durable.sync();
    let cell = durable.world.vhost.queue("q", ME).unwrap();
    let getter = durable.world.broker.next_consumer_id();
    let got = cell.get(getter, false, &mut durable.world.turn).unwrap().unwrap();
    assert_eq!(super::body(&got.delivery), "1");
    durable.sync();
    drop((cell, got));
    let mut durable = durable.restart(End::Killed, 0);
    assert_eq!(durable.drain("q"), ["1", "2"]);
}

#[test]
fn times_to_live_go_on_while_nobody_runs() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("dead");
        let arguments = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
        durable.world.queue_with("q", arguments.clone().with("x-message-ttl", 1000));
        durable.world.queue_with("own", arguments);
        durable.send("q", &["by the queue"]);
        durable.publish("", "own", &expiring(700), "by its own");
        durable.publish("", "own", &Properties::default(), "never");
        durable.sync();
        let mut durable = durable.restart(end, 699);
        assert_eq!((durable.ready("q"), durable.ready("own"), durable.ready("dead")), (1, 2, 0), "{end:?}");
        durable.world.advance(1);
        assert_eq!((durable.ready("own"), durable.drain("dead")), (1, vec!["by its own".to_owned()]));
        durable.sync();
        // Its time comes while the broker is away.
        let mut durable = durable.restart(end, 300);
        durable.world.advance(0);
        assert_eq!(
            (durable.ready("q"), durable.drain("dead")),
            (0, vec!["by the queue".to_owned()]),
            "{end:?}"
        );
        durable.sync();
        let durable = durable.restart(end, 100_000);
        assert_eq!((durable.ready("q"), durable.ready("own"), durable.ready("dead")), (0, 1, 0));
    }
}

#[test]
fn delayed_messages_go_on_when_their_time_comes() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable
            .world
            .exchange("x-delayed-message", "later", table().with("x-delayed-type", "direct"))
            .unwrap();
        durable.world.queue("q");
        durable.world.bind("later", "q", "k");
        for (ms, body) in [(300, "third"), (100, "first"), (200, "second")] {
            durable.publish("later", "k", &headers(table().with("x-delay", ms)), body);
        }
        durable.sync();
        let mut durable = durable.restart(end, 50);
        durable.world.advance(49);
        assert!(durable.drain("q").is_empty(), "{end:?}");
        durable.world.advance(1);
        assert_eq!(durable.drain("q"), ["first"]);
        durable.sync();
        let mut durable = durable.restart(end, 150);
        durable.world.advance(0);
        assert_eq!(durable.drain("q"), ["second"], "{end:?}: due while nobody ran");
        durable.world.advance(50);
        assert_eq!(durable.drain("q"), ["third"]);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        durable.world.advance(1000);
        assert!(durable.drain("q").is_empty());
    }
}

#[test]
fn a_dead_letter_is_in_one_place_and_knows_its_history() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("dead");
        let dead = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
        durable.world.queue_with("q", dead.with("x-max-length", 1));
        durable.send("q", &["1", "2", "3"]);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let first = durable.world.get("dead").unwrap();
        let table = first.message.properties().decode().headers.unwrap();
        assert!(table.get("x-death").is_some(), "{table:?}");
        assert_eq!(super::body(&first), "1");
        assert_eq!((durable.drain("dead"), durable.drain("q")), (vec!["2".to_owned()], vec!["3".to_owned()]));
    }
}

#[test]
fn a_dead_letter_is_not_lost_with_the_young_queue_that_it_went_to() {
    for end in [End::Killed, End::PowerCut] {
        let mut durable = Durable::new();
        let dead = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "young");
        durable.world.queue_with("q", dead);
        durable.send("q", &["dies"]);
        durable.sync();
        durable.world.queue("young");
        durable.take_and_settle("q", Settle::Reject { reason: None });
        assert_eq!(durable.ready("young"), 1);
        // The catalog is not so far: the queue is gone after a crash, and the letter must not be.
        durable.journal.pump();
        let mut durable = durable.restart(end, 0);
        assert!(durable.world.vhost.queue("young", ME).is_err());
        assert_eq!(durable.drain("q"), ["dies"], "{end:?}");
    }
}

#[test]
fn a_dead_letter_leaves_its_queue_when_the_young_one_is_safe() {
    let mut durable = Durable::new();
    let dead = table().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "young");
    durable.world.queue_with("q", dead.with("x-message-ttl", 100));
    durable.send("q", &["dies"]);
    durable.sync();
    durable.world.queue("young");
    durable.world.advance(100);
    durable.sync();
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    durable.world.advance(100);
    assert_eq!(durable.drain("young"), ["dies"]);
}

#[test]
fn what_a_queue_refused_does_not_come_back() {
    let mut durable = Durable::new();
    durable.world.queue_with("q", table().with("x-max-length", 1).with("x-overflow", "reject-publish"));
    durable.send("q", &["fits", "does not"]);
    durable.sync();
    let mut durable = durable.restart(End::Killed, 0);
    assert_eq!(durable.drain("q"), ["fits"]);
}

#[test]
fn a_message_published_before_the_end_is_still_a_duplicate() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.exchange("direct", "x", table().with("x-message-deduplication", true)).unwrap();
        durable.world.queue("q");
        durable.world.bind("x", "q", "k");
        let keyed = headers(table().with("x-deduplication-header", "a"));
        durable.publish("x", "k", &keyed, "1");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        durable.world.publish("x", "k", &keyed, "again").unwrap();
        assert_eq!(durable.drain("q"), ["1"], "{end:?}");
    }
}

#[test]
fn what_was_published_together_is_there_together_or_not() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("one");
        durable.world.queue("two");
        durable.send("one", &["taken in it"]);
        durable.sync();
        let cell = durable.world.vhost.queue("one", ME).unwrap();
        let batches = vec![durable.batch("one", "a"), durable.batch("two", "b"), durable.batch("one", "c")];
        let World { broker, turn, outbox, .. } = &mut durable.world;
        let got = cell.get(ConsumerId(0), true, turn).unwrap().unwrap();
        assert_eq!(super::body(&got.delivery), "taken in it");
        let mut rejected = Vec::new();
        let commit = broker.publish_together(batches, outbox, &mut rejected, turn);
        turn.finish(broker);
        assert!(rejected.is_empty() && !broker.is_committed(&commit));
        durable.sync();
        assert!(durable.world.broker.is_committed(&commit));
        // A second one, of which nothing is safe; a broker that is stopped sees to it.
        let batches = vec![durable.batch("one", "last"), durable.batch("two", "last")];
        let World { broker, turn, outbox, .. } = &mut durable.world;
        let _ = broker.publish_together(batches, outbox, &mut Vec::new(), turn);
        turn.finish(broker);
        drop(cell);
        let mut durable = durable.restart(end, 0);
        let last = usize::from(!end.is_sudden());
        assert_eq!(durable.drain("one"), ["a", "c", "last"][..2 + last], "{end:?}");
        assert_eq!(durable.drain("two"), ["b", "last"][..1 + last], "{end:?}");
    }
}

#[test]
fn a_long_queue_is_on_disk_and_in_order() {
    for end in ENDS {
        let mut durable = Durable::with_limits(Limits { queue_bodies: 256 << 10, ..Limits::default() });
        durable.world.queue("q");
        let body = |number: usize| format!("{number:05} {}", "x".repeat(4000));
        let count = 500;
        for number in 0..count {
            durable.send("q", &[&body(number)]);
            if number % 20 == 19 {
                durable.sync();
            }
        }
        let stats = durable.world.vhost.queue("q", ME).unwrap().stats();
        assert!(stats.paged > 300 && stats.ready == count as u64, "{stats:?}");
        // Some are consumed here, the others by the next process; one came back meanwhile.
        for number in 0..100 {
            assert!(super::body(&durable.world.get("q").unwrap()) == body(number), "{number}");
        }
        durable.take_and_return("q");
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let stats = durable.world.vhost.queue("q", ME).unwrap().stats();
        assert_eq!((stats.ready, stats.paged), (400, 400), "nothing is read before it is wanted");
        for number in 100..count {
            let got = durable.world.get("q").unwrap();
            assert!(super::body(&got) == body(number), "{number} at {end:?}");
            assert_eq!(got.redelivered, number == 100 || end.is_sudden());
        }
        assert!(durable.world.get("q").is_none());
        durable.sync();
        let durable = durable.restart(end, 0);
        assert_eq!(durable.ready("q"), 0);
    }
}

#[test]
fn transient_messages_beyond_the_memory_of_a_queue_come_back_in_order() {
    let mut durable = Durable::with_limits(Limits { queue_bodies: 256 << 10, ..Limits::default() });
    durable.world.queue("q");
    let body = |number: usize| format!("{number:05} {}", "x".repeat(4000));
    for number in 0..400 {
        // Every third one is in the journal, the others are in no file that outlives the process.
        match number % 3 {
            0 => durable.send("q", &[&body(number)]),
            _ => drop(durable.world.publish("", "q", &Properties::default(), &body(number)).unwrap()),
        }
        durable.journal.pump();
    }
    assert!(durable.world.vhost.queue("q", ME).unwrap().stats().paged > 200);
    for number in 0..200 {
        assert!(super::body(&durable.world.get("q").unwrap()) == body(number), "{number}");
    }
    durable.sync();
    let mut durable = durable.restart(End::PowerCut, 0);
    for number in (200..400).filter(|number| number % 3 == 0) {
        assert!(super::body(&durable.world.get("q").unwrap()) == body(number), "{number}");
    }
    assert!(durable.world.get("q").is_none());
}

#[test]
fn a_purged_queue_stays_empty() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["1", "2"]);
    durable.sync();
    let purged = durable.world.vhost.purge_queue("q", ME, &mut durable.world.turn).unwrap();
    assert_eq!(purged, 2);
    let commit = durable.world.turn.take_commit();
    assert!(!durable.world.broker.is_committed(&commit), "whoever is told of it waits for the disk");
    durable.sync();
    assert!(durable.world.broker.is_committed(&commit));
    let durable = durable.restart(End::PowerCut, 0);
    assert_eq!(durable.ready("q"), 0);
}

#[test]
fn what_is_consumed_gives_its_files_back_also_after_a_restart() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    let body = "x".repeat(4000);
    for _ in 0..200 {
        durable.send("q", &[&body]);
        durable.sync();
    }
    let mut durable = durable.restart(End::Killed, 0);
    let before = durable.journal.stats().segments;
    assert!(before > 8, "{before}");
    assert_eq!(durable.drain("q").len(), 200);
    durable.sync();
    for _ in 0..50 {
        durable.journal.maintain();
        durable.journal.pump();
    }
    let after = durable.journal.stats().segments;
    assert!(after <= 2, "{after} of {before} segments are left");
}

#[test]
fn what_may_have_been_delivered_when_the_broker_was_killed_is_flagged_after_orderly_ends_too() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    durable.send("q", &["old"]);
    durable.sync();
    let mut durable = durable.restart(End::Killed, 0);
    durable.send("q", &["new"]);
    durable.sync();
    let durable = durable.restart(End::Stopped, 0);
    let mut durable = durable.restart(End::Stopped, 0);
    let flags: Vec<_> = std::iter::from_fn(|| durable.world.get("q"))
        .map(|got| (super::super::body(&got), got.redelivered))
        .collect();
    assert_eq!(flags, [("old".to_owned(), true), ("new".to_owned(), false)]);
    durable.sync();
    // All of them are gone, and numbers begin anew.
    let mut durable = durable.restart(End::Stopped, 0);
    durable.send("q", &["other"]);
    durable.sync();
    let mut durable = durable.restart(End::Stopped, 0);
    assert!(!durable.world.get("q").unwrap().redelivered);
}
