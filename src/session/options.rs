//! What a session offers and allows. `broker.toml` documents each setting.

use std::time::Duration;

use rialto_protocol::native;

use super::amqp::Greeting;

/// Limits of a connection.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Longest frame after login, in bytes after its length field.
    pub frame_max: u32,
    /// Longest frame before login.
    pub login_frame_max: u32,
    /// Largest body of a message, in bytes.
    pub message_size_max: u32,
    /// Highest channel number.
    pub channel_max: u16,
    /// Highest route number of a channel.
    pub route_max: u32,
    /// Most routes that a connection remembers of those that are spelt out with each message.
    pub route_cache: usize,
    /// Most consumers on a channel.
    pub consumers_max: usize,
    /// Most consumers of a connection, over all its channels: each may have a little waiting in the outbox.
    pub connection_consumers_max: usize,
    /// Time between heartbeats that is offered; none: no heartbeats unless the client wishes them.
    pub heartbeat: Option<Duration>,
    /// Time within which a client must have logged in.
    pub handshake_timeout: Duration,
    /// Bytes of publish frames a connection may have under way.
    pub publish_window: u32,
    /// Most rows in a page of a list.
    pub page_rows_max: u32,
    /// What holds for AMQP connections only.
    pub amqp: AmqpOptions,
}

/// What holds for AMQP connections only.
#[derive(Clone, Debug)]
pub struct AmqpOptions {
    /// Longest frame that is offered, its 8 bytes of framing included.
    pub frame_max: u32,
    /// Time between heartbeats that is offered, in whole seconds; none: no heartbeats unless the client wishes them.
    pub heartbeat: Option<Duration>,
    /// What the broker says of itself.
    pub greeting: Greeting,
    /// How long a consumer may hold a message without settling it; none: for ever. Queues and consumers may say
    /// otherwise with `x-consumer-timeout`.
    pub consumer_timeout: Option<Duration>,
    /// Bytes of a connection's messages that no queue has yet: bodies that are still arriving, and transactions.
    pub uncommitted_max: u64,
}

impl SessionOptions {
    /// Most messages in one `Publish` frame. A few bytes can be a message, and what each of them makes the broker
    /// hold or send back (its place in a queue, its outcome, a return with long names) is more.
    pub const PUBLISH_MESSAGES_MAX: u32 = 65_536;
    /// How long a peer may take to answer `Close`.
    pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            frame_max: native::FRAME_MAX_DEFAULT,
            login_frame_max: native::LOGIN_FRAME_MAX,
            message_size_max: 16 << 20,
            channel_max: 2047,
            route_max: 65_536,
            route_cache: 16_384,
            consumers_max: 1000,
            connection_consumers_max: 10_000,
            heartbeat: Some(Duration::from_secs(30)),
            handshake_timeout: Duration::from_secs(10),
            publish_window: 2 << 20,
            page_rows_max: native::PAGE_ROWS_MAX,
            amqp: AmqpOptions::default(),
        }
    }
}

impl Default for AmqpOptions {
    fn default() -> Self {
        AmqpOptions {
            frame_max: 131_072,
            heartbeat: Some(Duration::from_secs(60)),
            greeting: Greeting::default(),
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            uncommitted_max: 64 << 20,
        }
    }
}
