//! A batch whose messages go to many queues: each gets its own, in order, and nobody else's.

use proptest::prelude::*;

use super::durable::{Durable, End};
use super::*;

const QUEUES: usize = 5;
/// More than are remembered by their address.
const KEYS: usize = 80;

/// The queues of a key: bits, and there is always one.
fn queues_of(key: usize) -> impl Iterator<Item = usize> {
    let bits = key % ((1 << QUEUES) - 1) + 1;
    (0..QUEUES).filter(move |queue| bits & (1 << queue) != 0)
}

/// Each key with its targets. None of these are shared but those of single queues.
fn resolved(world: &mut World) -> Vec<(MessageRoute, Arc<Targets>)> {
    for queue in 0..QUEUES {
        world.queue(&queue.to_string());
    }
    world.exchange("direct", "e", FieldTable::new()).unwrap();
    let route = |key: usize| {
        let name = format!("k{key}");
        queues_of(key).for_each(|queue| world.bind("e", &queue.to_string(), &name));
        let found = world.vhost.resolve("e", &name, RawProperties::EMPTY, ME, &mut Routed::new()).unwrap();
        let route = MessageRoute { exchange: exchange("e"), routing_key: RoutingKey::new(name).unwrap() };
        (route, found.targets)
    };
    (0..KEYS).map(route).collect()
}

/// A key, and how many messages like the first follow it with nothing else between.
fn stretches() -> impl Strategy<Value = Vec<(usize, u32)>> {
    // Few keys or many: with few, neighbours mostly have the same one or just one queue.
    let keys = prop_oneof![Just(2), Just(KEYS)];
    keys.prop_flat_map(|keys| prop::collection::vec((0..keys, 0..3u32), 0..60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_queue_gets_what_is_for_it_in_order(batches in prop::collection::vec(stretches(), 1..4)) {
        let mut world = World::new();
        let routes = resolved(&mut world);
        let mut batch = PublishBatch::default();
        let mut expected = vec![Vec::new(); QUEUES];
        let mut number = 0;
        for stretches in batches {
            for (key, alike) in stretches {
                let (route, targets) = &routes[key];
                let bodies: Vec<_> = (number..=number + alike).map(|n| format!("{n:06}")).collect();
                number += alike + 1;
                batch.push_content(route, targets, &[0, 0], bodies[0].as_bytes()).unwrap();
                let rest = bodies[1..].iter().map(|body| body.as_bytes());
                prop_assert_eq!(batch.push_bodies(&[0, 0], rest), alike);
                queues_of(key).for_each(|queue| expected[queue].extend_from_slice(&bodies));
            }
            let mut rejected = Vec::new();
            let _ = world.broker.publish(&mut batch, &world.outbox, &mut rejected, &mut world.turn);
            world.turn.finish(&world.broker);
            prop_assert!(rejected.is_empty() && batch.is_empty());
        }
        for (queue, expected) in expected.iter().enumerate() {
            prop_assert_eq!(&world.drain(&queue.to_string()), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What the journal gets and what it does not come from two places: they must not be taken for one another.
    #[test]
    fn messages_of_both_kinds_in_one_batch_stay_what_they_are(
        stretches in prop::collection::vec((0..KEYS, 0..3u32, any::<bool>()), 1..40),
        restarts in any::<bool>(),
    ) {
        let mut durable = Durable::new();
        let routes = resolved(&mut durable.world);
        let mut batch = PublishBatch::default();
        let mut expected = vec![Vec::new(); QUEUES];
        let mut number = 0;
        for (key, alike, persistent) in stretches {
            let properties = Properties { delivery_mode: Some(if persistent { 2 } else { 1 }), ..Properties::default() };
            let (properties, (route, targets)) = (properties.encoded(), &routes[key]);
            let bodies: Vec<_> = (number..=number + alike).map(|n| format!("{n:06}")).collect();
            number += alike + 1;
            batch.push_content(route, targets, &properties, bodies[0].as_bytes()).unwrap();
            batch.push_bodies(&properties, bodies[1..].iter().map(|body| body.as_bytes()));
            if persistent || !restarts {
                queues_of(key).for_each(|queue| expected[queue].extend_from_slice(&bodies));
            }
        }
        let World { broker, outbox, turn, .. } = &mut durable.world;
        let _ = broker.publish(&mut batch, outbox, &mut Vec::new(), turn);
        durable.sync();
        if restarts {
            durable = durable.restart(End::PowerCut, 0);
        }
        for (queue, expected) in expected.iter().enumerate() {
            prop_assert_eq!(&durable.drain(&queue.to_string()), expected);
        }
    }
}

#[test]
fn a_batch_takes_no_more_bodies_than_it_has_room_for() {
    let mut world = World::new();
    let routes = resolved(&mut world);
    let (route, targets) = &routes[0];
    let mut batch = PublishBatch::default();
    batch.push_content(route, targets, &[0, 0], b"x").unwrap();
    let mut asked = 0;
    let bodies = std::iter::from_fn(|| {
        asked += 1;
        Some(&b"x"[..])
    });
    let taken = batch.push_bodies(&[0, 0], bodies);
    assert!(batch.is_full());
    assert_eq!((taken as usize + 1, asked), (batch.len(), taken), "what was asked for is there");
    assert_eq!(batch.push_bodies(&[0, 0], std::iter::repeat(&b"x"[..])), 0);
}
