//! `rialto message`: single messages of a queue, by their identity.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{ApiOptions, Path};
use crate::cli::arguments::parse_present;
use crate::cli::output::{messages, note};
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto peek failed                                      # shows their ids
  rialto message move failed 1042 1043 --to-queue tasks
  rialto message move failed 1042 --to-exchange events --key order.new
  rialto message delete failed 1042

A message leaves its queue and enters others in one step: a crash neither loses nor doubles it.
Messages that a consumer holds stay where they are, and the command ends with 6.";

/// Move or delete single messages
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Move messages to another queue, or through an exchange
    Move(Move),
    /// Delete messages
    Delete(Delete),
}

/// Move messages to another queue, or through an exchange
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Move {
    /// The queue
    #[arg(value_parser = parse_present)]
    queue: String,
    /// Their ids, as `rialto peek` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
    /// Into this queue
    #[arg(
        long,
        value_name = "QUEUE",
        required_unless_present = "to_exchange",
        conflicts_with = "to_exchange",
        value_parser = parse_present
    )]
    to_queue: Option<String>,
    /// To this exchange, which routes them
    #[arg(long, value_name = "EXCHANGE")]
    to_exchange: Option<String>,
    /// … with this routing key, in place of their own
    #[arg(long, value_name = "KEY", requires = "to_exchange")]
    key: Option<String>,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Delete messages
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Delete {
    /// The queue
    #[arg(value_parser = parse_present)]
    queue: String,
    /// Their ids, as `rialto peek` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    api: ApiOptions,
}

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::Move(Move { queue, ids, to_queue, to_exchange, key, vhost, api }) => {
            let mut to = json!({});
            for (name, value) in [("queue", to_queue), ("exchange", to_exchange), ("routing_key", key)] {
                if let Some(value) = value {
                    to[name] = value.into();
                }
            }
            act(&api, &vhost, &queue, "move", &json!({ "ids": ids, "to": to }), "moved")
        }
        Options::Delete(Delete { queue, ids, vhost, api }) => {
            act(&api, &vhost, &queue, "delete", &json!({ "ids": ids }), "deleted")
        }
    }
}

fn act(
    api: &ApiOptions,
    vhost: &str,
    queue: &str,
    action: &str,
    body: &Value,
    done: &str,
) -> Result<ExitCode, Failure> {
    let path = Path::new(&["queues", vhost, queue, "messages", action]);
    // What is not there may be the queue, or where the messages are to go: the broker says which.
    let answer = api.api()?.post(&path, body)?;
    note(format_args!("{} {done}", messages(answer["done"].as_u64().unwrap_or(0))));
    let mut code = ExitCode::Success;
    for (key, why) in
        [("gone", "not in the queue, or with a consumer"), ("full", "no room where it was to go")]
    {
        for id in answer[key].as_array().into_iter().flatten() {
            note(format_args!("message {id}: {why}"));
            code = ExitCode::NotAccepted;
        }
    }
    Ok(code)
}
