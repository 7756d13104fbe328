//! Publishers, a consumer and a declarer over AMQP. Each ends when its connection is lost, or when the load stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::amqp::methods::{ack, consume as basic_consume, short};
use super::amqp::{
    BasicNack, BasicQos, BasicReject, Client, ConfirmSelect, Event, Method, Next, Properties, QueueDeclare,
    QueueDelete, TxCommit, TxSelect,
};
use super::body;
use super::ledger::{Id, QUEUES, WORK};
use super::load::{Fate, fate, some_len};
use super::world::{Declared, LOOK_UP, TARGETS, Target, World};

const CHANNEL: u16 = 1;

/// Durable queues that there are beside those of the test, at most.
const DECLARED_MAX: usize = 40;

fn persistent() -> Properties {
    Properties { delivery_mode: Some(2), ..Properties::default() }
}

fn put(client: &mut Client, target: Target, id: Id, rng: &mut Rng) {
    let publish = super::amqp::methods::publish(target.exchange, target.routing_key);
    client.put_content(CHANNEL, &publish, &persistent(), &body::make(id, some_len(rng)));
}

/// The next event; none when the connection or the load has ended.
fn next(client: &mut Client, world: &World) -> Option<Event> {
    loop {
        match client.next_within(LOOK_UP) {
            // A broker that ends in good order says so.
            Next::Event(event) if matches!(event.method, Method::ConnectionClose(_)) => return None,
            Next::Event(event) => return Some(event),
            Next::End => return None,
            Next::Nothing if world.is_stopped() => return None,
            Next::Nothing => {}
        }
    }
}

/// Single messages with confirms, some hundred unconfirmed.
pub(crate) fn publish(mut client: Client, publisher: u16, world: Arc<World>, mut rng: Rng) {
    client.send(CHANNEL, Method::ConfirmSelect(ConfirmSelect::default()));
    let Some(selected) = next(&mut client, &world) else { return };
    assert!(matches!(selected.method, Method::ConfirmSelectOk(_)), "{selected:?}");
    let (mut tag, mut waiting) = (0, BTreeMap::new());
    while !world.is_stopped() {
        for _ in 0..rng.usize(1..=30) {
            let target = TARGETS[rng.usize(..TARGETS.len())];
            let id = world.next_id(publisher);
            world.with(|inner| inner.ledger.publishing(&[(id, target.queues)]));
            put(&mut client, target, id, &mut rng);
            tag += 1;
            waiting.insert(tag, (id, target));
        }
        client.flush();
        let keep = rng.usize(0..200);
        while waiting.len() > keep {
            let Some(event) = next(&mut client, &world) else { return };
            let Method::BasicAck(ack) = event.method else { panic!("expected a confirm: {event:?}") };
            let confirmed = match ack.multiple {
                true => {
                    let rest = waiting.split_off(&(ack.delivery_tag + 1));
                    std::mem::replace(&mut waiting, rest)
                }
                false => waiting.remove_entry(&ack.delivery_tag).into_iter().collect(),
            };
            world.with(|inner| {
                confirmed.values().for_each(|(id, target)| inner.ledger.confirmed(*id, target.queues));
            });
        }
    }
}

/// Transactions over several queues.
pub(crate) fn publish_in_transactions(mut client: Client, publisher: u16, world: Arc<World>, mut rng: Rng) {
    client.send(CHANNEL, Method::TxSelect(TxSelect {}));
    let Some(selected) = next(&mut client, &world) else { return };
    assert!(matches!(selected.method, Method::TxSelectOk(_)), "{selected:?}");
    while !world.is_stopped() {
        let unit: Vec<(Id, Target)> = (0..rng.usize(1..=6))
            .map(|_| (world.next_id(publisher), TARGETS[rng.usize(..TARGETS.len())]))
            .collect();
        world.with(|inner| {
            let places: Vec<_> = unit.iter().map(|(id, target)| (*id, target.queues)).collect();
            inner.ledger.publishing(&places);
        });
        for &(id, target) in &unit {
            put(&mut client, target, id, &mut rng);
        }
        client.put(CHANNEL, &Method::TxCommit(TxCommit {}));
        client.flush();
        let Some(done) = next(&mut client, &world) else { return };
        assert!(matches!(done.method, Method::TxCommitOk(_)), "{done:?}");
        world.with(|inner| unit.iter().for_each(|(id, target)| inner.ledger.confirmed(*id, target.queues)));
    }
}

/// Takes from the queue whose rejected messages die; some it requeues, some it keeps for a while.
pub(crate) fn consume(mut client: Client, world: Arc<World>, mut rng: Rng) {
    let qos = BasicQos { prefetch_size: 0, prefetch_count: 100, global: false };
    client.put(CHANNEL, &Method::BasicQos(qos));
    client.put(CHANNEL, &Method::BasicConsume(basic_consume(QUEUES[WORK], "consumer")));
    client.flush();
    let mut kept: Vec<(u64, Id)> = Vec::new();
    while let Some(event) = next(&mut client, &world) {
        let (Method::BasicDeliver(deliver), Some(content)) = (event.method, event.content) else { continue };
        if world.is_stopped() {
            return;
        }
        let (tag, id) = (deliver.delivery_tag, body::read(&content.body));
        match fate(&mut rng) {
            Fate::Ack => {
                world.with(|inner| inner.ledger.acking(WORK, id));
                client.send(CHANNEL, ack(tag, false));
            }
            Fate::Requeue => {
                let nack = BasicNack { delivery_tag: tag, multiple: false, requeue: true };
                client.send(CHANNEL, Method::BasicNack(nack));
            }
            Fate::Reject => {
                world.with(|inner| inner.ledger.rejecting(WORK, id));
                client.send(CHANNEL, Method::BasicReject(BasicReject { delivery_tag: tag, requeue: false }));
            }
            Fate::Keep => kept.push((tag, id)),
        }
        if kept.len() > 50 {
            let last = kept.iter().map(|(tag, _)| *tag).max().unwrap_or_default();
            world.with(|inner| kept.iter().for_each(|(_, id)| inner.ledger.acking(WORK, *id)));
            kept.clear();
            client.send(CHANNEL, ack(last, true));
        }
    }
}

/// Declares and deletes durable queues, one at a time.
pub(crate) fn declare(mut client: Client, round: u64, world: Arc<World>, mut rng: Rng) {
    for number in 0.. {
        if world.is_stopped() {
            return;
        }
        let there: Vec<String> = world.with(|inner| {
            let there = inner.declared.iter().filter(|(_, declared)| **declared == Declared::Yes);
            there.map(|(name, _)| name.clone()).collect()
        });
        let deletes = there.len() >= DECLARED_MAX || (!there.is_empty() && rng.u8(..) < 100);
        let (name, method, then) = if deletes {
            let name = there[rng.usize(..there.len())].clone();
            let delete = QueueDelete { queue: short(&name), ..QueueDelete::default() };
            (name, Method::QueueDelete(delete), Declared::No)
        } else {
            let name = format!("declared-{round}-{number}");
            let declare = QueueDeclare { queue: short(&name), durable: true, ..QueueDeclare::default() };
            (name, Method::QueueDeclare(declare), Declared::Yes)
        };
        world.with(|inner| inner.declared.insert(name.clone(), Declared::Perhaps));
        client.send(CHANNEL, method);
        let Some(answer) = next(&mut client, &world) else { return };
        let is_answer = matches!(answer.method, Method::QueueDeclareOk(_) | Method::QueueDeleteOk(_));
        assert!(is_answer, "{answer:?}");
        world.with(|inner| inner.declared.insert(name, then));
    }
}
