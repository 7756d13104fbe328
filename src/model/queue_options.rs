//! What a queue is declared with, as types.
//!
//! Arguments are checked once, at declare; nothing downstream reads the table again. The table is kept for
//! lists and for comparing with a later declare. Texts have RabbitMQ's shape: clients match on them.
//!
//! Invariants: what is here is consistent (a dead-letter key has an exchange, a quorum queue is durable).
//! Not here: who may declare (`broker`).

use std::time::Duration;

use rialto_protocol::types::{FieldTable, FieldValue};

use super::queue_arguments::{Arguments, negative};
use super::{
    ArgumentProblem, DeduplicationOptions, DelayedRetry, ExchangeName, Inequivalent, InvalidArgument,
    RoutingKey, argument_difference,
};

/// Longest time to live or to expiry in milliseconds: ten years, as in RabbitMQ.
pub const EXPIRY_MS_MAX: u64 = 315_360_000_000;

/// Delivery limit of a quorum queue that is declared without one, as in RabbitMQ since 4.0.
pub const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// Highest priority in a quorum queue, which has all of them without asking, as in RabbitMQ since 4.3.
pub const QUORUM_MAX_PRIORITY: u8 = 31;

/// Priority that a message without one has in a quorum queue, as in RabbitMQ.
pub const QUORUM_DEFAULT_PRIORITY: u8 = 4;

/// Arguments that a quorum queue cannot have. RabbitMQ refuses some more that mean nothing here (`x-queue-mode`,
/// `x-queue-version`, locators); those are accepted and ignored, so that old declarations go on working.
const NOT_FOR_QUORUM: [&str; 1] = ["x-max-priority"];

/// Arguments of streams. A queue that took them would seem to keep messages for an age, and does not.
const FOR_STREAMS: [&str; 3] = ["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes"];

/// Arguments that a later declare must repeat, in RabbitMQ's order: the first difference is the one that is told.
/// Others are kept and ignored.
const COMPARED: [&str; 21] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-message-deduplication",
    "x-cache-size",
    "x-cache-ttl",
    "x-deduplication-header",
];

/// The flags of a declare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFlags {
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to the connection that declares it.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
}

/// The type of queue that a client asks for. One engine serves both; they differ in rules and defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// RabbitMQ's default.
    #[default]
    Classic,
    /// Durable, not exclusive, with a delivery limit unless told otherwise.
    Quorum,
}

impl QueueType {
    /// Its name in `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [QueueType::Classic, QueueType::Quorum].into_iter().find(|queue_type| queue_type.name() == name)
    }

    /// Its name in RabbitMQ's error texts: the module that serves it there.
    pub(super) fn module(self) -> &'static str {
        match self {
            QueueType::Classic => "rabbit_classic_queue",
            QueueType::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowRule {
    /// Drops what would be delivered next.
    #[default]
    DropHead,
    /// Refuses what is published.
    RejectPublish,
    /// Refuses what is published, which also becomes a dead letter.
    RejectPublishDeadLetter,
}

/// Where dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterTarget {
    /// The exchange.
    pub exchange: ExchangeName,
    /// The key; none keeps the message's own.
    pub routing_key: Option<RoutingKey>,
}

/// How sure a dead letter must be to arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    /// It may be lost if the target is not there.
    #[default]
    AtMostOnce,
    /// It must not be lost.
    AtLeastOnce,
}

/// A queue's properties and arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueOptions {
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to the connection that declared it.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// `x-queue-type`.
    pub queue_type: QueueType,
    /// `x-message-ttl`: longest life of a message, in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`: longest life of the unused queue, in milliseconds.
    pub expires_ms: Option<u64>,
    /// `x-max-length`: most ready messages.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: most bytes in the bodies of ready messages.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`.
    pub overflow: OverflowRule,
    /// `x-dead-letter-exchange` and `x-dead-letter-routing-key`.
    pub dead_letter: Option<DeadLetterTarget>,
    /// `x-dead-letter-strategy`.
    pub dead_letter_strategy: DeadLetterStrategy,
    /// `x-max-priority`: higher priorities count as this one; 0 is no priorities.
    pub max_priority: u8,
    /// The priority of messages that have none.
    pub default_priority: u8,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: how often a message may come back; none is unlimited.
    pub delivery_limit: Option<u32>,
    /// `x-consumer-timeout`: how long a consumer may hold a message, in milliseconds; none or 0 is for ever. A
    /// consumer's own comes first.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-delayed-retry-type`, `-min` and `-max`.
    pub delayed_retry: Option<DelayedRetry>,
    /// `x-message-deduplication` with its arguments.
    pub deduplication: Option<DeduplicationOptions>,
    /// All arguments as they were sent, unknown ones included.
    pub arguments: FieldTable,
}

impl QueueOptions {
    /// Reads the flags and arguments of a declare.
    ///
    /// ```
    /// use rialto::model::{QueueName, QueueOptions, VhostName};
    /// use rialto_protocol::types::FieldTable;
    /// let arguments = FieldTable::new().with("x-message-ttl", -1);
    /// let error = QueueOptions::from_declare(true, false, false, &arguments).unwrap_err();
    /// let text = error.text(&QueueName::new("jobs").unwrap(), &VhostName::new("/").unwrap());
    /// assert_eq!(text, "invalid arg 'x-message-ttl' for queue 'jobs' in vhost '/': {value_negative,-1}");
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_declare(
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: &FieldTable,
    ) -> Result<Self, InvalidArgument> {
        let read = Arguments(arguments);
        let queue_type = match read.text("x-queue-type")? {
            None | Some("classic") => QueueType::Classic,
            Some("quorum") => QueueType::Quorum,
            Some("stream") => return Err(InvalidArgument::Stream),
            Some(other) => {
                let problem = format!("\"unsupported queue type '{other}'\"");
                return Err(InvalidArgument::argument("x-queue-type", problem));
            }
        };
        let quorum = queue_type == QueueType::Quorum;
        let not_for_quorum = NOT_FOR_QUORUM.iter().filter(|_| quorum);
        for arg in not_for_quorum.chain(&FOR_STREAMS) {
            if arguments.get(arg).is_some() {
                return Err(InvalidArgument::NotForType { arg, queue_type });
            }
        }
        if quorum {
            // In RabbitMQ's order: the first that is wrong is named.
            for (wrong, property) in
                [(auto_delete, "auto-delete"), (exclusive, "exclusive-owner"), (!durable, "non-durable")]
            {
                if wrong {
                    return Err(InvalidArgument::Property(property));
                }
            }
        }
        Ok(QueueOptions {
            // An exclusive queue goes with its connection, so it outlives no restart: RabbitMQ makes it transient.
            durable: durable && !exclusive,
            exclusive,
            auto_delete,
            queue_type,
            message_ttl_ms: read.up_to("x-message-ttl", EXPIRY_MS_MAX, "value_too_large")?,
            expires_ms: read.positive("x-expires")?,
            max_length: read.unsigned("x-max-length")?,
            max_length_bytes: read.unsigned("x-max-length-bytes")?,
            overflow: match read.text("x-overflow")? {
                None | Some("drop-head") => OverflowRule::DropHead,
                Some("reject-publish") => OverflowRule::RejectPublish,
                Some("reject-publish-dlx") => OverflowRule::RejectPublishDeadLetter,
                Some(_) => return Err(InvalidArgument::argument("x-overflow", "invalid_overflow".into())),
            },
            dead_letter: read.dead_letter()?,
            dead_letter_strategy: match read.text("x-dead-letter-strategy")? {
                None | Some("at-most-once") => DeadLetterStrategy::AtMostOnce,
                Some("at-least-once") => DeadLetterStrategy::AtLeastOnce,
                Some(_) => {
                    let problem = "invalid_dead_letter_strategy".into();
                    return Err(InvalidArgument::argument("x-dead-letter-strategy", problem));
                }
            },
            max_priority: match queue_type {
                QueueType::Quorum => QUORUM_MAX_PRIORITY,
                QueueType::Classic => {
                    read.up_to("x-max-priority", 255, "max_value_exceeded")?.unwrap_or(0) as u8
                }
            },
            default_priority: if quorum { QUORUM_DEFAULT_PRIORITY } else { 0 },
            single_active_consumer: read.bool("x-single-active-consumer")?.unwrap_or(false),
            delivery_limit: match read.int("x-delivery-limit")? {
                None if quorum => Some(QUORUM_DELIVERY_LIMIT),
                None | Some(-1) => None,
                Some(limit) if limit < 0 => return Err(negative("x-delivery-limit", limit)),
                Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            },
            consumer_timeout_ms: read.up_to("x-consumer-timeout", EXPIRY_MS_MAX, "value_too_large")?,
            delayed_retry: read.delayed_retry()?,
            deduplication: DeduplicationOptions::from_arguments(arguments)
                .map_err(|ArgumentProblem { arg, problem }| InvalidArgument::argument(arg, problem))?,
            arguments: arguments.clone(),
        })
    }

    /// The flags it was declared with.
    pub fn flags(&self) -> QueueFlags {
        QueueFlags { durable: self.durable, exclusive: self.exclusive, auto_delete: self.auto_delete }
    }

    /// Whether a queue with these options can be declared without a name, for the server to choose one.
    ///
    /// # Errors
    /// Its type does not allow that: such a queue goes with its connection, and a quorum queue stays.
    pub fn allow_server_name(&self) -> Result<(), InvalidArgument> {
        match self.queue_type {
            QueueType::Classic => Ok(()),
            QueueType::Quorum => Err(InvalidArgument::ServerNamed { queue_type: self.queue_type }),
        }
    }

    /// [`QueueOptions::consumer_timeout_ms`] as a duration.
    pub fn consumer_timeout(&self) -> Option<Duration> {
        self.consumer_timeout_ms.map(Duration::from_millis)
    }

    /// Whether the number of ready messages or their bytes are limited.
    pub fn has_max_length(&self) -> bool {
        self.max_length.is_some() || self.max_length_bytes.is_some()
    }

    /// Whether a queue with these options answers to a declare with these flags and arguments, which need not even
    /// be valid: what exists is only compared, as in RabbitMQ.
    ///
    /// # Errors
    /// The first difference.
    pub fn equivalent(&self, received: QueueFlags, arguments: &FieldTable) -> Result<(), Inequivalent> {
        if self.exclusive != received.exclusive {
            return Err(Inequivalent::Exclusive);
        }
        for (arg, current, received) in [
            // An exclusive queue is never durable, whatever was said.
            ("durable", self.durable, received.durable && !received.exclusive),
            ("auto_delete", self.auto_delete, received.auto_delete),
        ] {
            if current != received {
                let (received, current) = (format!("'{received}'"), format!("'{current}'"));
                return Err(Inequivalent::Different { arg, received, current });
            }
        }
        for arg in COMPARED {
            let (current, received) = (self.arguments.get(arg), arguments.get(arg));
            // A type that was not named is the default one.
            let default = FieldValue::text(QueueType::default().name());
            let is_default = |value: Option<&FieldValue>| value.is_none_or(|value| *value == default);
            if arg == "x-queue-type" && is_default(current) && is_default(received) {
                continue;
            }
            if let Some((received, current)) = argument_difference(received, current) {
                return Err(Inequivalent::Different { arg, received, current });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DelayedRetryType, QueueName, VhostName};
    use rialto_protocol::ReplyCode;

    fn declare(arguments: FieldTable) -> Result<QueueOptions, InvalidArgument> {
        QueueOptions::from_declare(true, false, false, &arguments)
    }

    fn error(arguments: FieldTable) -> String {
        let error = declare(arguments).unwrap_err();
        error.text(&QueueName::new("q").unwrap(), &VhostName::new("/").unwrap())
    }

    fn difference(current: FieldTable, received: FieldTable) -> Option<String> {
        let error = declare(current)
            .unwrap()
            .equivalent(QueueFlags { durable: true, ..QueueFlags::default() }, &received)
            .err()?;
        Some(error.text(&QueueName::new("q").unwrap(), &VhostName::new("/").unwrap()))
    }

    #[test]
    fn all_arguments_are_read() {
        let options = declare(
            FieldTable::new()
                .with("x-message-ttl", 60_000)
                .with("x-expires", FieldValue::U16(5))
                .with("x-max-length", 10i64)
                .with("x-max-length-bytes", FieldValue::U32(1000))
                .with("x-overflow", "reject-publish-dlx")
                .with("x-dead-letter-exchange", "dead")
                .with("x-dead-letter-routing-key", "key")
                .with("x-dead-letter-strategy", "at-least-once")
                .with("x-max-priority", FieldValue::U8(255))
                .with("x-single-active-consumer", true)
                .with("x-delivery-limit", 3)
                .with("x-consumer-timeout", 60_000)
                .with("x-unknown", "kept"),
        )
        .unwrap();
        assert_eq!(options.message_ttl_ms, Some(60_000));
        assert_eq!(options.expires_ms, Some(5));
        assert_eq!((options.max_length, options.max_length_bytes), (Some(10), Some(1000)));
        assert_eq!(options.overflow, OverflowRule::RejectPublishDeadLetter);
        let target = options.dead_letter.unwrap();
        assert_eq!((&*target.exchange, target.routing_key.as_deref()), ("dead", Some("key")));
        assert_eq!(options.dead_letter_strategy, DeadLetterStrategy::AtLeastOnce);
        assert_eq!((options.max_priority, options.delivery_limit), (255, Some(3)));
        assert_eq!(options.consumer_timeout_ms, Some(60_000));
        assert!(options.single_active_consumer && options.arguments.get("x-unknown").is_some());
    }

    #[test]
    fn invalid_arguments_are_named_as_rabbitmq_names_them() {
        let prefix = |arg: &str| format!("invalid arg '{arg}' for queue 'q' in vhost '/': ");
        for (arg, value, problem) in [
            ("x-message-ttl", FieldValue::I32(-1), "{value_negative,-1}"),
            ("x-message-ttl", "60000".into(), "\"expected integer, got longstr\""),
            ("x-message-ttl", FieldValue::I64(EXPIRY_MS_MAX as i64 + 1), "{value_too_large,315360000001}"),
            ("x-expires", FieldValue::I32(0), "{value_zero,0}"),
            ("x-max-length", FieldValue::F64(1.0), "\"expected integer, got double\""),
            ("x-max-length-bytes", FieldValue::I32(-5), "{value_negative,-5}"),
            ("x-max-priority", FieldValue::I32(256), "{max_value_exceeded,256}"),
            ("x-max-priority", FieldValue::I32(-1), "{value_negative,-1}"),
            ("x-overflow", "drop-tail".into(), "invalid_overflow"),
            ("x-dead-letter-routing-key", "key".into(), "routing_key_but_no_dlx_defined"),
            ("x-dead-letter-strategy", "twice".into(), "invalid_dead_letter_strategy"),
            ("x-message-deduplication", FieldValue::I32(1), "{unacceptable_type,signedint}"),
            ("x-single-active-consumer", FieldValue::I32(1), "{unacceptable_type,signedint}"),
            ("x-consumer-timeout", FieldValue::I32(-1), "{value_negative,-1}"),
            ("x-delayed-retry-type", "sometimes".into(), "invalid_delayed_retry_type"),
            ("x-delayed-retry-min", FieldValue::I32(0), "{value_zero,0}"),
            ("x-delayed-retry-max", FieldValue::I32(-1), "{value_negative,-1}"),
            ("x-delivery-limit", FieldValue::I32(-2), "{value_negative,-2}"),
            ("x-queue-type", "heap".into(), "\"unsupported queue type 'heap'\""),
            ("x-queue-type", FieldValue::I32(5), "{unacceptable_type,signedint}"),
        ] {
            assert_eq!(error(FieldTable::new().with(arg, value)), prefix(arg) + problem);
        }
    }

    #[test]
    fn values_at_the_edge_are_accepted() {
        for (arg, value) in [
            ("x-message-ttl", 0i64),
            ("x-message-ttl", EXPIRY_MS_MAX as i64),
            ("x-expires", 1),
            ("x-max-length", 0),
            ("x-max-priority", 0),
            ("x-delivery-limit", -1),
        ] {
            assert!(declare(FieldTable::new().with(arg, value)).is_ok(), "{arg} {value}");
        }
    }

    #[test]
    fn quorum_queues_have_a_delivery_limit_and_priorities_without_asking() {
        let quorum = FieldTable::new().with("x-queue-type", "quorum");
        let options = declare(quorum.clone()).unwrap();
        assert_eq!(options.delivery_limit, Some(QUORUM_DELIVERY_LIMIT));
        assert_eq!((options.max_priority, options.default_priority), (31, 4));
        let unlimited = quorum.with("x-delivery-limit", -1);
        assert_eq!(declare(unlimited).unwrap().delivery_limit, None);
        let classic = declare(FieldTable::new()).unwrap();
        assert_eq!((classic.max_priority, classic.default_priority, classic.delivery_limit), (0, 0, None));
    }

    #[test]
    fn quorum_queues_are_durable_and_stay() {
        let quorum = FieldTable::new().with("x-queue-type", "quorum");
        for (durable, exclusive, auto_delete, property) in [
            (false, false, false, "non-durable"),
            (true, true, false, "exclusive-owner"),
            (true, false, true, "auto-delete"),
            (false, true, true, "auto-delete"),
        ] {
            let error = QueueOptions::from_declare(durable, exclusive, auto_delete, &quorum).unwrap_err();
            assert_eq!(error, InvalidArgument::Property(property));
            assert_eq!(error.reply_code(), ReplyCode::PreconditionFailed);
        }
        let error = declare(quorum).unwrap().allow_server_name().unwrap_err();
        assert_eq!(error.to_string(), "Cannot declare a server-named queue for type rabbit_quorum_queue");
        assert_eq!(declare(FieldTable::new()).unwrap().allow_server_name(), Ok(()));
    }

    #[test]
    fn arguments_of_another_type_are_refused_and_those_that_mean_nothing_here_are_ignored() {
        let quorum = || FieldTable::new().with("x-queue-type", "quorum");
        assert_eq!(
            error(quorum().with("x-max-priority", 5)),
            "invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
        );
        assert_eq!(
            error(FieldTable::new().with("x-max-age", "1h")),
            "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
        );
        for arg in [
            "x-queue-mode",
            "x-queue-version",
            "x-queue-master-locator",
            "x-queue-leader-locator",
            "x-quorum-initial-group-size",
            "x-quorum-target-group-size",
            "x-initial-cluster-size",
            "x-member-placement-tag",
            "x-max-in-memory-length",
            "x-max-in-memory-bytes",
            "x-consumer-disconnected-timeout",
        ] {
            for table in [quorum(), FieldTable::new()] {
                assert!(declare(table.with(arg, "anything")).is_ok(), "{arg}");
            }
        }
    }

    #[test]
    fn streams_are_not_implemented_and_said_to_be_so() {
        let stream = FieldTable::new().with("x-queue-type", "stream");
        assert_eq!(declare(stream.clone()).unwrap_err().reply_code(), ReplyCode::NotImplemented);
        assert_eq!(
            error(stream),
            "cannot declare queue 'q' in vhost '/': queues of type 'stream' are not implemented yet; \
             use 'quorum' or 'classic'"
        );
    }

    #[test]
    fn a_retry_delay_has_defaults_and_its_maximum_is_not_below_its_minimum() {
        let retry = |arguments: FieldTable| {
            let retry = declare(arguments).unwrap().delayed_retry;
            retry.map(|retry| (retry.which, retry.min_ms, retry.max_ms))
        };
        let typed = |name: &str| FieldTable::new().with("x-delayed-retry-type", name);
        assert_eq!(retry(typed("disabled").with("x-delayed-retry-min", 5)), None);
        assert_eq!(retry(FieldTable::new().with("x-delayed-retry-max", 5)), None);
        assert_eq!(retry(typed("failed")), Some((DelayedRetryType::Failed, 1000, 3_600_000)));
        let both = typed("returned").with("x-delayed-retry-min", 5).with("x-delayed-retry-max", 7);
        assert_eq!(retry(both), Some((DelayedRetryType::Returned, 5, 7)));
        let max = typed("all").with("x-delayed-retry-max", 7);
        assert_eq!(retry(max), Some((DelayedRetryType::All, 7, 7)));
        let min = FieldTable::new().with("x-delayed-retry-min", 7_200_000);
        assert_eq!(retry(min), Some((DelayedRetryType::All, 7_200_000, 7_200_000)));
        let wrong = typed("all").with("x-delayed-retry-min", 8).with("x-delayed-retry-max", 7);
        assert!(
            error(wrong).ends_with("'x-delayed-retry-max' for queue 'q' in vhost '/': {less_than_min,7}")
        );
    }

    #[test]
    fn a_different_argument_is_named_as_rabbitmq_names_it() {
        assert_eq!(
            difference(FieldTable::new().with("x-message-ttl", 60_000), FieldTable::new()).unwrap(),
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
             received none but current is the value '60000' of type 'signedint'"
        );
        let (durable, transient) = (declare(FieldTable::new()).unwrap(), QueueOptions::default());
        let error = transient.equivalent(durable.flags(), &durable.arguments).unwrap_err();
        assert_eq!(
            error.text(&QueueName::new("q").unwrap(), &VhostName::new("/").unwrap()),
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"
        );
        let exclusive = QueueOptions { exclusive: true, ..QueueOptions::default() };
        assert_eq!(
            exclusive.equivalent(transient.flags(), &transient.arguments),
            Err(Inequivalent::Exclusive)
        );
    }

    #[test]
    fn integer_types_unknown_arguments_and_the_default_type_make_no_difference() {
        let table = FieldTable::new;
        assert_eq!(difference(table().with("x-expires", 5), table().with("x-expires", 5i64)), None);
        assert_eq!(difference(table().with("x-foo", 5), table()), None);
        assert_eq!(difference(table().with("x-queue-type", "classic"), table()), None);
        assert!(difference(table().with("x-queue-type", "quorum"), table()).is_some());
    }
}
