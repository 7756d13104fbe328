//! Field values as JSON and back: for arguments on command lines, in the HTTP API and in definitions.
//!
//! Whole numbers become 64-bit integers, as RabbitMQ reads them. The way back loses types that JSON has not: a
//! timestamp is a number, bytes are a text. Not here: which values an argument may have.

use rialto_protocol::types::{FieldTable, FieldValue, ShortStr, TABLE_DEPTH_MAX};
use serde_json::{Map, Value};

/// A field value from JSON.
///
/// # Errors
/// In words: it is nested too deep, a name in it is too long, or a number is out of range.
pub fn field_from_json(json: &Value) -> Result<FieldValue, String> {
    field_at(json, 0)
}

/// A table from a JSON object.
///
/// # Errors
/// As [`field_from_json`].
pub fn table_from_json(object: &Map<String, Value>) -> Result<FieldTable, String> {
    table_at(object, 0)
}

fn field_at(json: &Value, depth: usize) -> Result<FieldValue, String> {
    if depth >= TABLE_DEPTH_MAX {
        return Err(format!("lists and tables may be nested {TABLE_DEPTH_MAX} levels deep"));
    }
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
            let values = values.iter().map(|value| field_at(value, depth + 1));
            FieldValue::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(object) => FieldValue::Table(table_at(object, depth + 1)?),
    })
}

fn table_at(object: &Map<String, Value>, depth: usize) -> Result<FieldTable, String> {
    let entry = |(name, value): (&String, &Value)| {
        let name = ShortStr::new(name).map_err(|error| error.to_string())?;
        Ok((name, field_at(value, depth)?))
    };
    object.iter().map(entry).collect()
}

/// A field value as JSON. Bytes that are not UTF-8 are escaped (`\xff`).
pub fn json_from_field(value: &FieldValue) -> Value {
    match value {
        FieldValue::Bool(value) => (*value).into(),
        FieldValue::F32(n) => f64::from(*n).into(),
        FieldValue::F64(n) => (*n).into(),
        FieldValue::Timestamp(seconds) => (*seconds).into(),
        FieldValue::Array(values) => values.iter().map(json_from_field).collect(),
        FieldValue::Table(table) => json_from_table(table),
        FieldValue::Void => Value::Null,
        FieldValue::LongStr(_) | FieldValue::Bytes(_) | FieldValue::Decimal(..) => value.to_string().into(),
        integer => integer.as_int().into(),
    }
}

/// A table as a JSON object.
pub fn json_from_table(table: &FieldTable) -> Value {
    table.iter().map(|(name, value)| (name.to_string(), json_from_field(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_has_comes_back() {
        let json = json!({"a": 1, "b": [true, null, -0.5, "x"], "c": {"d": {}}, "e": []});
        assert_eq!(json_from_field(&field_from_json(&json).unwrap()), json);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(field_from_json(&nested(TABLE_DEPTH_MAX - 1)).is_ok());
        assert!(field_from_json(&nested(TABLE_DEPTH_MAX)).unwrap_err().contains("nested"));
        assert!(field_from_json(&json!({"x".repeat(256): 1})).is_err());
    }
}
