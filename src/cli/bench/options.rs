//! What can be said on the command line, and the plan that it makes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::contender::{Contender, NATS_PROGRAM, Wire, amqp_address};
use super::error::{BenchError, BenchResult};
use super::plan::{Acks, Plan, STAMP_LEN};
use super::topic::Topic;
use crate::config::Size;

const EXAMPLES: &str = "\
Examples:
  rialto bench throughput --size 128 --auto-ack --confirms 0
  rialto bench throughput --auto-ack --confirms 0 --against limit,nats --rounds 5
  rialto bench throughput --publishers 4 --consumers 4 --queues 4 --size '1 KiB'
  rialto bench throughput --tls --protocol amqp --rounds 5
  rialto bench latency --rate 10000 --duration 30s
  rialto bench throughput --protocol amqp --against rabbitmq --rounds 5
  rialto bench throughput --persistent --confirms 1000 --protocol amqp --against rabbitmq,disk
  rialto bench throughput --persistent --confirms 1000 --against jetstream,jetstream-unsynced
  rialto bench fanout --queues 100
  rialto bench backlog --messages 1000000 --persistent
  rialto bench idle --connections 5000 --protocol amqp --against rabbitmq
  rialto bench churn --protocol amqp --against rabbitmq
  rialto bench topic --bindings 100000 --protocol amqp --against rabbitmq
  rialto bench limit --size '1 KiB'                 # what this machine could do at most
  rialto bench throughput --json > run.json

Starts a broker of its own for each round, so that its CPU and memory can be told from the
generator's; --url measures a running one. Exit code 1 if a message is missing.

With --persistent brokers write to the folder for temporary files, which TMPDIR names. Then
jetstream syncs each message before it confirms it, which NATS servers do not by default;
jetstream-unsynced is that default, and promises less than Rialto does, as may a server at
jetstream=HOST:PORT.

In the tables µs are CPU time per message (in those of percentiles: time), cores are CPU time
per second, and × says how many times the first line's figure this one is.";

/// Measure a broker
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in super::super) enum Options {
    /// As many messages as go through: rates in and out, broker CPU per message
    #[command(
        after_help = "Examples:\n  rialto bench throughput --publishers 4 --consumers 4 --queues 4\n  \
        rialto bench throughput --auto-ack --confirms 0 --against limit,nats --rounds 5\n  \
        rialto bench throughput --against rialto=target/old/rialto --rounds 5"
    )]
    Throughput(Throughput),
    /// Messages at a steady rate: how long each takes from when it was due until it is received
    #[command(after_help = "Example:\n  rialto bench latency --rate 10000 --duration 30s\n\n\
        Messages are sent at the rate whatever the broker does, and their time counts from when they were\n\
        due: a pause is charged with all messages that it held up, not only with the one that met it.\n\n\
        One publisher and one consumer are driven by one thread that never sleeps while a message is under\n\
        way, so that the time to wake the generator is nobody's latency.")]
    Latency(Latency),
    /// One publisher, many queues: copies per second
    #[command(after_help = "Example:\n  rialto bench fanout --queues 100 --size 128 --against limit,nats")]
    Fanout(Fanout),
    /// Queues filled while nobody consumes, then drained: rates, memory per message
    #[command(after_help = super::backlog::EXAMPLES)]
    Backlog(super::backlog::Backlog),
    /// Connections that do nothing: memory of each, CPU of all
    #[command(after_help = super::idle::EXAMPLES)]
    Idle(super::idle::Idle),
    /// Clients that come and go: connect, channel, declare, delete, close
    #[command(after_help = super::churn::EXAMPLES)]
    Churn(super::churn::Churn),
    /// Many wildcard bindings and many keys: what it costs to find where a message goes
    #[command(after_help = "Examples:\n  rialto bench topic --bindings 10\n  \
        rialto bench topic --bindings 1000000 --keys 100000\n  \
        rialto bench topic --protocol amqp --against rabbitmq --consumers 0\n  \
        rialto bench topic --against nats\n\n\
        A third of the bindings each is like a.*.c, a.# and *.b.c, and every key matches one of them. They\n\
        are made before anything is measured, for as long as it takes. Without consumers (--consumers 0)\n\
        queues keep their newest 1000 messages, so that the rate of the publishers stands alone.")]
    Topic(TopicExchange),
    /// A bare TCP relay of the same bytes: what no broker on this machine can pass
    #[command(after_help = "Example:\n  rialto bench limit --size 128")]
    Limit(Limit),
    /// Draw what was measured: an SVG picture of the JSON of one run or more
    #[command(after_help = super::plot::EXAMPLES)]
    Plot(super::plot::Plot),
    /// The relay itself, started by `limit`
    #[command(hide = true, after_help = "Example:\n  rialto bench relay 1 1 1")]
    Relay(Relay),
}

/// What every measurement has.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// Bytes of each body
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = parse_body_size)]
    size: Size,
    /// How long to measure in each round
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_span)]
    duration: Duration,
    /// Run this long before measuring, so that start-up does not count
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Give messages up as missing when nothing has moved for so long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_span)]
    patience: Duration,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Messages that a publisher sends at a time [default: what fills 64 KiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    batch: Option<u32>,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
}

/// How messages are confirmed and settled.
#[derive(Clone, Debug, Args)]
struct Guarantees {
    /// Unconfirmed messages that a publisher may have; 0: publish without confirms [default: 10000, with nats 0]
    #[arg(long, value_name = "N")]
    confirms: Option<u32>,
    /// Unacknowledged messages that a consumer may have; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "auto_ack")]
    prefetch: u32,
    /// Acknowledge when so many have come [default: 100, or a quarter of the prefetch]
    #[arg(long, value_name = "N", conflicts_with = "auto_ack", value_parser = clap::value_parser!(u32).range(1..))]
    ack_every: Option<u32>,
    /// Settle messages as soon as they are sent, without acknowledgements [nats: always]
    #[arg(long)]
    auto_ack: bool,
}

/// Who is measured.
#[derive(Clone, Debug, Args)]
pub(super) struct Whom {
    /// Measure the broker that runs there: rialto://user:password@host:port/vhost, amqp:// likewise, or
    /// nats://host:port
    // Not from RIALTO_URL: a load should hit only what was named for it.
    #[arg(long, value_name = "URL", help_heading = "Broker")]
    url: Option<String>,
    /// Process of the broker at --url, to measure its CPU and memory [default: who listens there, on this machine]
    #[arg(long, value_name = "PID", requires = "url", help_heading = "Broker")]
    broker_pid: Option<u32>,
    /// What is spoken with the broker, or which one to start
    #[arg(long, value_enum, default_value_t = Protocol::Native, conflicts_with = "url", help_heading = "Broker")]
    protocol: Protocol,
    /// Settings of the broker to start [default: the defaults, whatever broker.toml lies here]
    #[arg(long, value_name = "FILE", conflicts_with = "url", help_heading = "Broker")]
    config: Option<PathBuf>,
    /// Measure the broker that is started over TLS, too, beside it without
    #[arg(long, conflicts_with = "url", help_heading = "Broker")]
    tls: bool,
    /// The NATS server to start, for nats and jetstream
    #[arg(long, value_name = "PROGRAM", default_value = NATS_PROGRAM, help_heading = "Broker")]
    nats_server: PathBuf,
    /// The RabbitMQ node to start [default: the one that is installed]
    #[arg(long, value_name = "PROGRAM", help_heading = "Broker")]
    rabbitmq_server: Option<PathBuf>,
    /// Measure these in turn with it: limit, disk, nats, jetstream, jetstream-unsynced, rabbitmq (nats=PROGRAM,
    /// jetstream=PROGRAM, jetstream=HOST:PORT, rabbitmq=HOST:PORT, rialto=PROGRAM); disk is a loop that appends and syncs all that may wait for a confirm at a time, or disk=MESSAGES
    #[arg(long, value_name = "WHO", value_delimiter = ',', help_heading = "Broker")]
    against: Vec<Contender>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Rialto's own
    Native,
    /// AMQP 0-9-1
    Amqp,
    /// NATS core
    Nats,
}

/// As many messages as go through: rates in and out, broker CPU per message
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Throughput {
    /// Publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// Consuming connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    consumers: u32,
    /// Queues that the messages are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queues: u32,
    /// Messages a second over all publishers; 0: as many as go
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u64,
    /// Durable queues, messages that survive a restart
    #[arg(long)]
    persistent: bool,
    #[command(flatten)]
    guarantees: Guarantees,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    whom: Whom,
}

/// Messages at a steady rate: how long each takes from when it was due until it is received
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Latency {
    /// Messages a second over all publishers
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: u64,
    /// Publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// Consuming connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    consumers: u32,
    /// Queues that the messages are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queues: u32,
    /// Durable queues, messages that survive a restart
    #[arg(long)]
    persistent: bool,
    /// Let idle cores sleep, as they do; else they are kept awake where the system allows it (as root), so that brokers are
    /// told apart and not hidden by the time that a core takes to wake
    #[arg(long)]
    let_cores_sleep: bool,
    #[command(flatten)]
    guarantees: Guarantees,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    whom: Whom,
}

/// One publisher, many queues: copies per second
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Fanout {
    /// Queues that each get a copy
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queues: u32,
    /// Consuming connections [default: one for each queue]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    consumers: Option<u32>,
    /// Publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// Messages a second, each counted once; 0: as many as go
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u64,
    /// Durable queues, messages that survive a restart
    #[arg(long)]
    persistent: bool,
    #[command(flatten)]
    guarantees: Guarantees,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    whom: Whom,
}

/// Many wildcard bindings and many keys: what it costs to find where a message goes
#[derive(Clone, Debug, Args)]
pub(in super::super) struct TopicExchange {
    /// Bindings of the topic exchange
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=Topic::BINDINGS_MAX))]
    bindings: u32,
    /// Different routing keys, which messages have in turn
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=Topic::KEYS_MAX))]
    keys: u32,
    /// Queues that the bindings lead to, in turn
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    queues: u32,
    /// Consuming connections; 0: only publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    consumers: u32,
    /// Publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// Messages a second over all publishers; 0: as many as go
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u64,
    /// Durable queues, messages that survive a restart
    #[arg(long)]
    persistent: bool,
    /// Unconfirmed messages that a publisher may have; 0: publish without confirms
    #[arg(long, value_name = "N", default_value_t = 0)]
    confirms: u32,
    /// Acknowledge, and have so many unacknowledged messages at most; 0: no limit [default: settled as they are sent]
    #[arg(long, value_name = "N")]
    prefetch: Option<u32>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    whom: Whom,
}

/// A bare TCP relay of the same bytes: what no broker on this machine can pass
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Limit {
    /// Connections that write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// Connections that read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    consumers: u32,
    /// Every byte goes out so often, to the consumers in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    copies: u32,
    #[command(flatten)]
    common: Common,
}

/// The relay itself, started by `limit`
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Relay {
    /// Connections that write
    pub(super) publishers: u32,
    /// Connections that read
    pub(super) consumers: u32,
    /// Every byte goes out so often
    pub(super) copies: u32,
}

/// What to measure, whom, and how to tell.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) measurement: &'static str,
    pub(super) plan: Plan,
    pub(super) contenders: Vec<Contender>,
    pub(super) json: bool,
}

impl Throughput {
    pub(super) fn job(self) -> BenchResult<Job> {
        let contenders = self.whom.contenders()?;
        let (confirms, acks) = self.guarantees.checked(&contenders)?;
        let rate = (self.rate > 0).then_some(self.rate);
        let plan = Plan {
            publishers: self.publishers,
            consumers: self.consumers,
            queues: self.queues,
            persistent: self.persistent,
            rate,
            ..self.common.plan(confirms, acks)
        };
        Job { measurement: "throughput", plan, contenders, json: self.common.json }.checked()
    }
}

impl Latency {
    pub(super) fn job(self) -> BenchResult<Job> {
        let contenders = self.whom.contenders()?;
        let (confirms, acks) = self.guarantees.checked(&contenders)?;
        let plan = Plan {
            publishers: self.publishers,
            consumers: self.consumers,
            queues: self.queues,
            persistent: self.persistent,
            rate: Some(self.rate),
            stamps: true,
            keeps_cores_awake: !self.let_cores_sleep,
            ..self.common.plan(confirms, acks)
        };
        Job { measurement: "latency", plan, contenders, json: self.common.json }.checked()
    }
}

impl Fanout {
    pub(super) fn job(self) -> BenchResult<Job> {
        let contenders = self.whom.contenders()?;
        let (confirms, acks) = self.guarantees.checked(&contenders)?;
        let consumers = self.consumers.unwrap_or(self.queues);
        if consumers > self.queues {
            return Err(BenchError::Options("there are more consuming connections than queues".to_owned()));
        }
        let plan = Plan {
            publishers: self.publishers,
            consumers,
            queues: self.queues,
            fanout: true,
            persistent: self.persistent,
            rate: (self.rate > 0).then_some(self.rate),
            ..self.common.plan(confirms, acks)
        };
        Job { measurement: "fanout", plan, contenders, json: self.common.json }.checked()
    }
}

impl TopicExchange {
    pub(super) fn job(self) -> BenchResult<Job> {
        if self.consumers > self.queues {
            return Err(BenchError::Options("there are more consuming connections than queues".to_owned()));
        }
        let confirms = (self.confirms > 0).then_some(self.confirms);
        let acks = match self.prefetch {
            None => Acks::Auto,
            Some(prefetch) => Acks::manual(prefetch, None)?,
        };
        let common = self.common.plan(confirms, acks);
        let plan = Plan {
            publishers: self.publishers,
            consumers: self.consumers,
            queues: self.queues,
            topic: Some(Topic { bindings: self.bindings, keys: self.keys }),
            persistent: self.persistent,
            rate: (self.rate > 0).then_some(self.rate),
            batch: Plan::batch(self.common.batch, common.size + Topic::ROUTE_LEN, confirms),
            ..common
        };
        let contenders = self.whom.contenders()?;
        Job { measurement: "topic", plan, contenders, json: self.common.json }.checked()
    }
}

impl Limit {
    pub(super) fn job(self) -> BenchResult<Job> {
        let plan = Plan {
            publishers: self.publishers,
            consumers: self.consumers,
            queues: self.copies,
            fanout: self.copies > 1,
            ..self.common.plan(None, Acks::Auto)
        };
        let contenders = vec![Contender::Limit { wire: Wire::Native }];
        Job { measurement: "limit", plan, contenders, json: self.common.json }.checked()
    }
}

impl Job {
    fn checked(self) -> BenchResult<Job> {
        for contender in &self.contenders {
            contender.check(&self.plan)?;
        }
        Ok(self)
    }
}

impl Common {
    fn plan(&self, confirms: Option<u32>, acks: Acks) -> Plan {
        let size = self.size.as_usize();
        Plan {
            publishers: 1,
            consumers: 1,
            queues: 1,
            fanout: false,
            topic: None,
            size,
            confirms,
            acks,
            persistent: false,
            rate: None,
            stamps: false,
            keeps_cores_awake: false,
            batch: Plan::batch(self.batch, size, confirms),
            warm_up: self.warm_up,
            duration: self.duration,
            patience: self.patience,
            rounds: self.rounds,
        }
    }
}

impl Guarantees {
    /// The window of unconfirmed messages and how messages are settled. All contenders do the same, and NATS core
    /// can do neither.
    fn checked(&self, contenders: &[Contender]) -> BenchResult<(Option<u32>, Acks)> {
        const CONFIRMS: u32 = 10_000;
        let nats =
            contenders.iter().any(|who| matches!(who, Contender::Nats { .. } | Contender::NatsAt { .. }));
        let confirms = self.confirms.unwrap_or(if nats { 0 } else { CONFIRMS });
        let acks = match self.auto_ack || nats && self.ack_every.is_none() {
            true => Acks::Auto,
            false => Acks::manual(self.prefetch, self.ack_every)?,
        };
        Ok(((confirms > 0).then_some(confirms), acks))
    }
}

impl Whom {
    /// Who is measured, the one that others are compared with first.
    pub(super) fn contenders(&self) -> BenchResult<Vec<Contender>> {
        let invalid = |error: rialto_client::Error| BenchError::Options(error.to_string());
        let nats = Contender::Nats { program: Some(self.nats_server.clone()) };
        let wire = match self.protocol {
            Protocol::Amqp => Wire::Amqp,
            Protocol::Native | Protocol::Nats => Wire::Native,
        };
        let (config, pid) = (self.config.clone(), self.broker_pid);
        let first = match (self.url.as_deref(), self.protocol) {
            (None, Protocol::Nats) => nats.clone(),
            (None, _) => Contender::Rialto { program: None, config, wire, tls: false },
            (Some(url), _) => match url.split_once("://") {
                Some(("nats", endpoint)) => Contender::NatsAt { endpoint: nats_endpoint(endpoint), pid },
                Some(("amqp", address)) => {
                    let address = amqp_address(address).map_err(BenchError::Options)?;
                    Contender::AmqpAt { name: "amqp", address, pid }
                }
                Some(("rialtos" | "amqps", _)) => {
                    let text =
                        "TLS is measured with a broker that is started for it: --tls in place of --url";
                    return Err(BenchError::Options(text.to_owned()));
                }
                _ => Contender::RialtoAt { address: url.parse().map_err(invalid)?, pid },
            },
        };
        // Those that can speak what the first one speaks.
        let wire = match &first {
            Contender::AmqpAt { .. } => Wire::Amqp,
            _ => wire,
        };
        let others = self.against.iter().map(|other| match other {
            Contender::Nats { program: None } => nats.clone(),
            Contender::JetStream { program: None, synced } => {
                Contender::JetStream { program: Some(self.nats_server.clone()), synced: *synced }
            }
            Contender::RabbitMq { .. } => Contender::RabbitMq { program: self.rabbitmq_server.clone() },
            Contender::Rialto { program, .. } => {
                Contender::Rialto { program: program.clone(), config: self.config.clone(), wire, tls: false }
            }
            Contender::Limit { .. } => Contender::Limit { wire },
            other => other.clone(),
        });
        let encrypted = match (&first, self.tls) {
            (_, false) => None,
            (Contender::Rialto { program, config, wire, .. }, true) => {
                let (program, config) = (program.clone(), config.clone());
                Some(Contender::Rialto { program, config, wire: *wire, tls: true })
            }
            (other, true) => return Err(BenchError::Options(format!("{other} is not measured over TLS"))),
        };
        let others: Vec<_> = others.collect();
        Ok([first].into_iter().chain(encrypted).chain(others).collect())
    }
}

fn nats_endpoint(text: &str) -> String {
    const PORT: u16 = 4222;
    let endpoint = text.trim_end_matches('/');
    match endpoint.contains(':') {
        true => endpoint.to_owned(),
        false => format!("{endpoint}:{PORT}"),
    }
}

/// A body: at least the bytes that carry its time, at most what a broker takes by default.
pub(super) fn parse_body_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    match size {
        size if size < Size::new(STAMP_LEN as u64) => {
            Err("a body needs 8 bytes, for the time it was sent".to_owned())
        }
        size if size > Size::mib(16) => Err("a body has at most 16 MiB".to_owned()),
        size => Ok(size),
    }
}

pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        duration if duration < Duration::from_millis(100) => Err("100ms at least".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| "write a duration with its unit, like 500ms, 30s or 5m".to_owned())
}
