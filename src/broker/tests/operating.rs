//! What operators do: look into queues, delete and move single messages, pause queues, ask where a message would go.

use rialto_protocol::types::FieldTable;

use super::durable::{Durable, ENDS, End};
use super::*;
use crate::model::{ChannelId, ConsumerTag, Lsn, Policy, PolicyTarget};
use crate::queue::{BrowsePlace, ConsumerSpec};
use crate::routing::{Alternate, ExplainLimits};

fn cell(world: &World, queue: &str) -> Arc<QueueCell> {
    world.vhost.passive_queue(queue, ME).unwrap()
}

/// Bodies of all that waits, read in pages.
fn seen(world: &World, queue: &str, limit: usize) -> Vec<String> {
    let (cell, mut after, mut bodies) = (cell(world, queue), None, Vec::new());
    loop {
        let page = cell.browse(after, limit);
        assert!(page.messages.len() <= limit && page.unreadable == 0, "{page:?}");
        let body = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        bodies.extend(page.messages.iter().map(|browsed| body(browsed.message.body())));
        match page.next {
            Some(next) => after = Some(next),
            None => return bodies,
        }
    }
}

fn places(world: &World, queue: &str) -> Vec<BrowsePlace> {
    cell(world, queue).browse(None, 10_000).messages.iter().map(|browsed| browsed.place).collect()
}

/// Moves the first messages of a queue to another one.
fn move_to(world: &mut World, from: &str, to: &str, count: usize) -> Vec<Moved> {
    let (from_cell, to_cell) = (cell(world, from), cell(world, to));
    let page = from_cell.browse(None, count);
    let moves: Vec<_> = page
        .messages
        .iter()
        .map(|browsed| Move {
            place: browsed.place,
            route: browsed.message.route().clone(),
            properties: None,
            to: vec![to_cell.clone()],
        })
        .collect();
    let World { broker, turn, outbox, .. } = world;
    let (moved, _) = broker.move_messages(&from_cell, &moves, outbox, turn);
    turn.finish(broker);
    moved
}

fn bodies(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:04}{}", "x".repeat(4000))).collect()
}

#[test]
fn looking_finds_messages_on_disk_as_in_memory_and_changes_nothing() {
    let mut durable = Durable::new();
    durable.world.queue("q");
    let bodies = bodies(0..300);
    for some in bodies.chunks(10) {
        durable.send("q", &some.iter().map(String::as_str).collect::<Vec<_>>());
        durable.sync();
    }
    let mut durable = durable.restart(End::Stopped, 0);
    let before = cell(&durable.world, "q").stats();
    assert!(before.paged > 250, "{before:?}");
    for limit in [1000, 7] {
        assert_eq!(seen(&durable.world, "q", limit), bodies);
    }
    assert_eq!(cell(&durable.world, "q").stats(), before);
    let places = places(&durable.world, "q");
    let one = cell(&durable.world, "q").browse_one(places[250].lsn()).unwrap();
    assert_eq!(one.message.body(), bodies[250].as_bytes());
    assert_eq!(durable.drain("q"), bodies);
}

#[test]
fn a_message_is_deleted_wherever_it_stands_and_stays_deleted() {
    for end in ENDS {
        let mut durable = Durable::new();
        durable.world.queue("q");
        let bodies = bodies(0..200);
        durable.send("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>());
        durable.sync();
        let mut durable = durable.restart(End::Stopped, 0);
        let places = places(&durable.world, "q");
        let queue = cell(&durable.world, "q");
        let World { broker, turn, .. } = &mut durable.world;
        let gone = broker.delete_messages(&queue, &[places[0], places[150], places[150]], turn);
        assert_eq!(gone, [true, true, false]);
        assert_eq!(queue.browse_one(places[150].lsn()).unwrap_err(), Holder::Nobody);
        drop(queue);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let kept: Vec<_> =
            (0..200).filter(|n| ![0, 150].contains(n)).map(|n: usize| bodies[n].clone()).collect();
        assert_eq!(durable.drain("q"), kept, "{end:?}");
    }
}

#[test]
fn a_moved_message_is_in_one_queue_however_the_broker_ends() {
    for end in ENDS {
        for is_safe in [true, false] {
            let mut durable = Durable::new();
            durable.world.queue("dead");
            durable.world.queue("live");
            durable.send("dead", &["1", "2", "3", "4"]);
            durable.sync();
            assert_eq!(move_to(&mut durable.world, "dead", "live", 2), [Moved::Moved; 2]);
            durable.sync();
            assert_eq!(move_to(&mut durable.world, "dead", "live", 1), [Moved::Moved]);
            if is_safe {
                durable.sync();
            }
            let mut durable = durable.restart(end, 0);
            let (dead, live) = (durable.drain("dead"), durable.drain("live"));
            // What was not written yet has not happened, unless the broker had the time to write it.
            let moved = if is_safe || end == End::Stopped { 3 } else { 2 };
            let all = ["1", "2", "3", "4"];
            assert_eq!(
                (&live[..], &dead[..]),
                (&all.map(String::from)[..moved], &all.map(String::from)[moved..]),
                "{end:?} {is_safe}"
            );
        }
    }
}

#[test]
fn a_moved_message_shows_its_new_consumers_what_its_publisher_said() {
    let mut world = World::new();
    world.queue("from");
    world.queue("to");
    world.exchange("topic", "orders", FieldTable::new()).unwrap();
    world.bind("orders", "from", "#");
    let properties = headers(FieldTable::new().with("app", "shop"));
    world.publish("orders", "eu.new", &properties, "m").unwrap();
    assert_eq!(move_to(&mut world, "from", "to", 1), [Moved::Moved]);
    assert_eq!(world.get("from").map(|got| body(&got)), None);
    let got = world.get("to").unwrap();
    assert_eq!((got.message.exchange().as_str(), got.message.routing_key().as_str()), ("orders", "eu.new"));
    assert_eq!(got.message.properties_bytes(), &properties.encoded()[..]);
    assert!(!got.redelivered);
}

#[test]
fn a_message_stays_where_it_is_if_the_other_queue_is_full() {
    let mut world = World::new();
    world.queue("from");
    world.queue_with("to", FieldTable::new().with("x-max-length", 2).with("x-overflow", "reject-publish"));
    for n in ["1", "2", "3", "4"] {
        world.publish("", "from", &Properties::default(), n).unwrap();
    }
    let moved = move_to(&mut world, "from", "to", 4);
    assert_eq!(moved, [Moved::Moved, Moved::Moved, Moved::Full, Moved::Full]);
    assert_eq!(
        (world.drain("to"), world.drain("from")),
        (vec!["1".into(), "2".into()], vec!["3".into(), "4".into()])
    );
}

#[test]
fn a_message_that_is_longer_than_a_queue_may_be_comes_back() {
    let mut world = World::new();
    world.queue("from");
    let short = FieldTable::new().with("x-max-length-bytes", 3).with("x-overflow", "reject-publish");
    world.queue_with("to", short);
    world.publish("", "from", &Properties::default(), "too long").unwrap();
    assert_eq!(move_to(&mut world, "from", "to", 1), [Moved::Full]);
    assert_eq!((world.drain("to").len(), world.drain("from")), (0, vec!["too long".to_owned()]));
}

#[test]
fn what_finds_no_room_elsewhere_has_its_place_at_home_whatever_the_limits_say() {
    let mut world = World::new();
    let deduplicates = FieldTable::new().with("x-message-deduplication", true);
    world.queue_with("from", deduplicates);
    let short = FieldTable::new().with("x-max-length-bytes", 3).with("x-overflow", "reject-publish-dlx");
    let short = short.with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
    world.queue_with("to", short);
    world.queue("dead");
    // It came before, but it is no duplicate: it was there itself.
    let keyed = headers(FieldTable::new().with("x-deduplication-header", "key"));
    world.publish("", "from", &keyed, "too long").unwrap();
    world.publish("", "from", &Properties::default(), "m").unwrap();
    assert_eq!(move_to(&mut world, "from", "to", 2), [Moved::Full, Moved::Moved]);
    // Nor is it a dead letter: there would be two.
    assert_eq!(world.drain("dead").len(), 0);
    assert_eq!((world.drain("to"), world.drain("from")), (vec!["m".to_owned()], vec!["too long".to_owned()]));
}

#[test]
fn what_comes_back_to_where_it_was_published_is_no_duplicate() {
    let mut world = World::new();
    world.queue_with("live", FieldTable::new().with("x-message-deduplication", true));
    world.queue("aside");
    let keyed = headers(FieldTable::new().with("x-deduplication-header", "key"));
    world.publish("", "live", &keyed, "m").unwrap();
    assert_eq!(move_to(&mut world, "live", "aside", 1), [Moved::Moved]);
    assert_eq!(move_to(&mut world, "aside", "live", 1), [Moved::Moved]);
    // Another with its key is one.
    world.publish("", "live", &keyed, "again").unwrap();
    assert_eq!(world.drain("live"), ["m"]);
}

#[test]
fn no_message_is_lost_or_doubled_while_publishers_fill_both_queues() {
    const EACH: usize = 400;
    let mut world = World::new();
    let tight = || FieldTable::new().with("x-max-length", 3).with("x-overflow", "reject-publish");
    world.queue_with("a", tight());
    world.queue_with("b", tight());
    let (a, b) = (cell(&world, "a"), cell(&world, "b"));
    let broker = world.broker.clone();
    let route =
        MessageRoute { exchange: exchange(""), routing_key: RoutingKey::new("").expect("a short key") };
    let taken: Vec<String> = std::thread::scope(|threads| {
        let publish = |to: &'static str, cell: Arc<QueueCell>| {
            let (broker, route) = (broker.clone(), route.clone());
            move || {
                let (outbox, mut turn, mut accepted) = (Arc::<Outbox>::default(), Turn::new(), Vec::new());
                let targets = Arc::new(Targets::new(vec![cell], None));
                for n in 0..EACH {
                    let (mut batch, mut rejected) = (PublishBatch::default(), Vec::new());
                    let body = format!("{to}{n}");
                    batch.push_content(&route, &targets, &[0, 0], body.as_bytes()).unwrap();
                    turn.begin(broker.now());
                    broker.publish(&mut batch, &outbox, &mut rejected, &mut turn);
                    turn.finish(&broker);
                    if rejected.is_empty() {
                        accepted.push(body);
                    }
                }
                accepted
            }
        };
        let publishers = [threads.spawn(publish("a", a.clone())), threads.spawn(publish("b", b.clone()))];
        let (outbox, mut turn) = (Arc::<Outbox>::default(), Turn::new());
        let (mut taken, mut from) = (Vec::new(), [&a, &b]);
        while publishers.iter().any(|publisher| !publisher.is_finished()) {
            turn.begin(broker.now());
            let page = from[0].browse(None, 4);
            let moves: Vec<_> = page
                .messages
                .iter()
                .map(|browsed| Move {
                    place: browsed.place,
                    route: route.clone(),
                    properties: None,
                    to: vec![from[1].clone()],
                })
                .collect();
            broker.move_messages(from[0], &moves, &outbox, &mut turn);
            // Makes room: else all would soon be still.
            let first = from[1].browse(None, 1).messages;
            let first: Vec<_> = first.into_iter().map(|browsed| (browsed.place, browsed.message)).collect();
            for (place, message) in first {
                if broker.delete_messages(from[1], &[place], &mut turn) == [true] {
                    taken.push(String::from_utf8(message.body().to_vec()).unwrap());
                }
            }
            turn.finish(&broker);
            from.reverse();
        }
        let accepted = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap());
        let mut accepted: Vec<_> = accepted.collect();
        accepted.sort();
        taken.extend(world.drain("a"));
        taken.extend(world.drain("b"));
        taken.sort();
        assert_eq!(taken, accepted);
        taken
    });
    assert!(!taken.is_empty());
}

#[test]
fn nothing_is_moved_to_a_queue_that_a_crash_could_take_along() {
    let mut durable = Durable::new();
    durable.world.queue("from");
    durable.send("from", &["1"]);
    durable.sync();
    durable.world.queue("young");
    assert_eq!(move_to(&mut durable.world, "from", "young", 1), [Moved::NotYet]);
    durable.sync();
    assert_eq!(move_to(&mut durable.world, "from", "young", 1), [Moved::Moved]);
}

fn consume(world: &mut World, queue: &str, prefetch: u32) -> ConsumerId {
    let id = world.broker.next_consumer_id();
    let spec = ConsumerSpec {
        id,
        tag: ConsumerTag::new("worker").unwrap(),
        auto_ack: false,
        exclusive: false,
        priority: 0,
        prefetch,
        credit: None,
        window: u64::MAX,
        channel_window: None,
        timeout: None,
    };
    let local = LocalConsumer { channel: ChannelId(7), number: 3 };
    let (cell, outbox) = (cell(world, queue), world.outbox.clone());
    cell.consume(spec, local, &outbox, &mut world.turn).unwrap().unwrap();
    world.turn.finish(&world.broker);
    id
}

#[test]
fn who_holds_what_is_told_with_the_channel() {
    let mut world = World::new();
    world.queue("q");
    let id = consume(&mut world, "q", 2);
    for n in ["1", "2", "3"] {
        world.publish("", "q", &Properties::default(), n).unwrap();
    }
    let page = cell(&world, "q").unacked(None, 1, None);
    let (held, by) = &page.messages[0];
    assert_eq!((held.message.body(), held.tag, held.consumer), (&b"1"[..], 1, id));
    assert_eq!(by.as_ref().map(|by| by.local.channel), Some(ChannelId(7)));
    let rest = cell(&world, "q").unacked(page.next, 10, Some("worker"));
    assert_eq!((rest.messages.len(), rest.next), (1, None));
    assert!(cell(&world, "q").unacked(None, 10, Some("other")).messages.is_empty());
    assert_eq!(cell(&world, "q").browse_one(held.lsn).unwrap_err(), Holder::Consumer(id));
    assert_eq!(cell(&world, "q").browse_one(Lsn(999)).unwrap_err(), Holder::Nobody);
}

#[test]
fn a_paused_queue_delivers_nothing_until_it_is_resumed() {
    let mut world = World::new();
    let queue = world.queue("q");
    consume(&mut world, "q", 0);
    world.vhost.pause_queue(&queue, true, &mut world.turn).unwrap();
    world.publish("", "q", &Properties::default(), "m").unwrap();
    assert!(queue.is_paused());
    assert_eq!((queue.stats().ready, queue.stats().unacked), (1, 0));
    assert!(world.get("q").is_none(), "nor does a get find anything");
    world.vhost.pause_queue(&queue, false, &mut world.turn).unwrap();
    assert_eq!((queue.stats().ready, queue.stats().unacked), (0, 1));
}

#[test]
fn a_durable_queue_stays_paused_over_a_restart() {
    for end in ENDS {
        let mut durable = Durable::new();
        let queue = durable.world.queue("q");
        durable.send("q", &["1"]);
        durable.world.vhost.pause_queue(&queue, true, &mut durable.world.turn).unwrap();
        drop(queue);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        let queue = cell(&durable.world, "q");
        assert!(queue.is_paused(), "{end:?}");
        assert!(durable.world.get("q").is_none());
        durable.world.vhost.pause_queue(&queue, false, &mut durable.world.turn).unwrap();
        drop(queue);
        durable.sync();
        let mut durable = durable.restart(end, 0);
        assert!(!cell(&durable.world, "q").is_paused(), "{end:?}");
        assert_eq!(durable.drain("q"), ["1"]);
    }
}

#[test]
fn a_queue_that_is_gone_cannot_be_paused_back_into_the_catalog() {
    let mut durable = Durable::new();
    let queue = durable.world.queue("q");
    durable.sync();
    durable.world.vhost.delete_queue("q", false, false, ME, &mut durable.world.turn).unwrap();
    let paused = durable.world.vhost.pause_queue(&queue, true, &mut durable.world.turn);
    assert!(matches!(paused, Err(BrokerError::NoQueue { .. })), "{paused:?}");
    drop(queue);
    durable.sync();
    let durable = durable.restart(End::Killed, 0);
    assert!(durable.world.vhost.queues().is_empty());
}

#[test]
fn an_explanation_tells_of_policies_and_internal_exchanges() {
    let mut world = World::new();
    world.queue("rest-queue");
    world.exchange("topic", "orders", FieldTable::new()).unwrap();
    world.exchange("fanout", "rest", FieldTable::new()).unwrap();
    world.bind("rest", "rest-queue", "");
    let definition = FieldTable::new().with("alternate-exchange", "rest");
    let policy = Policy::new("ae", "^orders$", PolicyTarget::Exchanges, 0, &definition).unwrap();
    world.vhost.set_policy(policy, &mut world.turn).unwrap();
    let explain = |world: &World, exchange: &str| {
        world.vhost.explain(exchange, "a.b", RawProperties::EMPTY, ExplainLimits::default())
    };
    let explained = explain(&world, "orders").unwrap();
    assert_eq!(explained.explanation.visits[0].alternate, Some((exchange("rest"), Alternate::Taken)));
    assert!(explained.exchanges[0].alternate_by_policy);
    assert_eq!(explained.exchanges[0].policy.as_ref().map(|policy| policy.name()), Some("ae"));
    assert_eq!(explained.queues[0].0.name().as_str(), "rest-queue");
    assert_eq!(
        refused(explain(&world, "order")),
        (404, "no exchange 'order' in vhost '/'; there is 'orders'".to_owned())
    );
    assert!(explain(&world, "amq.rabbitmq.trace").unwrap().is_internal);
}
