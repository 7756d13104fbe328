//! Why the broker refuses an operation, in RabbitMQ's words (clients match on them), and with which code.

use rialto_protocol::ReplyCode;
use thiserror::Error;

use crate::model::{ExchangeName, QueueName, VhostName};

/// A refused operation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BrokerError {
    /// There is no such queue.
    #[error("no queue '{queue}' in vhost '{vhost}'")]
    NoQueue {
        /// The name asked for.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
    },
    /// There is no such exchange.
    #[error("no exchange '{exchange}' in vhost '{vhost}'")]
    NoExchange {
        /// The name asked for.
        exchange: ExchangeName,
        /// Where.
        vhost: VhostName,
    },
    /// There is no such vhost, or this user may not use it.
    #[error("vhost '{vhost}' not found")]
    NoVhost {
        /// The name asked for.
        vhost: VhostName,
    },
    /// The queue belongs to another connection.
    #[error(
        "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original \
         declaration."
    )]
    QueueLocked {
        /// The queue.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
    },
    /// The queue is the broker's own: it may be listed, looked at and purged.
    #[error("cannot obtain access to internal queue '{queue}' in vhost '{vhost}'")]
    QueueInternal {
        /// The queue.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
    },
    /// The queue was to be deleted only if unused.
    #[error("queue '{queue}' in vhost '{vhost}' in use")]
    QueueInUse {
        /// The queue.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
    },
    /// The queue was to be deleted only if empty.
    #[error("queue '{queue}' in vhost '{vhost}' not empty")]
    QueueNotEmpty {
        /// The queue.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
    },
    /// Clients may not declare names that start with `amq.`.
    #[error("queue name '{queue}' contains reserved prefix 'amq.*'")]
    QueueNameReserved {
        /// The name asked for.
        queue: QueueName,
    },
    /// Another consumer has the queue to itself, or this one cannot have it.
    #[error("queue '{queue}' in vhost '{vhost}' in exclusive use")]
    QueueInExclusiveUse {
        /// The queue.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
    },
    /// Clients may not publish to an internal exchange.
    #[error("cannot publish to internal exchange '{exchange}' in vhost '{vhost}'")]
    ExchangeInternal {
        /// The exchange.
        exchange: ExchangeName,
        /// Where.
        vhost: VhostName,
    },
    /// A vhost has as many queues as it may have.
    #[error(
        "cannot declare queue '{queue}' in vhost '{vhost}': limit of {max} queues (topology.queues_per_vhost_max) is \
         reached"
    )]
    TooManyQueues {
        /// The name asked for.
        queue: QueueName,
        /// Where.
        vhost: VhostName,
        /// The limit.
        max: usize,
    },
    /// An operator has protected the vhost.
    #[error(
        "refusing to delete vhost '{vhost}' because it is protected from deletion; lift the protection first: DELETE \
         /api/vhosts/{{vhost}}/deletion/protection, or `rialto vhost set NAME --protect=false`"
    )]
    VhostProtected {
        /// The vhost.
        vhost: VhostName,
    },
    /// Refused by the rules of exchanges, bindings or queue arguments, which word it themselves.
    #[error("{text}")]
    Refused {
        /// With which code.
        code: ReplyCode,
        /// Why.
        text: String,
    },
}

impl BrokerError {
    /// The code that tells the client.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            BrokerError::NoQueue { .. } | BrokerError::NoExchange { .. } => ReplyCode::NotFound,
            BrokerError::NoVhost { .. } => ReplyCode::NotAllowed,
            BrokerError::QueueLocked { .. } | BrokerError::QueueInternal { .. } => ReplyCode::ResourceLocked,
            BrokerError::QueueInUse { .. }
            | BrokerError::QueueNotEmpty { .. }
            | BrokerError::VhostProtected { .. }
            | BrokerError::TooManyQueues { .. } => ReplyCode::PreconditionFailed,
            BrokerError::QueueNameReserved { .. }
            | BrokerError::QueueInExclusiveUse { .. }
            | BrokerError::ExchangeInternal { .. } => ReplyCode::AccessRefused,
            BrokerError::Refused { code, .. } => *code,
        }
    }

    pub(crate) fn refused(code: ReplyCode, text: impl ToString) -> Self {
        BrokerError::Refused { code, text: text.to_string() }
    }
}
