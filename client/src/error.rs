//! Everything that can go wrong in the client, in one enum: what happened, to what, and what to do about it.
//!
//! Errors are cheap to clone, because one lost connection ends many waiting futures with the same reason.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::ShortStr;
use thiserror::Error;

use crate::confirm::Outcome;

/// The result of the client's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something did not happen.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be used.
    #[error(
        "the address is not usable: {problem}; write rialto://user:password@host:port/vhost, or rialtos:// for TLS"
    )]
    InvalidAddress {
        /// What is wrong with it.
        problem: String,
    },
    /// A name or a key that the protocol cannot carry.
    #[error("the {what} has {len} bytes, and at most 255 fit; choose a shorter one")]
    NameTooLong {
        /// What is too long: `queue name`, `routing key`, …
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}; check that a broker listens there")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The connection cannot be encrypted: one of the two does not trust the other.
    #[error("no TLS with {address}: {problem}")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// Certificates or keys that the client was given are of no use.
    #[error("TLS cannot be used: {problem}")]
    InvalidTls {
        /// What is wrong with them.
        problem: String,
    },
    /// The broker does not let us in.
    #[error("the broker refused the login: {code} {text}")]
    LoginRefused {
        /// The reply code's number.
        code: u16,
        /// What the broker says.
        text: ShortStr,
    },
    /// The other side is no Rialto broker, or one of another version.
    #[error("the peer does not speak this version of the Rialto protocol: {problem}")]
    Incompatible {
        /// What it said instead.
        problem: String,
    },
    /// The broker refused a request; the connection is as good as before.
    #[error("cannot {what}: {code} {text}")]
    Refused {
        /// What was asked for: `declare queue "tasks"`.
        what: String,
        /// The reply code's number.
        code: u16,
        /// What the broker says.
        text: ShortStr,
    },
    /// The time for something is up. A request may still be carried out.
    #[error("no answer within {after:?} to: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The broker closed a channel of ours, which ends everything that ran on it.
    #[error("the broker closed the channel: {code} {text}")]
    ChannelClosed {
        /// The reply code's number.
        code: u16,
        /// What the broker says.
        text: ShortStr,
    },
    /// The broker closed the connection.
    #[error("the broker closed the connection: {code} {text}")]
    ClosedByBroker {
        /// The reply code's number.
        code: u16,
        /// What the broker says.
        text: ShortStr,
    },
    /// The connection broke. For a request: it is not known whether it was carried out.
    #[error("the connection was lost: {reason}")]
    ConnectionLost {
        /// How it broke.
        reason: String,
    },
    /// The broker has been silent for two heartbeat intervals.
    #[error("the broker was silent for {silence:?}, two heartbeat intervals; it or the network is gone")]
    HeartbeatMissed {
        /// How long nothing came.
        silence: Duration,
    },
    /// The broker said something that the protocol does not allow.
    #[error("the broker broke the protocol: {problem}; please report this")]
    Protocol {
        /// What it said.
        problem: String,
    },
    /// Reconnecting was given up.
    #[error("gave up reconnecting after {attempts} attempts; the last one: {last}")]
    GaveUp {
        /// How often it was tried.
        attempts: usize,
        /// Why the last attempt failed.
        last: Arc<Error>,
    },
    /// The client has been closed, by `close()`, by dropping its last handle or by the error it names.
    #[error("the client is closed{}", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Closed {
        /// The error that closed it; none when it was closed on purpose.
        why: Option<Arc<Error>>,
    },
    /// A message larger than the broker takes.
    #[error(
        "the message has {size} bytes, and the broker takes at most {limit}; send it in parts or by reference"
    )]
    MessageTooLarge {
        /// Body, properties and framing, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Properties of a message, or arguments of a request, beyond what the protocol carries. Nothing was sent.
    #[error("cannot {what}: {problem}")]
    Unsendable {
        /// What was asked for: `declare queue "tasks"`.
        what: String,
        /// What is too large, and what to do about it.
        problem: String,
    },
    /// The message was not accepted, and the caller asked for nothing less.
    #[error("the message was not confirmed: {0}")]
    NotConfirmed(Outcome),
    /// The delivery came over a connection that is gone; the broker has given the message to somebody again.
    #[error(
        "the delivery is from a lost connection and cannot be settled; the message will be delivered again"
    )]
    StaleDelivery,
    /// The broker ended the consumer.
    #[error("the broker ended the consumer of queue {queue:?}: {reason}")]
    ConsumerCancelled {
        /// The queue.
        queue: ShortStr,
        /// Why: usually because the queue was deleted.
        reason: ShortStr,
    },
    /// A reply was asked for, and the message does not say where replies go.
    #[error("the message has no reply-to property, so there is nowhere to reply to")]
    NoReplyAddress,
}

impl Error {
    /// The broker's reply code behind this error, where there is one.
    ///
    /// ```
    /// use rialto_client::{Error, ReplyCode};
    /// let error = Error::Refused { what: "purge".into(), code: 404, text: Default::default() };
    /// assert_eq!(error.reply_code(), Some(ReplyCode::NotFound));
    /// ```
    pub fn reply_code(&self) -> Option<ReplyCode> {
        match self {
            Error::LoginRefused { code, .. }
            | Error::Refused { code, .. }
            | Error::ChannelClosed { code, .. }
            | Error::ClosedByBroker { code, .. } => ReplyCode::from_number(*code),
            Error::NotConfirmed(Outcome::Rejected { code, .. }) => ReplyCode::from_number(*code),
            Error::NotConfirmed(Outcome::Unroutable { .. }) => Some(ReplyCode::NoRoute),
            Error::GaveUp { last, .. } => last.reply_code(),
            Error::Closed { why: Some(why) } => why.reply_code(),
            _ => None,
        }
    }

    /// Whether the client has ended for good: nothing on it will ever succeed again.
    pub fn is_final(&self) -> bool {
        matches!(self, Error::Closed { .. })
    }

    /// Whether a new connection would only meet the same end: the credentials, or a disagreement about the
    /// protocol, do not change by trying again. A restarting or overloaded broker does.
    pub(crate) fn repeats(&self) -> bool {
        match self {
            Error::Incompatible { .. } | Error::Protocol { .. } | Error::InvalidTls { .. } => true,
            Error::LoginRefused { code, .. } | Error::ClosedByBroker { code, .. } => !matches!(
                ReplyCode::from_number(*code),
                Some(
                    ReplyCode::Success
                        | ReplyCode::ConnectionForced
                        | ReplyCode::ResourceError
                        | ReplyCode::InternalError
                )
            ),
            _ => false,
        }
    }
}

/// Takes a name of at most 255 bytes, or says what is too long.
pub(crate) fn short(what: &'static str, text: impl AsRef<str>) -> Result<ShortStr> {
    ShortStr::new(text).map_err(|too_long| Error::NameTooLong { what, len: too_long.len })
}
