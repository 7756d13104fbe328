//! `rialto export` and `rialto import`: all that was declared, in RabbitMQ's JSON.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path as FilePath, PathBuf};

use clap::Args;
use serde_json::Value;

use super::api::{ApiOptions, Path};
use super::listing;
use super::rows::plain;
use crate::cli::arguments::parse_present;
use crate::cli::output::{counted, note, written};
use crate::cli::{ExitCode, Failure};

const EXPORT_EXAMPLES: &str = "\
Examples:
  rialto export > definitions.json
  rialto export --vhost shop -o shop.json
  rialto export | jq '.queues | length'

All that was declared, in the JSON that RabbitMQ's management has: users with the hashes of their
passwords, vhosts, permissions, policies, parameters, exchanges, queues, bindings. No messages:
`rialto backup` has those.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  rialto import definitions.json
  rabbitmqctl export_definitions - | rialto import -
  rialto import shop.json --vhost shop
  rialto export --api http://old:15672 | rialto import - --api http://new:15672

What `rialto export`, RabbitMQ or LavinMQ has exported. All of it or nothing: every error is
listed, and then nothing is changed. What is there already stays; users keep their passwords. What
Rialto does not know is told on stderr.";

/// Write all that was declared as RabbitMQ's JSON
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(in crate::cli) struct Export {
    /// Only this vhost, without users
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    vhost: Option<String>,
    /// Into this file, which only its owner may read [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    api: ApiOptions,
}

/// Declare all that a file of definitions says
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(in crate::cli) struct Import {
    /// The file; - is stdin
    file: PathBuf,
    /// Into this vhost: a file that was exported from one
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    vhost: Option<String>,
    /// What came of it as one JSON object, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiOptions,
}

/// The kinds of things in definitions, as the API names them.
const KINDS: [(&str, &str); 10] = [
    ("users", "user"),
    ("vhosts", "vhost"),
    ("permissions", "permission"),
    ("topic_permissions", "topic permission"),
    ("parameters", "parameter"),
    ("global_parameters", "global parameter"),
    ("policies", "policy"),
    ("queues", "queue"),
    ("exchanges", "exchange"),
    ("bindings", "binding"),
];

fn path(vhost: Option<&str>) -> Path {
    let mut segments = vec!["definitions"];
    segments.extend(vhost);
    Path::new(&segments)
}

pub(in crate::cli) fn run_export(options: &Export) -> Result<ExitCode, Failure> {
    let vhost = options.vhost.as_deref();
    let definitions = options.api.api()?.get(&path(vhost));
    let definitions =
        definitions.map_err(|error| error.of(format_args!("vhost {:?}", vhost.unwrap_or_default())))?;
    let mut text = serde_json::to_string_pretty(&definitions).map_err(io::Error::from)?;
    text.push('\n');
    match &options.output {
        None => drop(written(io::stdout().write_all(text.as_bytes()))?),
        Some(file) => {
            write_private(file, text.as_bytes())
                .map_err(|error| Failure::new(ExitCode::Failure, error).at(file.display()))?;
            note(format_args!("exported {} to {}", summary(&definitions), file.display()));
        }
    }
    Ok(ExitCode::Success)
}

/// There are hashes of passwords in it.
fn write_private(file: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(bytes)
}

pub(in crate::cli) fn run_import(options: &Import) -> Result<ExitCode, Failure> {
    let file = &options.file;
    let is_stdin = file == FilePath::new("-");
    let place = if is_stdin { "stdin".to_owned() } else { file.display().to_string() };
    let told = |error: io::Error| Failure::usage(error).at(&place);
    let mut text = Vec::new();
    match is_stdin {
        true => io::stdin().lock().read_to_end(&mut text).map_err(told)?,
        false => fs::File::open(file).and_then(|mut file| file.read_to_end(&mut text)).map_err(told)?,
    };
    let definitions: Value = serde_json::from_slice(&text).map_err(|error| {
        Failure::usage(format_args!("this is no JSON: {error}"))
            .at(&place)
            .advise("definitions are what `rialto export` or RabbitMQ's management writes")
    })?;
    let api = options.api.api()?;
    let vhost = options.vhost.as_deref();
    let answer = api.post(&path(vhost), &definitions);
    let answer = answer.map_err(|error| match error.is_not_found() {
        true => error.of(format_args!("vhost {:?}", vhost.unwrap_or_default())),
        false => {
            Failure::from(error).at(&place).advise("nothing was changed; mend the file and import it again")
        }
    })?;
    if options.json {
        return listing::json_lines(std::slice::from_ref(&answer)).map(|_| ExitCode::Success);
    }
    for notice in answer["notices"].as_array().into_iter().flatten() {
        note(format_args!("note: {}", noticed(notice)));
    }
    note(format_args!("imported {}", summary(&definitions)));
    Ok(ExitCode::Success)
}

/// What is taken otherwise than it stands there, or not at all: how often, and where first.
fn noticed(notice: &Value) -> String {
    let what = plain(&notice["notice"]);
    let place = notice["at"].as_array().and_then(|places| places.first()).map(plain).unwrap_or_default();
    match (notice["count"].as_u64().unwrap_or(1), place.as_str()) {
        (_, "") => what,
        (1, place) => format!("{place}: {what}"),
        (count, place) => format!("{place}, and {} more: {what}", crate::cli::output::grouped(count - 1)),
    }
}

/// `2 users, 10 queues`.
fn summary(definitions: &Value) -> String {
    let mut parts = Vec::new();
    for (kind, one) in KINDS {
        match definitions[kind].as_array().map_or(0, Vec::len) as u64 {
            0 => {}
            n if one == "policy" && n > 1 => {
                parts.push(format!("{} policies", crate::cli::output::grouped(n)))
            }
            n => parts.push(counted(n, one)),
        }
    }
    match parts.is_empty() {
        true => "nothing".to_owned(),
        false => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_notice_tells_where_and_how_often() {
        let notice = |count: u64| json!({"notice": "unknown key 'x'", "count": count, "at": ["queues[0]", "queues[1]"]});
        assert_eq!(noticed(&notice(1)), "queues[0]: unknown key 'x'");
        assert_eq!(noticed(&notice(1001)), "queues[0], and 1,000 more: unknown key 'x'");
    }

    #[test]
    fn a_summary_counts_what_is_there() {
        let definitions = json!({"users": [1], "queues": [1, 2], "policies": [1, 2], "bindings": []});
        assert_eq!(summary(&definitions), "1 user, 2 policies, 2 queues");
        assert_eq!(summary(&json!({})), "nothing");
    }
}
