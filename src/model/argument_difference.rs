//! Comparing an argument of a declare with that of what exists, in RabbitMQ's words (`assert_args_equivalence`).

use rialto_protocol::types::FieldValue;

/// How `received` differs from `current`, both described for the client; none if they are equal, where all integer
/// types are one.
///
/// Two values are told as they are; where one side has none, the other's type is told too.
pub fn argument_difference(
    received: Option<&FieldValue>,
    current: Option<&FieldValue>,
) -> Option<(String, String)> {
    let alone = |value: &FieldValue| format!("the value '{value}' of type '{}'", value.type_name());
    let none = || "none".to_owned();
    match (received, current) {
        (Some(received), Some(current)) => {
            let equal =
                received == current || (received.as_int().is_some() && received.as_int() == current.as_int());
            (!equal).then(|| (format!("'{received}'"), format!("'{current}'")))
        }
        (Some(received), None) => Some((alone(received), none())),
        (None, Some(current)) => Some((none(), alone(current))),
        (None, None) => None,
    }
}

/// What RabbitMQ says of a value that should be an integer; an Erlang string, quotes and all.
pub fn expected_integer(value: &FieldValue) -> String {
    format!("\"expected integer, got {}\"", value.type_name())
}
