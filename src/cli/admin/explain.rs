//! `rialto explain`: where a message would go, and why, without publishing it.

use clap::Args;
use serde_json::json;

use super::api::{ApiOptions, Path};
use super::filter::headers;
use super::listing;
use super::rows::plain;
use crate::cli::arguments::parse_present;
use crate::cli::output::written;
use crate::cli::{ExitCode, Failure, table};

const EXAMPLES: &str = "\
Examples:
  rialto explain events --key order.new
  rialto explain events --key oder.new            # nearly: tells which binding, and what is wrong
  rialto explain '' --key tasks
  rialto explain reports --header type=pdf --header pages=3
  rialto explain events --key order.new --json | jq -r '.queues[].name'

Nothing is published. Ends with 6 if no queue would get the message.";

/// Tell where a message would go, and why
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Options {
    /// The exchange; '' is the default exchange
    exchange: String,
    /// The routing key
    #[arg(long, value_name = "KEY", default_value = "")]
    key: String,
    /// A header of the message; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    /// Tell of at most so many bindings that nearly match, for each exchange
    #[arg(long, value_name = "N")]
    near: Option<u64>,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiOptions,
}

pub(in crate::cli) fn run(options: &Options) -> Result<ExitCode, Failure> {
    use std::io::Write;

    let mut body = json!({
        "vhost": options.vhost,
        "exchange": options.exchange,
        "routing_key": options.key,
    });
    if !options.headers.is_empty() {
        body["headers"] = headers(&options.headers).into();
    }
    if let Some(near) = options.near {
        body["near_max"] = near.into();
    }
    let told = options.api.api()?.post(&Path::new(&["explain"]), &body);
    let told = told.map_err(|error| {
        error.of(format_args!("exchange {:?} in vhost {:?}", options.exchange, options.vhost))
    })?;
    if options.json {
        listing::json_lines(std::slice::from_ref(&told))?;
    } else {
        let lines = told["summary"].as_array().into_iter().flatten();
        let text: String = lines.map(|line| table::printable_lines(&plain(line)) + "\n").collect();
        written(std::io::stdout().write_all(text.as_bytes()))?;
    }
    match told["outcome"].as_str() {
        Some("routed") | None => Ok(ExitCode::Success),
        Some(_) => Ok(ExitCode::NotAccepted),
    }
}
