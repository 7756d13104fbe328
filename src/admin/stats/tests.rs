//! Rates, with a clock that is moved by hand.

use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::types::RawProperties;
use serde_json::json;

use super::*;
use crate::broker::{Outbox, PublishBatch, Turn};
use crate::model::{ConnectionId, ConsumerId, ManualClock, MessageRoute, QueueName, QueueOptions};
use crate::routing::Routed;

struct World {
    broker: Broker,
    clock: Arc<ManualClock>,
    stats: Stats,
    queue: Arc<QueueCell>,
    turn: Turn,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(ManualClock::new());
        let broker = Broker::in_memory().clock(clock.clone()).build();
        let mut turn = Turn::new();
        turn.begin(broker.now());
        let vhost = broker.vhost("/").unwrap();
        let (name, options) = (QueueName::new("q").unwrap(), QueueOptions::default());
        let queue = vhost.declare_queue(&name, options, ConnectionId(1), &mut turn).unwrap().queue;
        World { stats: Stats::new(broker.clone()), broker, clock, queue, turn }
    }

    fn publish(&mut self, count: usize) {
        let vhost = self.broker.vhost("/").unwrap();
        let properties = RawProperties::check(&[0, 0]).unwrap();
        let resolved = vhost.resolve("", "q", properties, ConnectionId(1), &mut Routed::new()).unwrap();
        let route = MessageRoute {
            exchange: crate::model::ExchangeName::new("").unwrap(),
            routing_key: crate::model::RoutingKey::new("q").unwrap(),
        };
        let mut batch = PublishBatch::default();
        batch.from_exchange(resolved.counts.as_ref().unwrap());
        for _ in 0..count {
            batch.push_content(&route, &resolved.targets, &[0, 0], b"body").unwrap();
        }
        let _ = self.broker.publish(&mut batch, &Arc::<Outbox>::default(), &mut Vec::new(), &mut self.turn);
        self.turn.finish(&self.broker);
    }

    fn sample_after(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.stats.sample();
    }

    fn rate(&self, name: &str) -> f32 {
        self.stats.queue(&self.queue, &self.queue.figures()).get(name).unwrap().1.rate
    }
}

#[test]
fn a_rate_is_what_has_come_since_the_last_sample_over_the_time_since_then() {
    let mut world = World::new();
    world.publish(100);
    world.sample_after(5);
    assert_eq!(world.rate("publish"), 0.0, "nobody knows how long that took");
    world.publish(50);
    world.sample_after(5);
    assert_eq!((world.rate("publish"), world.rate("deliver_get")), (10.0, 0.0));
    let lengths = world.stats.queue_lengths(&world.queue);
    assert_eq!((lengths.messages_details.rate, lengths.messages_unacknowledged_details.rate), (10.0, 0.0));
    for _ in 0..20 {
        world.queue.get(ConsumerId(0), true, &mut world.turn).unwrap().unwrap();
    }
    world.sample_after(10);
    assert_eq!((world.rate("publish"), world.rate("get_no_ack")), (0.0, 2.0));
    assert_eq!(world.stats.queue_lengths(&world.queue).messages_ready_details.rate, -2.0);
}

#[test]
fn a_vhost_an_exchange_and_the_whole_have_rates_too_and_are_told_as_rabbitmq_tells_them() {
    let mut world = World::new();
    world.sample_after(5);
    world.publish(10);
    world.sample_after(5);
    let vhost = world.broker.vhost("/").unwrap();
    assert_eq!(world.stats.total(), world.stats.vhost(&vhost));
    assert_eq!(world.stats.total_lengths(), world.stats.vhost_lengths(&vhost));
    assert_eq!(world.stats.total().get("publish"), Some((10, Rate { rate: 2.0 })));
    let exchange = world.stats.exchange(&vhost, "", &vhost.exchange_counts("").unwrap());
    let expected = json!({
        "publish_in": 10, "publish_in_details": { "rate": 2.0 },
        "publish_out": 10, "publish_out_details": { "rate": 2.0 },
    });
    assert_eq!(serde_json::to_value(&exchange).unwrap(), expected);
}

#[test]
fn what_is_gone_is_forgotten_and_the_whole_remembers_it() {
    let mut world = World::new();
    world.publish(10);
    world.sample_after(5);
    let vhost = world.broker.vhost("/").unwrap();
    vhost.delete_queue("q", false, false, ConnectionId(1), &mut world.turn).unwrap();
    world.turn.finish(&world.broker);
    world.sample_after(5);
    assert!(world.stats.samples.read().queues.is_empty());
    assert_eq!(world.stats.total().get("publish"), Some((10, Rate { rate: 0.0 })));
    assert_eq!(world.stats.total_lengths().messages_details.rate, -2.0);
}
