//! The header `x-delay`: how long a message waits in a delayed exchange, in milliseconds.
//!
//! As RabbitMQ's delayed-message plugin: an integer above zero delays; anything else does not; a message that has
//! waited carries the negated number, so that it does not wait again, and its consumer sees for how long it did.

use bytes::{Bytes, BytesMut};
use rialto_protocol::types::{FieldValue, RawProperties, ShortStr};

use crate::model::EXPIRY_MS_MAX;

/// Longest delay in milliseconds: ten years, as for every time to live. Longer ones are cut to it. (The plugin
/// delivers what asks for more than 49 days at once, which nobody can have meant.)
pub const DELAY_MS_MAX: u64 = EXPIRY_MS_MAX;

const X_DELAY: &str = "x-delay";

/// How long a message with these properties is to wait. None: not at all.
pub fn delay_ms(properties: &RawProperties<'_>) -> Option<u64> {
    if !properties.has_headers() {
        return None;
    }
    let asked = properties.header(X_DELAY)?.decode()?.as_int()?;
    u64::try_from(asked).ok().filter(|&asked| asked > 0).map(|asked| asked.min(DELAY_MS_MAX))
}

/// The encoded properties of a message that has waited. None: it was not delayed.
pub fn waited(encoded: &[u8]) -> Option<Bytes> {
    let properties = RawProperties::trusted(encoded);
    let field = properties.header(X_DELAY)?;
    let asked = field.decode()?.as_int().filter(|&asked| asked > 0)?;
    let value = field.value;
    // A signed number and its negation are equally long: only these bytes change.
    let negated = asked.checked_neg()?;
    let digits = negated.to_be_bytes();
    let width = value.len() - 1;
    if matches!(value[0], b'b' | b's' | b'I' | b'l' | b'L') {
        let mut bytes = BytesMut::from(encoded);
        let at = value.as_ptr() as usize - encoded.as_ptr() as usize + 1;
        bytes[at..at + width].copy_from_slice(&digits[digits.len() - width..]);
        return Some(bytes.freeze());
    }
    let mut properties = properties.decode();
    let name = ShortStr::new(X_DELAY).expect("a name written in the code is short");
    properties.headers.as_mut()?.insert(name, FieldValue::I64(negated));
    Some(properties.encoded())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::types::{FieldTable, Properties};

    fn encoded(delay: FieldValue) -> Bytes {
        let headers = FieldTable::new().with("a", "x").with("x-delay", delay).with("z", 1);
        Properties { headers: Some(headers), priority: Some(1), ..Properties::default() }.encoded()
    }

    fn delay(delay: FieldValue) -> Option<u64> {
        delay_ms(&RawProperties::check(&encoded(delay)).unwrap())
    }

    #[test]
    fn integers_above_zero_delay_and_nothing_else_does() {
        for value in [
            FieldValue::I8(5),
            FieldValue::U8(5),
            FieldValue::I16(5),
            FieldValue::U16(5),
            FieldValue::I32(5),
            FieldValue::U32(5),
            FieldValue::I64(5),
            FieldValue::I64Upper(5),
        ] {
            assert_eq!(delay(value), Some(5));
        }
        for value in
            [FieldValue::I32(0), FieldValue::I32(-5), "5".into(), FieldValue::F64(5.0), FieldValue::Void]
        {
            assert_eq!(delay(value), None);
        }
        assert_eq!(delay_ms(&RawProperties::EMPTY), None);
    }

    #[test]
    fn a_delay_has_a_limit() {
        assert_eq!(delay(FieldValue::I64(DELAY_MS_MAX as i64)), Some(DELAY_MS_MAX));
        assert_eq!(delay(FieldValue::I64(i64::MAX)), Some(DELAY_MS_MAX));
    }

    #[test]
    fn who_has_waited_carries_the_negated_delay_and_all_else_unchanged() {
        for (before, after) in [
            (FieldValue::I8(127), FieldValue::I8(-127)),
            (FieldValue::I16(300), FieldValue::I16(-300)),
            (FieldValue::I32(5000), FieldValue::I32(-5000)),
            (FieldValue::I64(i64::MAX), FieldValue::I64(-i64::MAX)),
            (FieldValue::I64Upper(1), FieldValue::I64Upper(-1)),
            (FieldValue::U8(200), FieldValue::I64(-200)),
            (FieldValue::U32(u32::MAX), FieldValue::I64(-i64::from(u32::MAX))),
        ] {
            let waited = waited(&encoded(before)).unwrap();
            assert_eq!(waited, encoded(after));
            assert_eq!(delay_ms(&RawProperties::check(&waited).unwrap()), None, "it does not wait again");
        }
        assert_eq!(waited(&encoded(FieldValue::I32(-1))), None);
        assert_eq!(waited(&[]), None);
    }
}
