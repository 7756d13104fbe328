//! Limits of the protocol that are not settings. Who passes one ends the connection with 502, for good and for
//! everybody on it: so what is too large is refused here, and costs nobody else anything.

use rialto_protocol::native::{PROPERTIES_BYTES_MAX, Request, TABLE_BYTES_MAX};
use rialto_protocol::types::{FieldTable, FieldValue, Properties, TABLE_DEPTH_MAX};

use super::control::described;
use crate::error::{Error, Result};

/// Bytes of the length in front of an encoded table; limits do not count them.
const TABLE_LENGTH: usize = 4;

/// Whether a message can carry these properties, which `encoded` has as bytes.
pub(crate) fn check_properties(properties: &Properties, encoded: &[u8]) -> Result<()> {
    let refused = |problem| Err(Error::Unsendable { what: "publish the message".into(), problem });
    let len = encoded.len();
    if len > PROPERTIES_BYTES_MAX {
        return refused(format!(
            "its properties have {len} bytes, and at most {PROPERTIES_BYTES_MAX} fit; put large values into the body"
        ));
    }
    match &properties.headers {
        Some(headers) if !is_shallow(headers, TABLE_DEPTH_MAX) => refused(too_deep("headers")),
        _ => Ok(()),
    }
}

/// Whether the broker reads a request with these arguments.
pub(crate) fn check_request(request: &Request) -> Result<()> {
    let arguments = match request {
        Request::DeclareExchange { arguments, .. } | Request::DeclareQueue { arguments, .. } => arguments,
        Request::BindExchange(binding)
        | Request::UnbindExchange(binding)
        | Request::BindQueue(binding)
        | Request::UnbindQueue(binding) => &binding.arguments,
        Request::Consume(consume) => &consume.arguments,
        _ => return Ok(()),
    };
    check_arguments(arguments, || described(request))
}

/// [`check_request`] for arguments at hand; `what` says what they are for.
pub(crate) fn check_arguments(arguments: &FieldTable, what: impl FnOnce() -> String) -> Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    let len = arguments.encoded().len() - TABLE_LENGTH;
    if len > TABLE_BYTES_MAX {
        let problem = format!(
            "its arguments have {len} bytes, and at most {TABLE_BYTES_MAX} fit; keep large values elsewhere"
        );
        return Err(Error::Unsendable { what: what(), problem });
    }
    match is_shallow(arguments, TABLE_DEPTH_MAX) {
        true => Ok(()),
        false => Err(Error::Unsendable { what: what(), problem: too_deep("arguments") }),
    }
}

fn too_deep(what: &str) -> String {
    format!("its {what} are nested deeper than {TABLE_DEPTH_MAX} levels; make them flatter")
}

/// Whether tables and arrays are nested at most so deep, this one counted.
fn is_shallow(table: &FieldTable, levels: usize) -> bool {
    levels > 0 && table.iter().all(|(_, value)| is_shallow_value(value, levels - 1))
}

fn is_shallow_value(value: &FieldValue, levels: usize) -> bool {
    match value {
        FieldValue::Table(table) => is_shallow(table, levels),
        FieldValue::Array(values) => {
            levels > 0 && values.iter().all(|value| is_shallow_value(value, levels - 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::types::{RawProperties, check_table};

    use super::*;

    /// Tables in tables, with an array in between every `arrays` levels.
    fn nested(levels: usize, arrays: usize) -> FieldTable {
        (1..levels).fold(FieldTable::new(), |inner, level| match level % arrays {
            0 => FieldTable::new().with("n", FieldValue::Array(vec![FieldValue::Table(inner)])),
            _ => FieldTable::new().with("n", inner),
        })
    }

    #[test]
    fn what_is_let_through_is_what_the_protocol_reads() {
        for (levels, arrays) in (1..TABLE_DEPTH_MAX + 2).flat_map(|levels| [(levels, 2), (levels, 99)]) {
            let table = nested(levels, arrays);
            let checked = check_arguments(&table, String::new);
            assert_eq!(checked.is_ok(), check_table(&table.encoded()).is_ok(), "{levels} levels");
            let properties = Properties { headers: Some(table), ..Properties::default() };
            let encoded = properties.encoded();
            let checked = check_properties(&properties, &encoded);
            assert_eq!(checked.is_ok(), RawProperties::check(&encoded).is_ok(), "{levels} levels");
        }
    }

    #[test]
    fn the_largest_fits_and_one_byte_more_is_refused() {
        let of_bytes = |len: usize| FieldTable::new().with("k", "v".repeat(len - 7));
        let check = |len| check_arguments(&of_bytes(len), || "declare queue \"q\"".into());
        check(TABLE_BYTES_MAX).unwrap();
        let error = check(TABLE_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.starts_with("cannot declare queue \"q\": its arguments have 65537 bytes"), "{error}");

        let check = |len: usize| {
            let headers = Some(of_bytes(len - 2 - TABLE_LENGTH));
            let properties = Properties { headers, ..Properties::default() };
            check_properties(&properties, &properties.encoded())
        };
        check(PROPERTIES_BYTES_MAX).unwrap();
        let error = check(PROPERTIES_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("its properties have 131073 bytes"), "{error}");
    }
}
