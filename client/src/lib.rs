//! The async client bundled with the Rialto message broker.
//!
//! - [`Client`]: one connection, kept alive; it restores everything when it was lost.
//! - [`Exchange`], [`Queue`]: typed builders to declare, bind, describe, delete.
//! - [`Publisher`]: confirms as futures ([`Confirm`]), batches, back-pressure.
//! - [`Consumer`]: a stream of [`Delivery`]; ack, requeue, reject; drop means requeue.
//! - [`Rpc`]: requests with replies.
//! - [`Events`], [`ConnectionState`]: what happens to the connection.
//!
//! Every future here is cancel-safe, and everything that waits ends, with an [`Error`] that says why, when the
//! connection ends for good. The client speaks the native protocol (`rialto-protocol`'s `SPEC.md`) and knows
//! nothing else of the broker.
//!
//! ```
//! use rialto_client::{Client, Message};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let broker = rialto::server::Embedded::start(rialto::broker::Broker::in_memory().build()).await?;
//! # let url = broker.url();
//! // rialto://guest:guest@localhost:5672/
//! let client = Client::connect(&url).await?;
//! client.exchange("orders").topic().durable().declare().await?;
//! client.queue("eu").durable().declare().await?;
//! client.queue("eu").bind("orders", "eu.#").await?;
//!
//! let publisher = client.publisher("orders", "eu.new")?;
//! publisher.publish(Message::new("order 1").persistent()).await?.await?.accepted()?;
//!
//! let mut orders = client.consume("eu").prefetch(10).start().await?;
//! if let Some(order) = orders.next().await {
//!     order?.ack()?;
//! }
//! client.close().await?;
//! # Ok(()) }
//! ```

mod address;
mod client;
mod confirm;
mod connection;
mod consumer;
mod delivery;
mod error;
mod events;
mod message;
mod options;
mod publisher;
mod rpc;
mod tls;
mod topology;

pub use address::{Address, DEFAULT_PORT, DEFAULT_TLS_PORT};
pub use client::{Client, ClientBuilder, Returns};
pub use confirm::{BatchConfirm, BatchFailure, BatchOutcome, Confirm, Outcome, Returned};
pub use consumer::{
    ConsumeBuilder, Consumer, DEFAULT_BUFFER_BYTES, DEFAULT_BUFFER_MESSAGES, DEFAULT_PREFETCH,
};
pub use delivery::{DeliveredMessage, Delivery};
pub use error::{Error, Result};
pub use events::{ConnectionState, EVENTS_KEPT, Event, Events};
pub use message::{MAYBE_DUPLICATE_HEADER, Message};
pub use options::Reconnect;
pub use publisher::Publisher;
pub use rialto_protocol::ReplyCode;
pub use rialto_protocol::types::{FieldTable, FieldValue, Properties, RawProperties, ShortStr};
pub use rpc::Rpc;
pub use topology::{Exchange, ListKind, Listing, Overflow, Queue, QueueInfo};
