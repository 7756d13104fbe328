//! AMQP's tables as JSON, and back, as RabbitMQ's API has them: whole numbers are 64 bits wide, others are doubles.
//!
//! Invariant: what came from JSON and fits goes back to the same JSON. What JSON cannot say (types of numbers, bytes that
//! are no text) is lost on the way there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr, TABLE_DEPTH_MAX};
use serde_json::{Map, Number, Value};

use super::ApiError;

/// A table as an object.
pub(super) fn from_table(table: &FieldTable) -> Value {
    Value::Object(table.iter().map(|(name, value)| (name.to_string(), from_field(value))).collect())
}

/// A field's value.
pub(super) fn from_field(value: &FieldValue) -> Value {
    match value {
        FieldValue::Bool(value) => Value::Bool(*value),
        FieldValue::F32(number) => float(f64::from(*number)),
        FieldValue::F64(number) => float(*number),
        FieldValue::Decimal(scale, digits) => float(f64::from(*digits) / 10f64.powi(i32::from(*scale))),
        FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => Value::String(text_of(bytes)),
        FieldValue::Array(values) => Value::Array(values.iter().map(from_field).collect()),
        FieldValue::Timestamp(seconds) => Value::from(*seconds),
        FieldValue::Table(table) => from_table(table),
        FieldValue::Void => Value::Null,
        integer => Value::from(integer.as_int().unwrap_or_default()),
    }
}

/// Text as it is; bytes that are none, in base64.
pub(super) fn text_of(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => STANDARD.encode(bytes),
    }
}

/// JSON has no number for what is not finite.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// An object as a table.
///
/// # Errors
/// 400: a name is longer than 255 bytes, or it is nested too deeply.
pub(super) fn to_table(object: &Map<String, Value>) -> Result<FieldTable, ApiError> {
    table_at(object, 1)
}

fn table_at(object: &Map<String, Value>, depth: usize) -> Result<FieldTable, ApiError> {
    let entry = |(name, value): (&String, &Value)| {
        let short = ShortStr::new(name.as_str())
            .map_err(|_| ApiError::bad_request("a name in a table has more than 255 bytes"))?;
        Ok((short, field_at(value, depth)?))
    };
    object.iter().map(entry).collect()
}

fn field_at(value: &Value, depth: usize) -> Result<FieldValue, ApiError> {
    if depth >= TABLE_DEPTH_MAX {
        let reason = format!("tables and lists are nested more than {TABLE_DEPTH_MAX} deep");
        return Err(ApiError::bad_request(reason));
    }
    Ok(match value {
        Value::Null => FieldValue::Void,
        Value::Bool(value) => FieldValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => FieldValue::I64(number),
            None => FieldValue::F64(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => FieldValue::text(text.as_str()),
        Value::Array(values) => FieldValue::Array(
            values.iter().map(|value| field_at(value, depth + 1)).collect::<Result<_, _>>()?,
        ),
        Value::Object(object) => FieldValue::Table(table_at(object, depth + 1)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_came_from_json_goes_back() {
        let value = json!({"n": 1, "f": 0.5, "t": "x", "b": true, "none": null, "list": [1, {"a": []}], "in": {"b": 2}});
        let table = to_table(value.as_object().unwrap()).unwrap();
        assert_eq!(from_table(&table), value);
        assert_eq!(FieldTable::decode(&table.encoded()).unwrap(), table);
    }

    #[test]
    fn what_no_peer_could_read_is_refused() {
        let mut deep = json!(1);
        for _ in 0..TABLE_DEPTH_MAX {
            deep = json!({"in": deep});
        }
        assert!(to_table(deep.as_object().unwrap()).is_err());
        assert!(to_table(json!({"x".repeat(256): 1}).as_object().unwrap()).is_err());
        let inner = &deep["in"]["in"];
        let table = to_table(inner.as_object().unwrap()).unwrap();
        assert_eq!(FieldTable::decode(&table.encoded()).unwrap(), table);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_in_base64() {
        assert_eq!(from_field(&FieldValue::LongStr(Bytes::from_static(b"\xff"))), json!("/w=="));
        assert_eq!(from_field(&FieldValue::F64(f64::NAN)), Value::Null);
    }
}
