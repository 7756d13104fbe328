//! Direct reply-to: the hidden queue that carries replies to one channel's requests.
//!
//! A client consumes from `amq.rabbitmq.reply-to`, publishes requests with that as their `reply-to`, and the
//! session puts the name of this queue in its place. Who answers publishes to the default exchange with that name.
//! RabbitMQ has no queue there; ours is a queue like any other, transient, exclusive and auto-delete, so that order,
//! back-pressure and the end of its connection need no second rule.
//!
//! Invariants: its name cannot be guessed, it is in no list, and no client can consume from it, bind or delete it:
//! for them it does not exist (404, as RabbitMQ answers). A declare, passive or not, tells whether it is there.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rialto_protocol::types::ShortStr;

use super::purpose::Purpose;
use super::{BrokerError, QueueCell, Turn, Vhost};
use crate::model::{ConnectionId, QueueName, QueueOptions};

/// The name that clients consume from and put into `reply-to`.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the names of reply queues begin with.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether this is how a reply queue is called.
pub(super) fn is_reply_queue(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl Vhost {
    /// Makes a reply queue for a channel of this connection. It goes with its one consumer (cancelled, or its
    /// channel closed), and at the latest with its connection.
    ///
    /// # Errors
    /// The vhost has as many queues as it may have.
    pub fn declare_reply_queue(
        &self,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<Arc<QueueCell>, BrokerError> {
        let options = QueueOptions { exclusive: true, auto_delete: true, ..QueueOptions::default() };
        let created = self.create_queue(reply_queue_name(), options, Purpose::Replies, by, turn)?;
        Ok(created.queue)
    }
}

/// A name nobody guesses: whoever has it can send to the queue. So from the operating system, not from a generator
/// whose other numbers are seen in the names of queues.
fn reply_queue_name() -> QueueName {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).expect("an operating system that runs has random bytes");
    QueueName::from(ShortStr::truncated(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))))
}
