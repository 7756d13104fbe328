//! `rialto exchange` and `rialto binding`: how messages get into queues.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::api::{ApiOptions, Path};
use super::listing::{self, LongList, ShowOptions};
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::{ExitCode, Failure, bind, declare, delete, table};

const EXAMPLES: &str = "\
Examples:
  rialto exchange list
  rialto exchange list --name '^orders' --json
  rialto exchange show events                          # with what is bound to it

`rialto declare exchange`, `rialto delete exchange` and `rialto bind` make, delete and bind them;
`rialto explain` tells where a message would go.";

const BINDING_EXAMPLES: &str = "\
Examples:
  rialto binding list
  rialto binding list --source events
  rialto binding list --queue tasks --json

`rialto bind` and `rialto unbind` make and undo them.";

/// Where messages come in
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the exchanges of all vhosts with their rates
    #[command(after_help = EXAMPLES)]
    List(LongList),
    /// Show one exchange and what is bound to it
    #[command(after_help = EXAMPLES)]
    Show(One),
    // Words that people try; the help names the commands that these are.
    /// Create an exchange
    #[command(hide = true, visible_aliases = ["declare", "create"])]
    Add(declare::ExchangeOptions),
    /// Delete an exchange and its bindings
    #[command(hide = true, aliases = ["remove", "rm"])]
    Delete(delete::ExchangeOptions),
}

// One exchange; unlike other things it may be without a name. No doc comment: clap would take it for the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    /// Its name, as the list shows it; '' is the default exchange
    name: String,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
    /// Its vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Which exchange routes what into which queue
#[derive(Debug, Subcommand)]
#[command(after_help = BINDING_EXAMPLES)]
pub(in crate::cli) enum BindingOptions {
    /// Show the bindings of all vhosts
    List(BindingList),
    // Words that people try; the help names the commands that these are.
    /// Route messages from an exchange into a queue
    #[command(hide = true, alias = "create")]
    Add(bind::Options),
    /// Undo a bind
    #[command(hide = true, aliases = ["remove", "rm"])]
    Delete(bind::Options),
}

/// Show the bindings of all vhosts
#[derive(Debug, Args)]
#[command(after_help = BINDING_EXAMPLES)]
pub(in crate::cli) struct BindingList {
    /// Only of this vhost
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    vhost: Option<String>,
    /// Only from this exchange (of --vhost, or of /)
    #[arg(long, value_name = "EXCHANGE")]
    source: Option<String>,
    /// Only to this queue (of --vhost, or of /)
    #[arg(long, value_name = "QUEUE", conflicts_with = "source", value_parser = parse_present)]
    queue: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("vhost", "vhost", Show::Plain),
    ("name", "name", Show::Plain),
    ("type", "type", Show::Plain),
    ("in/s", "message_stats.publish_in_details.rate", Show::Rate),
    ("out/s", "message_stats.publish_out_details.rate", Show::Rate),
    ("arguments", "arguments", Show::Plain),
    ("policy", "policy", Show::Plain),
    ("durable", "durable", Show::Feature),
    ("auto-delete", "auto_delete", Show::Feature),
    ("internal", "internal", Show::Feature),
];

const BINDINGS: &[Column] = &[
    ("vhost", "vhost", Show::Plain),
    ("source", "source", Show::Plain),
    ("destination", "destination", Show::Plain),
    ("type", "destination_type", Show::Plain),
    ("routing key", "routing_key", Show::Plain),
    ("arguments", "arguments", Show::Plain),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(LongList { filter, show, api }) => {
            filter.list(&api.api()?, "exchanges", &show, COLUMNS)
        }
        Options::Show(options) => show(&options),
        Options::Add(options) => declare::run(declare::Options::Exchange(options)),
        Options::Delete(options) => delete::run(delete::Options::Exchange(options)),
    }
}

/// The default exchange has no name, and a path has no empty segment.
pub(super) fn segment(exchange: &str) -> &str {
    match exchange {
        "" => "amq.default",
        exchange => exchange,
    }
}

fn show(options: &One) -> Result<ExitCode, Failure> {
    let One { name: exchange, json, vhost, api } = options;
    let api = api.api()?;
    let path = |rest: &[&str]| Path::new(&[&["exchanges", vhost, segment(exchange)], rest].concat());
    let told =
        |error: super::api::ApiError| error.of(format_args!("exchange {exchange:?} in vhost {vhost:?}"));
    let mut row = api.get(&path(&[])).map_err(told)?;
    let bindings = api.get(&path(&["bindings", "source"])).map_err(told)?;
    if *json {
        row["bindings"] = bindings;
        return listing::one(&row, COLUMNS, true);
    }
    listing::one(&row, COLUMNS, false)?;
    if let Value::Array(rows) = &bindings
        && !rows.is_empty()
    {
        listing::section("bindings")?;
        table::write(&super::rows::rows(rows, &BINDINGS[2..]))?;
    }
    Ok(ExitCode::Success)
}

pub(in crate::cli) fn run_binding(options: BindingOptions) -> Result<ExitCode, Failure> {
    let BindingList { vhost, source, queue, show, api } = match options {
        BindingOptions::List(options) => options,
        BindingOptions::Add(options) => return bind::run_bind(options),
        BindingOptions::Delete(options) => return bind::run_unbind(options),
    };
    let of = vhost.as_deref().unwrap_or("/");
    let (path, thing) = match (&source, &queue) {
        (Some(exchange), _) => (
            Path::new(&["exchanges", of, segment(exchange), "bindings", "source"]),
            format!("exchange {exchange:?} in vhost {of:?}"),
        ),
        (_, Some(queue)) => (Path::new(&["queues", of, queue, "bindings"]), super::queue::named(of, queue)),
        (None, None) => match &vhost {
            Some(vhost) => (Path::new(&["bindings", vhost]), format!("vhost {vhost:?}")),
            None => (Path::new(&["bindings"]), String::new()),
        },
    };
    let rows = api.api()?.get(&path).map_err(|error| error.of(thing))?;
    show.show(rows.as_array().map_or(&[][..], Vec::as_slice), BINDINGS, "bindings")
}
