//! Publishers and a consumer over the native protocol. Each ends when its connection is lost, or when the load stops.

use std::collections::VecDeque;
use std::sync::Arc;

use fastrand::Rng;
use rialto_client::{BatchConfirm, Client, Delivery, Message, Reconnect};

use super::body;
use super::ledger::{FAN, Id, QUEUES};
use super::load::{Fate, fate, some_len};
use super::world::{LOOK_UP, TARGETS, Target, World};

/// A client that gives up, rather than publish again, when its connection is lost: a message that was not confirmed
/// is there once or not at all.
pub(crate) async fn connect(url: &str) -> Client {
    let builder = Client::builder(url).expect("a good address").reconnect(Reconnect::never());
    builder.connect().await.expect("the broker serves")
}

/// Batches to one target after the other, a few of them unconfirmed.
pub(crate) async fn publish(client: Client, publisher: u16, world: Arc<World>, mut rng: Rng) {
    let mut waiting: VecDeque<(BatchConfirm, Vec<Id>, Target)> = VecDeque::new();
    while !world.is_stopped() {
        let target = TARGETS[rng.usize(..TARGETS.len())];
        let ids: Vec<Id> = (0..rng.usize(1..=40)).map(|_| world.next_id(publisher)).collect();
        world.with(|inner| {
            for &id in &ids {
                inner.ledger.publishing(&[(id, target.queues)]);
            }
        });
        let messages: Vec<Message> =
            ids.iter().map(|&id| Message::new(body::make(id, some_len(&mut rng))).persistent()).collect();
        let Ok(to) = client.publisher(target.exchange, target.routing_key) else { return };
        let Ok(confirm) = to.publish_batch(messages).await else { return };
        waiting.push_back((confirm, ids, target));
        let keep = rng.usize(0..8);
        while waiting.len() > keep {
            let (confirm, ids, target) = waiting.pop_front().expect("it is not empty");
            let Ok(outcome) = confirm.await else { return };
            outcome.accepted().expect("nothing is refused here");
            world.with(|inner| ids.iter().for_each(|&id| inner.ledger.confirmed(id, target.queues)));
        }
    }
}

/// Takes from the first queue of the fanout; some it requeues, some it keeps for a while.
pub(crate) async fn consume(client: Client, world: Arc<World>, mut rng: Rng) {
    let queue = FAN[0];
    let Ok(mut consumer) = client.consume(QUEUES[queue]).prefetch(100).start().await else { return };
    let mut kept: VecDeque<(Delivery, Id)> = VecDeque::new();
    let ack = |delivery: Delivery, id| {
        world.with(|inner| inner.ledger.acking(queue, id));
        delivery.ack()
    };
    while !world.is_stopped() {
        let Ok(next) = tokio::time::timeout(LOOK_UP, consumer.next()).await else { continue };
        let Some(Ok(delivery)) = next else { return };
        let id = body::read(delivery.body());
        let done = match fate(&mut rng) {
            Fate::Ack => ack(delivery, id),
            // Nothing dies here: the ledger follows dead letters of one queue only.
            Fate::Requeue | Fate::Reject => delivery.requeue(),
            Fate::Keep => {
                kept.push_back((delivery, id));
                Ok(())
            }
        };
        let enough = kept.len() > 50;
        let (oldest, id) = match kept.pop_front() {
            Some(oldest) if enough => oldest,
            Some(oldest) => {
                kept.push_front(oldest);
                continue;
            }
            None => continue,
        };
        if done.and_then(|()| ack(oldest, id)).is_err() {
            return;
        }
    }
}
