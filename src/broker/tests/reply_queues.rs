//! Direct reply-to: hidden queues for replies.

use rialto_protocol::types::{FieldTable, Properties};

use super::*;
use crate::model::{ChannelId, ConsumerTag};
use crate::queue::ConsumerSpec;

/// Starts the one consumer that a reply queue has.
fn consume(world: &mut World, queue: &Arc<QueueCell>) -> ConsumerId {
    let id = world.broker.next_consumer_id();
    let spec = ConsumerSpec {
        tag: ConsumerTag::new("replies").unwrap(),
        id,
        auto_ack: true,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        credit: None,
        window: 1 << 20,
        channel_window: None,
        timeout: None,
    };
    let local = LocalConsumer { channel: ChannelId(1), number: 1 };
    queue.consume(spec, local, &world.outbox.clone(), &mut world.turn).unwrap().unwrap();
    id
}

#[test]
fn replies_come_through_the_default_exchange() {
    let mut world = World::new();
    let queue = world.vhost.declare_reply_queue(ME, &mut world.turn).unwrap();
    consume(&mut world, &queue);
    assert_eq!(world.publish("", queue.name(), &Properties::default(), "pong"), Ok(1));
    let mut outgoing = Outgoing::default();
    assert!(world.outbox.take(&mut outgoing));
    assert_eq!(outgoing.deliveries.iter().map(body).collect::<Vec<_>>(), ["pong"]);
    assert_eq!(world.publish("amq.direct", queue.name(), &Properties::default(), "pong"), Ok(0));
}

#[test]
fn names_are_long_different_and_begin_as_rabbitmqs_do() {
    let mut world = World::new();
    let mut name = || world.vhost.declare_reply_queue(ME, &mut world.turn).unwrap().name().clone();
    let (one, two) = (name(), name());
    assert_ne!(one, two);
    assert!(one.starts_with("amq.rabbitmq.reply-to.") && one.len() >= 22 + 22, "{one}");
}

#[test]
fn for_everybody_it_is_no_queue_but_a_declare_tells_that_it_is_there() {
    let mut world = World::new();
    let queue = world.vhost.declare_reply_queue(ME, &mut world.turn).unwrap();
    let name = queue.name().clone();
    for by in [ME, OTHER] {
        let text = format!("no queue '{name}' in vhost '/'");
        assert_eq!(refused(world.vhost.queue(&name, by)), (404, text));
        let bound = world.vhost.bind_queue(
            &exchange("amq.fanout"),
            &name,
            RoutingKey::default(),
            FieldTable::new(),
            by,
        );
        assert_eq!(refused(bound).0, 404);
        assert_eq!(world.vhost.delete_queue(&name, false, false, by, &mut world.turn), Ok(0));
        assert!(world.vhost.passive_queue(&name, by).is_ok());
        let declared = world.vhost.declare_queue(&name, QueueOptions::default(), by, &mut world.turn);
        assert!(!declared.unwrap().created);
    }
    for what in [Listed::Queues, Listed::Bindings, Listed::Consumers] {
        let rows = world.vhost.list(what, "", 100).unwrap().rows;
        assert!(rows.iter().all(|row| !row.to_string().contains("reply-to")), "{what:?}");
    }
}

#[test]
fn it_goes_with_its_consumer_or_its_connection() {
    let mut world = World::new();
    let queue = world.vhost.declare_reply_queue(ME, &mut world.turn).unwrap();
    let consumer = consume(&mut world, &queue);
    queue.consumers_gone(&[consumer], &mut world.turn);
    world.turn.finish(&world.broker.clone());
    assert_eq!(refused(world.vhost.passive_queue(queue.name(), OTHER)).0, 404);
    assert_eq!(world.publish("", queue.name(), &Properties::default(), "late"), Ok(0), "unroutable");
    let queue = world.vhost.declare_reply_queue(ME, &mut world.turn).unwrap();
    world.vhost.delete_exclusive_queues(ME, &mut world.turn);
    assert_eq!(refused(world.vhost.passive_queue(queue.name(), OTHER)).0, 404);
}
