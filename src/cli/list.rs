//! `rialto list`: what a broker has, as a table or as JSON lines.

use clap::{Args, ValueEnum};
use rialto_protocol::native::{ListOf, PAGE_ROWS_MAX};

use super::output::{self, Written, note};
use super::table;
use super::target::{Target, with_client};
use super::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto list queues
  rialto list bindings --url rialto://ann:secret@broker.example/shop
  rialto list queues --json | jq -r 'select(.messages > 1000) | .name'

The table is for people: its headings are short, and `features` names what is true. --json prints
one object a line, for scripts: every fact, under RabbitMQ's name for it where it has one.

One vhost, as an application sees it. `rialto queue list` and its like show all of them, with
rates, filtered and sorted; they need the HTTP API and a user who may use it.";

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Queues, and how full they are
    Queues,
    /// Exchanges
    Exchanges,
    /// Which exchange routes what into which queue
    Bindings,
    /// Who is connected
    Connections,
    /// Who consumes from which queue
    Consumers,
}

/// Show what a broker has
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// What to show
    #[arg(value_enum)]
    what: What,
    /// One JSON object a line, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            What::Queues => "queues",
            What::Exchanges => "exchanges",
            What::Bindings => "bindings",
            What::Connections => "connections",
            What::Consumers => "consumers",
        }
    }
}

impl From<What> for ListOf {
    fn from(what: What) -> Self {
        match what {
            What::Queues => ListOf::Queues,
            What::Exchanges => ListOf::Exchanges,
            What::Bindings => ListOf::Bindings,
            What::Connections => ListOf::Connections,
            What::Consumers => ListOf::Consumers,
        }
    }
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    with_client(&options.target, async |client| {
        let mut rows = client.list(options.what.into()).page_size(PAGE_ROWS_MAX);
        if !options.json {
            // All of them first: the widest cell decides how wide a column is.
            let rows = rows.all().await?;
            match rows.is_empty() {
                true => note(format_args!("no {}", options.what.as_str())),
                false => drop(table::write(&rows)?),
            }
            return Ok(ExitCode::Success);
        }
        let mut page = Vec::new();
        while let Some(row) = rows.next().await? {
            page.push(row);
            if page.len() == PAGE_ROWS_MAX as usize {
                // A page at a time: a script that has seen enough closes the pipe.
                if output::json_lines(&page)? == Written::PipeClosed {
                    return Ok(ExitCode::Success);
                }
                page.clear();
            }
        }
        output::json_lines(&page)?;
        Ok(ExitCode::Success)
    })
}
