//! What all lists have in common: which rows, in which order, which columns, table or JSON.

use clap::Args;
use serde_json::Value;

use super::api::{Api, ApiOptions, Path};
use super::rows::{self, Column};
use crate::cli::arguments::parse_present;
use crate::cli::output::{Written, note, written};
use crate::cli::{ExitCode, Failure, table};

/// Rows asked for at a time.
const PAGE_ROWS: usize = 500;

// What commands of many nouns are asked with. They have no doc comments: clap would take those for the command's help, in
// place of what the noun says.

// A list of which all is shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    pub(super) show: ShowOptions,
    #[command(flatten)]
    pub(super) api: ApiOptions,
}

// A list of which a part can be chosen.
#[derive(Debug, Args)]
pub(in crate::cli) struct LongList {
    #[command(flatten)]
    pub(super) filter: FilterOptions,
    #[command(flatten)]
    pub(super) show: ShowOptions,
    #[command(flatten)]
    pub(super) api: ApiOptions,
}

// One thing of the broker.
#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    /// Its name, as the list shows it
    #[arg(value_parser = parse_present)]
    pub(super) name: String,
    /// One JSON object, for scripts
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) api: ApiOptions,
}

// One thing of a vhost.
#[derive(Debug, Args)]
pub(in crate::cli) struct OneInVhost {
    /// One JSON object, for scripts
    // Before the others: they end with a heading of their own.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) chosen: InVhost,
}

// One thing of a vhost, with which something is done.
#[derive(Debug, Args)]
pub(in crate::cli) struct InVhost {
    /// Its name, as the list shows it
    #[arg(value_parser = parse_present)]
    pub(super) name: String,
    /// Its vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    pub(super) vhost: String,
    #[command(flatten)]
    pub(super) api: ApiOptions,
}

/// How a list is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct ShowOptions {
    /// One JSON object a line, for scripts: every fact, under the API's name
    #[arg(long)]
    json: bool,
    /// Show these facts instead, by the API's names: name,messages,arguments.x-queue-type
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "json")]
    columns: Vec<String>,
}

impl ShowOptions {
    /// Shows rows that are at hand.
    pub(super) fn show(&self, rows: &[Value], columns: &[Column], things: &str) -> Result<ExitCode, Failure> {
        if self.json {
            json_lines(rows)?;
            return Ok(ExitCode::Success);
        }
        if rows.is_empty() {
            note(format_args!("no {things}"));
            return Ok(ExitCode::Success);
        }
        let rows: Vec<_> = match self.columns.is_empty() {
            true => rows::rows(rows, columns),
            false => rows.iter().map(|row| rows::chosen(row, &self.columns)).collect(),
        };
        table::write(&rows)?;
        Ok(ExitCode::Success)
    }
}

/// Which rows of a long list, and in which order.
#[derive(Clone, Debug, Args)]
pub(super) struct FilterOptions {
    /// Only of this vhost
    #[arg(long, value_name = "NAME", value_parser = parse_present)]
    vhost: Option<String>,
    /// Only those whose name has this in it: a regular expression
    #[arg(long, value_name = "REGEX")]
    name: Option<String>,
    /// Order by this fact, by the API's name: messages, message_stats.publish_details.rate
    #[arg(long, value_name = "NAME")]
    sort: Option<String>,
    /// The highest first
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl FilterOptions {
    /// Lists things of one kind, page by page.
    pub(super) fn list(
        &self,
        api: &Api,
        kind: &str,
        show: &ShowOptions,
        columns: &[Column],
    ) -> Result<ExitCode, Failure> {
        let mut segments = vec![kind];
        segments.extend(self.vhost.as_deref());
        self.list_at(api, Path::new(&segments), kind, show, columns)
    }

    /// Lists things that the API has under their vhost: `vhosts/NAME/connections`.
    pub(super) fn list_of_vhosts(
        &self,
        api: &Api,
        kind: &str,
        show: &ShowOptions,
        columns: &[Column],
    ) -> Result<ExitCode, Failure> {
        let path = match &self.vhost {
            Some(vhost) => Path::new(&["vhosts", vhost, kind]),
            None => Path::new(&[kind]),
        };
        self.list_at(api, path, kind, show, columns)
    }

    fn list_at(
        &self,
        api: &Api,
        path: Path,
        kind: &str,
        show: &ShowOptions,
        columns: &[Column],
    ) -> Result<ExitCode, Failure> {
        let path = self.narrowed(path);
        let limit = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut all = Vec::new();
        let mut left = limit;
        api.pages(&path, limit.min(PAGE_ROWS), |mut rows| {
            rows.truncate(left);
            left -= rows.len();
            if show.json {
                // A page at a time: a script that has seen enough closes the pipe.
                return Ok(json_lines(&rows)? == Written::All && left > 0);
            }
            // All of them first: the widest cell decides how wide a column is.
            all.append(&mut rows);
            Ok(left > 0)
        })
        .map_err(|failure| match &self.vhost {
            Some(vhost) if failure.what.eq_ignore_ascii_case("not found") => no_such_vhost(failure, vhost),
            _ => failure,
        })?;
        match show.json {
            true => Ok(ExitCode::Success),
            false => show.show(&all, columns, kind),
        }
    }

    fn narrowed(&self, mut path: Path) -> Path {
        if let Some(name) = &self.name {
            path = path.with("name", name).with("use_regex", "true");
        }
        if let Some(sort) = &self.sort {
            path = path.with("sort", sort).with("sort_reverse", self.reverse);
        }
        path
    }
}

fn no_such_vhost(failure: Failure, vhost: &str) -> Failure {
    Failure { what: format!("there is no vhost {vhost:?}"), ..failure }
        .advise("`rialto vhost list` shows which there are")
}

/// A list that comes as a whole.
pub(super) fn all(api: &Api, path: &Path) -> Result<Vec<Value>, Failure> {
    match api.get(path)? {
        Value::Array(rows) => Ok(rows),
        mut paged => Ok(paged["items"].as_array_mut().map(std::mem::take).unwrap_or_default()),
    }
}

/// Writes each as one JSON object a line.
pub(super) fn json_lines(rows: &[Value]) -> Result<Written, Failure> {
    use std::io::Write;

    let mut text = String::new();
    for row in rows {
        text.push_str(&row.to_string());
        text.push('\n');
    }
    Ok(written(std::io::stdout().write_all(text.as_bytes()))?)
}

/// Shows one thing: a fact a line, or its JSON.
pub(super) fn one(value: &Value, facts: &[Column], json: bool) -> Result<ExitCode, Failure> {
    if json {
        json_lines(std::slice::from_ref(value))?;
        return Ok(ExitCode::Success);
    }
    table::write_facts(&rows::row(value, facts))?;
    Ok(ExitCode::Success)
}

/// A heading for what follows.
pub(super) fn section(what: &str) -> Result<(), Failure> {
    use std::io::Write;

    written(writeln!(std::io::stdout(), "\n{what}:"))?;
    Ok(())
}
