//! `rialto connection`, `rialto channel` and `rialto consumer`: who is there.

use clap::{Args, Subcommand};

use super::api::{ApiOptions, Path};
use super::listing::{self, LongList, One, ShowOptions};
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::output::{counted, note};
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto connection list
  rialto connection list --sort recv_oct_details.rate --reverse --limit 5
  rialto connection show '127.0.0.1:41234 -> 127.0.0.1:5672'
  rialto connection close '127.0.0.1:41234 -> 127.0.0.1:5672' --reason 'please reconnect'
  rialto connection close --user shop                     # all of a user

Clients are told the reason; most connect again by themselves.";

const CHANNEL_EXAMPLES: &str = "\
Examples:
  rialto channel list
  rialto channel list --sort messages_unacknowledged --reverse --limit 10
  rialto channel show '127.0.0.1:41234 -> 127.0.0.1:5672 (1)'";

const CONSUMER_EXAMPLES: &str = "\
Examples:
  rialto consumer list
  rialto consumer list --vhost shop --json";

/// Who is connected
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the connections
    #[command(after_help = EXAMPLES)]
    List(LongList),
    /// Show one connection
    #[command(after_help = EXAMPLES)]
    Show(One),
    /// Close a connection, or all of a user
    // RabbitMQ's tools say delete.
    #[command(alias = "delete")]
    Close(Close),
}

/// Close a connection, or all of a user
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Close {
    /// Its name, as the list shows it
    #[arg(required_unless_present = "of_user", value_parser = parse_present)]
    connection: Option<String>,
    /// All connections of this user
    #[arg(long = "user", value_name = "NAME", conflicts_with = "connection", value_parser = parse_present)]
    of_user: Option<String>,
    /// What its client is told
    #[arg(long, value_name = "TEXT", default_value = "closed by an administrator")]
    reason: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Channels of connections
#[derive(Debug, Subcommand)]
#[command(after_help = CHANNEL_EXAMPLES)]
pub(in crate::cli) enum ChannelOptions {
    /// Show the channels
    #[command(after_help = CHANNEL_EXAMPLES)]
    List(LongList),
    /// Show one channel
    #[command(after_help = CHANNEL_EXAMPLES)]
    Show(One),
}

/// Who consumes from which queue
#[derive(Debug, Subcommand)]
#[command(after_help = CONSUMER_EXAMPLES)]
pub(in crate::cli) enum ConsumerOptions {
    /// Show the consumers of all vhosts
    List(ConsumerList),
}

/// Show the consumers of all vhosts
#[derive(Debug, Args)]
#[command(after_help = CONSUMER_EXAMPLES)]
pub(in crate::cli) struct ConsumerList {
    /// Only of this vhost
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    vhost: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("name", "name", Show::Plain),
    ("user", "user", Show::Plain),
    ("vhost", "vhost", Show::Plain),
    ("state", "state", Show::Plain),
    ("protocol", "protocol", Show::Plain),
    ("channels", "channels", Show::Plain),
    ("in B/s", "recv_oct_details.rate", Show::Rate),
    ("out B/s", "send_oct_details.rate", Show::Rate),
    ("connected", "connected_at", Show::Time),
    ("client", "client_properties.product", Show::Plain),
    ("tls", "ssl", Show::Feature),
];

const FACTS: &[Column] = &[
    ("name", "name", Show::Plain),
    ("user", "user", Show::Plain),
    ("vhost", "vhost", Show::Plain),
    ("state", "state", Show::Plain),
    ("protocol", "protocol", Show::Plain),
    ("mechanism", "auth_mechanism", Show::Plain),
    ("channels", "channels", Show::Plain),
    ("channel max", "channel_max", Show::Plain),
    ("frame max", "frame_max", Show::Plain),
    ("heartbeat", "timeout", Show::Plain),
    ("connected", "connected_at", Show::Time),
    ("received", "recv_oct", Show::Size),
    ("sent", "send_oct", Show::Size),
    ("TLS", "ssl_protocol", Show::Plain),
    ("certificate", "peer_cert_subject", Show::Plain),
    ("client", "client_properties", Show::Plain),
    ("tls", "ssl", Show::Feature),
];

const CHANNELS: &[Column] = &[
    ("name", "name", Show::Plain),
    ("user", "user", Show::Plain),
    ("vhost", "vhost", Show::Plain),
    ("state", "state", Show::Plain),
    ("consumers", "consumer_count", Show::Plain),
    ("prefetch", "prefetch_count", Show::Plain),
    ("unacked", "messages_unacknowledged", Show::Plain),
    ("unconfirmed", "messages_unconfirmed", Show::Plain),
    ("in/s", "message_stats.publish_details.rate", Show::Rate),
    ("out/s", "message_stats.deliver_get_details.rate", Show::Rate),
    ("confirms", "confirm", Show::Feature),
    ("transactional", "transactional", Show::Feature),
];

const CONSUMERS: &[Column] = &[
    ("vhost", "queue.vhost", Show::Plain),
    ("queue", "queue.name", Show::Plain),
    ("tag", "consumer_tag", Show::Plain),
    ("channel", "channel_details.name", Show::Plain),
    ("user", "channel_details.user", Show::Plain),
    ("prefetch", "prefetch_count", Show::Plain),
    ("activity", "activity_status", Show::Plain),
    ("arguments", "arguments", Show::Plain),
    ("acks", "ack_required", Show::Feature),
    ("exclusive", "exclusive", Show::Feature),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(LongList { filter, show, api }) => {
            // By vhost, the API has them elsewhere.
            filter.list_of_vhosts(&api.api()?, "connections", &show, COLUMNS)
        }
        Options::Show(One { name: connection, json, api }) => {
            let row = api.api()?.get(&Path::new(&["connections", &connection]));
            listing::one(&row.map_err(|error| error.of(named(&connection)))?, FACTS, json)
        }
        Options::Close(Close { connection: Some(name), reason, api, .. }) => {
            let closed = api.api()?.delete_because(&Path::new(&["connections", &name]), &reason);
            closed.map_err(|error| error.of(named(&name)))?;
            note(format_args!("connection {name:?} is closed"));
            Ok(ExitCode::Success)
        }
        Options::Close(Close { connection: None, of_user, reason, api }) => {
            let user = of_user.unwrap_or_default();
            let (api, path) = (api.api()?, Path::new(&["connections", "username", &user]));
            let rows = listing::all(&api, &path)?;
            api.delete_because(&path, &reason)?;
            note(format_args!("{} of user {user:?} closed", counted(rows.len() as u64, "connection")));
            Ok(ExitCode::Success)
        }
    }
}

fn named(connection: &str) -> String {
    format!("connection {connection:?}")
}

pub(in crate::cli) fn run_channel(options: ChannelOptions) -> Result<ExitCode, Failure> {
    match options {
        ChannelOptions::List(LongList { filter, show, api }) => {
            filter.list_of_vhosts(&api.api()?, "channels", &show, CHANNELS)
        }
        ChannelOptions::Show(One { name: channel, json, api }) => {
            let row = api.api()?.get(&Path::new(&["channels", &channel]));
            listing::one(&row.map_err(|error| error.of(format_args!("channel {channel:?}")))?, CHANNELS, json)
        }
    }
}

pub(in crate::cli) fn run_consumer(options: ConsumerOptions) -> Result<ExitCode, Failure> {
    let ConsumerOptions::List(ConsumerList { vhost, show, api }) = options;
    let mut segments = vec!["consumers"];
    segments.extend(vhost.as_deref());
    let rows = api.api()?.get(&Path::new(&segments));
    let rows = rows.map_err(|error| error.of(format_args!("vhost {:?}", vhost.unwrap_or_default())))?;
    show.show(rows.as_array().map_or(&[][..], Vec::as_slice), CONSUMERS, "consumers")
}
