//! What each operation needs to be allowed: RabbitMQ's rules, here and nowhere else.
//!
//! They are the table of RabbitMQ's "Access Control" and what `rabbit_channel` does. What is not listed needs nothing:
//! passive declares, acknowledgements, transactions, direct reply-to.

use super::permission::Right;

/// The name that permissions know the default exchange by.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// A queue or an exchange, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A queue.
    Queue(&'a str),
    /// An exchange; empty: the default exchange.
    Exchange(&'a str),
}

impl<'a> Resource<'a> {
    /// `queue` or `exchange`.
    pub const fn kind(self) -> &'static str {
        match self {
            Resource::Queue(_) => "queue",
            Resource::Exchange(_) => "exchange",
        }
    }

    /// The name that permissions are asked for, and that refusals tell.
    pub fn name(self) -> &'a str {
        match self {
            Resource::Exchange("") => DEFAULT_EXCHANGE,
            Resource::Queue(name) | Resource::Exchange(name) => name,
        }
    }
}

/// What a user wants to do in a vhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// To declare an exchange, not passively. To name an alternate exchange is to publish there.
    DeclareExchange {
        /// Its name.
        exchange: &'a str,
        /// The exchange that its argument `alternate-exchange` names. RabbitMQ asks only if the exchange is new.
        alternate: Option<&'a str>,
    },
    /// To delete an exchange.
    DeleteExchange {
        /// Its name.
        exchange: &'a str,
    },
    /// To declare a queue, not passively. To name a dead-letter exchange is to publish there.
    DeclareQueue {
        /// Its name; that which the broker has made, if it was to make one.
        queue: &'a str,
        /// The exchange that its argument `x-dead-letter-exchange` names. RabbitMQ asks only if the queue is new.
        dead_letter_exchange: Option<&'a str>,
    },
    /// To delete a queue.
    DeleteQueue {
        /// Its name.
        queue: &'a str,
    },
    /// To drop what waits in a queue.
    PurgeQueue {
        /// Its name.
        queue: &'a str,
    },
    /// To bind.
    Bind {
        /// The exchange that messages come from.
        source: &'a str,
        /// Where they go.
        destination: Resource<'a>,
        /// The binding's key.
        routing_key: &'a str,
        /// Whether the source is a topic exchange, whose keys may be restricted.
        is_topic: bool,
    },
    /// To take a binding away.
    Unbind {
        /// The exchange that messages come from.
        source: &'a str,
        /// Where they go.
        destination: Resource<'a>,
        /// The binding's key.
        routing_key: &'a str,
        /// Whether the source is a topic exchange, whose keys may be restricted.
        is_topic: bool,
    },
    /// To publish.
    Publish {
        /// The exchange.
        exchange: &'a str,
        /// The routing key.
        routing_key: &'a str,
        /// Whether it is a topic exchange, whose keys may be restricted.
        is_topic: bool,
    },
    /// To consume from a queue.
    Consume {
        /// Its name.
        queue: &'a str,
    },
    /// To get single messages of a queue, or look at them.
    Get {
        /// Its name.
        queue: &'a str,
    },
    /// To hold up or let go the deliveries of a queue: what a consumer of all of it could do.
    PauseQueue {
        /// Its name.
        queue: &'a str,
    },
}

/// One thing that must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// A right to a name.
    Right(Right, Resource<'a>),
    /// A right to a routing key of a topic exchange.
    Topic { right: Right, exchange: &'a str, routing_key: &'a str },
}

impl<'a> Operation<'a> {
    /// What it needs, in the order in which RabbitMQ asks: the first that is missing is told.
    pub(super) fn needs(&self) -> [Option<Need<'a>>; 3] {
        use Resource::{Exchange, Queue};
        use Right::{Configure, Read, Write};
        let need = |right, resource| Some(Need::Right(right, resource));
        let topic = |right, exchange, routing_key, is_topic: bool| {
            is_topic.then_some(Need::Topic { right, exchange, routing_key })
        };
        match *self {
            Operation::DeclareExchange { exchange, alternate } => match alternate {
                Some(alternate) => [
                    need(Configure, Exchange(exchange)),
                    need(Read, Exchange(exchange)),
                    need(Write, Exchange(alternate)),
                ],
                None => [need(Configure, Exchange(exchange)), None, None],
            },
            Operation::DeleteExchange { exchange } => [need(Configure, Exchange(exchange)), None, None],
            Operation::DeclareQueue { queue, dead_letter_exchange } => match dead_letter_exchange {
                Some(exchange) => {
                    [need(Configure, Queue(queue)), need(Read, Queue(queue)), need(Write, Exchange(exchange))]
                }
                None => [need(Configure, Queue(queue)), None, None],
            },
            Operation::DeleteQueue { queue } => [need(Configure, Queue(queue)), None, None],
            Operation::Bind { source, destination, routing_key, is_topic }
            | Operation::Unbind { source, destination, routing_key, is_topic } => [
                need(Write, destination),
                need(Read, Exchange(source)),
                topic(Read, source, routing_key, is_topic),
            ],
            Operation::Publish { exchange, routing_key, is_topic } => {
                [need(Write, Exchange(exchange)), topic(Write, exchange, routing_key, is_topic), None]
            }
            Operation::PurgeQueue { queue }
            | Operation::Consume { queue }
            | Operation::Get { queue }
            | Operation::PauseQueue { queue } => [need(Read, Queue(queue)), None, None],
        }
    }
}
