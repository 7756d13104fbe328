//! What goes to stdout: lines for programs, tables for people; and pipes that close early.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anstyle::Style;
use rialto_protocol::types::FieldTable;

use super::arguments::json_table;

/// What came of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it is out.
    All,
    /// The reader has had enough (`| head`): not an error, but nothing more to do.
    PipeClosed,
}

/// Tells a closed pipe from a real error.
pub(super) fn written(result: io::Result<()>) -> io::Result<Written> {
    match result {
        Ok(()) => Ok(Written::All),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Written::PipeClosed),
        Err(error) => Err(error),
    }
}

/// Writes each row as one JSON object a line.
pub(super) fn json_lines(rows: &[FieldTable]) -> io::Result<Written> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&json_table(row).to_string());
        text.push('\n');
    }
    written(io::stdout().write_all(text.as_bytes()))
}

/// Writes rows as an aligned table with a header.
pub(super) fn table(rows: &[FieldTable]) -> io::Result<Written> {
    let bold = match io::stdout().is_terminal() {
        true => Style::new().bold(),
        false => Style::new(),
    };
    written(anstream::stdout().write_all(aligned(rows, bold).as_bytes()))
}

/// Columns in the order in which rows name them; numbers stand right.
fn aligned(rows: &[FieldTable], header_style: Style) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for row in rows {
        for (name, _) in row.iter() {
            if !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
    }
    let cells: Vec<Vec<(String, bool)>> = rows
        .iter()
        .map(|row| {
            let cell = |column: &&str| match row.get(column) {
                Some(value) => (printable(&value.to_string()), value.as_int().is_some()),
                None => (String::new(), false),
            };
            columns.iter().map(cell).collect()
        })
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let longest = cells.iter().map(|row| row[index].0.chars().count()).max().unwrap_or(0);
            longest.max(column.chars().count())
        })
        .collect();
    let numeric: Vec<bool> = (0..columns.len()).map(|index| cells.iter().any(|row| row[index].1)).collect();

    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>, style: Style| {
        let mut out = String::new();
        for (index, cell) in cells.enumerate() {
            let padding = " ".repeat(widths[index].saturating_sub(cell.chars().count()));
            let (before, after) =
                if numeric[index] { (padding.as_str(), "") } else { ("", padding.as_str()) };
            out.push_str(if index == 0 { "" } else { "  " });
            out.push_str(&format!("{before}{cell}{after}"));
        }
        text.push_str(&format!("{style}{}{style:#}\n", out.trim_end()));
    };
    let header: Vec<String> = columns.iter().map(|column| column.replace('_', " ")).collect();
    line(&mut header.iter().map(String::as_str), header_style);
    for row in &cells {
        line(&mut row.iter().map(|(cell, _)| cell.as_str()), Style::new());
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

/// Tells something on stderr. A closed stderr is nobody's problem, and no reason to panic as `eprintln!` does.
pub(super) fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A number of messages as people read it: `1 message`, `1,000,000 messages`.
pub(super) fn messages(n: u64) -> String {
    format!("{} message{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A number with its thousands apart.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
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
name          messages ready  policy
a                          5
longer\\nname            1000  p
";
        assert_eq!(text, expected);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(messages(1), "1 message");
    }
}
