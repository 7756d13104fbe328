//! `rialto declare`: exchanges and queues, with the arguments that everybody uses as flags.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::arguments::{self, Argument, parse_argument, parse_name};
use super::output::{counted, messages, note};
use super::target::{Target, with_client};
use super::{ExitCode, Failure};
use crate::config::Size;

const EXAMPLES: &str = "\
Examples:
  rialto declare exchange events --kind topic
  rialto declare queue tasks
  rialto declare queue urgent --max-priority 5 --dead-letter-exchange failed

Declaring what is there already does nothing if it is the same, and is refused if it is not.";

const EXCHANGE_EXAMPLES: &str = "\
Examples:
  rialto declare exchange events --kind topic
  rialto declare exchange news --kind fanout --transient
  rialto declare exchange orders --kind direct --alternate-exchange unrouted
  rialto declare exchange orders --passive          # is it there?";

const QUEUE_EXAMPLES: &str = "\
Examples:
  rialto declare queue tasks
  rialto declare queue tasks-retry --ttl 30s --dead-letter-exchange '' --dead-letter-key tasks
  rialto declare queue latest --max-length 1000
  rialto declare queue inbox --max-length-bytes '64 MiB' --overflow reject-publish
  rialto declare queue urgent --arg x-max-priority=5 --arg x-queue-type=quorum
  rialto declare queue tasks --passive              # is it there, and how full?

Values of --arg have the type they look like: 5 is a number, true a boolean, \"5\" a text.";

/// Create an exchange or a queue, or check that it is there
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Options {
    /// Create an exchange
    Exchange(ExchangeOptions),
    /// Create a queue
    Queue(QueueOptions),
}

/// What both have.
#[derive(Debug, Args)]
struct Common {
    /// It survives a restart (the default)
    #[arg(long, overrides_with = "transient")]
    durable: bool,
    /// It goes with a restart
    #[arg(long, overrides_with = "durable")]
    transient: bool,
    /// Only check that it is there; create nothing
    #[arg(long)]
    passive: bool,
    /// An argument, like x-max-priority=5; may be repeated
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = parse_argument)]
    arguments: Vec<Argument>,
    #[command(flatten)]
    target: Target,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// To the bindings with the very routing key
    Direct,
    /// To every binding
    Fanout,
    /// To the bindings whose pattern matches: * is one word, # any number
    Topic,
    /// To the bindings whose arguments match the headers
    Headers,
}

/// Create an exchange
#[derive(Debug, Args)]
#[command(after_help = EXCHANGE_EXAMPLES)]
pub(super) struct ExchangeOptions {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: ShortStr,
    /// How it routes
    // RabbitMQ's tools call it the type.
    #[arg(long, visible_alias = "type", value_enum, default_value_t = Kind::Direct)]
    kind: Kind,
    /// Delete it when its last binding goes
    #[arg(long)]
    auto_delete: bool,
    /// It takes messages from other exchanges only
    #[arg(long)]
    internal: bool,
    /// Where messages go that it cannot route
    #[arg(long, value_name = "EXCHANGE")]
    alternate_exchange: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Overflow {
    /// Drop (or dead-letter) the oldest
    DropHead,
    /// Reject the new one
    RejectPublish,
    /// Reject the new one, and dead-letter it
    RejectPublishDlx,
}

/// Create a queue
#[derive(Debug, Args)]
#[command(after_help = QUEUE_EXAMPLES)]
pub(super) struct QueueOptions {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: ShortStr,
    /// Delete it when its last consumer goes
    #[arg(long)]
    auto_delete: bool,
    /// Messages expire after this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// The queue is deleted when nobody has used it for this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Most ready messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    max_length: Option<i64>,
    /// Most bytes of ready messages
    #[arg(long, value_name = "SIZE")]
    max_length_bytes: Option<Size>,
    /// What to do when it is full
    #[arg(long, value_enum)]
    overflow: Option<Overflow>,
    /// Where rejected, expired and dropped messages go
    #[arg(long, value_name = "EXCHANGE")]
    dead_letter_exchange: Option<String>,
    /// … and with which routing key, in place of their own
    #[arg(long, value_name = "KEY", requires = "dead_letter_exchange")]
    dead_letter_key: Option<String>,
    /// Highest priority of messages; higher ones are delivered first
    #[arg(long, value_name = "0-255")]
    max_priority: Option<u8>,
    /// Deliveries of one message that may fail before it is dead-lettered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    delivery_limit: Option<i64>,
    /// Deliver to one consumer at a time, and to the next when that one goes
    #[arg(long)]
    single_active_consumer: bool,
    #[command(flatten)]
    common: Common,
}

/// What is to be declared, complete and checked.
#[derive(Debug, PartialEq)]
struct Plan {
    name: ShortStr,
    passive: bool,
    durable: bool,
    auto_delete: bool,
    arguments: FieldTable,
}

impl Overflow {
    fn as_str(self) -> &'static str {
        match self {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDlx => "reject-publish-dlx",
        }
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Fanout => "fanout",
            Kind::Topic => "topic",
            Kind::Headers => "headers",
        }
    }
}

impl ExchangeOptions {
    fn checked(&self) -> Result<Plan, Failure> {
        let flags = [("alternate-exchange", self.alternate_exchange.clone().map(FieldValue::text))];
        self.common.plan(&self.name, self.auto_delete, flags)
    }
}

impl QueueOptions {
    fn checked(&self) -> Result<Plan, Failure> {
        let size = self.max_length_bytes.map(|size| i64::try_from(size.bytes()).unwrap_or(i64::MAX));
        let flags = [
            ("x-message-ttl", self.ttl.map(milliseconds)),
            ("x-expires", self.expires.map(milliseconds)),
            ("x-max-length", self.max_length.map(FieldValue::I64)),
            ("x-max-length-bytes", size.map(FieldValue::I64)),
            ("x-overflow", self.overflow.map(|overflow| FieldValue::text(overflow.as_str()))),
            ("x-dead-letter-exchange", self.dead_letter_exchange.clone().map(FieldValue::text)),
            ("x-dead-letter-routing-key", self.dead_letter_key.clone().map(FieldValue::text)),
            ("x-max-priority", self.max_priority.map(|n| FieldValue::I64(n.into()))),
            ("x-delivery-limit", self.delivery_limit.map(FieldValue::I64)),
            ("x-single-active-consumer", self.single_active_consumer.then_some(FieldValue::Bool(true))),
        ];
        self.common.plan(&self.name, self.auto_delete, flags)
    }
}

impl Common {
    fn plan<const N: usize>(
        &self,
        name: &ShortStr,
        auto_delete: bool,
        flags: [(&'static str, Option<FieldValue>); N],
    ) -> Result<Plan, Failure> {
        Ok(Plan {
            name: name.clone(),
            passive: self.passive,
            durable: !self.transient,
            auto_delete,
            arguments: all_arguments(&self.arguments, flags)?,
        })
    }
}

/// `--arg` and the friendly flags together. Saying the same thing twice is a mistake, not an order of precedence.
fn all_arguments<const N: usize>(
    arguments: &[Argument],
    flags: [(&'static str, Option<FieldValue>); N],
) -> Result<FieldTable, Failure> {
    let mut table = arguments::table(arguments.iter().cloned());
    for (name, value) in flags {
        let Some(value) = value else { continue };
        if table.get(name).is_some() {
            return Err(Failure::usage(format!("{name} is given twice: by --arg and by its own flag"))
                .at(format!("--arg {name}=…"))
                .advise("leave one of them out"));
        }
        table.insert(ShortStr::truncated(name), value);
    }
    Ok(table)
}

fn milliseconds(duration: Duration) -> FieldValue {
    FieldValue::I64(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Reads a duration with its unit, for clap.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| "write a duration with its unit, like 500ms, 30s or 5m".to_owned())
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::Exchange(options) => run_exchange(&options),
        Options::Queue(options) => run_queue(&options),
    }
}

fn run_exchange(options: &ExchangeOptions) -> Result<ExitCode, Failure> {
    let plan = options.checked()?;
    with_client(&options.common.target, async |client| {
        let mut exchange = client.exchange(&plan.name).kind(options.kind.as_str());
        if plan.passive {
            return match exchange.exists().await? {
                true => told(format_args!("exchange {:?} is there", plan.name.as_str())),
                false => Err(missing("exchange", &plan.name)),
            };
        }
        if plan.durable {
            exchange = exchange.durable();
        }
        if plan.auto_delete {
            exchange = exchange.auto_delete();
        }
        if options.internal {
            exchange = exchange.internal();
        }
        for (name, value) in plan.arguments.iter() {
            exchange = exchange.argument(name, value.clone());
        }
        exchange.declare().await?;
        told(format_args!("exchange {:?} is declared", plan.name.as_str()))
    })
}

fn run_queue(options: &QueueOptions) -> Result<ExitCode, Failure> {
    let plan = options.checked()?;
    with_client(&options.common.target, async |client| {
        let mut queue = client.queue(&plan.name);
        if plan.passive {
            return match queue.exists().await? {
                Some(queue) => told(format_args!(
                    "queue {:?} is there: {} ready, {}",
                    queue.name.as_str(),
                    messages(queue.messages),
                    counted(queue.consumers.into(), "consumer")
                )),
                None => Err(missing("queue", &plan.name)),
            };
        }
        if plan.durable {
            queue = queue.durable();
        }
        if plan.auto_delete {
            queue = queue.auto_delete();
        }
        for (name, value) in plan.arguments.iter() {
            queue = queue.argument(name, value.clone());
        }
        let queue = queue.declare().await?;
        told(format_args!("queue {:?} is declared", queue.name.as_str()))
    })
}

fn told(text: std::fmt::Arguments<'_>) -> Result<ExitCode, Failure> {
    note(text);
    Ok(ExitCode::Success)
}

fn missing(what: &str, name: &str) -> Failure {
    Failure::new(ExitCode::Refused, format!("there is no {what} {name:?}"))
        .advise(format!("`rialto list {what}s` shows what is there; without --passive it is created"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        options: Options,
    }

    fn queue(arguments: &[&str]) -> Result<Plan, Failure> {
        let line = [&["rialto", "queue", "tasks"], arguments].concat();
        match Line::try_parse_from(line).unwrap().options {
            Options::Queue(options) => options.checked(),
            Options::Exchange(_) => panic!("it is a queue"),
        }
    }

    #[test]
    fn the_kind_of_an_exchange_may_be_called_its_type() {
        for flag in ["--kind", "--type"] {
            let line = Line::try_parse_from(["rialto", "exchange", "events", flag, "topic"]).unwrap();
            assert!(
                matches!(line.options, Options::Exchange(options) if options.kind == Kind::Topic),
                "{flag}"
            );
        }
    }

    #[test]
    fn a_queue_is_durable_unless_it_says_otherwise() {
        assert!(queue(&[]).unwrap().durable);
        assert!(queue(&["--durable"]).unwrap().durable);
        assert!(!queue(&["--transient"]).unwrap().durable);
        assert!(queue(&["--transient", "--durable"]).unwrap().durable);
    }

    #[test]
    fn flags_become_the_arguments_that_every_broker_knows() {
        let plan = queue(&[
            "--ttl=30s",
            "--max-length-bytes=1 MiB",
            "--overflow=reject-publish",
            "--dead-letter-exchange=",
            "--dead-letter-key=retry",
            "--max-priority=5",
            "--single-active-consumer",
            "--arg=x-queue-type=quorum",
        ])
        .unwrap();
        let expected = FieldTable::new()
            .with("x-queue-type", "quorum")
            .with("x-message-ttl", 30_000i64)
            .with("x-max-length-bytes", 1_048_576i64)
            .with("x-overflow", "reject-publish")
            .with("x-dead-letter-exchange", "")
            .with("x-dead-letter-routing-key", "retry")
            .with("x-max-priority", 5i64)
            .with("x-single-active-consumer", true);
        assert_eq!(plan.arguments, expected);
    }

    #[test]
    fn saying_the_same_twice_is_refused() {
        let failure = queue(&["--ttl=1s", "--arg=x-message-ttl=1000"]).unwrap_err();
        assert_eq!(failure.code, ExitCode::Usage);
        assert!(failure.what.contains("x-message-ttl"));
    }
}
