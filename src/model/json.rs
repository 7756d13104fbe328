//! AMQP's field values and tables as JSON and back: on command lines, in the HTTP API and in definitions.
//!
//! Invariants: what came from JSON and fits goes back to the same JSON, and is never nested deeper than a peer can read.
//! Whole numbers become 64-bit integers, others doubles, as RabbitMQ reads them. What JSON cannot say is lost on the way
//! there: types of numbers, timestamps, bytes that are no text. Not here: which values an argument may have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr, TABLE_DEPTH_MAX};
use serde_json::{Map, Value};

/// A field value from JSON, to be put into a table.
///
/// # Errors
/// In words: it is nested too deep, a name in it is too long, or a number is out of range.
pub fn field_from_json(json: &Value) -> Result<FieldValue, String> {
    field_at(json, 1)
}

/// A table from a JSON object.
///
/// # Errors
/// As [`field_from_json`].
pub fn table_from_json(object: &Map<String, Value>) -> Result<FieldTable, String> {
    table_at(object, 0)
}

fn deeper(depth: usize) -> Result<usize, String> {
    match depth < TABLE_DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err(format!("tables and lists are nested more than {TABLE_DEPTH_MAX} deep")),
    }
}

fn field_at(json: &Value, depth: usize) -> Result<FieldValue, String> {
    Ok(match json {
        Value::Null => FieldValue::Void,
        Value::Bool(value) => FieldValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(n), _) => FieldValue::I64(n),
            (None, Some(n)) => FieldValue::F64(n),
            (None, None) => return Err(format!("{number} is out of range")),
        },
        Value::String(text) => FieldValue::text(text.as_str()),
        Value::Array(values) => {
            let depth = deeper(depth)?;
            let values = values.iter().map(|value| field_at(value, depth));
            FieldValue::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(object) => FieldValue::Table(table_at(object, depth)?),
    })
}

fn table_at(object: &Map<String, Value>, depth: usize) -> Result<FieldTable, String> {
    let depth = deeper(depth)?;
    let entry = |(name, value): (&String, &Value)| {
        let short = ShortStr::new(name).map_err(|error| format!("a name in a table: {error}"))?;
        Ok((short, field_at(value, depth)?))
    };
    object.iter().map(entry).collect()
}

/// A field value as JSON. Bytes that are not UTF-8 are told in base64, a number that is not finite as null.
pub fn json_from_field(value: &FieldValue) -> Value {
    match value {
        FieldValue::Bool(value) => (*value).into(),
        FieldValue::F32(n) => f64::from(*n).into(),
        FieldValue::F64(n) => (*n).into(),
        FieldValue::Decimal(scale, digits) => (f64::from(*digits) / 10f64.powi(i32::from(*scale))).into(),
        FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => STANDARD.encode(bytes).into(),
        },
        FieldValue::Timestamp(seconds) => (*seconds).into(),
        FieldValue::Array(values) => values.iter().map(json_from_field).collect(),
        FieldValue::Table(table) => json_from_table(table),
        FieldValue::Void => Value::Null,
        integer => integer.as_int().into(),
    }
}

/// A table as a JSON object.
pub fn json_from_table(table: &FieldTable) -> Value {
    table.iter().map(|(name, value)| (name.to_string(), json_from_field(value))).collect()
}

/// The first value of a table that JSON has no word for: the name under which it stands, and what it is. Types of numbers
/// that are as large either way do not count.
pub fn lost_in_json(table: &FieldTable) -> Option<(&str, &'static str)> {
    table.iter().find_map(|(name, value)| Some((name.as_str(), lost_of(value)?)))
}

fn lost_of(value: &FieldValue) -> Option<&'static str> {
    match value {
        FieldValue::Decimal(..) => Some("a decimal"),
        FieldValue::Timestamp(_) => Some("a timestamp"),
        FieldValue::Bytes(_) => Some("bytes"),
        FieldValue::LongStr(bytes) => std::str::from_utf8(bytes).err().map(|_| "a text that is not UTF-8"),
        FieldValue::F32(n) if !n.is_finite() => Some("a number that is not finite"),
        FieldValue::F64(n) if !n.is_finite() => Some("a number that is not finite"),
        FieldValue::Array(values) => values.iter().find_map(lost_of),
        FieldValue::Table(table) => lost_in_json(table).map(|(_, what)| what),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_has_comes_back() {
        let json = json!({"a": 1, "b": [true, null, -0.5, "x"], "c": {"d": {}}, "e": [{"f": []}]});
        let table = table_from_json(json.as_object().unwrap()).unwrap();
        assert_eq!(json_from_table(&table), json);
        assert_eq!(FieldTable::decode(&table.encoded()).unwrap(), table);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(field_from_json(&nested(TABLE_DEPTH_MAX - 1)).is_ok());
        assert!(field_from_json(&nested(TABLE_DEPTH_MAX)).unwrap_err().contains("nested"));
        assert!(field_from_json(&json!({"x".repeat(256): 1})).is_err());
    }

    #[test]
    fn a_table_is_as_deep_as_a_peer_can_read_and_no_deeper() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"in": inner}));
        let table = table_from_json(nested(TABLE_DEPTH_MAX).as_object().unwrap()).unwrap();
        assert_eq!(FieldTable::decode(&table.encoded()), Ok(table));
        assert!(table_from_json(nested(TABLE_DEPTH_MAX + 1).as_object().unwrap()).is_err());
    }

    #[test]
    fn what_is_lost_is_found_wherever_it_stands() {
        let lost = |value: FieldValue| lost_of(&value);
        assert_eq!(lost(FieldValue::LongStr(Bytes::from_static(b"\xff"))), Some("a text that is not UTF-8"));
        assert_eq!(lost(FieldValue::Bytes(Bytes::from_static(b"text"))), Some("bytes"));
        assert_eq!(lost(FieldValue::F32(f32::INFINITY)), Some("a number that is not finite"));
        assert_eq!(lost(FieldValue::Array(vec![1.into(), FieldValue::Decimal(2, 275)])), Some("a decimal"));
        let inner = FieldTable::new().with("at", FieldValue::Timestamp(7));
        let table = FieldTable::new().with("plain", 1).with("deep", FieldValue::Table(inner));
        assert_eq!(lost_in_json(&table), Some(("deep", "a timestamp")));
        let json = json!({"a": 1, "b": [true, null, -0.5, "x"], "c": {"d": {}}});
        assert_eq!(lost_in_json(&table_from_json(json.as_object().unwrap()).unwrap()), None);
    }

    #[test]
    fn what_json_has_no_word_for_is_told_in_another() {
        assert_eq!(json_from_field(&FieldValue::LongStr(Bytes::from_static(b"\xff"))), json!("/w=="));
        assert_eq!(json_from_field(&FieldValue::F64(f64::NAN)), Value::Null);
        assert_eq!(json_from_field(&FieldValue::Decimal(2, 275)), json!(2.75));
    }
}
