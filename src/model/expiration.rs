//! The `expiration` property: milliseconds as decimal text.
//!
//! Read as RabbitMQ reads it (`rabbit_basic:parse_expiration`), whose words clients are told when it is wrong.

use std::num::IntErrorKind;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::RawProperties;

use super::EXPIRY_MS_MAX;

/// A message whose `expiration` is no number of milliseconds: no queue can take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid expiration '{expiration}': {problem}")]
pub struct BadExpiration {
    /// What the publisher wrote.
    pub expiration: String,
    /// What is wrong with it.
    pub problem: String,
}

impl BadExpiration {
    /// The code that tells the publisher.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::PreconditionFailed
    }
}

/// A message's own time to live in milliseconds; none if it lives as long as its queue allows.
///
/// # Errors
/// The property is no decimal number, is negative, or is longer than [`EXPIRY_MS_MAX`].
pub fn expiration(properties: &RawProperties<'_>) -> Result<Option<u64>, BadExpiration> {
    let Some(text) = properties.expiration() else { return Ok(None) };
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - sign);
    let (number, rest) = text.split_at(sign + digits);
    let problem = match number.parse::<i64>() {
        _ if digits == 0 => "no_integer".to_owned(),
        _ if !rest.is_empty() => format!("{{leftover_string,{rest:?}}}"),
        Ok(ms) if ms < 0 => format!("{{value_negative,{ms}}}"),
        Ok(ms) if ms.unsigned_abs() <= EXPIRY_MS_MAX => return Ok(Some(ms.unsigned_abs())),
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => format!("{{value_negative,{number}}}"),
        Ok(_) | Err(_) => format!("{{value_too_large,{number}}}"),
    };
    Err(BadExpiration { expiration: text.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::types::{Properties, ShortStr};

    fn read(text: &str) -> Result<Option<u64>, String> {
        let properties = Properties { expiration: Some(ShortStr::truncated(text)), ..Properties::default() };
        let bytes = properties.encoded();
        expiration(&RawProperties::trusted(&bytes)).map_err(|error| error.to_string())
    }

    #[test]
    fn milliseconds_are_decimal_digits() {
        assert_eq!(read("0"), Ok(Some(0)));
        assert_eq!(read("60000"), Ok(Some(60_000)));
        assert_eq!(read("+5"), Ok(Some(5)));
        assert_eq!(read(&EXPIRY_MS_MAX.to_string()), Ok(Some(EXPIRY_MS_MAX)));
        assert_eq!(expiration(&RawProperties::EMPTY), Ok(None));
    }

    #[test]
    fn everything_else_is_told_in_rabbitmqs_words() {
        for (text, problem) in [
            ("", "no_integer"),
            ("x", "no_integer"),
            (" 1", "no_integer"),
            ("-", "no_integer"),
            ("1 ", "{leftover_string,\" \"}"),
            ("1.5", "{leftover_string,\".5\"}"),
            ("-1", "{value_negative,-1}"),
            ("315360000001", "{value_too_large,315360000001}"),
            ("99999999999999999999", "{value_too_large,99999999999999999999}"),
            ("-99999999999999999999", "{value_negative,-99999999999999999999}"),
        ] {
            assert_eq!(read(text), Err(format!("invalid expiration '{text}': {problem}")));
        }
    }
}
