//! A refusal, in RabbitMQ's words: clients and people look for them.

use rialto_protocol::ReplyCode;
use thiserror::Error;

use super::operation::Resource;
use crate::model::VhostName;

/// Why something is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// A queue or an exchange.
    #[error("access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'")]
    Resource {
        /// `queue` or `exchange`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where.
        vhost: VhostName,
        /// Whom.
        user: String,
    },
    /// A routing key of a topic exchange. RabbitMQ does say "exchange topic".
    #[error(
        "access to topic '{routing_key}' in exchange topic '{exchange}' in vhost '{vhost}' refused for user '{user}'"
    )]
    Topic {
        /// The key.
        routing_key: String,
        /// The exchange.
        exchange: String,
        /// Where.
        vhost: VhostName,
        /// Whom.
        user: String,
    },
    /// A vhost.
    #[error("access to vhost '{vhost}' refused for user '{user}'")]
    Vhost {
        /// Where.
        vhost: String,
        /// Whom.
        user: String,
    },
}

impl Denied {
    pub(super) fn resource(resource: Resource<'_>, vhost: &VhostName, user: &str) -> Self {
        let (kind, name) = (resource.kind(), resource.name().to_owned());
        Denied::Resource { kind, name, vhost: vhost.clone(), user: user.to_owned() }
    }

    /// The code that tells the client: 403, and 530 for a vhost.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Denied::Resource { .. } | Denied::Topic { .. } => ReplyCode::AccessRefused,
            Denied::Vhost { .. } => ReplyCode::NotAllowed,
        }
    }
}
