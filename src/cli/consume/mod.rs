//! `rialto consume`: bodies to stdout, a line each, as they come.
//!
//! Rooms: options here, `show` receives and settles, `format` makes lines.

mod format;
mod show;

use clap::Args;
use rialto_protocol::types::ShortStr;

use super::arguments::parse_name;
use super::output::{messages, note};
use super::signal::Interrupt;
use super::target::{Target, with_client};
use super::{ExitCode, Failure};
use format::Format;
use show::Show;

const EXAMPLES: &str = "\
Examples:
  rialto consume tasks --ack                        # take messages as they come, until Ctrl-C
  rialto consume tasks --ack --count 1              # take one
  rialto consume tasks --count 10 --json            # look at ten, with their properties
  rialto consume events-log --ack | grep error

Without --ack messages go back to their places in the queue when the command ends. They were
delivered all the same: they come back as redelivered, and it counts where a queue has a
--delivery-limit. With --ack, take a few with --count: what `| head` did not read is gone.

--json prints one object a line; a body that is not UTF-8 stands in body_base64.";

/// Print the messages of a queue as they come
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The queue
    #[arg(value_parser = parse_name)]
    queue: ShortStr,
    /// Acknowledge what was printed, so that it leaves the queue
    #[arg(long)]
    ack: bool,
    /// End after this many messages
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print properties too: one JSON object a line
    #[arg(long)]
    json: bool,
    /// Most messages that may be unacknowledged at a time; 0: no limit [default: 10000, without --ack: no limit]
    #[arg(long, value_name = "N")]
    prefetch: Option<u32>,
    #[command(flatten)]
    target: Target,
}

/// What to consume and how, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    ack: bool,
    /// Messages to take; none: without end.
    count: Option<u64>,
    format: Format,
    prefetch: u32,
}

/// Unacknowledged messages unless `--prefetch` says otherwise: enough for the full rate, few enough to share
/// a queue.
const DEFAULT_PREFETCH: u32 = 10_000;

/// Messages printed in one go, at most.
const BATCH_MAX: usize = 4096;

impl Options {
    fn checked(&self) -> Plan {
        // Without acks a limit would only stop the show.
        let prefetch = self.prefetch.unwrap_or(if self.ack { DEFAULT_PREFETCH } else { 0 });
        // Messages beyond the count would be taken from others only to be put back.
        let count = self.count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let prefetch = match (prefetch, count) {
            (0, Some(count)) => count,
            (limit, Some(count)) => limit.min(count),
            (limit, None) => limit,
        };
        let format = if self.json { Format::Json } else { Format::Bodies };
        Plan { ack: self.ack, count: self.count, format, prefetch }
    }
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let plan = options.checked();
    with_client(&options.target, async |client| {
        let interrupt = Interrupt::listen();
        let consumer = client.consume(&options.queue).prefetch(plan.prefetch).start().await?;
        match Show::new(plan).run(consumer, interrupt).await? {
            0 => Ok(ExitCode::Success),
            missing => {
                note(format_args!("ended with {} still to come", messages(missing)));
                Ok(ExitCode::Interrupted)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn prefetch(arguments: &[&str]) -> u32 {
        let line = [&["consume", "tasks"], arguments].concat();
        Line::try_parse_from(line).unwrap().options.checked().prefetch
    }

    #[test]
    fn no_more_is_prefetched_than_is_wanted() {
        assert_eq!(prefetch(&["--ack"]), DEFAULT_PREFETCH);
        assert_eq!(prefetch(&["--ack", "--count=1"]), 1);
        assert_eq!(prefetch(&["--ack", "--count=1000000"]), DEFAULT_PREFETCH);
        assert_eq!(prefetch(&["--ack", "--count=100", "--prefetch=7"]), 7);
        assert_eq!(prefetch(&["--ack", "--count=100", "--prefetch=0"]), 100);
        assert_eq!(prefetch(&["--ack", "--count=99999999999"]), DEFAULT_PREFETCH);
    }

    #[test]
    fn a_look_has_no_limit_but_the_count() {
        assert_eq!(prefetch(&[]), 0);
        assert_eq!(prefetch(&["--count=10"]), 10);
    }
}
