//! `rialto delete`: exchanges and queues.

use clap::{Args, Subcommand};
use rialto_protocol::types::ShortStr;

use super::arguments::parse_name;
use super::output::{messages, note};
use super::target::{Target, with_client};
use super::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto delete queue tasks
  rialto delete queue tasks --if-empty
  rialto delete exchange events --if-unused

Deleting what is not there does nothing.";

/// Delete an exchange or a queue
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Options {
    /// Delete an exchange and its bindings
    Exchange(ExchangeOptions),
    /// Delete a queue, its bindings and its messages
    Queue(QueueOptions),
}

/// Delete an exchange and its bindings
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExchangeOptions {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: ShortStr,
    /// Only if nothing is bound to it
    #[arg(long)]
    if_unused: bool,
    #[command(flatten)]
    target: Target,
}

/// Delete a queue, its bindings and its messages
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueueOptions {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: ShortStr,
    /// Only if nobody consumes from it
    #[arg(long, conflicts_with = "if_empty")]
    if_unused: bool,
    /// Only if it has no messages
    #[arg(long)]
    if_empty: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::Exchange(options) => with_client(&options.target, async |client| {
            let exchange = client.exchange(&options.name);
            match options.if_unused {
                true => exchange.delete_if_unused().await?,
                false => exchange.delete().await?,
            }
            note(format_args!("exchange {:?} is deleted", options.name.as_str()));
            Ok(ExitCode::Success)
        }),
        Options::Queue(options) => with_client(&options.target, async |client| {
            let queue = client.queue(&options.name);
            let lost = match (options.if_unused, options.if_empty) {
                (true, _) => queue.delete_if_unused().await?,
                (_, true) => queue.delete_if_empty().await?,
                (false, false) => queue.delete().await?,
            };
            note(format_args!(
                "queue {:?} is deleted, and {} with it",
                options.name.as_str(),
                messages(lost)
            ));
            Ok(ExitCode::Success)
        }),
    }
}
