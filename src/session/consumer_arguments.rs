//! What a consumer may ask for in its arguments, and how a queue's refusal of it reads.

use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::FieldTable;

use crate::broker::{BrokerError, QueueCell, Vhost};
use crate::model::expected_integer;
use crate::queue::ConsumeError;

/// `x-priority`, as RabbitMQ takes it: any integer; beyond 32 bits they are all one.
pub(super) fn priority(arguments: &FieldTable, queue: &str, vhost: &Vhost) -> Result<i32, BrokerError> {
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    match value.as_int() {
        Some(priority) => Ok(priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32),
        None => {
            let text = format!(
                "invalid arg 'x-priority' for queue '{queue}' in vhost '{}': {}",
                vhost.name(),
                expected_integer(value)
            );
            Err(BrokerError::refused(ReplyCode::PreconditionFailed, text))
        }
    }
}

/// How long a consumer wants to hold a message (`x-consumer-timeout`); 0 is for ever, none is what others say.
pub(super) fn timeout(arguments: &FieldTable) -> Result<Option<Duration>, BrokerError> {
    const ARGUMENT: &str = "x-consumer-timeout";
    let Some(value) = arguments.get(ARGUMENT) else { return Ok(None) };
    match value.as_int().and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => {
            let text = format!(
                "invalid arg '{ARGUMENT}': {value} of type '{}' is no number of milliseconds",
                value.type_name()
            );
            Err(BrokerError::refused(ReplyCode::PreconditionFailed, text))
        }
    }
}

/// What to say when a queue does not take a consumer.
pub(super) fn refused(error: &ConsumeError, queue: &QueueCell, vhost: &Vhost) -> BrokerError {
    let (queue, vhost) = (queue.name().clone(), vhost.name().clone());
    match error {
        ConsumeError::InExclusiveUse | ConsumeError::NotAlone | ConsumeError::SingleActive => {
            BrokerError::QueueInExclusiveUse { queue, vhost }
        }
        other => BrokerError::refused(
            ReplyCode::AccessRefused,
            format!("queue '{queue}' in vhost '{vhost}': {other}"),
        ),
    }
}
