//! What a consumer may ask for in its arguments, and how a queue's refusal of it reads.

use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::FieldTable;

use crate::broker::{BrokerError, QueueCell, Vhost};
use crate::model::expected_integer;
use crate::queue::ConsumeError;

/// `x-priority`, as RabbitMQ takes it: any integer.
pub(super) fn priority(arguments: &FieldTable, queue: &QueueCell, vhost: &Vhost) -> Result<i32, BrokerError> {
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    value.as_int().and_then(|n| i32::try_from(n).ok()).ok_or_else(|| {
        let text = format!(
            "invalid arg 'x-priority' for queue '{}' in vhost '{}': {}",
            queue.name(),
            vhost.name(),
            expected_integer(value)
        );
        BrokerError::refused(ReplyCode::PreconditionFailed, text)
    })
}

/// How long a consumer of this queue may hold a message: what it says itself with `x-consumer-timeout`, else what
/// its queue does, else the default. 0 is for ever.
pub(super) fn timeout(
    arguments: &FieldTable,
    queue: &QueueCell,
    default: Option<Duration>,
) -> Result<Option<Duration>, BrokerError> {
    const ARGUMENT: &str = "x-consumer-timeout";
    let wanted = match arguments.get(ARGUMENT) {
        None => queue.effective_options().consumer_timeout().or(default),
        Some(value) => match value.as_int().and_then(|ms| u64::try_from(ms).ok()) {
            Some(ms) => Some(Duration::from_millis(ms)),
            None => {
                let text = format!(
                    "invalid arg '{ARGUMENT}': {value} of type '{}' is no number of milliseconds",
                    value.type_name()
                );
                return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
            }
        },
    };
    Ok(wanted.filter(|timeout| !timeout.is_zero()))
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
