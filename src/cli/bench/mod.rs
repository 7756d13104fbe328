//! `rialto bench`: what a broker can do, measured from outside.
//!
//! Each measurement has its own options here, checked before anything connects. Not here yet: the engine.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::declare::parse_duration;
use super::target::Target;
use super::{ExitCode, Failure};
use crate::config::Size;

const EXAMPLES: &str = "\
Examples:
  rialto bench throughput --publishers 4 --consumers 4 --size 128
  rialto bench latency --rate 10000 --duration 30s
  rialto bench fanout --queues 100
  rialto bench limit --size '1 KiB'                   what this machine could do at most
  rialto bench throughput --json > run.json

Measures the broker at --url; start one with `rialto serve` first.";

/// Measure a broker
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Options {
    /// As many messages as go through: rates in and out, broker CPU per message
    #[command(after_help = "Example:\n  rialto bench throughput --publishers 4 --consumers 4 --size 128")]
    Throughput(Throughput),
    /// Messages at a steady rate: how long each takes from publish to delivery, in percentiles
    #[command(after_help = "Example:\n  rialto bench latency --rate 10000 --duration 30s")]
    Latency(Latency),
    /// One publisher, many queues: copies per second
    #[command(after_help = "Example:\n  rialto bench fanout --queues 100 --size 128")]
    Fanout(Fanout),
    /// A bare TCP relay of the same bytes: what no broker on this machine can pass
    #[command(after_help = "Example:\n  rialto bench limit --size 128")]
    Limit(Limit),
}

/// What every measurement has.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Bytes of each body
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = parse_body_size)]
    pub size: Size,
    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_measured)]
    pub duration: Duration,
    /// Run this long before measuring, so that start-up does not count
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// One JSON object, for scripts
    #[arg(long)]
    pub json: bool,
}

/// How messages are published and consumed.
#[derive(Clone, Debug, Args)]
pub struct Traffic {
    /// Publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Consuming connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub consumers: u32,
    /// Unconfirmed messages that a publisher may have; 0: publish without confirms
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub confirms: u32,
    /// Unacknowledged messages that a consumer may have; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub prefetch: u32,
    /// Settle messages as soon as they are sent, without acknowledgements
    #[arg(long)]
    pub auto_ack: bool,
    /// Messages survive a restart
    #[arg(long)]
    pub persistent: bool,
    /// Where the broker is
    #[command(flatten)]
    pub target: Target,
}

/// As many messages as go through: rates in and out, broker CPU per message
#[derive(Clone, Debug, Args)]
pub struct Throughput {
    /// Queues that the messages are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queues: u32,
    /// Messages a second over all publishers; 0: as many as go
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rate: u64,
    /// What every measurement has.
    #[command(flatten)]
    pub common: Common,
    /// How messages are published and consumed.
    #[command(flatten)]
    pub traffic: Traffic,
}

/// Messages at a steady rate: how long each takes from publish to delivery, in percentiles
#[derive(Clone, Debug, Args)]
pub struct Latency {
    /// Messages a second over all publishers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// What every measurement has.
    #[command(flatten)]
    pub common: Common,
    /// How messages are published and consumed.
    #[command(flatten)]
    pub traffic: Traffic,
}

/// One publisher, many queues: copies per second
#[derive(Clone, Debug, Args)]
pub struct Fanout {
    /// Queues that each get a copy, with one consumer each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub queues: u32,
    /// Messages a second; 0: as many as go
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rate: u64,
    /// What every measurement has.
    #[command(flatten)]
    pub common: Common,
    /// Unconfirmed messages that the publisher may have; 0: publish without confirms
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub confirms: u32,
    /// Unacknowledged messages that a consumer may have; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub prefetch: u32,
    /// Where the broker is.
    #[command(flatten)]
    pub target: Target,
}

/// A bare TCP relay of the same bytes: what no broker on this machine can pass
#[derive(Clone, Debug, Args)]
pub struct Limit {
    /// Connections that write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Connections that read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub consumers: u32,
    /// What every measurement has.
    #[command(flatten)]
    pub common: Common,
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let what = match options {
        Options::Throughput(_) => "throughput",
        Options::Latency(_) => "latency",
        Options::Fanout(_) => "fanout",
        Options::Limit(_) => "limit",
    };
    Err(Failure::new(ExitCode::Failure, format!("this build cannot measure {what} yet")))
}

/// A body: at least the 8 bytes that carry its time, at most what a broker takes by default.
fn parse_body_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    match size {
        size if size < Size::new(8) => Err("a body needs 8 bytes, for the time it was sent".to_owned()),
        size if size > Size::mib(16) => Err("a body has at most 16 MiB".to_owned()),
        size => Ok(size),
    }
}

fn parse_measured(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        duration if duration < Duration::from_millis(100) => Err("measure for 100ms at least".to_owned()),
        duration => Ok(duration),
    }
}
