//! Every command of the native protocol, as values. `SPEC.md` is normative; `codec` turns them into bytes.
//!
//! Invariants: a [`Command`] is complete and checked (names are short strings, flags are known); message
//! runs stay encoded and are walked with [`super::Entry`]. Not here: in which state a command is legal.

use std::fmt;

use bytes::Bytes;

use crate::types::{FieldTable, ShortStr};

/// A frame: a command and the channel it is for (0: the connection itself).
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The channel number; 0 for commands of the connection.
    pub channel: u16,
    /// What is said.
    pub command: Command,
}

/// Everything that can be said in a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    // Connection (channel 0).
    /// Client: who I am and which limits I would like.
    Login(Login),
    /// Server: the SASL mechanism wants more.
    Challenge(Bytes),
    /// Client: the answer to a challenge.
    ChallengeResponse(SaslResponse),
    /// Server: logged in; these limits hold.
    Welcome(Welcome),
    /// Either: the connection ends, for this reason.
    Close(Closing),
    /// Either: the answer to `Close`; the sender says nothing more.
    CloseOk,
    /// Either: I am alive.
    Heartbeat,
    /// Server: you may publish this many more bytes of frames.
    PublishCredit(u32),
    /// Server: publish credit is withheld for this reason (informs; the credit is what binds).
    Blocked(ShortStr),
    /// Server: publish credit flows again.
    Unblocked,

    // Channels.
    /// Client: open this channel.
    OpenChannel {
        /// Repeated in the answer.
        correlation: u32,
    },
    /// Client: close this channel; its consumers end and its unacked messages go back.
    CloseChannel {
        /// Repeated in the answer.
        correlation: u32,
    },
    /// Server: the channel was closed by an error; commands for it are ignored until it is opened again.
    ChannelClosed(Closing),

    // Requests and answers.
    /// Client: do this and answer.
    Request {
        /// Chosen by the client, repeated in the answer. Requests are carried out in order.
        correlation: u32,
        /// What to do.
        request: Request,
    },
    /// Server: done.
    Response {
        /// The request's.
        correlation: u32,
        /// What came of it.
        response: Response,
    },
    /// Server: not done. The channel stays open.
    Failure {
        /// The request's.
        correlation: u32,
        /// A number of [`crate::ReplyCode`].
        code: u16,
        /// What, where and what to do.
        text: ShortStr,
    },

    // Publishing.
    /// Client: from now on this number means this exchange and routing key, on this channel.
    DefineRoute {
        /// Chosen by the client, from 1 up to the limit in [`Welcome`]; may be redefined.
        route: u32,
        /// The exchange.
        exchange: ShortStr,
        /// The routing key.
        routing_key: ShortStr,
    },
    /// Client: messages.
    Publish(Publish),
    /// Server: what became of published messages.
    Outcomes(Vec<OutcomeRange>),
    /// Server: a mandatory message that reached no queue.
    Returned(Returned),

    // Consuming.
    /// Client: this consumer may be sent more.
    Credit {
        /// The consumer.
        consumer: u32,
        /// More messages.
        messages: u32,
        /// More bytes of entries.
        bytes: u32,
    },
    /// Server: messages for a consumer.
    Deliver(Deliver),
    /// Client: this becomes of delivered messages.
    Settle(Settle),
    /// Server: the consumer has ended, for this reason (its queue was deleted).
    ConsumerCancelled {
        /// The consumer.
        consumer: u32,
        /// Why.
        reason: ShortStr,
    },
}

/// The client's first frame. `Debug` does not show the response: there may be a password in it.
#[derive(Clone, PartialEq)]
pub struct Login {
    /// SASL mechanism (`PLAIN`).
    pub mechanism: ShortStr,
    /// The mechanism's first message.
    pub response: Bytes,
    /// The vhost to work in (`/`).
    pub vhost: ShortStr,
    /// Longest frame the client takes, in bytes after the length field; 0: the server's choice.
    pub frame_max: u32,
    /// Wished time between heartbeats in milliseconds; 0: none.
    pub heartbeat_ms: u32,
    /// Who is calling: `product`, `version`, `connection_name`, …
    pub properties: FieldTable,
}

/// What a client answers to a challenge of its SASL mechanism. `Debug` does not show it: with the rest of the exchange,
/// passwords can be tried against it.
#[derive(Clone, PartialEq)]
pub struct SaslResponse(pub Bytes);

impl From<Bytes> for SaslResponse {
    fn from(bytes: Bytes) -> Self {
        SaslResponse(bytes)
    }
}

impl fmt::Debug for SaslResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("mechanism", &self.mechanism)
            .field("response", &format_args!("(secret)"))
            .field("vhost", &self.vhost)
            .field("frame_max", &self.frame_max)
            .field("heartbeat_ms", &self.heartbeat_ms)
            .field("properties", &self.properties)
            .finish()
    }
}

/// The server's answer to a good login.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// Longest frame either side may send, in bytes after the length field.
    pub frame_max: u32,
    /// Highest channel number.
    pub channel_max: u16,
    /// Highest route number of a channel.
    pub route_max: u32,
    /// Time between heartbeats in milliseconds; a peer silent for two of them is gone. 0: none.
    pub heartbeat_ms: u32,
    /// Bytes of publish frames that may be sent before the first `PublishCredit`.
    pub publish_window: u32,
    /// Largest body of one message, in bytes.
    pub message_size_max: u32,
    /// Who is answering: `product`, `version`, `capabilities`, …
    pub properties: FieldTable,
}

/// Why a connection or a channel ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// A number of [`crate::ReplyCode`].
    pub code: u16,
    /// What, where and what to do.
    pub text: ShortStr,
    /// The kind octet of the frame that was wrong; 0 if none was.
    pub kind: u8,
    /// The correlation of the request that was wrong; 0 if none was.
    pub correlation: u32,
}

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Create an exchange, or check that it exists and is the same.
    DeclareExchange {
        /// Its name.
        name: ShortStr,
        /// `direct`, `fanout`, `topic`, `headers`; ignored when passive.
        kind: ShortStr,
        /// Only check that it exists.
        passive: bool,
        /// Survives a restart.
        durable: bool,
        /// Deleted when its last binding goes.
        auto_delete: bool,
        /// Takes messages from other exchanges only.
        internal: bool,
        /// `alternate-exchange`, …
        arguments: FieldTable,
    },
    /// Delete an exchange.
    DeleteExchange {
        /// Its name.
        name: ShortStr,
        /// Refuse when it has bindings.
        if_unused: bool,
    },
    /// Route from one exchange into another.
    BindExchange(Binding),
    /// Undo `BindExchange`.
    UnbindExchange(Binding),
    /// Create a queue, or check that it exists and is the same. Answered with `QueueDeclared`.
    DeclareQueue {
        /// Its name; empty: the server makes one.
        name: ShortStr,
        /// Only check that it exists.
        passive: bool,
        /// Survives a restart.
        durable: bool,
        /// For this connection only, and deleted with it.
        exclusive: bool,
        /// Deleted when its last consumer goes.
        auto_delete: bool,
        /// `x-message-ttl`, `x-max-priority`, …
        arguments: FieldTable,
    },
    /// Delete a queue. Answered with the `Count` of messages that went with it.
    DeleteQueue {
        /// Its name.
        name: ShortStr,
        /// Refuse when it has consumers.
        if_unused: bool,
        /// Refuse when it has messages.
        if_empty: bool,
    },
    /// Route from an exchange into a queue.
    BindQueue(Binding),
    /// Undo `BindQueue`.
    UnbindQueue(Binding),
    /// Remove the ready messages. Answered with their `Count`.
    PurgeQueue {
        /// The queue.
        name: ShortStr,
    },
    /// Start a consumer. Answered with `Consuming`.
    Consume(Consume),
    /// End a consumer. What it has unacked stays with the channel.
    Cancel {
        /// The consumer.
        consumer: u32,
    },
    /// Take one message without a consumer. Answered with `Got` or `Empty`.
    Get {
        /// The queue.
        queue: ShortStr,
        /// Settled as soon as it is sent.
        auto_ack: bool,
    },
    /// Limit the unacked messages of all consumers of this channel together; 0: no limit.
    SetPrefetch {
        /// The limit.
        messages: u32,
    },
    /// Facts about a queue. Answered with `Info`.
    QueueInfo {
        /// The queue.
        name: ShortStr,
    },
    /// Facts about an exchange. Answered with `Info`.
    ExchangeInfo {
        /// The exchange.
        name: ShortStr,
    },
    /// A page of what exists. Answered with `Page`.
    List {
        /// Of what.
        what: ListOf,
        /// Where the page starts: empty, or `next` of the page before.
        after: Bytes,
        /// At most so many rows.
        limit: u32,
    },
}

/// Source, destination and what to match.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange that messages come from.
    pub source: ShortStr,
    /// The queue or exchange that they go to.
    pub destination: ShortStr,
    /// The binding key.
    pub routing_key: ShortStr,
    /// What headers exchanges match.
    pub arguments: FieldTable,
}

/// How to consume.
#[derive(Clone, Debug, PartialEq)]
pub struct Consume {
    /// The queue.
    pub queue: ShortStr,
    /// The consumer's number on this channel, chosen by the client, from 1.
    pub consumer: u32,
    /// The consumer's name; empty: the server makes one.
    pub tag: ShortStr,
    /// Messages are settled as soon as they are sent.
    pub auto_ack: bool,
    /// Refuse if there are other consumers, and refuse them later.
    pub exclusive: bool,
    /// Most unacked messages; 0: no limit. Means nothing with `auto_ack`.
    pub prefetch: u32,
    /// Messages and bytes that may be sent before the first `Credit`; none: credit is not used.
    pub credit: Option<(u32, u32)>,
    /// `x-priority`, …
    pub arguments: FieldTable,
}

/// What a [`Request::List`] lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOf {
    /// Queues.
    Queues,
    /// Exchanges.
    Exchanges,
    /// Bindings.
    Bindings,
    /// Connections.
    Connections,
    /// Consumers.
    Consumers,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// It is done.
    Done,
    /// So many messages.
    Count(u64),
    /// A queue exists.
    QueueDeclared {
        /// Its name, made by the server if none was given.
        name: ShortStr,
        /// Ready messages.
        messages: u64,
        /// Consumers.
        consumers: u32,
    },
    /// A consumer was started.
    Consuming {
        /// Its name, made by the server if none was given.
        tag: ShortStr,
    },
    /// A message taken with `Get`. Settle it with consumer 0 and this tag.
    Got {
        /// The delivery tag among the channel's gets.
        tag: u64,
        /// Ready messages left.
        remaining: u64,
        /// The message.
        run: DeliveredRun,
    },
    /// No message to `Get`.
    Empty,
    /// Facts by name.
    Info(FieldTable),
    /// Rows of a list.
    Page {
        /// The rows.
        rows: Vec<FieldTable>,
        /// Where the next page starts; empty: this was the last.
        next: Bytes,
    },
}

/// Messages being published.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The sequence number of the first message: one more than the last of this channel; starts at 1.
    pub first: u64,
    /// The publisher wants `Outcomes` for these.
    pub outcomes: bool,
    /// Encoded runs; walk them with [`Publish::runs`].
    pub runs: Bytes,
}

/// Messages for one route, inside a [`Publish`].
#[derive(Clone, Debug, PartialEq)]
pub struct PublishRun {
    /// Where they go.
    pub route: Route,
    /// Return those that reach no queue.
    pub mandatory: bool,
    /// How many entries there are.
    pub count: u32,
    /// The entries, back to back, as [`super::Entry`] reads them.
    pub entries: Bytes,
}

/// An exchange and a routing key, by number or spelt out.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// A number from `DefineRoute`.
    Defined(u32),
    /// Spelt out.
    Inline {
        /// The exchange.
        exchange: ShortStr,
        /// The routing key.
        routing_key: ShortStr,
    },
}

/// What became of a range of published messages.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeRange {
    /// First sequence number.
    pub first: u64,
    /// Last sequence number.
    pub last: u64,
    /// What became of them.
    pub outcome: Outcome,
}

/// What became of a published message.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// In every queue it was routed to, as safe as those queues promise.
    Confirmed,
    /// Routed to no queue, and dropped (or returned).
    Unroutable,
    /// Refused; it is in no queue that refused it.
    Rejected {
        /// A number of [`crate::ReplyCode`].
        code: u16,
        /// Why.
        reason: ShortStr,
    },
    /// One with its deduplication key was published before, and it is not stored again.
    Duplicate,
}

/// A mandatory message that comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// Its sequence number.
    pub sequence: u64,
    /// A number of [`crate::ReplyCode`].
    pub code: u16,
    /// Why.
    pub text: ShortStr,
    /// The message, one entry.
    pub run: DeliveredRun,
}

/// Messages for a consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Deliver {
    /// The consumer.
    pub consumer: u32,
    /// Tag of the first message; the others count up from it. Tags are the consumer's own and start at 1.
    pub first_tag: u64,
    /// Encoded runs; walk them with [`Deliver::runs`].
    pub runs: Bytes,
}

/// Messages with one exchange and routing key, inside a [`Deliver`].
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveredRun {
    /// The exchange they were published to.
    pub exchange: ShortStr,
    /// The routing key they were published with.
    pub routing_key: ShortStr,
    /// How many entries there are.
    pub count: u32,
    /// The entries, back to back, as [`super::Entry`] reads them.
    pub entries: Bytes,
}

/// What becomes of delivered messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Settle {
    /// The consumer; 0 for messages from `Get`.
    pub consumer: u32,
    /// What becomes of them.
    pub settlement: Settlement,
    /// Inclusive ranges of tags. Tags settled before are passed over; one never delivered closes the channel.
    pub ranges: Vec<(u64, u64)>,
}

/// What becomes of a delivered message.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Done with it.
    Ack,
    /// Back to its old place in the queue.
    Requeue,
    /// Not wanted: to the dead-letter exchange, if the queue has one.
    Reject {
        /// Told along with the dead letter; may be empty.
        reason: ShortStr,
    },
}
