//! An exchange: declared, bound to others, described, deleted.

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::native::Request;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};

use super::{Draft, done, info, requested};
use crate::client::Handle;
use crate::error::{Error, Result};

/// An exchange by name, with the options it would be declared with. Nothing happens until one of the `async`
/// methods is awaited; each of them may be used on its own.
///
/// What is declared and bound here is restored after a reconnect.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = rialto::server::Embedded::start(rialto::broker::Broker::in_memory().build()).await?;
/// # let client = rialto_client::Client::connect(&broker.url()).await?;
/// client.exchange("orders").topic().durable().declare().await?;
/// client.exchange("audit").fanout().declare().await?;
/// // From `orders` into `audit`.
/// client.exchange("audit").bind("orders", "#").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens to the exchange until declare().await or another request"]
pub struct Exchange {
    handle: Arc<Handle>,
    draft: Draft,
    kind: ShortStr,
    durable: bool,
    auto_delete: bool,
    internal: bool,
}

impl Exchange {
    pub(crate) fn new(handle: Arc<Handle>, name: &str) -> Self {
        let draft = Draft::new("exchange name", name);
        let kind = ShortStr::truncated("direct");
        Exchange { handle, draft, kind, durable: false, auto_delete: false, internal: false }
    }

    /// Routes by equal keys. This is what an exchange is unless another type is chosen.
    pub fn direct(self) -> Self {
        self.kind("direct")
    }

    /// Routes to everything that is bound.
    pub fn fanout(self) -> Self {
        self.kind("fanout")
    }

    /// Routes by patterns of words: `*` is one word, `#` any number.
    pub fn topic(self) -> Self {
        self.kind("topic")
    }

    /// Routes by headers; bindings say which, in their arguments.
    pub fn headers(self) -> Self {
        self.kind("headers")
    }

    /// A type by its name.
    pub fn kind(mut self, kind: &str) -> Self {
        match crate::error::short("exchange type", kind) {
            Ok(kind) => self.kind = kind,
            Err(problem) => {
                self.draft.problem.get_or_insert(problem);
            }
        }
        self
    }

    /// Survives a restart of the broker.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Deleted when its last binding goes.
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// Takes messages from other exchanges only.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Where messages go that no binding takes.
    pub fn alternate(self, exchange: &str) -> Self {
        self.argument("alternate-exchange", exchange)
    }

    /// Any other argument.
    pub fn argument(mut self, name: &str, value: impl Into<FieldValue>) -> Self {
        self.draft.argument(name, value);
        self
    }

    /// Creates it, or checks that it exists with the same options.
    ///
    /// # Errors
    /// [`Error::Refused`] (406 if it exists and is different), [`Error::NameTooLong`], [`Error::Unsendable`] for
    /// arguments of more than 64 KiB, [`Error::Timeout`].
    pub async fn declare(self) -> Result<()> {
        let request = self.request(false)?;
        done(self.handle.shared.request(request).await?)
    }

    /// Whether it exists.
    ///
    /// # Errors
    /// As [`Exchange::declare`].
    pub async fn exists(self) -> Result<bool> {
        let request = self.request(true)?;
        match self.handle.shared.request(request).await {
            Ok(_) => Ok(true),
            Err(error @ Error::Refused { .. }) if error.reply_code() == Some(ReplyCode::NotFound) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Routes messages of the exchange `source` whose key matches into this one.
    ///
    /// # Errors
    /// [`Error::Refused`] (404 if one of them does not exist), [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn bind(&self, source: &str, routing_key: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        self.bind_with(source, routing_key, FieldTable::new())
    }

    /// [`Exchange::bind`] with arguments, as headers exchanges need them.
    ///
    /// # Errors
    /// As [`Exchange::bind`].
    pub fn bind_with(
        &self,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let binding = self.draft.binding(source, routing_key, arguments);
        requested(&self.handle, binding.map(Request::BindExchange), done)
    }

    /// Undoes [`Exchange::bind`].
    ///
    /// # Errors
    /// As [`Exchange::bind`].
    pub fn unbind(&self, source: &str, routing_key: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        self.unbind_with(source, routing_key, FieldTable::new())
    }

    /// Undoes [`Exchange::bind_with`].
    ///
    /// # Errors
    /// As [`Exchange::bind`].
    pub fn unbind_with(
        &self,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let binding = self.draft.binding(source, routing_key, arguments);
        requested(&self.handle, binding.map(Request::UnbindExchange), done)
    }

    /// Deletes it. Deleting what does not exist is fine.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn delete(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.delete_as(false)
    }

    /// Deletes it, unless it has bindings.
    ///
    /// # Errors
    /// As [`Exchange::delete`]; 406 if it has bindings.
    pub fn delete_if_unused(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.delete_as(true)
    }

    /// What the broker knows about it, by name.
    ///
    /// # Errors
    /// [`Error::Refused`] (404 if it does not exist), [`Error::NameTooLong`], [`Error::Timeout`].
    pub fn info(&self) -> impl Future<Output = Result<FieldTable>> + Send + use<> {
        let name = self.draft.checked_name();
        requested(&self.handle, name.map(|name| Request::ExchangeInfo { name }), info)
    }

    fn delete_as(&self, if_unused: bool) -> impl Future<Output = Result<()>> + Send + use<> {
        let name = self.draft.checked_name();
        requested(&self.handle, name.map(|name| Request::DeleteExchange { name, if_unused }), done)
    }

    fn request(&self, passive: bool) -> Result<Request> {
        Ok(Request::DeclareExchange {
            name: self.draft.checked_name()?,
            kind: self.kind.clone(),
            passive,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.draft.arguments.clone(),
        })
    }
}
