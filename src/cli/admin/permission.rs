//! `rialto permission` and `rialto topic-permission`: what users may do in a vhost.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{ApiOptions, Path};
use super::listing::ShowOptions;
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::output::note;
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto permission list
  rialto permission set shop --vhost shop                        # everything in the vhost
  rialto permission set shop --configure '' --write '^orders$' --read '^orders\\.'
  rialto permission clear shop --vhost shop

Three regular expressions over names of exchanges and queues: what the user may declare and delete
(configure), publish to and bind (write), consume, get and purge (read). '' matches only the empty
name, so it is nothing; .* is everything. Without permissions a user may not enter a vhost.";

const TOPIC_EXAMPLES: &str = "\
Examples:
  rialto topic-permission list
  rialto topic-permission set shop amq.topic --write '^shop\\.' --read '^shop\\.'
  rialto topic-permission set shop events --write '^{username}\\.'
  rialto topic-permission clear shop events

They narrow what a user may do with a topic exchange by the routing key: write for publishing,
read for binding a queue. They hold besides the permissions of the vhost. {username} and {vhost}
stand for the user's.";

/// What users may do in a vhost
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the permissions
    #[command(after_help = EXAMPLES)]
    List(ListOptions),
    /// Say what a user may do in a vhost
    #[command(aliases = ["add", "create"])]
    Set(Set),
    /// Take a user's permissions in a vhost away
    #[command(aliases = ["delete", "remove", "rm"])]
    Clear(Clear),
}

/// Say what a user may do in a vhost
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Set {
    /// The user
    #[arg(value_parser = parse_present)]
    user: String,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    /// What it may declare and delete
    #[arg(long, value_name = "REGEX", default_value = ".*")]
    configure: String,
    /// What it may publish to, and bind
    #[arg(long, value_name = "REGEX", default_value = ".*")]
    write: String,
    /// What it may consume, get and purge
    #[arg(long, value_name = "REGEX", default_value = ".*")]
    read: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Take a user's permissions in a vhost away
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Clear {
    /// The user
    #[arg(value_parser = parse_present)]
    user: String,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// What users may do with routing keys of topic exchanges
#[derive(Debug, Subcommand)]
#[command(after_help = TOPIC_EXAMPLES)]
pub(in crate::cli) enum TopicOptions {
    /// Show the topic permissions
    #[command(after_help = TOPIC_EXAMPLES)]
    List(ListOptions),
    /// Say which routing keys a user may use with a topic exchange
    #[command(aliases = ["add", "create"])]
    Set(TopicSet),
    /// Take a user's topic permissions away
    #[command(aliases = ["delete", "remove", "rm"])]
    Clear(TopicClear),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListOptions {
    /// Only of this user
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    user: Option<String>,
    /// Only in this vhost
    #[arg(long, value_name = "NAME", conflicts_with = "user", value_parser = parse_present)]
    vhost: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    api: ApiOptions,
}

/// Say which routing keys a user may use with a topic exchange
#[derive(Debug, Args)]
#[command(after_help = TOPIC_EXAMPLES)]
pub(in crate::cli) struct TopicSet {
    /// The user
    #[arg(value_parser = parse_present)]
    user: String,
    /// The topic exchange
    exchange: String,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    /// Keys it may publish with
    #[arg(long, value_name = "REGEX", default_value = ".*")]
    write: String,
    /// Keys it may bind with
    #[arg(long, value_name = "REGEX", default_value = ".*")]
    read: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Take a user's topic permissions away
#[derive(Debug, Args)]
#[command(after_help = TOPIC_EXAMPLES)]
pub(in crate::cli) struct TopicClear {
    /// The user
    #[arg(value_parser = parse_present)]
    user: String,
    /// Only for this exchange
    #[arg(value_parser = parse_present)]
    exchange: Option<String>,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("user", "user", Show::Plain),
    ("vhost", "vhost", Show::Plain),
    ("exchange", "exchange", Show::Plain),
    ("configure", "configure", Show::Plain),
    ("write", "write", Show::Plain),
    ("read", "read", Show::Plain),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(options) => list("permissions", &options),
        Options::Set(options) => {
            let Set { user, vhost, configure, write, read, api } = options;
            let body = json!({ "configure": configure, "write": write, "read": read });
            put(&Path::new(&["permissions", &vhost, &user]), &body, &user, &vhost, &api)?;
            note(format_args!("user {user:?} has these permissions in vhost {vhost:?}"));
            Ok(ExitCode::Success)
        }
        Options::Clear(Clear { user, vhost, api }) => {
            let done = api.api()?.delete(&Path::new(&["permissions", &vhost, &user]));
            done.map_err(|error| error.of(format_args!("permission of user {user:?} in vhost {vhost:?}")))?;
            note(format_args!("user {user:?} may do nothing in vhost {vhost:?} any more"));
            Ok(ExitCode::Success)
        }
    }
}

pub(in crate::cli) fn run_topic(options: TopicOptions) -> Result<ExitCode, Failure> {
    match options {
        TopicOptions::List(options) => list("topic-permissions", &options),
        TopicOptions::Set(TopicSet { user, exchange, vhost, write, read, api }) => {
            let body = json!({ "exchange": exchange, "write": write, "read": read });
            put(&Path::new(&["topic-permissions", &vhost, &user]), &body, &user, &vhost, &api)?;
            note(format_args!("user {user:?} has these topic permissions for exchange {exchange:?}"));
            Ok(ExitCode::Success)
        }
        TopicOptions::Clear(TopicClear { user, exchange, vhost, api }) => {
            let mut segments = vec!["topic-permissions", &vhost, &user];
            segments.extend(exchange.as_deref());
            let done = api.api()?.delete(&Path::new(&segments));
            done.map_err(|error| {
                error.of(format_args!("topic permission of user {user:?} in vhost {vhost:?}"))
            })?;
            note(format_args!(
                "these topic permissions of user {user:?} are gone: its permissions hold alone"
            ));
            Ok(ExitCode::Success)
        }
    }
}

fn list(kind: &str, options: &ListOptions) -> Result<ExitCode, Failure> {
    let ListOptions { user, vhost, show, api } = options;
    let api = api.api()?;
    let rows = match (user, vhost) {
        (Some(user), _) => {
            let path = Path::new(&["users", user, kind]);
            api.get(&path).map_err(|error| error.of(format_args!("user {user:?}")))?
        }
        (_, Some(vhost)) => {
            let path = Path::new(&["vhosts", vhost, kind]);
            api.get(&path).map_err(|error| error.of(format_args!("vhost {vhost:?}")))?
        }
        (None, None) => api.get(&Path::new(&[kind]))?,
    };
    let Value::Array(rows) = rows else {
        return Err(Failure::new(ExitCode::Failure, "the broker's answer is no list"));
    };
    show.show(&rows, COLUMNS, &kind.replace('-', " "))
}

fn put(path: &Path, body: &Value, user: &str, vhost: &str, api: &ApiOptions) -> Result<(), Failure> {
    let api = api.api()?;
    match api.put(path, body) {
        Ok(_) => Ok(()),
        // RabbitMQ's word, which leaves open which of the two it is.
        Err(error) if error.is_not_found() || error.is_because("vhost_or_user_not_found") => {
            api.get(&Path::new(&["users", user])).map_err(|error| error.of(format_args!("user {user:?}")))?;
            api.get(&Path::new(&["vhosts", vhost]))
                .map_err(|error| error.of(format_args!("vhost {vhost:?}")))?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}
