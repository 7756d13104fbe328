//! A queue: declared, bound, read from without a consumer, purged, described, deleted.

use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Request, Response};
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::{Draft, count, done, info, requested};
use crate::client::Handle;
use crate::connection::unexpected;
use crate::delivery::Delivery;
use crate::error::{Error, Result};

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Drops (or dead-letters) the oldest message.
    DropHead,
    /// Rejects the new message; its publisher is told.
    RejectPublish,
    /// Rejects the new message and dead-letters it.
    RejectPublishDeadLetter,
}

impl Overflow {
    fn name(self) -> &'static str {
        match self {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDeadLetter => "reject-publish-dlx",
        }
    }
}

/// A queue that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its name, made by the broker if none was given.
    pub name: ShortStr,
    /// Ready messages.
    pub messages: u64,
    /// Consumers.
    pub consumers: u32,
}

/// A queue by name, with the options it would be declared with. Nothing happens until one of the `async`
/// methods is awaited; each of them may be used on its own.
///
/// What is declared and bound here is restored after a reconnect.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = rialto::server::Embedded::start(rialto::broker::Broker::in_memory().build()).await?;
/// # let client = rialto_client::Client::connect(&broker.url()).await?;
/// use std::time::Duration;
/// use rialto_client::Overflow;
/// # client.exchange("orders").topic().declare().await?;
/// # client.exchange("failed").declare().await?;
/// client
///     .queue("tasks")
///     .durable()
///     .max_priority(5)
///     .message_ttl(Duration::from_secs(3600))
///     .dead_letter("failed")
///     .max_length(100_000)
///     .overflow(Overflow::RejectPublish)
///     .declare()
///     .await?;
/// client.queue("tasks").bind("orders", "eu.#").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens to the queue until declare().await or another request"]
pub struct Queue {
    handle: Arc<Handle>,
    draft: Draft,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
}

impl Queue {
    pub(crate) fn new(handle: Arc<Handle>, name: &str) -> Self {
        let draft = Draft::new("queue name", name);
        Queue { handle, draft, durable: false, exclusive: false, auto_delete: false }
    }

    /// Survives a restart of the broker, and so do its persistent messages.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// For this connection only, and deleted with it. A reconnect makes it anew, empty.
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Deleted when its last consumer goes.
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// Messages have priorities up to this.
    pub fn max_priority(self, priority: u8) -> Self {
        self.argument("x-max-priority", i32::from(priority))
    }

    /// How long messages wait, at most. Rounded down to milliseconds.
    pub fn message_ttl(self, ttl: Duration) -> Self {
        self.argument("x-message-ttl", milliseconds(ttl))
    }

    /// Deletes the queue when it was not used for this long. Rounded down to milliseconds.
    pub fn expires(self, after: Duration) -> Self {
        self.argument("x-expires", milliseconds(after))
    }

    /// The exchange that rejected, expired and dropped messages go to.
    pub fn dead_letter(self, exchange: &str) -> Self {
        self.argument("x-dead-letter-exchange", exchange)
    }

    /// The routing key of dead letters; their own if it is not given.
    pub fn dead_letter_key(self, routing_key: &str) -> Self {
        self.argument("x-dead-letter-routing-key", routing_key)
    }

    /// Most ready messages.
    pub fn max_length(self, messages: u64) -> Self {
        self.argument("x-max-length", number(messages))
    }

    /// Most bytes in the bodies of ready messages.
    pub fn max_length_bytes(self, bytes: u64) -> Self {
        self.argument("x-max-length-bytes", number(bytes))
    }

    /// What happens when it is full.
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.argument("x-overflow", overflow.name())
    }

    /// One consumer at a time; the next takes over when it goes.
    pub fn single_active_consumer(self) -> Self {
        self.argument("x-single-active-consumer", true)
    }

    /// Failed deliveries of a message before it is dead-lettered.
    pub fn delivery_limit(self, deliveries: u32) -> Self {
        self.argument("x-delivery-limit", i64::from(deliveries))
    }

    /// Any other argument.
    pub fn argument(mut self, name: &str, value: impl Into<FieldValue>) -> Self {
        self.draft.argument(name, value);
        self
    }

    /// Creates it, or checks that it exists with the same options.
    ///
    /// # Errors
    /// [`Error::Refused`] (406 if it exists and is different, 405 if it is another connection's),
    /// [`Error::NameTooLong`], [`Error::Unsendable`] for arguments of more than 64 KiB, [`Error::Timeout`].
    pub async fn declare(self) -> Result<QueueInfo> {
        let request = self.request(false)?;
        declared(self.handle.shared.request(request).await?)
    }

    /// The queue as it is now; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Queue::declare`].
    pub async fn exists(self) -> Result<Option<QueueInfo>> {
        let request = self.request(true)?;
        match self.handle.shared.request(request).await {
            Ok(response) => declared(response).map(Some),
            Err(error @ Error::Refused { .. }) if error.reply_code() == Some(ReplyCode::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Routes messages of an exchange whose key matches into this queue.
    ///
    /// # Errors
    /// [`Error::Refused`] (404 if one of them does not exist), [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn bind(&self, exchange: &str, routing_key: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        self.bind_with(exchange, routing_key, FieldTable::new())
    }

    /// [`Queue::bind`] with arguments, as headers exchanges need them.
    ///
    /// # Errors
    /// As [`Queue::bind`], and [`Error::Unsendable`] for arguments of more than 64 KiB.
    pub fn bind_with(
        &self,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let binding = self.draft.binding(exchange, routing_key, arguments);
        requested(&self.handle, binding.map(Request::BindQueue), done)
    }

    /// Undoes [`Queue::bind`].
    ///
    /// # Errors
    /// As [`Queue::bind`].
    pub fn unbind(
        &self,
        exchange: &str,
        routing_key: &str,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        self.unbind_with(exchange, routing_key, FieldTable::new())
    }

    /// Undoes [`Queue::bind_with`].
    ///
    /// # Errors
    /// As [`Queue::bind`].
    pub fn unbind_with(
        &self,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let binding = self.draft.binding(exchange, routing_key, arguments);
        requested(&self.handle, binding.map(Request::UnbindQueue), done)
    }

    /// Takes one message without a consumer; `None` if there is none ready. Cancel-safe: a message that
    /// arrives when nobody waits any more goes back. Not repeated when the connection breaks.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::ConnectionLost`], [`Error::Timeout`].
    pub fn get(&self) -> impl Future<Output = Result<Option<Delivery>>> + Send + use<> {
        let (handle, queue) = (self.handle.clone(), self.draft.checked_name());
        async move { handle.shared.get(Request::Get { queue: queue?, auto_ack: false }).await }
    }

    /// Removes the ready messages; returns how many.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn purge(&self) -> impl Future<Output = Result<u64>> + Send + use<> {
        let name = self.draft.checked_name();
        requested(&self.handle, name.map(|name| Request::PurgeQueue { name }), count)
    }

    /// Deletes it; returns how many ready messages went with it. Deleting what does not exist is fine.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn delete(&self) -> impl Future<Output = Result<u64>> + Send + use<> {
        self.delete_as(false, false)
    }

    /// Deletes it, unless it has consumers.
    ///
    /// # Errors
    /// As [`Queue::delete`]; 406 if it has consumers.
    pub fn delete_if_unused(&self) -> impl Future<Output = Result<u64>> + Send + use<> {
        self.delete_as(true, false)
    }

    /// Deletes it, unless it has messages.
    ///
    /// # Errors
    /// As [`Queue::delete`]; 406 if it has messages.
    pub fn delete_if_empty(&self) -> impl Future<Output = Result<u64>> + Send + use<> {
        self.delete_as(false, true)
    }

    /// What the broker knows about it, by name.
    ///
    /// # Errors
    /// [`Error::Refused`] (404 if it does not exist), [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn info(&self) -> impl Future<Output = Result<FieldTable>> + Send + use<> {
        let name = self.draft.checked_name();
        requested(&self.handle, name.map(|name| Request::QueueInfo { name }), info)
    }

    fn delete_as(&self, if_unused: bool, if_empty: bool) -> impl Future<Output = Result<u64>> + Send + use<> {
        let name = self.draft.checked_name();
        let request = name.map(|name| Request::DeleteQueue { name, if_unused, if_empty });
        requested(&self.handle, request, count)
    }

    fn request(&self, passive: bool) -> Result<Request> {
        Ok(Request::DeclareQueue {
            name: self.draft.checked_name()?,
            passive,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            arguments: self.draft.arguments.clone(),
        })
    }
}

fn declared(response: Response) -> Result<QueueInfo> {
    match response {
        Response::QueueDeclared { name, messages, consumers } => Ok(QueueInfo { name, messages, consumers }),
        other => Err(unexpected(&other)),
    }
}

/// Numbers in arguments are signed on the wire.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
