//! `rialto peek`: what waits in a queue, without touching it.

use clap::Args;
use serde_json::{Value, json};

use super::api::{ApiOptions, Path};
use super::filter::FilterOptions;
use super::listing;
use super::rows::{Column, Show, at, duration, plain};
use crate::cli::arguments::parse_present;
use crate::cli::output::{Written, grouped, note, written};
use crate::cli::{ExitCode, Failure, table};

const EXAMPLES: &str = "\
Examples:
  rialto peek tasks
  rialto peek tasks --limit 100 --key 'order.#' --older-than 1h
  rialto peek failed --died-of rejected --contains timeout
  rialto peek tasks --full --limit 1                  # all that is known of the first
  rialto peek tasks --json | jq -r .payload

Nothing changes: no order, no counts, no redelivered flag. Messages that consumers hold are in
`rialto queue unacked`. The id names a message in `rialto message`.";

/// Look at messages of a queue without taking them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Options {
    /// The queue
    #[arg(value_parser = parse_present)]
    queue: String,
    /// Its vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    /// At most so many messages
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All that is known of each, and its body as far as --body-bytes
    #[arg(long)]
    full: bool,
    /// At most so many bytes of each body
    #[arg(long, value_name = "N", default_value_t = 4096)]
    body_bytes: u64,
    /// One JSON object a message, for scripts
    #[arg(long, conflicts_with = "full")]
    json: bool,
    #[command(flatten)]
    filter: FilterOptions,
    #[command(flatten)]
    api: ApiOptions,
}

/// Messages asked for at a time.
const PAGE: u64 = 100;

/// Characters of a body in the table.
const BODY_CHARS: usize = 48;

const COLUMNS: &[Column] = &[
    ("id", "id", Show::Plain),
    ("age", "age_ms", Show::Duration),
    ("exchange", "exchange", Show::Plain),
    ("key", "routing_key", Show::Plain),
    ("bytes", "payload_bytes", Show::Plain),
    ("died in", "origin.queue", Show::Plain),
    ("died of", "origin.reason", Show::Plain),
    ("body", "shown", Show::Plain),
    ("redelivered", "redelivered", Show::Feature),
];

const FACTS: &[Column] = &[
    ("id", "id", Show::Plain),
    ("state", "state", Show::Plain),
    ("exchange", "exchange", Show::Plain),
    ("routing key", "routing_key", Show::Plain),
    ("in the queue since", "enqueued_at", Show::Time),
    ("age", "age_ms", Show::Duration),
    ("expires", "expires_at", Show::Time),
    ("delayed until", "delayed_until", Show::Time),
    ("priority", "priority", Show::Plain),
    ("failed deliveries", "delivery_count", Show::Plain),
    ("died in", "origin.queue", Show::Plain),
    ("died of", "origin.reason", Show::Plain),
    ("properties", "properties", Show::Plain),
    ("bytes", "payload_bytes", Show::Plain),
    ("redelivered", "redelivered", Show::Feature),
    ("cut", "truncated", Show::Feature),
];

/// The messages of an answer.
pub(super) fn messages(answer: &Value) -> &[Value] {
    answer["messages"].as_array().map_or(&[][..], Vec::as_slice)
}

pub(in crate::cli) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let api = options.api.api()?;
    let path = Path::new(&["queues", &options.vhost, &options.queue, "peek"]);
    let (mut left, mut after, mut scanned, mut shown) = (options.limit, Value::Null, 0, 0);
    let mut rows = Vec::new();
    loop {
        let body = json!({
            "limit": left.min(PAGE),
            "after": after,
            "filter": options.filter.json(),
            "truncate": options.body_bytes,
        });
        let answer = api.post(&path, &body);
        let answer = answer.map_err(|error| error.of(super::queue::named(&options.vhost, &options.queue)))?;
        let found = messages(&answer);
        left -= (found.len() as u64).min(left);
        shown += found.len() as u64;
        scanned += answer["scanned"].as_u64().unwrap_or(0);
        if options.json {
            if listing::json_lines(found)? == Written::PipeClosed {
                return Ok(ExitCode::Success);
            }
        } else if options.full {
            for message in found {
                if in_full(message)? == Written::PipeClosed {
                    return Ok(ExitCode::Success);
                }
            }
        } else {
            rows.extend(found.iter().map(in_short));
        }
        after = answer["next"].clone();
        if left == 0 || after.is_null() {
            break;
        }
    }
    if !rows.is_empty() {
        table::write(&super::rows::rows(&rows, COLUMNS))?;
    }
    if shown == 0 && scanned == 0 {
        note(format_args!("no messages wait"));
    } else if shown == 0 {
        note(format_args!("no such message among the {} that wait", grouped(scanned)));
    } else if !after.is_null() {
        note(format_args!("and maybe more: --limit {} shows them", options.limit.saturating_mul(10)));
    }
    Ok(ExitCode::Success)
}

/// With as much of the body as fits a line.
fn in_short(message: &Value) -> Value {
    let mut message = message.clone();
    let body = plain(&message["payload"]);
    let mut shown: String = body.chars().take(BODY_CHARS).collect();
    if shown.len() < body.len() || message["truncated"] == true {
        shown.push('…');
    }
    message["shown"] = shown.into();
    message
}

fn in_full(message: &Value) -> Result<Written, Failure> {
    use std::io::Write;

    table::write_facts(&super::rows::row(message, FACTS))?;
    let age = at(message, "age_ms").as_u64().map(duration).unwrap_or_default();
    let encoding = match message["payload_encoding"] == "base64" {
        true => " (base64)",
        false => "",
    };
    let body = table::printable_lines(&plain(&message["payload"]));
    let text = format!("body{encoding}, {age} old:\n{body}\n\n");
    Ok(written(std::io::stdout().write_all(text.as_bytes()))?)
}
