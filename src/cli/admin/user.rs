//! `rialto user`: who may log in, with which tags and limits.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::api::{Api, ApiOptions, Change, Path};
use super::limit::{self, Limit};
use super::listing::{self, List, One};
use super::password;
use super::rows::{Column, Show, at, plain};
use crate::cli::arguments::parse_present;
use crate::cli::output::note;
use crate::cli::{ExitCode, Failure};
use crate::config::Secret;

const EXAMPLES: &str = "\
Examples:
  rialto user list
  rialto user add ann --tags administrator               # asks for a password
  rialto user add shop --generate                        # makes one, and prints it
  rialto user add shop --password-from /run/secrets/shop
  rialto user set shop --tags monitoring,policymaker
  rialto user set shop --limit max-connections=100 --limit max-channels=none
  rialto user delete shop

A user without tags may log in with AMQP and Rialto's own protocol, and do what its permissions
say (`rialto permission set`). Tags open the HTTP API: management for what is the user's own,
policymaker for policies too, monitoring to watch over the broker, administrator to do everything.";

/// Who may log in
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the users
    #[command(after_help = EXAMPLES)]
    List(List),
    /// Show one user with its permissions and limits
    #[command(after_help = EXAMPLES)]
    Show(One),
    /// Add a user
    #[command(alias = "create")]
    Add(Add),
    /// Change tags, password or limits of a user
    Set(Set),
    /// Delete a user; its connections are closed
    #[command(aliases = ["remove", "rm"])]
    Delete(Delete),
}

/// Where a new password comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct NewPassword {
    /// A file whose first line is the user's password; - is stdin
    #[arg(long, value_name = "FILE")]
    password_from: Option<PathBuf>,
    /// Make a password that nobody can guess, and print it
    #[arg(long)]
    generate: bool,
    /// A hash that RabbitMQ or Rialto made (`rialto export` shows them)
    #[arg(long, value_name = "HASH")]
    password_hash: Option<String>,
    /// No password: only a client certificate lets the user in
    #[arg(long)]
    no_password: bool,
}

/// Add a user
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Add {
    /// Its name
    #[arg(value_parser = parse_present)]
    user: String,
    /// What the user is: administrator, monitoring, policymaker, management, impersonator
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    #[command(flatten)]
    password: NewPassword,
    #[command(flatten)]
    api: ApiOptions,
}

/// Change tags, password or limits of a user
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Set {
    /// Its name
    #[arg(value_parser = parse_present)]
    user: String,
    /// The tags it is to have instead of its own; '' for none
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// Ask for a new password
    #[arg(long, conflicts_with_all = ["password_from", "generate", "password_hash", "no_password"])]
    password: bool,
    #[command(flatten)]
    new_password: NewPassword,
    /// max-connections=N or max-channels=N; none takes the limit away. May be repeated
    #[arg(long = "limit", value_name = "NAME=N", value_parser = limit::parse)]
    limits: Vec<Limit>,
    #[command(flatten)]
    api: ApiOptions,
}

/// Delete a user; its connections are closed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Delete {
    /// Its name
    #[arg(value_parser = parse_present)]
    user: String,
    #[command(flatten)]
    api: ApiOptions,
}

const COLUMNS: &[Column] = &[
    ("name", "name", Show::Plain),
    ("tags", "tags", Show::Plain),
    ("limits", "limits", Show::Plain),
    ("hash", "hashing_algorithm", Show::Plain),
    ("settings-file", "in_settings_file", Show::Feature),
];

const PERMISSIONS: &[Column] = &[
    ("vhost", "vhost", Show::Plain),
    ("exchange", "exchange", Show::Plain),
    ("configure", "configure", Show::Plain),
    ("write", "write", Show::Plain),
    ("read", "read", Show::Plain),
];

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(List { show, api }) => {
            let users = listing::all(&api.api()?, &Path::new(&["users"]))?;
            show.show(&users, COLUMNS, "users")
        }
        Options::Show(options) => show(&options),
        Options::Add(options) => add(&options),
        Options::Set(options) => set(&options),
        Options::Delete(Delete { user, api }) => {
            api.api()?.delete(&path(&user)).map_err(|error| error.of(named(&user)))?;
            note(format_args!("user {user:?} is deleted, and its connections are closed"));
            Ok(ExitCode::Success)
        }
    }
}

fn path(user: &str) -> Path {
    Path::new(&["users", user])
}

fn named(user: &str) -> String {
    format!("user {user:?}")
}

fn find(api: &Api, user: &str) -> Result<Value, Failure> {
    api.get(&path(user)).map_err(|error| error.of(named(user)))
}

fn show(options: &One) -> Result<ExitCode, Failure> {
    let api = options.api.api()?;
    let mut user = find(&api, &options.name)?;
    let of = |what: &str| listing::all(&api, &Path::new(&["users", &options.name, what]));
    let (permissions, topics) = (of("permissions")?, of("topic-permissions")?);
    if options.json {
        user["permissions"] = permissions.into();
        user["topic_permissions"] = topics.into();
        return listing::one(&user, COLUMNS, true);
    }
    listing::one(&user, COLUMNS, false)?;
    for (rows, what) in [(permissions, "permissions"), (topics, "topic permissions")] {
        if !rows.is_empty() {
            listing::section(what)?;
            crate::cli::table::write(&super::rows::rows(&rows, PERMISSIONS))?;
        }
    }
    Ok(ExitCode::Success)
}

/// What a new password is to be, for the API. A password that was made is returned, too: it is shown once it holds.
fn new_password(user: &str, from: &NewPassword) -> Result<(Map<String, Value>, Option<Secret>), Failure> {
    let mut body = Map::new();
    if let Some(hash) = &from.password_hash {
        body.insert("password_hash".to_owned(), hash.as_str().into());
        return Ok((body, None));
    }
    if from.no_password {
        body.insert("password_hash".to_owned(), "".into());
        return Ok((body, None));
    }
    let (secret, is_made) = match &from.password_from {
        Some(file) => (password::from_file(file)?, false),
        None if from.generate => (password::generate()?, true),
        None => match password::ask_for_new(user)? {
            Some(secret) => (secret, false),
            None => {
                return Err(Failure::usage("no password, and nobody at a terminal to ask for one").advise(
                    "--generate makes one, --password-from FILE reads one, --no-password is for certificates",
                ));
            }
        },
    };
    body.insert("password".to_owned(), secret.reveal().into());
    Ok((body, is_made.then_some(secret)))
}

/// Shows a password that was made: the one time that one is shown.
fn hand_out(secret: Option<Secret>) -> Result<(), Failure> {
    use std::io::Write;
    if let Some(secret) = secret {
        crate::cli::output::written(writeln!(std::io::stdout(), "{}", secret.reveal()))?;
    }
    Ok(())
}

fn add(options: &Add) -> Result<ExitCode, Failure> {
    let api = options.api.api()?;
    let user = &options.user;
    // An API that only knows "put" would change a user that is there, and take its password away.
    match api.get(&path(user)) {
        Ok(known) => {
            let advice = match known["in_settings_file"] == true {
                true => "it is set in the broker's broker.toml: change it there, and start the broker again",
                false => "`rialto user set` changes it",
            };
            return Err(Failure::new(ExitCode::Refused, format_args!("user {user:?} is there already"))
                .advise(advice));
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let (mut body, made) = new_password(user, &options.password)?;
    body.insert("tags".to_owned(), tags(&options.tags).into());
    let change = api.put(&path(user), &body.into())?;
    hand_out(made)?;
    let done = if change == Change::Created { "added" } else { "changed" };
    note(format_args!("user {user:?} is {done}; `rialto permission set {user}` says what it may do"));
    Ok(ExitCode::Success)
}

fn set(options: &Set) -> Result<ExitCode, Failure> {
    let Set { user, tags: new_tags, new_password: from, limits, .. } = options;
    let has_password = options.password
        || from.generate
        || from.no_password
        || from.password_from.is_some()
        || from.password_hash.is_some();
    if new_tags.is_none() && !has_password && limits.is_empty() {
        return Err(Failure::usage("nothing to change").advise("give --tags, a password option, or --limit"));
    }
    let api = options.api.api()?;
    let known = find(&api, user)?;
    if new_tags.is_some() || has_password {
        let tags = match new_tags {
            Some(new) => tags(new),
            None => match at(&known, "tags") {
                Value::Array(tags) => tags.iter().map(plain).collect::<Vec<_>>().join(","),
                tags => plain(tags),
            },
        };
        let (mut body, made) = match has_password {
            true => new_password(user, from)?,
            // What stays must be said, too: whoever is put without a password has none.
            false => {
                let kept = ["password_hash", "hashing_algorithm"]
                    .map(|key| (key.to_owned(), known[key].clone()))
                    .into_iter()
                    .filter(|(_, value)| !value.is_null());
                (kept.collect(), None)
            }
        };
        body.insert("tags".to_owned(), tags.into());
        api.put(&path(user), &body.into())?;
        hand_out(made)?;
    }
    for limit in limits {
        limit.apply(&api, "user-limits", user)?;
    }
    note(format_args!("user {user:?} is changed"));
    Ok(ExitCode::Success)
}

fn tags(tags: &[String]) -> String {
    tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_written_as_the_api_takes_them() {
        let list = |text: &str| tags(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(list("administrator, monitoring"), "administrator,monitoring");
        assert_eq!(list(""), "");
        assert_eq!(list(" a ,"), "a");
    }
}
