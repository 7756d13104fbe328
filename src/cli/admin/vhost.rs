//! `rialto vhost`: which vhosts there are.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::api::{ApiOptions, Change, Path};
use super::limit::{self, Limit};
use super::listing::{self, List, One};
use super::rows::{Column, Show};
use crate::cli::arguments::parse_present;
use crate::cli::output::note;
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto vhost list
  rialto vhost add shop --description 'what the shop sends' --default-queue-type quorum
  rialto vhost set shop --limit max-queues=1000 --limit max-connections=none
  rialto vhost set shop --protect                       # not deleted before --protect=false
  rialto vhost show shop
  rialto vhost delete shop --yes                        # with all its queues and messages

Exchanges and queues of one vhost are not seen from another. A user needs permissions in a vhost
(`rialto permission set`) before it may enter it.";

/// Rooms of their own for applications
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the vhosts, and how full they are
    #[command(after_help = EXAMPLES)]
    List(List),
    /// Show one vhost
    #[command(after_help = EXAMPLES)]
    Show(One),
    /// Add a vhost
    #[command(alias = "create")]
    Add(Add),
    /// Change a vhost
    Set(Set),
    /// Delete a vhost with its queues and all their messages
    #[command(aliases = ["remove", "rm"])]
    Delete(Delete),
}

/// What can be said about a vhost.
#[derive(Debug, Args)]
struct About {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Words about it
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// The type of queues whose declaration names none: classic or quorum
    #[arg(long, value_name = "TYPE")]
    default_queue_type: Option<String>,
    /// Refuse to delete it; --protect=false allows it again
    // With the sign only: a word behind the option is the vhost.
    #[arg(
        long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", require_equals = true,
        hide_possible_values = true
    )]
    protect: Option<bool>,
    /// max-queues=N or max-connections=N; none takes the limit away. May be repeated
    #[arg(long = "limit", value_name = "NAME=N", value_parser = limit::parse)]
    limits: Vec<Limit>,
}

/// Add a vhost
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Add {
    /// Its name
    #[arg(value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    api: ApiOptions,
}

/// Change a vhost
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Set {
    /// Its name
    #[arg(value_parser = parse_present)]
    vhost: String,
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    api: ApiOptions,
}

/// Delete a vhost with its queues and all their messages
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Delete {
    /// Its name
    #[arg(value_parser = parse_present)]
    vhost: String,
    /// Yes, with all its queues and messages
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("name", "name", Show::Plain),
    ("description", "description", Show::Plain),
    ("tags", "tags", Show::Plain),
    ("queue type", "default_queue_type", Show::Plain),
    ("total", "messages", Show::Plain),
    ("ready", "messages_ready", Show::Plain),
    ("unacked", "messages_unacknowledged", Show::Plain),
    ("in/s", "message_stats.publish_details.rate", Show::Rate),
    ("out/s", "message_stats.deliver_get_details.rate", Show::Rate),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(List { show, api }) => {
            let vhosts = listing::all(&api.api()?, &Path::new(&["vhosts"]))?;
            show.show(&vhosts, COLUMNS, "vhosts")
        }
        Options::Show(One { name: vhost, json, api }) => {
            let api = api.api()?;
            let mut row = api.get(&path(&vhost)).map_err(|error| error.of(named(&vhost)))?;
            // Limits are a list of their own: one row for each vhost that has any.
            let limits = listing::all(&api, &Path::new(&["vhost-limits", &vhost]))?;
            if let Some(limits) = limits.first().and_then(|row| row.get("value")) {
                row["limits"] = limits.clone();
            }
            let more =
                [("limits", "limits", Show::Plain), ("protected", "protected_from_deletion", Show::Plain)];
            let facts: Vec<Column> = [COLUMNS, &more].concat();
            listing::one(&row, &facts, json)
        }
        Options::Add(Add { vhost, about, api }) => put(&vhost, &about, &api, true),
        Options::Set(Set { vhost, about, api }) => put(&vhost, &about, &api, false),
        Options::Delete(Delete { vhost, yes, api }) => {
            if !yes {
                return Err(Failure::usage(format_args!(
                    "deleting vhost {vhost:?} deletes all its queues and their messages"
                ))
                .advise("say --yes if that is what you want"));
            }
            api.api()?.delete(&path(&vhost)).map_err(|error| error.of(named(&vhost)))?;
            note(format_args!("vhost {vhost:?} is deleted, and its connections are closed"));
            Ok(ExitCode::Success)
        }
    }
}

fn path(vhost: &str) -> Path {
    Path::new(&["vhosts", vhost])
}

fn named(vhost: &str) -> String {
    format!("vhost {vhost:?}")
}

fn put(vhost: &str, about: &About, api: &ApiOptions, is_new: bool) -> Result<ExitCode, Failure> {
    let api = api.api()?;
    let known = match api.get(&path(vhost)) {
        Ok(known) if is_new => {
            drop(known);
            return Err(Failure::new(ExitCode::Refused, format_args!("vhost {vhost:?} is there already"))
                .advise("`rialto vhost set` changes it"));
        }
        Ok(known) => known,
        Err(error) if is_new && error.is_not_found() => Value::Null,
        Err(error) => return Err(error.of(named(vhost))),
    };
    let has_facts = about.description.is_some()
        || about.tags.is_some()
        || about.default_queue_type.is_some()
        || about.protect.is_some();
    if is_new || has_facts {
        let mut body = Map::new();
        // What is not said anew stays.
        for key in ["description", "tags", "default_queue_type"] {
            if let Some(value) = known.get(key).filter(|value| !value.is_null()) {
                body.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(text) = &about.description {
            body.insert("description".to_owned(), text.as_str().into());
        }
        if let Some(tags) = &about.tags {
            body.insert("tags".to_owned(), tags.join(",").into());
        }
        if let Some(queue_type) = &about.default_queue_type {
            body.insert("default_queue_type".to_owned(), queue_type.as_str().into());
        }
        if let Some(protect) = about.protect {
            body.insert("protected_from_deletion".to_owned(), protect.into());
        }
        let change = api.put(&path(vhost), &body.into())?;
        if change == Change::Created {
            let user = api.user();
            note(format_args!(
                "vhost {vhost:?} is added; `rialto permission set {user} --vhost {vhost}` lets you in"
            ));
        }
    } else if about.limits.is_empty() {
        return Err(Failure::usage("nothing to change")
            .advise("give --description, --tags, --default-queue-type, --protect or --limit"));
    }
    for limit in &about.limits {
        limit.apply(&api, "vhost-limits", vhost)?;
    }
    if !is_new {
        note(format_args!("vhost {vhost:?} is changed"));
    }
    Ok(ExitCode::Success)
}
