//! Names of a path, checked.

use crate::admin::ApiError;
use crate::model::{ExchangeName, QueueName, RoutingKey};

/// What a path calls the default exchange, whose name is empty.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// A queue's name to declare.
///
/// # Errors
/// 400: it is too long, or has control characters.
pub(super) fn queue(name: &str) -> Result<QueueName, ApiError> {
    QueueName::new(clean("queue", name)?).map_err(|_| too_long("queue"))
}

/// An exchange's name to declare.
///
/// # Errors
/// 400: it is too long, or has control characters.
pub(super) fn exchange(name: &str) -> Result<ExchangeName, ApiError> {
    ExchangeName::new(clean("exchange", name)?).map_err(|_| too_long("exchange"))
}

/// A routing key.
///
/// # Errors
/// 400: it is too long.
pub(super) fn routing_key(key: &str) -> Result<RoutingKey, ApiError> {
    RoutingKey::new(key).map_err(|_| ApiError::bad_request("the routing key has more than 255 bytes"))
}

/// The exchange that a path means.
pub(super) fn exchange_in_path(name: &str) -> &str {
    if name == DEFAULT_EXCHANGE { "" } else { name }
}

/// People read names in terminals and pages: nothing is declared here that could steer those.
fn clean<'a>(what: &str, name: &'a str) -> Result<&'a str, ApiError> {
    match name.chars().any(char::is_control) {
        true => Err(ApiError::bad_request(format!("the name of the {what} has control characters"))),
        false => Ok(name),
    }
}

fn too_long(what: &str) -> ApiError {
    ApiError::bad_request(format!("the name of the {what} has more than 255 bytes"))
}
