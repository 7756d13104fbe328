//! `rialto queue`: how queues are doing, who holds their messages, pausing them.

use clap::{Args, Subcommand};
use serde_json::json;

use super::api::{ApiOptions, Path};
use super::listing::{self, InVhost, LongList, OneInVhost, ShowOptions};
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::output::note;
use crate::cli::{ExitCode, Failure, declare, delete, purge};

const EXAMPLES: &str = "\
Examples:
  rialto queue list
  rialto queue list --sort messages --reverse --limit 10      # the ten longest
  rialto queue list --name '^orders' --columns name,messages,message_stats.publish
  rialto queue show tasks
  rialto queue unacked tasks                                  # who holds what, and since when
  rialto queue pause tasks
  rialto queue resume tasks

Queues are made, bound, emptied and deleted by `rialto declare queue`, `rialto bind`,
`rialto purge` and `rialto delete queue`. `rialto peek` looks at messages, `rialto redrive` sends
dead ones back.";

/// How queues are doing, and what to do about it
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the queues of all vhosts with their rates
    #[command(after_help = EXAMPLES)]
    List(LongList),
    /// Show one queue
    #[command(after_help = EXAMPLES)]
    Show(OneInVhost),
    /// Show the messages that consumers hold and have not acknowledged
    Unacked(Unacked),
    /// Stop deliveries from a queue; publishing to it goes on
    #[command(after_help = EXAMPLES)]
    Pause(InVhost),
    /// Go on with deliveries from a queue
    #[command(after_help = EXAMPLES)]
    Resume(InVhost),
    // Words that people try; the help names the commands that these are.
    /// Create a queue
    #[command(hide = true, visible_aliases = ["declare", "create"])]
    Add(declare::QueueOptions),
    /// Delete a queue, its bindings and its messages
    #[command(hide = true, aliases = ["remove", "rm"])]
    Delete(delete::QueueOptions),
    /// Remove all ready messages of a queue
    #[command(hide = true)]
    Purge(purge::Options),
}

/// Show the messages that consumers hold and have not acknowledged
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Unacked {
    /// The queue
    #[arg(value_parser = parse_present)]
    queue: String,
    /// Its vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    /// At most so many messages
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("vhost", "vhost", Show::Plain),
    ("name", "name", Show::Plain),
    ("type", "type", Show::Plain),
    ("ready", "messages_ready", Show::Plain),
    ("unacked", "messages_unacknowledged", Show::Plain),
    ("total", "messages", Show::Plain),
    ("consumers", "consumers", Show::Plain),
    ("in/s", "message_stats.publish_details.rate", Show::Rate),
    ("out/s", "message_stats.deliver_get_details.rate", Show::Rate),
    ("acks/s", "message_stats.ack_details.rate", Show::Rate),
    ("policy", "policy", Show::Plain),
    ("state", "state", Show::Plain),
    ("paused", "paused", Show::Feature),
    ("durable", "durable", Show::Feature),
    ("auto-delete", "auto_delete", Show::Feature),
    ("exclusive", "exclusive", Show::Feature),
];

const FACTS: &[Column] = &[
    ("name", "name", Show::Plain),
    ("vhost", "vhost", Show::Plain),
    ("type", "type", Show::Plain),
    ("state", "state", Show::Plain),
    ("messages", "messages", Show::Plain),
    ("ready", "messages_ready", Show::Plain),
    ("unacked", "messages_unacknowledged", Show::Plain),
    ("bytes", "message_bytes", Show::Size),
    ("bytes in memory", "message_bytes_ram", Show::Size),
    ("oldest message", "head_message_timestamp", Show::Plain),
    ("consumers", "consumers", Show::Plain),
    ("consumer capacity", "consumer_capacity", Show::Plain),
    ("published/s", "message_stats.publish_details.rate", Show::Rate),
    ("delivered/s", "message_stats.deliver_get_details.rate", Show::Rate),
    ("acked/s", "message_stats.ack_details.rate", Show::Rate),
    ("redelivered/s", "message_stats.redeliver_details.rate", Show::Rate),
    ("published", "message_stats.publish", Show::Plain),
    ("delivered", "message_stats.deliver_get", Show::Plain),
    ("acked", "message_stats.ack", Show::Plain),
    ("arguments", "arguments", Show::Plain),
    ("policy", "policy", Show::Plain),
    ("operator policy", "operator_policy", Show::Plain),
    ("in effect", "effective_policy_definition", Show::Plain),
    ("paused", "paused", Show::Feature),
    ("durable", "durable", Show::Feature),
    ("auto-delete", "auto_delete", Show::Feature),
    ("exclusive", "exclusive", Show::Feature),
];

const UNACKED: &[Column] = &[
    ("id", "id", Show::Plain),
    ("held for", "held_ms", Show::Duration),
    ("consumer", "holder.consumer_tag", Show::Plain),
    ("connection", "holder.connection", Show::Plain),
    ("channel", "holder.channel", Show::Plain),
    ("user", "holder.user", Show::Plain),
    ("key", "routing_key", Show::Plain),
    ("bytes", "payload_bytes", Show::Plain),
    ("redelivered", "redelivered", Show::Feature),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(LongList { filter, show, api }) => filter.list(&api.api()?, "queues", &show, COLUMNS),
        Options::Show(OneInVhost { chosen: InVhost { name: queue, vhost, api }, json }) => {
            let row = api.api()?.get(&Path::new(&["queues", &vhost, &queue]));
            listing::one(&row.map_err(|error| error.of(named(&vhost, &queue)))?, FACTS, json)
        }
        Options::Unacked(Unacked { queue, vhost, limit, show, api }) => {
            let path = Path::new(&["queues", &vhost, &queue, "unacked"]).with("limit", limit);
            let answer = api.api()?.get(&path).map_err(|error| error.of(named(&vhost, &queue)))?;
            show.show(super::peek::messages(&answer), UNACKED, "messages are held")
        }
        Options::Pause(options) => {
            act(&options, "pause", "is paused: nothing is delivered; publishing goes on")
        }
        Options::Resume(options) => act(&options, "resume", "goes on"),
        Options::Add(options) => declare::run(declare::Options::Queue(options)),
        Options::Delete(options) => delete::run(delete::Options::Queue(options)),
        Options::Purge(options) => purge::run(options),
    }
}

fn act(options: &InVhost, action: &str, done: &str) -> Result<ExitCode, Failure> {
    let InVhost { name: queue, vhost, api } = options;
    let acted = api.api()?.post(&Path::new(&["queues", vhost, queue, action]), &json!({}));
    acted.map_err(|error| error.of(named(vhost, queue)))?;
    note(format_args!("queue {queue:?} {done}"));
    Ok(ExitCode::Success)
}

/// As errors name it.
pub(super) fn named(vhost: &str, queue: &str) -> String {
    format!("queue {queue:?} in vhost {vhost:?}")
}
