//! `NAME=VALUE` options with typed values: `--arg x-max-priority=5`, `--header retries=3`.
//!
//! A value that reads as JSON has JSON's type; anything else is a text. So `5` is a number, `true` a boolean,
//! `"5"` (with the quotes) and `five` are texts, `[1, 2]` is a list.

use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use crate::model::field_from_json;

/// One `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// The name, at most 255 bytes.
    pub name: ShortStr,
    /// The value with its type.
    pub value: FieldValue,
}

/// Reads one `NAME=VALUE`, for clap.
pub(super) fn parse_argument(text: &str) -> Result<Argument, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name in front of the = is empty".to_owned());
    }
    let name = ShortStr::new(name).map_err(|error| format!("the name is too long: {error}"))?;
    let value = match serde_json::from_str(value) {
        Ok(json) => field_from_json(&json)?,
        Err(_) => FieldValue::text(value),
    };
    Ok(Argument { name, value })
}

/// A name of at most 255 bytes, for clap.
pub(super) fn parse_name(text: &str) -> Result<ShortStr, String> {
    ShortStr::new(text).map_err(|error| error.to_string())
}

/// A name that says which thing is meant, for clap. Scripts leave it empty where a variable is not set, and a path of the
/// HTTP API without it would be that of all things.
pub(super) fn parse_present(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a name is needed, and this one is empty (a variable that is not set?)".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// The arguments as a table. A later one of the same name wins.
pub(super) fn table(arguments: impl IntoIterator<Item = Argument>) -> FieldTable {
    let mut table = FieldTable::new();
    for argument in arguments {
        table.insert(argument.name, argument.value);
    }
    table
}

#[cfg(test)]
mod tests {
    use rialto_protocol::types::TABLE_DEPTH_MAX;

    use super::*;
    use crate::model::json_from_field;

    fn value(text: &str) -> FieldValue {
        parse_argument(&format!("a={text}")).unwrap().value
    }

    #[test]
    fn values_have_the_type_that_they_look_like() {
        assert_eq!(value("5"), FieldValue::I64(5));
        assert_eq!(value("-1.5"), FieldValue::F64(-1.5));
        assert_eq!(value("true"), FieldValue::Bool(true));
        assert_eq!(value("\"5\""), FieldValue::text("5"));
        assert_eq!(value("drop-head"), FieldValue::text("drop-head"));
        assert_eq!(value("a=b"), FieldValue::text("a=b"));
        assert_eq!(value(""), FieldValue::text(""));
        assert_eq!(value("[1, \"x\"]"), FieldValue::Array(vec![FieldValue::I64(1), FieldValue::text("x")]));
        assert_eq!(value("{\"k\": 1}").to_string(), "{k: 1}");
        assert_eq!(value("18446744073709551615"), FieldValue::F64(18446744073709551615.0));
    }

    #[test]
    fn a_missing_or_long_name_is_refused() {
        assert!(parse_argument("novalue").is_err());
        assert!(parse_argument("=5").is_err());
        assert!(parse_argument(&format!("{}=5", "x".repeat(256))).is_err());
        assert!(parse_argument(&format!("{}=5", "x".repeat(255))).is_ok());
    }

    #[test]
    fn nesting_past_what_a_table_may_have_is_refused() {
        let nested = |levels: usize| format!("a={}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_argument(&nested(TABLE_DEPTH_MAX - 1)).is_ok());
        assert!(parse_argument(&nested(TABLE_DEPTH_MAX)).is_err());
    }

    #[test]
    fn json_goes_out_as_it_came_in() {
        let argument = parse_argument("a={\"list\":[1,2.5,true,null],\"text\":\"x\"}").unwrap();
        assert_eq!(
            json_from_field(&argument.value).to_string(),
            "{\"list\":[1,2.5,true,null],\"text\":\"x\"}"
        );
    }
}
