//! `rialto bench`: what a broker can do, measured from outside by a generator that costs little itself.
//!
//! Rooms: `options` (the command line), `plan` (what is sent, the same for all), `topic` (bindings and keys), `contender`
//! (who is measured: a Rialto broker, RabbitMQ, a NATS server, the bare relay, the disk), `process` (their processes),
//! `rabbitmq` (a node of its own), `scratch` (folders), `leftovers` (what has to be ended), `running` (a broker while it
//! is measured), `round` (one flow), `traffic` (the two ends as a round sees them), `native`, `amqp`, `nats`, `relay` and
//! `disk` (the ends), `publishing` and `consuming` (what drives them), `pace` (open loop), `confirm_times`, `awake` (cores), `usage` (CPU and memory), `listener` (whose), `report` (a
//! flow's medians, table, JSON), `findings` (those of what is no flow), `idle` and `churn` (connections without messages)
//! with their `visitor`, `backlog` (queues filled, then drained), `plot` (pictures of all).
//! Invariants: every message published is accounted for, or the measurement fails; frames are encoded before the
//! clock starts; brokers that a measurement starts listen on loopback and end with it. Not here: the client that
//! applications use (`rialto-client`), whose comfort would be measured along.

mod amqp;
mod awake;
mod backlog;
mod churn;
mod confirm_times;
mod consuming;
mod contender;
mod disk;
mod error;
mod findings;
mod idle;
mod leftovers;
mod listener;
mod native;
mod nats;
mod options;
mod pace;
mod plan;
mod plot;
mod process;
mod publishing;
mod rabbitmq;
mod relay;
mod report;
mod round;
mod running;
mod scratch;
mod stream;
mod topic;
mod traffic;
mod usage;
mod visitor;

use std::io::Write as _;

use awake::Awake;
use contender::Contender;
use error::{BenchError, BenchResult};
use findings::Findings;
use options::Job;
use report::Report;

pub(super) use options::Options;

use super::output::written;
use super::signal::Interrupt;
use super::{ExitCode, Failure};
use crate::server::raise_open_files;

/// Measures all contenders in turn, round by round, so that what else the machine does meets all alike.
fn in_turn<T>(
    contenders: &[Contender],
    rounds: u32,
    mut measure: impl FnMut(&Contender) -> BenchResult<T>,
) -> BenchResult<Vec<(String, Vec<T>)>> {
    let mut results: Vec<(String, Vec<T>)> =
        contenders.iter().map(|contender| (contender.to_string(), Vec::new())).collect();
    for _ in 0..rounds {
        for (contender, (_, measured)) in contenders.iter().zip(&mut results) {
            measured.push(measure(contender)?);
        }
    }
    Ok(results)
}

fn measure(job: &Job) -> BenchResult<Report> {
    let awake = if job.plan.keeps_cores_awake { Awake::keep() } else { None };
    let results = in_turn(&job.contenders, job.plan.rounds, |contender| contender.measure(&job.plan))?;
    Ok(Report::new(job.measurement, &job.plan, awake.is_some(), &results))
}

/// Runs the measurement and prints what it found.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let job = match options {
        Options::Throughput(options) => options.job(),
        Options::Latency(options) => options.job(),
        Options::Fanout(options) => options.job(),
        Options::Topic(options) => options.job(),
        Options::Limit(options) => options.job(),
        Options::Plot(options) => return Ok(options.run().map(|()| ExitCode::Success)?),
        Options::Idle(options) => return told(&|| options.run(), options.json),
        Options::Churn(options) => return told(&|| options.run(), options.json),
        Options::Backlog(options) => return told(&|| options.run(), options.json),
        Options::Relay(options) => {
            relay::serve(options.publishers, options.consumers, options.copies)?;
            return Ok(ExitCode::Success);
        }
    }?;
    end_children_when_interrupted()?;
    // Shells mostly start with 1024: each connection takes one file or two.
    raise_open_files();
    let report = measure(&job)?;
    let text = if job.json { report.json() + "\n" } else { report.text() };
    written(std::io::stdout().write_all(text.as_bytes()))?;
    let complaints = report.complaints();
    match complaints.is_empty() {
        true => Ok(ExitCode::Success),
        false => Err(Failure::new(ExitCode::Failure, complaints.join("\n"))),
    }
}

/// Runs a measurement that is no flow and prints what it found.
fn told(measurement: &dyn Fn() -> BenchResult<Findings>, json: bool) -> Result<ExitCode, Failure> {
    end_children_when_interrupted()?;
    let findings = measurement()?;
    let text = if json { findings.json() + "\n" } else { findings.text() };
    written(std::io::stdout().write_all(text.as_bytes()))?;
    Ok(ExitCode::Success)
}

/// Children of a measurement that is interrupted would go on without it.
fn end_children_when_interrupted() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Ends with the process.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async { Interrupt::listen().wait().await });
        leftovers::end_all();
        std::process::exit(ExitCode::Interrupted as i32);
    })?;
    Ok(())
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let code = match &error {
            BenchError::Options(_) => ExitCode::Usage,
            BenchError::Refused(_) => ExitCode::Refused,
            BenchError::Ended => ExitCode::Connection,
            BenchError::Io { source, .. } if source.kind() == std::io::ErrorKind::ConnectionRefused => {
                ExitCode::Connection
            }
            BenchError::Io { .. } | BenchError::Protocol(_) | BenchError::Process(_) => ExitCode::Failure,
        };
        Failure::new(code, error)
    }
}
