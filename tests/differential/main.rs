//! The same random operations on Rialto and on RabbitMQ: same replies, same errors, same deliveries.
//!
//! RabbitMQ is started where it is installed (or named by `RIALTO_ORACLE=host:port`); elsewhere the tests say so and
//! pass. `RIALTO_DIFF_OPS` and `RIALTO_DIFF_RUNS` say how much is compared, `RIALTO_DIFF_SEED` repeats a run.
//! A run is made of episodes, each with a seed of its own and empty brokers at its start.
//! Differences that we want are in `wanted`, each with its reason. Not here: differences of time (expiry, heartbeats),
//! bytes that are no AMQP (`tests/amqp`).

#[path = "../support/amqp/mod.rs"]
mod amqp;
mod generator;
mod operation;
mod oracle;
mod runner;
mod side;
mod wanted;

use std::collections::BTreeMap;
use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rialto::config::{ListenAddress, Settings};
use rialto::server::Addresses;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use generator::Generator;
use oracle::{Oracle, TWIN};
use runner::{Difference, Runner};
use side::Endpoint;

/// Steps of an episode: enough for errors, redeclarations and dead letters to meet, few enough to be read.
const EPISODE: usize = 250;

#[test]
fn random_operations_have_the_same_consequences_on_both_brokers() {
    let Some(oracle) = Oracle::find() else { return skip() };
    let (ours, _broker) = match env::var("RIALTO_DIFF_OURS") {
        Ok(named) => (named.to_socket_addrs().expect("host:port").next().expect("an address"), None),
        Err(_) => {
            let broker = Ours::start();
            (broker.address, Some(broker))
        }
    };
    let ours = Endpoint { name: "rialto", address: ours, vhost: "/".to_owned() };
    let oracle_at = Endpoint { name: "rabbitmq", address: oracle.address, vhost: "/".to_owned() };
    compare(&[ours, oracle_at], number("RIALTO_DIFF_OPS", 500), number("RIALTO_DIFF_RUNS", 2));
}

#[test]
fn the_oracle_agrees_with_itself() {
    // What this finds is a race in the traces or an observation that depends on time.
    let Some(oracle) = Oracle::find() else { return skip() };
    if !oracle.is_own() {
        return println!("not compared: a RabbitMQ from outside has no second vhost");
    }
    let twin = |vhost: &str| Endpoint { name: "rabbitmq", address: oracle.address, vhost: vhost.to_owned() };
    compare(&[twin("/"), twin(TWIN)], number("RIALTO_DIFF_TWIN_OPS", 300), number("RIALTO_DIFF_RUNS", 1));
}

/// A broker on a data folder of its own, so that all of this happens over the journal.
struct Ours {
    address: SocketAddr,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Ours {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::default();
        settings.server.listen = vec![ListenAddress::new("127.0.0.1", 0)];
        settings.management.listen = Vec::new();
        settings.metrics.listen = Vec::new();
        settings.store.data_dir = folder.path().join("data");
        let stop = CancellationToken::new();
        let (tell, told) = mpsc::channel();
        let serving = thread::spawn({
            let stop = stop.clone();
            move || {
                let runtime = Runtime::new().expect("a runtime");
                let ready = |addresses: &Addresses| tell.send(addresses.messages[0]).expect("it is awaited");
                runtime.block_on(rialto::server::serve(&settings, stop, ready)).expect("it serves");
                drop(folder);
            }
        });
        Ours { address: told.recv().expect("it serves"), stop, serving: Some(serving) }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.serving.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the broker did not end in good order");
        }
    }
}

fn skip() {
    println!("not compared: no rabbitmq-server is installed and RIALTO_ORACLE names none");
}

fn number(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => otherwise,
    }
}

fn compare(endpoints: &[Endpoint; 2], operations: u64, runs: u64) {
    let first_seed = number("RIALTO_DIFF_SEED", 1);
    let mut runner = Runner::connect(endpoints);
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let mut different = 0;
    for run in 0..runs {
        let since = Instant::now();
        let performed = runner.performed;
        for episode in 0.. {
            let left = (operations as usize).saturating_sub(runner.performed - performed);
            if left == 0 {
                break;
            }
            let seed = first_seed + run * 10_000 + episode;
            let trace = Generator::episode(seed, EPISODE.min(left));
            let Some(difference) = runner.run(&trace) else { continue };
            different += 1;
            // A broker that refuses everything would make episodes without end.
            assert!(different < 200, "nearly every episode differs");
            let entry = found.entry(difference.signature()).or_insert(Found { seed, count: 0, difference });
            entry.count += 1;
        }
        println!(
            "{} and {}: run {run}: {} operations in {:.1} s",
            endpoints[0].name,
            endpoints[1].name,
            runner.performed - performed,
            since.elapsed().as_secs_f64()
        );
    }
    println!("{} operations; wanted differences met:", runner.performed);
    for (name, times) in &runner.wanted {
        println!("  {times} x {name}: {}", wanted::reason(name));
    }
    for difference in runner.texts.values() {
        println!("\n== refused otherwise");
        tell(difference, endpoints);
    }
    if found.is_empty() {
        assert!(runner.texts.is_empty(), "{} errors have other words", runner.texts.len());
        return;
    }
    let most = number("RIALTO_DIFF_SHOWN", 5) as usize;
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, found)| std::cmp::Reverse(found.count));
    for (signature, Found { seed, count, difference }) in found.iter().take(most) {
        println!("\n== {count} x {signature}");
        let trace = Generator::episode(*seed, EPISODE);
        let (trace, difference) = runner.shrink(&trace, difference);
        report(*seed, &trace, &difference, endpoints);
    }
    for (_, Found { seed, count, difference }) in found.iter().skip(most) {
        println!("\n== {count} x (seed {seed}, step {})", difference.index);
        tell(difference, endpoints);
    }
    panic!("{different} episodes differ, in {} ways", found.len());
}

struct Found {
    seed: u64,
    count: usize,
    difference: Difference,
}

fn report(seed: u64, trace: &[operation::Step], difference: &Difference, endpoints: &[Endpoint; 2]) {
    println!("RIALTO_DIFF_SEED={seed}, shortened:");
    for step in trace {
        println!("  {}.{} {:?}", step.link, step.channel, step.operation);
    }
    tell(difference, endpoints);
}

fn tell(difference: &Difference, endpoints: &[Endpoint; 2]) {
    println!("at {}.{} {:?}:", difference.step.link, difference.step.channel, difference.step.operation);
    for (stream, ours, oracle) in difference.lines() {
        println!(
            "  [{stream}]\n    {:>8}: {ours:?}\n    {:>8}: {oracle:?}",
            endpoints[0].name, endpoints[1].name
        );
    }
}
