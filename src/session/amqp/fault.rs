//! What is wrong, and how far it reaches: the reply code's scope says whether a channel or the connection ends.

use rialto_protocol::amqp::{ContentError, FrameError, MethodError, MethodId};
use rialto_protocol::types::ShortStr;
use rialto_protocol::{ReplyCode, Scope};

use crate::access::Denied;
use crate::broker::{BrokerError, ConnectionRefused};

/// An operation that is refused. Who dispatched it knows the method.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: ReplyCode,
    pub(super) text: String,
}

/// A refusal with the method that led to it: what `channel.close` and `connection.close` carry.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: ReplyCode,
    pub(super) text: String,
    pub(super) method: MethodId,
}

impl Refusal {
    pub(super) fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Refusal { code, text: text.into() }
    }

    pub(super) fn at(self, method: MethodId) -> Fault {
        Fault { code: self.code, text: self.text, method }
    }
}

impl Fault {
    pub(super) fn new(code: ReplyCode, text: impl Into<String>, method: MethodId) -> Self {
        Refusal::new(code, text).at(method)
    }

    /// Whether the connection cannot go on.
    pub(super) fn ends_connection(&self) -> bool {
        self.code.scope() == Scope::Connection
    }

    /// The reply text as RabbitMQ shapes it: clients match on its parts.
    pub(super) fn reply_text(&self) -> ShortStr {
        ShortStr::truncated(format!("{} - {}", self.code, self.text))
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        Refusal { code: error.reply_code(), text: error.to_string() }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Refusal::new(denied.reply_code(), denied.to_string())
    }
}

impl From<ConnectionRefused> for Refusal {
    fn from(refused: ConnectionRefused) -> Self {
        Refusal::new(refused.reply_code(), refused.to_string())
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Fault::new(error.reply_code(), error.to_string(), MethodId::NONE)
    }
}

impl From<MethodError> for Fault {
    fn from(error: MethodError) -> Self {
        Fault::new(error.reply_code(), error.to_string(), error.id().unwrap_or(MethodId::NONE))
    }
}

impl From<ContentError> for Refusal {
    fn from(error: ContentError) -> Self {
        Refusal::new(error.reply_code(), error.to_string())
    }
}
