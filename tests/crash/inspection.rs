//! Looking into every queue of a broker that has just been started.

use std::collections::BTreeSet;

use fastrand::Rng;
use rialto_client::ListKind;
use tokio::runtime::Runtime;

use super::amqp::methods::{ack, consume};
use super::amqp::{Client, Method, QueueDeclare, TxCommit, TxSelect};
use super::body;
use super::broker::Broker;
use super::ledger::{Id, QUEUES};
use super::load_native;
use super::world::{Declared, World};

const CHANNEL: u16 = 1;

/// Compares all that the broker has with what it must have; what is wrong, in words. Some queues are emptied.
pub(crate) fn inspect(broker: &Broker, world: &World, rng: &mut Rng) -> Vec<String> {
    let mut wrong = compare_declared(broker, world);
    let mut clients = Vec::new();
    let mut found: [Vec<Id>; QUEUES.len()] = Default::default();
    for (queue, ids) in found.iter_mut().enumerate() {
        let mut client = Client::on_channel(broker.address());
        *ids = look_into(&mut client, queue);
        clients.push(client);
    }
    let violations = world.with(|inner| inner.ledger.compare(&found));
    wrong.extend(violations.iter().map(ToString::to_string));
    if wrong.is_empty() {
        for (queue, client) in clients.iter_mut().enumerate().filter(|(queue, _)| !found[*queue].is_empty()) {
            // Now and then, so that there is an old message as well as many that are gone.
            if rng.u8(..100) < 30 {
                empty(client, queue, &found[queue], world);
            }
        }
    }
    // The others drop their connections: what they hold goes back to its place.
    wrong
}

/// Everything in a queue, in order, without acknowledging it.
fn look_into(client: &mut Client, queue: usize) -> Vec<Id> {
    let name = QUEUES[queue];
    client.call(CHANNEL, Method::TxSelect(TxSelect {})).expect("transactions are always there");
    let passive =
        QueueDeclare { queue: super::amqp::methods::short(name), passive: true, ..QueueDeclare::default() };
    let declared = client.call(CHANNEL, Method::QueueDeclare(passive));
    let Ok(Method::QueueDeclareOk(declared)) = declared else {
        panic!("the durable queue {name} is gone: {declared:?}")
    };
    let consuming = client.call(CHANNEL, Method::BasicConsume(consume(name, "inspection")));
    assert!(matches!(consuming, Ok(Method::BasicConsumeOk(_))), "{consuming:?}");
    let deliveries = client.deliveries(CHANNEL, declared.message_count as usize);
    client.sync(CHANNEL).expect("the channel is open");
    let late = client.inbox();
    assert!(late.is_empty(), "{name} has more messages than it says: {late:?}");
    deliveries.iter().map(|(_, content)| body::read(&content.body)).collect()
}

/// Acknowledges everything in a transaction, so that the answer says that it is safe.
fn empty(client: &mut Client, queue: usize, ids: &[Id], world: &World) {
    client.send(CHANNEL, ack(ids.len() as u64, true));
    let done = client.call(CHANNEL, Method::TxCommit(TxCommit {}));
    assert!(matches!(done, Ok(Method::TxCommitOk(_))), "{done:?}");
    world.with(|inner| inner.ledger.settled_for_good(queue, ids));
}

/// A durable queue whose declaration was answered is there, one whose deletion was answered is not.
fn compare_declared(broker: &Broker, world: &World) -> Vec<String> {
    let runtime = Runtime::new().expect("threads to run on");
    let rows = runtime.block_on(async {
        let client = load_native::connect(&broker.url()).await;
        client.list(ListKind::Queues).all().await.expect("a list of queues")
    });
    let there: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row.get("name")?.as_str().map(str::to_owned))
        .filter(|name| name.starts_with("declared-"))
        .collect();
    world.with(|inner| {
        let mut wrong = Vec::new();
        for (name, declared) in &mut inner.declared {
            match (*declared, there.contains(name)) {
                (Declared::Yes, false) => wrong.push(format!("the queue {name} is gone, though declared")),
                (Declared::No, true) => wrong.push(format!("the queue {name} is there, though deleted")),
                (_, true) => *declared = Declared::Yes,
                (_, false) => *declared = Declared::No,
            }
        }
        let unknown = there.iter().filter(|name| !inner.declared.contains_key(*name));
        wrong.extend(unknown.map(|name| format!("the queue {name} was never declared")));
        wrong
    })
}
