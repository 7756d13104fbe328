//! Requests with replies: each call carries an address for the reply and a number that finds its caller.
//!
//! Replies come to an exclusive queue of the caller's own. Its name is made here, not by the broker, because
//! it must stay the same over a reconnect: replies to calls made before it must still find the queue.
//! Invariants: a call ends with a reply, with the request's failure (nobody serves it: at once), with its
//! timeout, or with the client; a reply that nobody waits for any more is dropped; a queue for replies goes
//! with who reads from it, and comes back with nobody else's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use rialto_protocol::types::ShortStr;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::client::Client;
use crate::confirm::Outcome;
use crate::connection::Shared;
use crate::consumer::Consumer;
use crate::delivery::DeliveredMessage;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::publisher::Publisher;

/// Calls over one exchange and routing key. Cheap to clone; clones share the queue for replies.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = rialto::server::Embedded::start(rialto::broker::Broker::in_memory().build()).await?;
/// # let client = rialto_client::Client::connect(&broker.url()).await?;
/// use std::time::Duration;
/// // The serving side: a queue, a consumer, replies.
/// client.queue("sums").declare().await?;
/// let mut requests = client.consume("sums").start().await?;
/// tokio::spawn(async move {
///     while let Some(Ok(request)) = requests.next().await {
///         let sum = format!("got {} bytes", request.body().len());
///         request.reply(sum).await?.await?.accepted()?;
///         request.ack()?;
///     }
///     Ok::<(), rialto_client::Error>(())
/// });
/// // The calling side.
/// let sums = client.rpc("", "sums")?;
/// let reply = sums.call("1 + 1", Duration::from_secs(5)).await?;
/// assert_eq!(reply.text(), Some("got 5 bytes"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Rpc {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    publisher: Publisher,
    /// Opened by the first call, and again after its consumer has ended.
    desk: tokio::sync::Mutex<Option<Desk>>,
    calls: Arc<Mutex<Calls>>,
}

/// Who waits for which reply.
#[derive(Default)]
struct Calls {
    last: u64,
    waiting: AHashMap<u64, oneshot::Sender<DeliveredMessage>>,
}

/// The queue for replies and the task that hands them out.
struct Desk {
    queue: String,
    task: AbortHandle,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rpc {
    pub(crate) fn new(client: Client, publisher: Publisher) -> Self {
        // Without a queue to take it, a request can never be answered: then it must come back at once.
        let publisher = publisher.mandatory();
        Rpc {
            inner: Arc::new(Inner {
                client,
                publisher,
                desk: tokio::sync::Mutex::new(None),
                calls: Arc::default(),
            }),
        }
    }

    /// Sends a request and waits for its reply. Cancel-safe: a call that is dropped is forgotten (the request
    /// may still be served). With the timeout, which also becomes the request's time to live, so that nobody
    /// serves what nobody waits for.
    ///
    /// # Errors
    /// [`Error::NotConfirmed`] if nobody can serve it, [`Error::Timeout`], [`Error::Closed`], and what
    /// [`Publisher::publish`] and declaring a queue say.
    pub async fn call(&self, request: impl Into<Message>, within: Duration) -> Result<DeliveredMessage> {
        let request = request.into();
        match timeout(within, self.exchange(request, within)).await {
            Ok(reply) => reply,
            Err(_) => Err(Error::Timeout { what: "a reply to a request".into(), after: within }),
        }
    }

    async fn exchange(&self, request: Message, within: Duration) -> Result<DeliveredMessage> {
        let inner = &*self.inner;
        let replies = inner.replies().await?;
        let (sender, receiver) = oneshot::channel();
        let call = Call { calls: &inner.calls, number: inner.calls.lock().add(sender) };
        let request = request.reply_to(&replies).correlation_id(call.number.to_string()).ttl(within);
        let outcome = inner.publisher.publish(request).await?.await?;
        if let Outcome::Unroutable { .. } | Outcome::Rejected { .. } = outcome {
            return Err(Error::NotConfirmed(outcome));
        }
        receiver.await.map_err(|_| Error::Closed { why: None })
    }
}

impl Inner {
    /// The queue for replies.
    async fn replies(&self) -> Result<String> {
        let mut desk = self.desk.lock().await;
        if let Some(open) = desk.as_ref().filter(|desk| !desk.task.is_finished()) {
            return Ok(open.queue.clone());
        }
        let open = Desk::open(&self.client, self.calls.clone()).await?;
        Ok(desk.insert(open).queue.clone())
    }
}

impl Calls {
    fn add(&mut self, sender: oneshot::Sender<DeliveredMessage>) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, sender);
        self.last
    }
}

/// A call that waits; forgotten when it is dropped.
struct Call<'a> {
    calls: &'a Mutex<Calls>,
    number: u64,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.number);
    }
}

/// The name of a queue for replies. Dropped, also when opening the desk is given up half-way, it takes the queue
/// with it, and the client's memory of it: otherwise a new connection would bring it back, and nobody reads it.
struct ReplyQueue {
    shared: Arc<Shared>,
    name: ShortStr,
}

impl Drop for ReplyQueue {
    fn drop(&mut self) {
        self.shared.discard_queue(self.name.clone());
    }
}

/// What the desk's task reads from. In this order: the consumer ends before its queue.
struct Replies {
    consumer: Consumer,
    _queue: ReplyQueue,
}

impl Desk {
    async fn open(client: &Client, calls: Arc<Mutex<Calls>>) -> Result<Desk> {
        let queue = format!("rialto.reply.{:032x}", fastrand::u128(..));
        let own = ReplyQueue { shared: client.shared().clone(), name: ShortStr::truncated(&queue) };
        client.queue(&queue).exclusive().auto_delete().declare().await?;
        let consumer = client.consume(&queue).auto_ack().exclusive().start().await?;
        let replies = Replies { consumer, _queue: own };
        let task = tokio::spawn(hand_out(replies, calls)).abort_handle();
        Ok(Desk { queue, task })
    }
}

async fn hand_out(mut replies: Replies, calls: Arc<Mutex<Calls>>) {
    while let Some(Ok(reply)) = replies.consumer.next().await {
        let number = reply.raw_properties().correlation_id().and_then(|id| id.parse().ok());
        let caller = number.and_then(|number: u64| calls.lock().waiting.remove(&number));
        if let Some(caller) = caller {
            // Nobody may wait any more.
            let _ = caller.send(reply.message().clone());
        }
    }
    // No reply will come any more: dropping the senders tells the callers.
    calls.lock().waiting.clear();
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").field("publisher", &self.inner.publisher).finish_non_exhaustive()
    }
}
