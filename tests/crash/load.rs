//! The load: who publishes, consumes and declares, and what consumers do with a message.

use std::sync::Arc;
use std::thread::JoinHandle;

use fastrand::Rng;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::amqp::Client as AmqpClient;
use super::broker::Broker;
use super::world::{PATIENCE, World};
use super::{load_amqp, load_native};

/// What a consumer does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Ack,
    Requeue,
    Reject,
    Keep,
}

pub(crate) fn fate(rng: &mut Rng) -> Fate {
    match rng.u8(..100) {
        0..60 => Fate::Ack,
        60..70 => Fate::Requeue,
        70..85 => Fate::Reject,
        _ => Fate::Keep,
    }
}

/// The length of a body: mostly small, now and then one that fills many pages.
pub(crate) fn some_len(rng: &mut Rng) -> usize {
    match rng.u8(..100) {
        0..60 => rng.usize(16..256),
        60..98 => rng.usize(256..4096),
        _ => rng.usize(4096..150_000),
    }
}

/// Publishers and consumers at work.
pub(crate) struct Load {
    runtime: Runtime,
    tasks: JoinSet<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Connects everybody first, so that none of them misses a broker that is killed early.
    pub(crate) fn start(broker: &Broker, round: u64, world: &Arc<World>, rng: &mut Rng) -> Load {
        world.go();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads to run on");
        let url = broker.url();
        let native: Vec<_> = runtime.block_on(async {
            [
                load_native::connect(&url).await,
                load_native::connect(&url).await,
                load_native::connect(&url).await,
            ]
            .into()
        });
        let amqp: Vec<_> = (0..5).map(|_| AmqpClient::on_channel(broker.address())).collect();

        let mut tasks = JoinSet::new();
        let on = runtime.handle();
        let mut native = native.into_iter();
        let mut client = || native.next().expect("three are connected");
        tasks.spawn_on(load_native::publish(client(), 1, world.clone(), rng.fork()), on);
        tasks.spawn_on(load_native::publish(client(), 2, world.clone(), rng.fork()), on);
        tasks.spawn_on(load_native::consume(client(), world.clone(), rng.fork()), on);

        let mut amqp = amqp.into_iter();
        let mut spawn = |work: fn(AmqpClient, u64, Arc<World>, Rng), number| {
            let client = amqp.next().expect("five are connected");
            let (world, rng) = (world.clone(), rng.fork());
            std::thread::spawn(move || work(client, number, world, rng))
        };
        let threads = vec![
            spawn(
                |client, publisher, world, rng| load_amqp::publish(client, publisher as u16, world, rng),
                3,
            ),
            spawn(
                |client, publisher, world, rng| load_amqp::publish(client, publisher as u16, world, rng),
                4,
            ),
            spawn(
                |client, publisher, world, rng| {
                    load_amqp::publish_in_transactions(client, publisher as u16, world, rng);
                },
                5,
            ),
            spawn(|client, _, world, rng| load_amqp::consume(client, world, rng), 0),
            spawn(load_amqp::declare, round),
        ];
        Load { runtime, tasks, threads }
    }

    /// Waits until all have ended, after the broker was ended or the load stopped. What one of them has found wrong
    /// fails the test here.
    pub(crate) fn join(mut self) {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a publisher or consumer found something wrong");
            }
        };
        let ended = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await });
        ended.expect("publishers and consumers end with their connections");
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
