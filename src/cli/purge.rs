//! `rialto purge`: empties a queue.

use clap::Args;
use rialto_protocol::types::ShortStr;

use super::arguments::parse_name;
use super::output::{messages, note};
use super::target::{Target, with_client};
use super::{ExitCode, Failure};

const EXAMPLES: &str = "\
Example:
  rialto purge tasks

Messages that consumers have and did not acknowledge yet stay theirs.";

/// Remove all ready messages of a queue
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The queue
    #[arg(value_parser = parse_name)]
    queue: ShortStr,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    with_client(&options.target, async |client| {
        let removed = client.queue(&options.queue).purge().await?;
        note(format_args!("purged queue {:?}: {} removed", options.queue.as_str(), messages(removed)));
        Ok(ExitCode::Success)
    })
}
