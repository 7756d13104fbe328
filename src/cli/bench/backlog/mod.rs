//! `rialto bench backlog`: queues are filled while nobody consumes, then drained to the last message.
//!
//! Rooms: `fill` (publishers, until all is confirmed), `drain` (consumers, until all is back), `order` (what makes sure
//! that all of it came back, once and in order), `memory` (what the broker holds in between).
//! Invariants: no consumer is there while the queues are filled; every message that was published comes back, in the
//! order in which it entered its queue, or the measurement fails. Not here: a flow through queues (`round`).

mod drain;
mod fill;
mod memory;
mod order;

use std::time::Duration;

use clap::Args;
use serde_json::json;

use self::drain::Drained;
use self::fill::Filled;
use self::memory::Anonymous;
use super::contender::Contender;
use super::error::{BenchError, BenchResult};
use super::findings::{Finding, Findings, Round};
use super::in_turn;
use super::options::{Whom, parse_body_size, parse_span};
use super::plan::{Acks, Plan};
use crate::config::Size;

/// Shown behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  rialto bench backlog --messages 10000000 --persistent
  rialto bench backlog --protocol amqp --against rabbitmq --rounds 3
  rialto bench backlog --against rialto=target/old/rialto
  rialto bench backlog --publishers 100 --batch 1 --confirms 1      # a record for each message
  rialto bench backlog --queues 100 --json > run.json

held B/msg is anonymous memory of the broker (what is no copy of a file), once it has stopped
falling behind the fill, less that before it; peak is the most seen until the end. The first tenth
of the drain counts from when the first consumer connects.";

/// Queues filled while nobody consumes, then drained: rates, memory per message
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Backlog {
    /// Messages to fill the queues with
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000_000))]
    messages: u64,
    /// Bytes of each body
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = parse_body_size)]
    size: Size,
    /// Durable queues, messages that survive a restart
    #[arg(long)]
    persistent: bool,
    /// Queues that the messages are spread over, each with its consuming connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queues: u32,
    /// Publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    publishers: u32,
    /// Messages that a publisher sends at a time; 1: each with a write of its own [default: what fills 64 KiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    batch: Option<u32>,
    /// Unconfirmed messages that a publisher may have
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    confirms: u32,
    /// Unacknowledged messages that a consumer may have; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "auto_ack")]
    prefetch: u32,
    /// Acknowledge when so many have come [default: 100, or a quarter of the prefetch]
    #[arg(long, value_name = "N", conflicts_with = "auto_ack", value_parser = clap::value_parser!(u32).range(1..))]
    ack_every: Option<u32>,
    /// Settle messages as soon as they are sent, without acknowledgements
    #[arg(long)]
    auto_ack: bool,
    /// Give messages up as missing when nothing has moved for so long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_span)]
    patience: Duration,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// One JSON object, for scripts
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    whom: Whom,
}

/// What the command line asks for, checked.
#[derive(Debug)]
struct Job {
    messages: u64,
    plan: Plan,
    contenders: Vec<Contender>,
}

impl Backlog {
    /// Measures all contenders in turn.
    pub(super) fn run(&self) -> BenchResult<Findings> {
        self.job()?.measure()
    }

    fn job(&self) -> BenchResult<Job> {
        let contenders = self.whom.contenders()?;
        let refused = |text: String| Err(BenchError::Options(text));
        if self.messages < u64::from(self.publishers) {
            return refused(format!("{} publishers have less than a message each", self.publishers));
        }
        let acks = match self.auto_ack {
            true => Acks::Auto,
            false => Acks::manual(self.prefetch, self.ack_every)?,
        };
        let (size, confirms) = (self.size.as_usize(), Some(self.confirms));
        let plan = Plan {
            publishers: self.publishers,
            // Several on one connection would get messages while others are still being started; several for one queue
            // would get them in no order that one could check.
            consumers: self.queues,
            queues: self.queues,
            fanout: false,
            topic: None,
            size,
            confirms,
            acks,
            persistent: self.persistent,
            rate: None,
            // Not times here, but numbers by which the order is checked.
            stamps: true,
            keeps_cores_awake: false,
            batch: Plan::batch(self.batch, size, confirms),
            warm_up: Duration::ZERO,
            duration: Duration::ZERO,
            patience: self.patience,
            rounds: self.rounds,
        };
        for contender in &contenders {
            contender.check(&plan)?;
            match contender {
                Contender::Limit { .. } | Contender::Disk { .. } => {
                    return refused(format!("{contender} has no queues that could be filled"));
                }
                Contender::JetStream { .. } | Contender::JetStreamAt { .. } => {
                    return refused(
                        "JetStream gives what it kept to consumers that come later only from \
                        streams that never forget, which are no queues"
                            .to_owned(),
                    );
                }
                _ => {}
            }
        }
        Ok(Job { messages: self.messages, plan, contenders })
    }
}

impl Job {
    fn measure(&self) -> BenchResult<Findings> {
        let Job { messages, plan, contenders } = self;
        let results = in_turn(contenders, plan.rounds, |contender| self.round(contender))?;
        let kind = if plan.persistent { "persistent" } else { "transient" };
        let title = format!(
            "backlog: {messages} {kind} messages of {} bytes in {} queue{}, {} at a time, median of {} round{}",
            plan.size,
            plan.queues,
            if plan.queues == 1 { "" } else { "s" },
            plan.batch,
            plan.rounds,
            if plan.rounds == 1 { "" } else { "s" },
        );
        let (prefetch, ack_every) = match plan.acks {
            Acks::Auto => (None, None),
            Acks::Manual { prefetch, every } => (Some(prefetch), Some(every)),
        };
        let scenario = json!({
            "measurement": "backlog",
            "messages": messages,
            "size": plan.size,
            "persistent": plan.persistent,
            "queues": plan.queues,
            "publishers": plan.publishers,
            "consumers": plan.consumers,
            "batch": plan.batch,
            "confirms_window": plan.confirms,
            "auto_ack": plan.acks == Acks::Auto,
            "prefetch": prefetch,
            "ack_every": ack_every,
            "rounds": plan.rounds,
        });
        Ok(Findings::new(title, scenario, results))
    }

    fn round(&self, contender: &Contender) -> BenchResult<Round> {
        let Job { messages, plan, .. } = self;
        // Transient messages that do not fit in memory need a folder, too.
        let broker = contender.start(true)?;
        let anonymous = Anonymous::new(broker.meter());
        let before = anonymous.now();
        let filled = fill::run(*messages, plan, &broker, &anonymous)?;
        let held = anonymous.settled();
        let drained = drain::run(*messages, plan, &broker, &anonymous)?;
        let each = |bytes: Option<u64>| Some(bytes?.saturating_sub(before?) as f64 / *messages as f64);
        let Filled { took: fill_took, cpu: fill_cpu } = filled;
        let Drained { took, first_tenth, last_tenth, cpu } = drained;
        let per_s = |messages: u64, took: Duration| messages as f64 / took.as_secs_f64().max(1e-9);
        let micros = |cpu: Option<Duration>| Some(cpu?.as_secs_f64() * 1e6 / *messages as f64);
        let tenth = messages / 10;
        Ok(vec![
            Finding::new("fill_per_s", "fill/s", per_s(*messages, fill_took)).compared(),
            Finding::new("drain_per_s", "drain/s", per_s(*messages, took)).compared(),
            Finding::new("drain_first_tenth_per_s", "first tenth/s", per_s(tenth, first_tenth)),
            Finding::new("drain_last_tenth_per_s", "last tenth/s", per_s(tenth, last_tenth)),
            Finding::new("held_bytes_per_message", "held B/msg", each(held)).digits(1).compared(),
            Finding::new("peak_bytes_per_message", "peak B/msg", each(anonymous.peak())).digits(1),
            Finding::new("fill_cpu_us_per_message", "fill µs", micros(fill_cpu)).digits(2),
            Finding::new("drain_cpu_us_per_message", "drain µs", micros(cpu)).digits(2),
        ])
    }
}
