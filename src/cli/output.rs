//! What goes to stdout and stderr: lines for programs, numbers as people read them; and pipes that close early.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use rialto_protocol::types::FieldTable;

use crate::model::json_from_table;

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
        text.push_str(&json_from_table(row).to_string());
        text.push('\n');
    }
    written(io::stdout().write_all(text.as_bytes()))
}

/// Tells something on stderr. A closed stderr is nobody's problem, and no reason to panic as `eprintln!` does.
pub(super) fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A number of messages as people read it: `1 message`, `1,000,000 messages`.
pub(super) fn messages(n: u64) -> String {
    counted(n, "message")
}

/// A number of things whose plural ends in `s`: `1 consumer`, `2 consumers`.
pub(super) fn counted(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(n), if n == 1 { "" } else { "s" })
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
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(messages(1), "1 message");
        assert_eq!(counted(2, "consumer"), "2 consumers");
    }
}
