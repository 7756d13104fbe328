//! Clients that come and go: connect, open a channel, declare a queue, delete it, close.
//!
//! Invariant: nothing is left behind, or the measurement fails. Not here: what is said (`visitor`).

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;

use super::contender::Contender;
use super::error::{BenchError, BenchResult};
use super::findings::{Finding, Findings, Round};
use super::in_turn;
use super::options::{Whom, parse_duration, parse_span};
use super::round::durations;
use super::usage::Meter;
use super::visitor::{self, Script};

pub(super) const EXAMPLES: &str = "Examples:\n  rialto bench churn --protocol amqp --against rabbitmq\n  \
    rialto bench churn --workers 8 --duration 10s --rounds 5\n\n\
    Workers say one thing after the other and wait for each answer, as clients do. µs are the\n\
    broker's CPU time for a cycle; those of p50 and p99 are the time it takes.";

/// Clients that come and go: connect, channel, declare, delete, close
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Churn {
    /// Clients at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// How long to measure in each round
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_span)]
    duration: Duration,
    /// Run this long before measuring, so that start-up does not count
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// One JSON object, for scripts
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    whom: Whom,
}

/// What workers are doing, all together.
struct Phase(AtomicU8);

impl Phase {
    const WARM_UP: u8 = 0;
    const MEASURE: u8 = 1;
    const END: u8 = 2;

    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Acquire) == phase
    }

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Release);
    }
}

impl Churn {
    /// Measures all contenders.
    pub(super) fn run(&self) -> BenchResult<Findings> {
        let contenders = self.whom.contenders()?;
        let results = in_turn(&contenders, self.rounds, |contender| self.measure(contender))?;
        let title = format!(
            "churn: {} worker(s) connect, open a channel, declare a queue, delete it, close; {}, {} round(s)",
            self.workers,
            humantime::format_duration(self.duration),
            self.rounds
        );
        let scenario = json!({
            "measurement": "churn",
            "workers": self.workers,
            "duration_s": self.duration.as_secs_f64(),
            "warm_up_s": self.warm_up.as_secs_f64(),
            "rounds": self.rounds,
        });
        Ok(Findings::new(title, scenario, results))
    }

    fn measure(&self, contender: &Contender) -> BenchResult<Round> {
        let broker = contender.start(false)?;
        let (speech, meter) = (broker.speech(), broker.meter());
        let queues: Vec<String> =
            (0..self.workers).map(|worker| format!("rialto-bench.{}.{worker}", std::process::id())).collect();
        let scripts = queues.iter().map(|queue| visitor::pass(speech, queue));
        let scripts = scripts.collect::<BenchResult<Vec<_>>>()?;
        let cpu = || (meter.and_then(|meter| meter.cpu()), Meter::own().cpu());
        let phase = Phase(AtomicU8::new(Phase::WARM_UP));
        let (begun, ended, times) = thread::scope(|scope| {
            let workers: Vec<_> = scripts.iter().map(|script| scope.spawn(|| work(script, &phase))).collect();
            wait(self.warm_up, &workers);
            phase.set(Phase::MEASURE);
            let begun = (Instant::now(), cpu());
            wait(self.duration, &workers);
            let ended = (Instant::now(), cpu());
            phase.set(Phase::END);
            let times = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
            Ok((begun, ended, times.collect::<BenchResult<Vec<_>>>()?))
        })?;
        for queue in &queues {
            if visitor::has_queue(speech, queue)? {
                return Err(BenchError::Protocol(format!("the queue {queue} is still there")));
            }
        }
        let mut all = durations();
        for times in &times {
            all.add(times).expect("of the same range");
        }
        let cycles = all.len() as f64;
        let each = |before: Option<Duration>, after: Option<Duration>| {
            Some(after?.saturating_sub(before?).as_secs_f64() * 1e6 / cycles)
        };
        let percentile = |quantile: f64| all.value_at_quantile(quantile) as f64 / 1e3;
        let ((begun, (broker_before, own_before)), (ended, (broker_after, own_after))) = (begun, ended);
        Ok(vec![
            Finding::new("cycles_per_s", "cycles/s", cycles / (ended - begun).as_secs_f64()).compared(),
            Finding::new("broker_cpu_us_per_cycle", "broker µs", each(broker_before, broker_after))
                .digits(1)
                .compared(),
            Finding::new("generator_cpu_us_per_cycle", "generator µs", each(own_before, own_after)).digits(1),
            Finding::new("p50_us", "p50 µs", percentile(0.5)),
            Finding::new("p99_us", "p99 µs", percentile(0.99)),
        ])
    }
}

/// Waits, unless a worker has given up.
fn wait<T>(span: Duration, workers: &[thread::ScopedJoinHandle<'_, T>]) {
    const STEP: Duration = Duration::from_millis(20);
    let until = Instant::now() + span;
    while let Some(left) = until.checked_duration_since(Instant::now())
        && !workers.iter().any(|worker| worker.is_finished())
    {
        thread::sleep(left.min(STEP));
    }
}

/// One client after the other.
fn work(script: &Script, phase: &Phase) -> BenchResult<Histogram<u64>> {
    let mut times = durations();
    while !phase.is(Phase::END) {
        let (counts, begun) = (phase.is(Phase::MEASURE), Instant::now());
        drop(script.play()?);
        if counts && !phase.is(Phase::END) {
            times.saturating_record(begun.elapsed().as_nanos() as u64);
        }
    }
    Ok(times)
}
