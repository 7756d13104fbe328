//! Why a queue is not declared: an argument it cannot have, or a difference from the queue that is there.
//!
//! Texts have RabbitMQ's shape: clients match on them.

use std::fmt;

use rialto_protocol::ReplyCode;

use super::{QueueName, QueueType, VhostName};

/// Why a queue cannot be declared like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidArgument {
    /// An argument has a value that it cannot have.
    Argument {
        /// Its name.
        arg: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// An argument with a value of the wrong type, where RabbitMQ words it differently.
    Type {
        /// Its name.
        arg: &'static str,
        /// The type that was given.
        type_name: &'static str,
    },
    /// A property that this type of queue cannot have.
    Property(&'static str),
    /// An argument that this type of queue cannot have.
    NotForType {
        /// Its name.
        arg: &'static str,
        /// The type.
        queue_type: QueueType,
    },
    /// A queue of this type needs a name of its own.
    ServerNamed {
        /// The type.
        queue_type: QueueType,
    },
    /// Streams are not there yet.
    Stream,
}

impl InvalidArgument {
    pub(super) fn argument(arg: &'static str, problem: String) -> Self {
        InvalidArgument::Argument { arg, problem }
    }

    /// The code that tells the client.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            InvalidArgument::Stream => ReplyCode::NotImplemented,
            _ => ReplyCode::PreconditionFailed,
        }
    }

    /// The text for the client, as RabbitMQ words it.
    pub fn text(&self, queue: &QueueName, vhost: &VhostName) -> String {
        match self {
            InvalidArgument::NotForType { arg, queue_type } => {
                let module = queue_type.module();
                format!("invalid arg '{arg}' for queue '{queue}' in vhost '{vhost}' of queue type {module}")
            }
            InvalidArgument::Type { .. } => format!("{self} in queue '{queue}' in vhost '{vhost}'"),
            InvalidArgument::ServerNamed { .. } => self.to_string(),
            InvalidArgument::Stream => format!("cannot declare queue '{queue}' in vhost '{vhost}': {self}"),
            InvalidArgument::Argument { arg, problem } => {
                format!("invalid arg '{arg}' for queue '{queue}' in vhost '{vhost}': {problem}")
            }
            InvalidArgument::Property(property) => {
                format!("invalid property '{property}' for queue '{queue}' in vhost '{vhost}'")
            }
        }
    }
}

impl fmt::Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidArgument::Argument { arg, problem } => write!(f, "invalid arg '{arg}': {problem}"),
            InvalidArgument::Type { arg, type_name } => {
                write!(f, "invalid type '{type_name}' for arg '{arg}'")
            }
            InvalidArgument::Property(property) => write!(f, "invalid property '{property}'"),
            InvalidArgument::NotForType { arg, queue_type } => {
                write!(f, "invalid arg '{arg}' of queue type {}", queue_type.module())
            }
            InvalidArgument::ServerNamed { queue_type } => {
                write!(f, "Cannot declare a server-named queue for type {}", queue_type.module())
            }
            InvalidArgument::Stream => {
                f.write_str("queues of type 'stream' are not implemented yet; use 'quorum' or 'classic'")
            }
        }
    }
}

impl std::error::Error for InvalidArgument {}

/// How a declare differs from the queue that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inequivalent {
    /// One is exclusive and the other is not: for RabbitMQ a matter of locks (405), not of arguments (406).
    Exclusive,
    /// A flag or an argument differs.
    Different {
        /// Its name.
        arg: &'static str,
        /// What was sent, described.
        received: String,
        /// What the queue has, described.
        current: String,
    },
}

impl Inequivalent {
    /// The text for the client, as RabbitMQ words it.
    pub fn text(&self, queue: &QueueName, vhost: &VhostName) -> String {
        match self {
            Inequivalent::Exclusive => format!(
                "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be \
                 originally declared on another connection or the exclusive property value does not match \
                 that of the original declaration."
            ),
            Inequivalent::Different { arg, received, current } => format!(
                "inequivalent arg '{arg}' for queue '{queue}' in vhost '{vhost}': \
                 received {received} but current is {current}"
            ),
        }
    }
}
