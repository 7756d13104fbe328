//! `rialto log level`: what a running broker logs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{ApiOptions, Path};
use super::listing;
use crate::cli::output::written;
use crate::cli::{ExitCode, Failure};
use crate::config::LogLevel;
use crate::log::ROOMS;

const EXAMPLES: &str = "\
Examples:
  rialto log level                               # what is logged now
  rialto log level debug
  rialto log level debug --room session          # only what connections say
  rialto log level --room session --reset        # as all the others again

It holds at once, and until the broker ends: broker.toml has the level it begins with.
Administrative acts are logged at every level but off; log.audit_file gives them a file too.";

/// What a running broker logs
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the levels, or change one
    Level(Level),
}

/// Show the levels, or change one
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Level {
    /// The least serious events that are written from now on
    level: Option<LogLevel>,
    /// Only of this part of the broker
    #[arg(long, value_name = "ROOM", value_parser = ROOMS)]
    room: Option<String>,
    /// The room has no level of its own any more
    #[arg(long, requires = "room", conflicts_with = "level")]
    reset: bool,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiOptions,
}

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    use std::io::Write;

    let Options::Level(Level { level, room, reset, json, api }) = options;
    if room.is_some() && level.is_none() && !reset {
        return Err(Failure::usage("which level is it to have?").advise("name one, or say --reset"));
    }
    let (api, path) = (api.api()?, Path::new(&["log", "level"]));
    let levels = if level.is_some() || reset {
        let level = level.map(|level| level.to_string());
        api.put_for(&path, &json!({ "level": level, "room": room }))?
    } else {
        api.get(&path)?
    };
    if json {
        return listing::one(&levels, &[], true);
    }
    let mut text = format!("{}\n", super::rows::plain(&levels["level"]));
    if let Value::Object(rooms) = &levels["rooms"] {
        for (room, level) in rooms {
            text.push_str(&format!("{room}: {}\n", super::rows::plain(level)));
        }
    }
    written(std::io::stdout().write_all(text.as_bytes()))?;
    Ok(ExitCode::Success)
}
