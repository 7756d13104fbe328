//! Rows of the API as people read them: which facts of a thing are columns, and how each is written.
//!
//! Not here: alignment (`table`); JSON, which keeps what the API said.

use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};
use serde_json::Value;

use crate::model::field_from_json;

/// How a fact is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// As it is; lists with commas, objects as JSON.
    Plain,
    /// Bytes with a unit.
    Size,
    /// Things per second, from a rate of the API.
    Rate,
    /// Milliseconds since 1970 as a date.
    Time,
    /// Milliseconds as a duration.
    Duration,
    /// Named in the column of features if it is true.
    Feature,
}

/// A column: its heading, where the fact is in a row (`a.b` is `b` of `a`), and how it is written.
pub(super) type Column = (&'static str, &'static str, Show);

/// What stands at a place in a row. A key may itself have dots, so the longest wins.
pub(super) fn at<'a>(row: &'a Value, path: &str) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    let Value::Object(entries) = row else { return NOTHING };
    if let Some(value) = entries.get(path) {
        return value;
    }
    let mut cuts = path.match_indices('.').map(|(cut, _)| cut).collect::<Vec<_>>();
    cuts.reverse();
    for cut in cuts {
        if let Some(inner) = entries.get(&path[..cut]) {
            return at(inner, &path[cut + 1..]);
        }
    }
    NOTHING
}

/// The columns of a row, for a table.
pub(super) fn row(value: &Value, columns: &[Column]) -> FieldTable {
    let mut table = FieldTable::new();
    for (heading, path, show) in columns {
        if let Some(cell) = cell(at(value, path), *show) {
            table.insert(ShortStr::new(heading).expect("headings are short"), cell);
        }
    }
    table
}

/// The rows of a list, for a table.
pub(super) fn rows(values: &[Value], columns: &[Column]) -> Vec<FieldTable> {
    values.iter().map(|value| row(value, columns)).collect()
}

/// A row with just these facts, under the API's names.
pub(super) fn chosen(value: &Value, paths: &[String]) -> FieldTable {
    let mut table = FieldTable::new();
    for path in paths {
        let name = ShortStr::new(path.as_str());
        if let (Ok(name), Some(cell)) = (name, cell(at(value, path), Show::Plain)) {
            table.insert(name, cell);
        }
    }
    table
}

fn cell(value: &Value, show: Show) -> Option<FieldValue> {
    if value.is_null() {
        return None;
    }
    Some(match show {
        Show::Feature => FieldValue::Bool(value.as_bool()?),
        Show::Size => FieldValue::text(bytesize::ByteSize(value.as_u64()?).display().iec().to_string()),
        Show::Rate => FieldValue::F64(tenths(value.as_f64()?)),
        Show::Time => FieldValue::Timestamp(value.as_u64()? / 1000),
        Show::Duration => FieldValue::text(duration(value.as_u64()?)),
        Show::Plain => match value {
            Value::Array(items) => FieldValue::text(listed(items)),
            Value::Object(entries) if entries.is_empty() => return None,
            Value::Object(entries) => FieldValue::text(pairs(entries)),
            Value::Bool(value) => FieldValue::text(if *value { "yes" } else { "no" }),
            Value::Number(number) if number.is_f64() => FieldValue::F64(tenths(number.as_f64()?)),
            other => field_from_json(other).ok()?,
        },
    })
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// A time span of this many milliseconds, in its two largest units.
pub(super) fn duration(millis: u64) -> String {
    let rounded = match millis {
        0..1000 => millis,
        1000..60_000 => millis / 100 * 100,
        _ => millis / 1000 * 1000,
    };
    let text = humantime::format_duration(std::time::Duration::from_millis(rounded)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn listed(items: &[Value]) -> String {
    items.iter().map(plain).collect::<Vec<_>>().join(", ")
}

/// `name=value` for each, as one would write them.
fn pairs(entries: &serde_json::Map<String, Value>) -> String {
    entries.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" ")
}

/// A value without the quotes of a text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_found_by_their_path_whatever_dots_keys_have() {
        let row = json!({"message_stats": {"publish_details": {"rate": 2.5}}, "a.b": {"c": 1}});
        assert_eq!(at(&row, "message_stats.publish_details.rate"), &json!(2.5));
        assert_eq!(at(&row, "a.b.c"), &json!(1));
        assert_eq!(at(&row, "message_stats.none.rate"), &Value::Null);
        assert_eq!(at(&Value::Null, "x"), &Value::Null);
    }

    #[test]
    fn what_a_row_does_not_have_is_an_empty_cell() {
        let columns: [Column; 3] = [
            ("name", "name", Show::Plain),
            ("in/s", "rate", Show::Rate),
            ("durable", "durable", Show::Feature),
        ];
        let table = row(&json!({"name": "q", "durable": true}), &columns);
        assert_eq!(table.get("name"), Some(&FieldValue::text("q")));
        assert_eq!(table.get("in/s"), None);
        assert_eq!(table.get("durable"), Some(&FieldValue::Bool(true)));
    }

    #[test]
    fn values_are_written_for_people() {
        let show = |value: Value, show| cell(&value, show).unwrap().to_string();
        assert_eq!(show(json!(1536), Show::Size), "1.5 KiB");
        assert_eq!(show(json!(["a", "b"]), Show::Plain), "a, b");
        assert_eq!(
            show(json!({"max-length": 5, "overflow": "drop-head"}), Show::Plain),
            "max-length=5 overflow=drop-head"
        );
        assert_eq!(show(json!(0.04), Show::Rate), "0");
        assert_eq!(show(json!(12.34), Show::Rate), "12.3");
        assert_eq!(show(json!(90_061_000), Show::Duration), "1day 1h");
    }
}
