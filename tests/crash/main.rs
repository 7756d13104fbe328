//! The real process, killed with SIGKILL again and again: nothing confirmed is lost.
//!
//! `RIALTO_CRASH_KILLS` says how often (4 unless told; 200 for a release), `RIALTO_CRASH_SEED` which choices are made
//! again; where among them the process dies, no seed can say. Rooms: `ledger` (what must be where), `world` (what is
//! shared), `broker` (the process), `load`, `load_native` and `load_amqp` (who publishes and consumes), `inspection`
//! (what is where), `body`. A folder whose broker has failed is kept for `rialto data check`.
#![cfg(unix)]

#[path = "../support/amqp/mod.rs"]
mod amqp;
mod body;
mod broker;
mod inspection;
mod ledger;
mod load;
mod load_amqp;
mod load_native;
mod world;

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use tokio::runtime::Runtime;

use broker::{Broker, LogTail, tail};
use ledger::{FAN, QUEUES, WORK};
use load::Load;
use world::{FANOUT, World};

/// Violations that are told.
const TOLD_MAX: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// SIGKILL under load.
    Kill,
    /// SIGKILL while it starts, maybe amid its recovery.
    KillAtStart,
    /// SIGTERM: in good order.
    Stop,
}

impl Ending {
    fn choose(rng: &mut Rng) -> Ending {
        match rng.u8(..100) {
            0..10 => Ending::KillAtStart,
            10..20 => Ending::Stop,
            _ => Ending::Kill,
        }
    }
}

/// The queues, declared as durable, with everything that ties them.
fn declare(broker: &Broker) {
    Runtime::new().expect("threads to run on").block_on(async {
        let client = load_native::connect(&broker.url()).await;
        client.exchange(FANOUT).fanout().durable().declare().await.expect("a new exchange");
        for (number, name) in QUEUES.iter().enumerate() {
            let queue = client.queue(name).durable();
            let queue = match number == WORK {
                true => queue.dead_letter("").dead_letter_key("dead"),
                false => queue,
            };
            queue.declare().await.expect("a new queue");
            if FAN.contains(&number) {
                client.queue(name).bind(FANOUT, "").await.expect("a new binding");
            }
        }
    });
}

/// Lets the load run until a count that was drawn has been reached: some published, confirmed or settled messages more.
fn run_for_a_while(world: &World, rng: &mut Rng) {
    let before = world.with(|inner| inner.ledger.tally);
    let more = rng.u64(1..1500);
    match rng.u8(..3) {
        0 => world.wait_for("published messages", |now| now.published >= before.published + more),
        1 => world.wait_for("confirmed messages", |now| now.confirmed >= before.confirmed + more),
        _ => world.wait_for("settled messages", |now| {
            now.acked + now.rejected >= before.acked + before.rejected + more / 4
        }),
    }
}

struct Test {
    folder: tempfile::TempDir,
    log: LogTail,
    world: Arc<World>,
    seed: u64,
    rng: Rng,
}

impl Test {
    fn new() -> Test {
        let seed = number("RIALTO_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
        println!("seed {seed}");
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        Test { folder, log: LogTail::default(), world: Arc::default(), seed, rng: Rng::with_seed(seed) }
    }

    fn data(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "data")
    }

    fn start(&self) -> Broker {
        Broker::start(&self.data(), &self.log)
    }

    fn inspect(&mut self, broker: &Broker, after: &str) {
        let wrong = inspection::inspect(broker, &self.world, &mut self.rng);
        if wrong.is_empty() {
            return;
        }
        let first = wrong[..wrong.len().min(TOLD_MAX)].join("\n  ");
        panic!("seed {}, {after}: {} violations, the first:\n  {first}", self.seed, wrong.len());
    }

    fn summary(&self, kills: u64, at_start: u64, stops: u64) -> String {
        let (tally, declared) = self.world.with(|inner| (inner.ledger.tally, inner.declared.len()));
        format!(
            "{kills} kills ({at_start} of them while starting) and {stops} stops, seed {}: {} messages published, \
             {} confirmed, {} acknowledged, {} rejected, {declared} queues declared, {} messages found after \
             restarts: 0 confirmed lost, 0 out of order, 0 twice, 0 half applied; {} acknowledged and there again; \
             of those not confirmed {} there, {} not",
            self.seed,
            tally.published,
            tally.confirmed,
            tally.acked,
            tally.rejected,
            tally.found,
            tally.duplicates,
            tally.unconfirmed_kept,
            tally.unconfirmed_lost
        )
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            let folder = self.data();
            println!("the folder is kept: {}; the latest of the log:\n{}", folder.display(), tail(&self.log));
        }
    }
}

#[test]
fn what_was_confirmed_outlives_kill_9() {
    let wanted = number("RIALTO_CRASH_KILLS").unwrap_or(4);
    let mut test = Test::new();
    let mut broker = test.start();
    declare(&broker);
    let (mut kills, mut at_start, mut stops) = (0, 0, 0);
    for round in 0.. {
        if kills >= wanted {
            break;
        }
        let ending = Ending::choose(&mut test.rng);
        let load = Load::start(&broker, round, &test.world, &mut test.rng);
        run_for_a_while(&test.world, &mut test.rng);
        match ending {
            Ending::Kill | Ending::KillAtStart => {
                broker.kill();
                kills += 1;
            }
            Ending::Stop => {
                broker.stop();
                stops += 1;
            }
        }
        test.world.stop();
        load.join();
        if ending == Ending::KillAtStart {
            let lines = test.rng.usize(0..4);
            Broker::kill_while_it_starts(&test.data(), &test.log, lines);
            kills += 1;
            at_start += 1;
        }
        broker = test.start();
        test.inspect(&broker, &format!("round {round}, {ending:?}"));
    }
    println!("{}", test.summary(kills, at_start, stops));
}

#[test]
fn without_a_crash_all_is_there_as_well() {
    // What this test itself claims of a broker must hold of one that nobody has killed.
    let mut test = Test::new();
    let broker = test.start();
    declare(&broker);
    for round in 0..2 {
        let load = Load::start(&broker, round, &test.world, &mut test.rng);
        run_for_a_while(&test.world, &mut test.rng);
        test.world.stop();
        load.join();
        wait_until_alone(&broker);
        test.inspect(&broker, "nobody was killed");
        wait_until_alone(&broker);
    }
}

/// Waits until the broker has noticed the end of every other connection.
fn wait_until_alone(broker: &Broker) {
    Runtime::new().expect("threads to run on").block_on(async {
        let client = load_native::connect(&broker.url()).await;
        let alone = async {
            loop {
                let list = client.list(rialto_client::ListKind::Connections).all().await;
                if list.expect("a list of connections").len() == 1 {
                    return;
                }
            }
        };
        tokio::time::timeout(world::PATIENCE, alone).await.expect("connections that are dropped end");
    });
}
