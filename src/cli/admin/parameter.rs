//! `rialto parameter`: settings of a vhost, or of the whole broker, that are neither policies nor limits.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{ApiOptions, Path};
use super::listing::{self, ShowOptions};
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::output::note;
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto parameter list
  rialto parameter list --global
  rialto parameter set --global cluster_name shop
  rialto parameter set --component federation-upstream origin '{\"uri\": \"amqp://server\"}'
  rialto parameter delete --global cluster_name

Parameters are kept, exported and imported as RabbitMQ does; those of components that Rialto does
not have do nothing.";

/// Settings that are kept for components, as RabbitMQ has them
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the parameters
    List(List),
    /// Set a parameter
    #[command(aliases = ["add", "create"])]
    Set(Set),
    /// Delete a parameter
    #[command(aliases = ["clear", "remove", "rm"])]
    Delete(Delete),
}

/// Whose parameters.
#[derive(Debug, Args)]
struct Whose {
    /// Those of the whole broker
    #[arg(long, conflicts_with_all = ["component", "vhost"])]
    global: bool,
    /// Those of this component
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    component: Option<String>,
    /// The vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
}

/// Show the parameters
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct List {
    /// Those of the whole broker
    #[arg(long, conflicts_with = "component")]
    global: bool,
    /// Only those of this component
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    component: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    api: ApiOptions,
}

/// Set a parameter
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Set {
    /// Its name
    #[arg(value_parser = parse_present)]
    name: String,
    /// Its value: JSON, or a text
    value: String,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    api: ApiOptions,
}

/// Delete a parameter
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Delete {
    /// Its name
    #[arg(value_parser = parse_present)]
    name: String,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("vhost", "vhost", Show::Plain),
    ("component", "component", Show::Plain),
    ("name", "name", Show::Plain),
    ("value", "value", Show::Plain),
];

impl Whose {
    fn path(&self, name: &str) -> Result<Path, Failure> {
        match (&self.component, self.global) {
            (_, true) => Ok(Path::new(&["global-parameters", name])),
            (Some(component), _) => Ok(Path::new(&["parameters", component, &self.vhost, name])),
            (None, _) => {
                Err(Failure::usage("whose parameter is it?").advise("say --component NAME or --global"))
            }
        }
    }
}

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(List { global, component, show, api }) => {
            let path = match (&component, global) {
                (_, true) => Path::new(&["global-parameters"]),
                (Some(component), _) => Path::new(&["parameters", component]),
                _ => Path::new(&["parameters"]),
            };
            show.show(&listing::all(&api.api()?, &path)?, COLUMNS, "parameters")
        }
        Options::Set(Set { name, value, whose, api }) => {
            let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            let mut body = json!({ "name": name, "value": value });
            if let Some(component) = &whose.component {
                body["component"] = component.as_str().into();
                body["vhost"] = whose.vhost.as_str().into();
            }
            let path = whose.path(&name)?;
            api.api()?
                .put(&path, &body)
                .map_err(|error| error.of(format_args!("vhost {:?}", whose.vhost)))?;
            note(format_args!("parameter {name:?} is set"));
            Ok(ExitCode::Success)
        }
        Options::Delete(Delete { name, whose, api }) => {
            let path = whose.path(&name)?;
            api.api()?.delete(&path).map_err(|error| error.of(format_args!("parameter {name:?}")))?;
            note(format_args!("parameter {name:?} is deleted"));
            Ok(ExitCode::Success)
        }
    }
}
