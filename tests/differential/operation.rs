//! What a trace is made of. Operations name things, never delivery tags or generated names: those differ between
//! brokers, and a shortened trace must still make sense.

use std::fmt;

use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

/// One step of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Which client connection, from 0.
    pub(crate) link: usize,
    /// Which channel of it. It is opened first if it is closed.
    pub(crate) channel: u16,
    pub(crate) operation: Operation,
}

/// How a queue is declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct QueueForm {
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
    pub(crate) arguments: FieldTable,
}

/// How an exchange is declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExchangeForm {
    pub(crate) kind: &'static str,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: FieldTable,
}

/// A message to publish. Its body is made from the step's number, so that every message is known by its body.
#[derive(Clone)]
pub(crate) struct Publication {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
    pub(crate) properties: Properties,
    /// How long the body is, filled up behind its number; 0 is empty.
    pub(crate) body_len: usize,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.exchange, self.routing_key)?;
        for (is_set, name) in [(self.mandatory, " mandatory"), (self.immediate, " immediate")] {
            f.write_str(if is_set { name } else { "" })?;
        }
        write!(f, " {} bytes {}", self.body_len, compact(&self.properties))
    }
}

/// Properties without those that are not there.
pub(crate) fn compact(properties: &Properties) -> String {
    let full = format!("{properties:#?}");
    let is_set = |line: &&str| !line.ends_with(": None,");
    full.lines().filter(is_set).map(str::trim).collect::<Vec<_>>().join(" ")
}

impl Publication {
    /// Whether a broker refuses it whatever exists: it ends its channel or its connection.
    pub(crate) fn is_refused(&self) -> bool {
        self.immediate || ["i", "nowhere"].contains(&self.exchange.as_str()) || self.defects() > 0
    }

    /// How many of its properties are refused.
    pub(crate) fn defects(&self) -> usize {
        let Properties { expiration, user_id, headers, .. } = &self.properties;
        let is_time = |text: &ShortStr| {
            !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_copied_badly = |name: &&&str| {
            let keys = headers.as_ref().and_then(|headers| headers.get(name));
            keys.is_some_and(|keys| !matches!(keys, FieldValue::Array(_)))
        };
        let is_late = expiration.as_ref().is_some_and(|text| !is_time(text));
        let is_other = user_id.as_ref().is_some_and(|user| user.as_str() != "guest");
        let copied_badly = ["CC", "BCC"].iter().filter(is_copied_badly).count();
        usize::from(is_late) + usize::from(is_other) + copied_badly
    }
}

/// What happens to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ack,
    Nack { requeue: bool },
    Reject { requeue: bool },
}

/// What is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One of the channel's unsettled deliveries, counted round from the first; nothing if there is none.
    Nth(usize),
    /// Tag 0.
    Zero,
    /// A tag that was never given out.
    Unknown,
}

/// One thing that a client does. The name `$k` is the k-th name the broker has made up.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    DeclareQueue {
        queue: String,
        form: QueueForm,
        passive: bool,
        no_wait: bool,
    },
    DeclareExchange {
        exchange: String,
        form: ExchangeForm,
        passive: bool,
        no_wait: bool,
    },
    DeleteQueue {
        queue: String,
        if_unused: bool,
        if_empty: bool,
        no_wait: bool,
    },
    DeleteExchange {
        exchange: String,
        if_unused: bool,
        no_wait: bool,
    },
    Bind {
        queue: String,
        exchange: String,
        routing_key: String,
        arguments: FieldTable,
        no_wait: bool,
    },
    Unbind {
        queue: String,
        exchange: String,
        routing_key: String,
        arguments: FieldTable,
    },
    BindExchange {
        destination: String,
        source: String,
        routing_key: String,
        arguments: FieldTable,
        no_wait: bool,
    },
    UnbindExchange {
        destination: String,
        source: String,
        routing_key: String,
        arguments: FieldTable,
        no_wait: bool,
    },
    Purge {
        queue: String,
        no_wait: bool,
    },
    /// Pipelined, in order.
    Publish(Vec<Publication>),
    /// To a queue of which it is known that it is empty and nobody consumes: a message that expires at once.
    PublishExpired {
        queue: String,
    },
    Get {
        queue: String,
        no_ack: bool,
    },
    Consume {
        queue: String,
        tag: String,
        no_ack: bool,
        exclusive: bool,
        no_local: bool,
        no_wait: bool,
        arguments: FieldTable,
    },
    Cancel {
        tag: String,
        no_wait: bool,
    },
    Qos {
        size: u32,
        count: u16,
        global: bool,
    },
    Settle {
        target: Target,
        verdict: Verdict,
        multiple: bool,
    },
    Recover {
        requeue: bool,
        asynchronous: bool,
    },
    SelectConfirms {
        no_wait: bool,
    },
    SelectTx,
    Commit,
    Rollback,
    Flow {
        active: bool,
    },
    OpenAgain,
    CloseChannel,
    /// A method on a channel that nobody has opened.
    UseClosed,
    CloseConnection,
}

impl Operation {
    /// Whether this ends the connection on a broker of RabbitMQ's kind. The others of its channels are then closed
    /// before, one by one: channels that die together race with each other.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Operation::Publish(publications) => publications.iter().any(|publication| publication.immediate),
            Operation::Qos { size, .. } => *size != 0,
            Operation::Recover { requeue, .. } => !requeue,
            Operation::Flow { active } => !active,
            Operation::OpenAgain | Operation::UseClosed | Operation::CloseConnection => true,
            Operation::DeclareExchange { form, passive, .. } => {
                !passive && !EXCHANGE_TYPES.contains(&form.kind)
            }
            // A consumer tag twice is one: whether it is here, the runner knows.
            _ => false,
        }
    }

    /// Whether this is not said on the step's own channel, which can then be closed before.
    pub(crate) fn leaves_channel(&self) -> bool {
        matches!(self, Operation::UseClosed | Operation::CloseConnection)
    }
}

/// The types that every broker has.
pub(crate) const EXCHANGE_TYPES: [&str; 4] = ["direct", "fanout", "topic", "headers"];
