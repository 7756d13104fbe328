//! What kind of queue it is: any, with limits and times that a run reaches.

use rialto_protocol::types::ShortStr;

use crate::model::{
    DeadLetterTarget, DeduplicationOptions, DelayedRetry, DelayedRetryType, ExchangeName, OverflowRule,
    QueueOptions,
};

use super::super::choices::Choices;
use super::KEY;

pub(super) fn options(choices: &mut impl Choices) -> QueueOptions {
    let target = DeadLetterTarget { exchange: ExchangeName::default(), routing_key: None };
    QueueOptions {
        durable: choices.one_in(2),
        auto_delete: choices.one_in(8),
        max_priority: choices.one_of(&[0, 0, 0, 1, 3, 255]),
        default_priority: choices.one_of(&[0, 0, 4]),
        message_ttl_ms: choices.one_of(&[None, None, None, None, Some(0), Some(15), Some(60)]),
        expires_ms: choices.one_of(&[None, None, None, Some(1), Some(40)]),
        max_length: choices.one_of(&[None, None, None, Some(0), Some(1), Some(5), Some(20)]),
        max_length_bytes: choices.one_of(&[None, None, None, Some(10), Some(200)]),
        overflow: choices.one_of(&[
            OverflowRule::DropHead,
            OverflowRule::DropHead,
            OverflowRule::RejectPublish,
            OverflowRule::RejectPublishDeadLetter,
        ]),
        dead_letter: (!choices.one_in(3)).then_some(target),
        single_active_consumer: choices.one_in(4),
        delivery_limit: choices.one_of(&[None, None, Some(0), Some(1), Some(3)]),
        deduplication: choices
            .one_of(&[None, None, None, None, Some((3, None)), Some((4, Some(25)))])
            .map(|(size, ttl_ms)| DeduplicationOptions { size, ttl_ms, header: ShortStr::truncated(KEY) }),
        delayed_retry: choices.one_of(&[
            None,
            None,
            None,
            Some(DelayedRetry { which: DelayedRetryType::All, min_ms: 3, max_ms: 20 }),
            Some(DelayedRetry { which: DelayedRetryType::Failed, min_ms: 8, max_ms: 100 }),
            Some(DelayedRetry { which: DelayedRetryType::Returned, min_ms: 10, max_ms: 10 }),
        ]),
        consumer_timeout_ms: choices.one_of(&[None, None, None, Some(25)]),
        ..QueueOptions::default()
    }
}
