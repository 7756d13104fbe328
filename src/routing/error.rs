//! What routing refuses, and what the peer is told: a reply code and a text in RabbitMQ's phrasing.
//!
//! Clients match on these texts, so they are RabbitMQ's where it has one. The routing table does not know which
//! vhost it serves: the name comes in with `text`.

use std::fmt;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::ShortStr;
use thiserror::Error;

use crate::model::{ExchangeKind, ExchangeName, ExchangeOptionsError, QueueId, RoutingKey};

const DEFAULT_EXCHANGE: &str = "operation not permitted on the default exchange";

/// A message was published to an exchange that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no exchange '{0}'")]
pub struct NoSuchExchange(pub ExchangeName);

impl NoSuchExchange {
    /// The code it is answered with.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::NotFound
    }

    /// The text it is answered with.
    pub fn text(&self, vhost: &str) -> String {
        no_exchange(&self.0, vhost)
    }
}

fn no_exchange(name: &str, vhost: &str) -> String {
    format!("no exchange '{name}' in vhost '{vhost}'")
}

/// A property in which a declare differs from the exchange that exists, and both values: first what came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inequivalence {
    /// The type.
    Kind(ExchangeKind, ExchangeKind),
    /// The durable flag.
    Durable(bool, bool),
    /// The auto-delete flag.
    AutoDelete(bool, bool),
    /// The internal flag.
    Internal(bool, bool),
    /// How messages go on from a delayed exchange.
    DelayedKind(ExchangeKind, ExchangeKind),
    /// The alternate exchange.
    Alternate(Option<ExchangeName>, Option<ExchangeName>),
    /// An argument whose value could not be read, with both sides described.
    Argument {
        /// Its name.
        argument: &'static str,
        /// What was sent.
        received: String,
        /// What the exchange has.
        current: String,
    },
}

impl Inequivalence {
    /// The name of the property in error texts.
    pub fn argument(&self) -> &'static str {
        match self {
            Inequivalence::Kind(..) => "type",
            Inequivalence::Durable(..) => "durable",
            Inequivalence::AutoDelete(..) => "auto_delete",
            Inequivalence::Internal(..) => "internal",
            Inequivalence::DelayedKind(..) => "x-delayed-type",
            Inequivalence::Alternate(..) => "alternate-exchange",
            Inequivalence::Argument { argument, .. } => argument,
        }
    }

    fn values(&self) -> (String, String) {
        fn quoted(value: impl fmt::Display) -> String {
            format!("'{value}'")
        }
        fn text(value: impl fmt::Display) -> String {
            format!("the value '{value}' of type 'longstr'")
        }
        fn argument(value: &Option<ExchangeName>) -> String {
            value.as_ref().map_or_else(|| "none".to_owned(), text)
        }
        match self {
            Inequivalence::Kind(received, current) => (quoted(received), quoted(current)),
            Inequivalence::Durable(received, current)
            | Inequivalence::AutoDelete(received, current)
            | Inequivalence::Internal(received, current) => (quoted(received), quoted(current)),
            Inequivalence::DelayedKind(received, current) => (quoted(received), quoted(current)),
            Inequivalence::Argument { received, current, .. } => (received.clone(), current.clone()),
            // A type is told only of a value that stands alone.
            Inequivalence::Alternate(Some(received), Some(current)) => (quoted(received), quoted(current)),
            Inequivalence::Alternate(received, current) => (argument(received), argument(current)),
        }
    }
}

/// Why an exchange is not declared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeclareExchangeError {
    /// It exists and is another.
    #[error("exchange '{name}' exists with another '{}'", difference.argument())]
    Inequivalent {
        /// The exchange.
        name: ExchangeName,
        /// The first property that differs.
        difference: Inequivalence,
    },
    /// The default exchange cannot be declared.
    #[error("{}", DEFAULT_EXCHANGE)]
    DefaultExchange,
    /// Names that begin with `amq.` belong to the broker.
    #[error("exchange name '{0}' contains reserved prefix 'amq.*'")]
    Reserved(ExchangeName),
    /// The vhost is full.
    #[error("limit of {max} exchanges (topology.exchanges_per_vhost_max) is reached")]
    TooMany {
        /// The exchange.
        name: ExchangeName,
        /// The limit.
        max: usize,
    },
}

impl DeclareExchangeError {
    /// The code it is answered with.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            DeclareExchangeError::DefaultExchange | DeclareExchangeError::Reserved(_) => {
                ReplyCode::AccessRefused
            }
            DeclareExchangeError::Inequivalent { .. } | DeclareExchangeError::TooMany { .. } => {
                ReplyCode::PreconditionFailed
            }
        }
    }

    /// The text it is answered with.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            DeclareExchangeError::Inequivalent { name, difference } => {
                let (received, current) = difference.values();
                let argument = difference.argument();
                format!(
                    "inequivalent arg '{argument}' for exchange '{name}' in vhost '{vhost}': \
                     received {received} but current is {current}"
                )
            }
            DeclareExchangeError::TooMany { name, .. } => {
                format!("cannot declare exchange '{name}' in vhost '{vhost}': {self}")
            }
            DeclareExchangeError::DefaultExchange | DeclareExchangeError::Reserved(_) => self.to_string(),
        }
    }
}

/// Why an exchange is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeleteExchangeError {
    /// The default exchange cannot be deleted.
    #[error("{}", DEFAULT_EXCHANGE)]
    DefaultExchange,
    /// Names that begin with `amq.` belong to the broker.
    #[error("deletion of system exchange '{0}' not allowed")]
    Reserved(ExchangeName),
    /// It has bindings, and was to be deleted only without.
    #[error("exchange '{0}' in use")]
    InUse(ExchangeName),
}

impl DeleteExchangeError {
    /// The code it is answered with.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            DeleteExchangeError::InUse(_) => ReplyCode::PreconditionFailed,
            _ => ReplyCode::AccessRefused,
        }
    }

    /// The text it is answered with.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            DeleteExchangeError::DefaultExchange => self.to_string(),
            DeleteExchangeError::Reserved(name) => {
                format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed")
            }
            DeleteExchangeError::InUse(name) => format!("exchange '{name}' in vhost '{vhost}' in use"),
        }
    }
}

/// Why a binding is not made, or not undone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    /// Queues are bound to the default exchange by their names, and in no other way.
    #[error("{}", DEFAULT_EXCHANGE)]
    DefaultExchange,
    /// The source, or the destination, does not exist.
    #[error("no exchange '{0}'")]
    NoExchange(ExchangeName),
    /// The destination queue does not exist: it was deleted since it was looked up.
    #[error("no queue with id {0}")]
    NoQueue(QueueId),
    /// `x-match` has a value that means nothing.
    #[error("Invalid x-match field value '{0}'; expected all, any, all-with-x, or any-with-x")]
    MatchValue(ShortStr),
    /// `x-match` is not a text.
    #[error("Invalid x-match field type {type_name} (value {value}); expected longstr")]
    MatchType {
        /// What it is instead.
        type_name: &'static str,
        /// And its value.
        value: String,
    },
    /// The key has too many words for a topic exchange.
    #[error("a topic binding key may have at most {max} words")]
    TooManyWords {
        /// The limit: [`TOPIC_WORDS_MAX`](super::TOPIC_WORDS_MAX).
        max: usize,
    },
    /// The key has too many `#` for a topic exchange.
    #[error("a topic binding key may have at most {max} words '#'")]
    TooManyHashes {
        /// The limit: [`TOPIC_HASHES_MAX`](super::TOPIC_HASHES_MAX).
        max: usize,
    },
    /// The key of a binding to a consistent-hash exchange is no number.
    #[error("The binding key must be an integer: <<\"{0}\">>")]
    WeightNotInteger(RoutingKey),
    /// The weight of a binding to a consistent-hash exchange is none.
    #[error("The binding key must be greater than 0")]
    WeightTooSmall,
    /// The weight of a binding to a consistent-hash exchange is too large.
    #[error("The binding key must be at most {max}")]
    WeightTooLarge {
        /// The limit: [`HASH_WEIGHT_MAX`](super::HASH_WEIGHT_MAX).
        max: u32,
    },
    /// A consistent-hash exchange has as many bindings as it may.
    #[error("a consistent-hash exchange may have at most {max} bindings")]
    TooManyWeights {
        /// The limit: [`HASH_BINDINGS_MAX`](super::HASH_BINDINGS_MAX).
        max: usize,
    },
    /// The vhost is full.
    #[error("limit of {max} bindings (topology.bindings_per_vhost_max) is reached")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

impl BindError {
    /// The code it is answered with.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            BindError::DefaultExchange => ReplyCode::AccessRefused,
            BindError::NoExchange(_) | BindError::NoQueue(_) => ReplyCode::NotFound,
            _ => ReplyCode::PreconditionFailed,
        }
    }

    /// The text it is answered with.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            BindError::NoExchange(name) => no_exchange(name, vhost),
            BindError::NoQueue(id) => format!("no queue '{id}' in vhost '{vhost}'"),
            BindError::TooMany { .. } => format!("cannot bind in vhost '{vhost}': {self}"),
            _ => self.to_string(),
        }
    }
}

macro_rules! reply_code_of {
    ($($error:ty),*) => {$(
        impl From<&$error> for ReplyCode {
            fn from(error: &$error) -> ReplyCode {
                error.reply_code()
            }
        }
    )*};
}

reply_code_of!(NoSuchExchange, DeclareExchangeError, DeleteExchangeError, BindError, ExchangeOptionsError);
