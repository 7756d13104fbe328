//! `rialto policy` and `rialto operator-policy`: what holds for queues and exchanges by their names.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::api::{ApiOptions, Change, Path};
use super::listing::{self, InVhost, OneInVhost, ShowOptions};
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::output::note;
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto policy list
  rialto policy set short '^tmp\\.' max-length=10000 overflow=reject-publish
  rialto policy set dead '' dead-letter-exchange=failed --apply-to queues --priority 5
  rialto policy set hourly '^hour' '{\"message-ttl\": 3600000}'
  rialto policy show short
  rialto policy delete short

Of the policies whose pattern (a regular expression; it may match anywhere) matches a name, the
one with the highest priority alone holds, at once. Keys are arguments of queues without the x-,
and alternate-exchange. Values have the type they look like: 5 is a number, true a boolean.";

const OPERATOR_EXAMPLES: &str = "\
Examples:
  rialto operator-policy list
  rialto operator-policy set limits '.*' max-length=1000000 --apply-to queues
  rialto operator-policy delete limits

They hold besides policies and arguments: of two limits the lower holds. So applications can set
limits of their own, but none above the operator's.";

/// What holds for queues and exchanges by their names
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the policies
    #[command(after_help = EXAMPLES)]
    List(ListOptions),
    /// Show one policy
    #[command(after_help = EXAMPLES)]
    Show(OneInVhost),
    /// Add a policy, or change it
    #[command(after_help = EXAMPLES, aliases = ["add", "create"])]
    Set(SetOptions),
    /// Delete a policy
    #[command(after_help = EXAMPLES, aliases = ["clear", "remove", "rm"])]
    Delete(InVhost),
}

/// Limits of the operator, above which no application may go
#[derive(Debug, Subcommand)]
#[command(after_help = OPERATOR_EXAMPLES)]
pub(in crate::cli) enum OperatorOptions {
    /// Show the operator policies
    #[command(after_help = OPERATOR_EXAMPLES)]
    List(ListOptions),
    /// Show one operator policy
    #[command(after_help = OPERATOR_EXAMPLES)]
    Show(OneInVhost),
    /// Add an operator policy, or change it
    #[command(after_help = OPERATOR_EXAMPLES, aliases = ["add", "create"])]
    Set(SetOptions),
    /// Delete an operator policy
    #[command(after_help = OPERATOR_EXAMPLES, aliases = ["clear", "remove", "rm"])]
    Delete(InVhost),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListOptions {
    /// Only of this vhost
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    vhost: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    api: ApiOptions,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ApplyTo {
    /// Queues and exchanges
    All,
    /// Queues
    Queues,
    /// Classic queues
    ClassicQueues,
    /// Quorum queues
    QuorumQueues,
    /// Streams
    Streams,
    /// Exchanges
    Exchanges,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SetOptions {
    /// Its name
    #[arg(value_parser = parse_present)]
    name: String,
    /// Which names it is for: a regular expression; '' matches all
    pattern: String,
    /// What holds: KEY=VALUE, or all of it as one JSON object
    #[arg(required = true, value_name = "DEFINITION")]
    definition: Vec<String>,
    /// What it is for
    #[arg(long, value_enum, default_value_t = ApplyTo::All)]
    apply_to: ApplyTo,
    /// Of those that match, the one with the highest holds
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("vhost", "vhost", Show::Plain),
    ("name", "name", Show::Plain),
    ("pattern", "pattern", Show::Plain),
    ("applies to", "apply-to", Show::Plain),
    ("priority", "priority", Show::Plain),
    ("definition", "definition", Show::Plain),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(options) => list("policies", &options),
        Options::Show(options) => show("policies", &options),
        Options::Set(options) => set("policies", &options),
        Options::Delete(options) => delete("policies", &options),
    }
}

pub(in crate::cli) fn run_operator(options: OperatorOptions) -> Result<ExitCode, Failure> {
    match options {
        OperatorOptions::List(options) => list("operator-policies", &options),
        OperatorOptions::Show(options) => show("operator-policies", &options),
        OperatorOptions::Set(options) => set("operator-policies", &options),
        OperatorOptions::Delete(options) => delete("operator-policies", &options),
    }
}

fn show(kind: &str, options: &OneInVhost) -> Result<ExitCode, Failure> {
    let OneInVhost { chosen: InVhost { name, vhost, api }, json } = options;
    let row = api.api()?.get(&Path::new(&[kind, vhost, name]));
    listing::one(&row.map_err(|error| error.of(named(vhost, name)))?, COLUMNS, *json)
}

fn named(vhost: &str, name: &str) -> String {
    format!("policy {name:?} in vhost {vhost:?}")
}

fn list(kind: &str, options: &ListOptions) -> Result<ExitCode, Failure> {
    let mut segments = vec![kind];
    segments.extend(options.vhost.as_deref());
    let vhost = options.vhost.as_deref().unwrap_or_default();
    let rows = options.api.api()?.get(&Path::new(&segments));
    let rows = rows.map_err(|error| error.of(format_args!("vhost {vhost:?}")))?;
    options.show.show(rows.as_array().map_or(&[][..], Vec::as_slice), COLUMNS, &kind.replace('-', " "))
}

fn set(kind: &str, options: &SetOptions) -> Result<ExitCode, Failure> {
    let definition = definition(&options.definition)?;
    let SetOptions { name, pattern, apply_to, priority, vhost, api, .. } = options;
    let apply_to = apply_to.to_possible_value().map(|value| value.get_name().to_owned());
    let body = json!({
        "pattern": pattern,
        "definition": definition,
        "priority": priority,
        "apply-to": apply_to,
    });
    let change = api.api()?.put(&Path::new(&[kind, vhost, name]), &body);
    let change = change.map_err(|error| error.of(format_args!("vhost {vhost:?}")))?;
    let done = if change == Change::Created { "added" } else { "changed" };
    note(format_args!("policy {name:?} is {done}, and holds"));
    Ok(ExitCode::Success)
}

fn delete(kind: &str, options: &InVhost) -> Result<ExitCode, Failure> {
    let InVhost { name, vhost, api } = options;
    let done = api.api()?.delete(&Path::new(&[kind, vhost, name]));
    done.map_err(|error| error.of(named(vhost, name)))?;
    note(format_args!("policy {name:?} is deleted"));
    Ok(ExitCode::Success)
}

/// `KEY=VALUE …`, or one object.
fn definition(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut definition = Map::new();
    for word in words {
        if word.trim_start().starts_with('{') {
            match serde_json::from_str(word) {
                Ok(Value::Object(object)) => definition.extend(object),
                Ok(_) => return Err(Failure::usage("the definition is no JSON object")),
                Err(error) => return Err(Failure::usage(format_args!("the definition is no JSON: {error}"))),
            }
            continue;
        }
        let (key, value) = word.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            Failure::usage(format_args!("{word:?} is no part of a definition")).advise("write KEY=VALUE")
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        definition.insert(key.to_owned(), value);
    }
    Ok(definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Value, Failure> {
        definition(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).map(Value::Object)
    }

    #[test]
    fn a_definition_is_pairs_or_an_object() {
        let expected = json!({"max-length": 5, "overflow": "drop-head"});
        assert_eq!(read(&["max-length=5", "overflow=drop-head"]).unwrap(), expected);
        assert_eq!(read(&["{\"max-length\": 5}", "overflow=drop-head"]).unwrap(), expected);
        assert_eq!(read(&["dead-letter-exchange="]).unwrap(), json!({"dead-letter-exchange": ""}));
        for wrong in ["max-length", "=5", "{\"max-length\": }"] {
            assert_eq!(read(&[wrong]).unwrap_err().code, ExitCode::Usage, "{wrong}");
        }
    }
}
