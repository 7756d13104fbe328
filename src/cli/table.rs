//! The rows of a list as an aligned table for people.
//!
//! Invariants: columns stand in the order in which rows name them, so a fact that a newer broker adds is shown
//! too; facts that are true or false share one column, because a column of `false` says nothing in much room;
//! no cell holds a control character. Not here: JSON, which keeps every fact and its full name (`output`).

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, UNIX_EPOCH};

use anstyle::Style;
use rialto_protocol::types::{FieldTable, FieldValue};

use super::output::{Written, written};

/// Where facts that are true are named; RabbitMQ's own pages call this column so.
const FEATURES: &str = "features";

/// The latest time that is written as a date (the end of the year 9999); what is later stays a number.
const DATE_MAX_SECS: u64 = 253_402_300_799;

/// Writes rows with a header, bold on a terminal.
pub(super) fn write(rows: &[FieldTable]) -> io::Result<Written> {
    let bold = match io::stdout().is_terminal() {
        true => Style::new().bold(),
        false => Style::new(),
    };
    written(anstream::stdout().write_all(aligned(rows, bold).as_bytes()))
}

/// Writes the facts of one thing, each on a line of its own.
pub(super) fn write_facts(facts: &FieldTable) -> io::Result<Written> {
    let bold = match io::stdout().is_terminal() {
        true => Style::new().bold(),
        false => Style::new(),
    };
    written(anstream::stdout().write_all(listed(facts, bold).as_bytes()))
}

fn listed(facts: &FieldTable, name_style: Style) -> String {
    let named = facts.iter().filter(|(_, value)| !matches!(value, FieldValue::Bool(_)));
    let mut lines: Vec<(String, String)> =
        named.map(|(name, value)| (printable(&name.replace('_', " ")), cell(Some(value)))).collect();
    lines.push((FEATURES.to_owned(), features(facts)));
    lines.retain(|(_, text)| !text.is_empty());
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, text): &(String, String)| {
        let padding = " ".repeat(width - name.chars().count());
        format!("{name_style}{name}{name_style:#}{padding}  {text}\n")
    };
    lines.iter().map(line).collect()
}

/// One column with a cell for each row.
struct Column {
    heading: String,
    /// Numbers stand right.
    numeric: bool,
    cells: Vec<String>,
}

fn columns(rows: &[FieldTable]) -> Vec<Column> {
    let mut keys: Vec<&str> = Vec::new();
    for row in rows {
        for (name, value) in row.iter() {
            let key = match value {
                FieldValue::Bool(_) => FEATURES,
                _ => name.as_str(),
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let column = |key: &str| Column {
        heading: heading(key),
        numeric: rows.iter().filter_map(|row| row.get(key)).any(is_number),
        cells: rows
            .iter()
            .map(|row| if key == FEATURES { features(row) } else { cell(row.get(key)) })
            .collect(),
    };
    let filled = |column: &Column| column.cells.iter().any(|cell| !cell.is_empty());
    let worth =
        |key: &&str| !RARE.contains(key) || rows.iter().any(|row| row.get(key) != Some(&FieldValue::I64(0)));
    keys.into_iter().filter(worth).map(column).filter(filled).collect()
}

/// Counts that are 0 nearly always: they have a column when they are not.
const RARE: [&str; 1] = ["messages_delayed"];

/// The long names have room in JSON; eighty columns have none for them.
fn heading(key: &str) -> String {
    match key {
        "messages" => "total",
        "messages_ready" => "ready",
        "messages_unacknowledged" => "unacked",
        "messages_delayed" => "delayed",
        "message_bytes" => "bytes",
        "destination_type" => "type",
        "consumer_tag" => "tag",
        "prefetch_count" => "prefetch",
        "connected_at" => "connected",
        other => return printable(&other.replace('_', " ")),
    }
    .to_owned()
}

fn is_number(value: &FieldValue) -> bool {
    let is_number = value.as_int().is_some() || matches!(value, FieldValue::F64(_));
    is_number && !matches!(value, FieldValue::Timestamp(_))
}

fn cell(value: Option<&FieldValue>) -> String {
    match value {
        None => String::new(),
        Some(FieldValue::Table(table)) if table.is_empty() => String::new(),
        Some(FieldValue::Timestamp(seconds)) if *seconds <= DATE_MAX_SECS => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(*seconds)).to_string()
        }
        Some(value) => match printable(&value.to_string()) {
            // As it is written on a command line: the name of the default exchange, or an empty key.
            text if text.is_empty() => "''".to_owned(),
            text => text,
        },
    }
}

fn features(row: &FieldTable) -> String {
    let on = row.iter().filter(|(_, value)| matches!(value, FieldValue::Bool(true)));
    let names: Vec<String> = on.map(|(name, _)| printable(&name.replace('_', "-"))).collect();
    names.join(" ")
}

fn aligned(rows: &[FieldTable], header_style: Style) -> String {
    let columns = columns(rows);
    let width = |column: &Column| {
        let cells = column.cells.iter().chain([&column.heading]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let mut text = String::new();
    let mut line = |cell_of: &dyn Fn(&Column) -> String, style: Style| {
        let mut out = String::new();
        for (index, column) in columns.iter().enumerate() {
            let cell = cell_of(column);
            let padding = " ".repeat(widths[index].saturating_sub(cell.chars().count()));
            let (before, after) =
                if column.numeric { (padding.as_str(), "") } else { ("", padding.as_str()) };
            out.push_str(if index == 0 { "" } else { "  " });
            out.push_str(&format!("{before}{cell}{after}"));
        }
        text.push_str(&format!("{style}{}{style:#}\n", out.trim_end()));
    };
    line(&|column| column.heading.clone(), header_style);
    for row in 0..rows.len() {
        line(&|column| column.cells[row].clone(), Style::new());
    }
    text
}

/// Names may hold anything; a line break would tear the table, an escape sequence would take the terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// A text of lines, each fit to be shown.
pub(super) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let rows = [
            FieldTable::new().with("name", "a").with("messages_ready", 5),
            FieldTable::new().with("name", "longer\nname").with("messages_ready", 1000).with("policy", "p"),
        ];
        let text = aligned(&rows, Style::new());
        let expected = "\
name          ready  policy
a                 5
longer\\nname   1000  p
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_facts_of_one_thing_stand_below_each_other() {
        let facts = FieldTable::new().with("name", "q").with("messages_ready", 5).with("durable", true);
        let text = listed(&facts, Style::new());
        assert_eq!(text, "name            q\nmessages ready  5\nfeatures        durable\n");
    }

    #[test]
    fn what_is_true_is_named_and_what_is_false_takes_no_room() {
        let row = |name: &str, auto_delete: bool| {
            FieldTable::new().with("name", name).with("durable", true).with("auto_delete", auto_delete)
        };
        let text = aligned(&[row("a", false), row("b", true)], Style::new());
        assert_eq!(text, "name  features\na     durable\nb     durable auto-delete\n");
    }

    #[test]
    fn a_column_in_which_nothing_stands_is_left_out() {
        let rows = [FieldTable::new().with("name", "a").with("arguments", FieldTable::new())];
        assert_eq!(aligned(&rows, Style::new()), "name\na\n");
    }

    #[test]
    fn an_empty_name_is_shown_as_it_is_written_on_a_command_line() {
        let rows = [FieldTable::new().with("source", "").with("destination", "tasks")];
        assert_eq!(aligned(&rows, Style::new()), "source  destination\n''      tasks\n");
    }

    #[test]
    fn a_time_is_a_date() {
        let rows = [FieldTable::new().with("connected_at", FieldValue::Timestamp(1_795_327_283))];
        assert_eq!(aligned(&rows, Style::new()), "connected\n2026-11-22T06:01:23Z\n");
        let never = [FieldTable::new().with("connected_at", FieldValue::Timestamp(u64::MAX))];
        assert_eq!(aligned(&never, Style::new()), format!("connected\n{}\n", u64::MAX));
    }
}
