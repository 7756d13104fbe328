//! `rialto publish`: one message, or one for each line of stdin, and what became of them.

mod run;
mod tally;

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use rialto_protocol::types::{Properties, ShortStr};

use super::arguments::{self, Argument, parse_argument, parse_name};
use super::declare::parse_duration;
use super::output::{messages, note};
use super::target::{Target, with_client};
use super::{ExitCode, Failure, lines};
use run::{Ended, Run};

const EXAMPLES: &str = "\
Examples:
  rialto publish events --key order.new '{\"id\": 7}'
  rialto publish '' --key tasks hello          # the default exchange: into queue tasks
  rialto publish events --key order.new --persistent --priority 5 --header retries=3 hello
  rialto publish events --key order.new --mandatory hello  # fails if no queue is bound
  seq 1000000 | rialto publish events --key order.new --stdin

Waits until the broker has confirmed every message, and tells on stderr how many it confirmed,
routed nowhere or rejected. Exit code 6: some were rejected, or --mandatory and reached no queue.";

/// Publish one message, or one for each line of stdin
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The exchange; '' is the default exchange, which routes to the queue called as the key
    #[arg(value_parser = parse_name)]
    exchange: ShortStr,
    /// The routing key
    #[arg(long, short, value_parser = parse_name, default_value = "", hide_default_value = true)]
    key: ShortStr,
    /// The message
    #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
    body: Option<String>,
    /// One message for each line of stdin
    #[arg(long)]
    stdin: bool,
    /// Fail if a message reaches no queue
    #[arg(long)]
    mandatory: bool,
    /// Messages survive a restart in durable queues
    #[arg(long)]
    persistent: bool,
    /// Higher is delivered earlier by queues with --max-priority
    #[arg(long, value_name = "0-255")]
    priority: Option<u8>,
    /// Messages expire after this time in a queue
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expiration: Option<Duration>,
    /// A header, like retries=3; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_argument)]
    headers: Vec<Argument>,
    /// MIME type of the body
    #[arg(long, value_name = "TYPE", value_parser = parse_name)]
    content_type: Option<ShortStr>,
    /// Matches a reply with its request
    #[arg(long, value_name = "ID", value_parser = parse_name)]
    correlation_id: Option<ShortStr>,
    /// The queue that a reply should go to
    #[arg(long, value_name = "QUEUE", value_parser = parse_name)]
    reply_to: Option<ShortStr>,
    /// Most messages that may wait for their confirm
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    window: u32,
    /// Say nothing when all went well
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    target: Target,
}

/// What to publish and how, checked.
#[derive(Debug, PartialEq)]
struct Plan {
    exchange: ShortStr,
    key: ShortStr,
    properties: Properties,
    mandatory: bool,
    window: usize,
    quiet: bool,
    /// The one message; none: the lines of stdin.
    body: Option<Bytes>,
}

impl Options {
    fn checked(self) -> Plan {
        let headers = arguments::table(self.headers);
        let expiration = self.expiration.map(|time| ShortStr::truncated(time.as_millis().to_string()));
        let properties = Properties {
            content_type: self.content_type,
            headers: (!headers.is_empty()).then_some(headers),
            delivery_mode: self.persistent.then_some(PERSISTENT),
            priority: self.priority,
            correlation_id: self.correlation_id,
            reply_to: self.reply_to,
            expiration,
            ..Properties::default()
        };
        Plan {
            exchange: self.exchange,
            key: self.key,
            properties,
            mandatory: self.mandatory,
            window: self.window as usize,
            quiet: self.quiet,
            body: self.body.map(Bytes::from),
        }
    }
}

/// Delivery mode of messages that survive a restart (AMQP 0-9-1, class `basic`).
const PERSISTENT: u8 = 2;

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let target = options.target.clone();
    let plan = options.checked();
    with_client(&target, async |client| {
        let started = Instant::now();
        let mut run = Run::new(client, &plan)?;
        let ended = match plan.body.clone() {
            Some(body) => run.publish_one(body).await,
            None => run.publish_lines(lines::read(std::io::stdin())).await,
        };
        // Also where the broker was lost: whoever goes on must know from where.
        run.tally.report(started.elapsed(), plan.quiet);
        if run.unconfirmed > 0 {
            let unknown = messages(run.unconfirmed as u64);
            note(format_args!("{unknown} had no outcome yet; the broker may have them or not"));
        }
        match ended? {
            Ended::Interrupted => Ok(ExitCode::Interrupted),
            Ended::Done if run.tally.is_bad(plan.mandatory) => Ok(ExitCode::NotAccepted),
            Ended::Done => Ok(ExitCode::Success),
        }
    })
}
