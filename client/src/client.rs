//! The client: a handle on one connection that is kept alive.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::address::Address;
use crate::confirm::{Confirm, Returned};
use crate::connection::{Shared, Target, supervisor};
use crate::consumer::ConsumeBuilder;
use crate::error::{Result, short};
use crate::events::{ConnectionState, Events};
use crate::message::Message;
use crate::options::{Options, Reconnect};
use crate::publisher::{Publisher, publish_to};
use crate::rpc::Rpc;
use crate::topology::{Exchange, ListKind, Listing, Queue};

/// A connection to a broker, kept alive. Cheap to clone; all clones share the connection.
///
/// When the connection breaks, the client connects again and restores everything: what it declared, its
/// consumers, and the messages whose outcome is not known. Operations wait meanwhile, each at most its
/// timeout. When the last handle (clients, publishers, consumers) is dropped, the client settles what is on
/// its way and closes in the background; [`Client::close`] does the same and waits.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = rialto::server::Embedded::start(rialto::broker::Broker::in_memory().build()).await?;
/// # let url = broker.url();
/// use rialto_client::Client;
/// // rialto://guest:guest@localhost:5672/
/// let client = Client::connect(&url).await?;
/// client.queue("tasks").durable().declare().await?;
/// client.publish("", "tasks", "hello").await?.await?.accepted()?;
///
/// let mut tasks = client.consume("tasks").prefetch(10).start().await?;
/// while let Some(delivery) = tasks.next().await {
///     let delivery = delivery?;
///     assert_eq!(delivery.text(), Some("hello"));
///     delivery.ack()?;
/// #   break;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

/// What keeps the connection alive.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.request_close();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects with defaults to an address like `rialto://user:password@host:port/vhost`.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`](crate::Error::InvalidAddress), [`Error::Connect`](crate::Error::Connect), [`Error::LoginRefused`](crate::Error::LoginRefused), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn connect(address: &str) -> Result<Client> {
        ClientBuilder::new(address)?.connect().await
    }

    /// A builder for everything that can be chosen.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`](crate::Error::InvalidAddress).
    pub fn builder(address: &str) -> Result<ClientBuilder> {
        ClientBuilder::new(address)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    // Topology.

    /// An exchange, to be declared, bound, deleted, described. Direct unless another type is chosen.
    pub fn exchange(&self, name: &str) -> Exchange {
        Exchange::new(self.handle.clone(), name)
    }

    /// A queue, to be declared, bound, purged, deleted, described. With an empty name the broker makes one.
    pub fn queue(&self, name: &str) -> Queue {
        Queue::new(self.handle.clone(), name)
    }

    /// What exists in the vhost, row by row; see [`Listing`].
    pub fn list(&self, what: ListKind) -> Listing {
        Listing::new(self.handle.clone(), what)
    }

    // Messages.

    /// A handle for publishing to one exchange with one routing key, which both sides remember by a number. The
    /// numbers of a client are half as many as the broker's `protocol.route_max`; beyond them, frames spell the
    /// names out.
    ///
    /// # Errors
    /// [`Error::NameTooLong`](crate::Error::NameTooLong).
    pub fn publisher(&self, exchange: &str, routing_key: &str) -> Result<Publisher> {
        let target = self.handle.shared.intern(target(exchange, routing_key)?);
        Ok(Publisher::new(self.handle.clone(), target))
    }

    /// Publishes one message; for more than a few with the same key, a [`Publisher`] is cheaper.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: impl Into<Message>,
    ) -> Result<Confirm> {
        let target = target(exchange, routing_key)?;
        publish_to(&self.handle.shared, &target, false, message.into()).await
    }

    /// Mandatory messages that came back and whose outcome nobody waits for. A listener that is slower than
    /// the broker loses the oldest.
    pub fn returns(&self) -> Returns {
        Returns { receiver: self.handle.shared.returns.subscribe(), shared: self.handle.shared.clone() }
    }

    /// A consumer of a queue, to be started.
    pub fn consume(&self, queue: &str) -> ConsumeBuilder {
        ConsumeBuilder::new(self.handle.clone(), queue)
    }

    /// Requests with replies, over an exchange and routing key. The queue for replies is made with the first
    /// call and goes with the last clone of the returned value.
    ///
    /// # Errors
    /// [`Error::NameTooLong`](crate::Error::NameTooLong).
    pub fn rpc(&self, exchange: &str, routing_key: &str) -> Result<Rpc> {
        Ok(Rpc::new(self.clone(), self.publisher(exchange, routing_key)?))
    }

    // The connection.

    /// The state of the connection now, and whenever it changes.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.handle.shared.announcer.state()
    }

    /// What happens to the connection from now on.
    pub fn events(&self) -> Events {
        self.handle.shared.announcer.listen()
    }

    /// Waits until what was published has its outcome and what was settled is told (at most the close
    /// timeout), closes the connection, and ends everything that still waits, on all clones.
    ///
    /// # Errors
    /// What broke the connection while it was being closed, or [`Error::Timeout`](crate::Error::Timeout).
    pub async fn close(self) -> Result<()> {
        let shared = &self.handle.shared;
        shared.request_close();
        let mut state = shared.announcer.state();
        let is_closed = |state: &ConnectionState| matches!(state, ConnectionState::Closed(_));
        // The lock inside what is waited for must not live on over the next wait: this future can be spawned.
        let result = match state.wait_for(is_closed).await.as_deref() {
            Ok(ConnectionState::Closed(Some(error))) => Err(error.clone()),
            _ => Ok(()),
        };
        let task = self.handle.task.lock().take();
        if let Some(task) = task {
            // It has said its last word; waiting for it keeps runtimes from being torn down under it.
            let _ = task.await;
        }
        result
    }
}

pub(crate) fn target(exchange: &str, routing_key: &str) -> Result<Target> {
    let exchange = short("exchange name", exchange)?;
    Ok(Target::Inline { exchange, routing_key: short("routing key", routing_key)? })
}

/// Mandatory messages that came back. See [`Client::returns`].
pub struct Returns {
    receiver: broadcast::Receiver<Returned>,
    /// The sender lives in it; the stream ends with the client, not with this.
    shared: Arc<Shared>,
}

impl Returns {
    /// The next one; `None` when the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Returned> {
        let mut state = self.shared.announcer.state();
        loop {
            let ended = state.wait_for(|state| matches!(state, ConnectionState::Closed(_)));
            tokio::select! {
                biased;
                returned = self.receiver.recv() => match returned {
                    Ok(returned) => return Some(returned),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                _ = ended => return None,
            }
        }
    }
}

impl fmt::Debug for Returns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returns").finish_non_exhaustive()
    }
}

/// Chooses how to connect.
///
/// ```
/// use std::time::Duration;
/// use rialto_client::{ClientBuilder, Reconnect};
/// let builder = ClientBuilder::new("rialto://broker.example/shop")?
///     .name("order service")
///     .heartbeat(Duration::from_secs(5))
///     .reconnect(Reconnect::default().attempts(20));
/// # Ok::<(), rialto_client::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is connected until connect().await"]
pub struct ClientBuilder {
    address: Address,
    options: Options,
}

impl ClientBuilder {
    /// Defaults for this address.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`](crate::Error::InvalidAddress).
    pub fn new(address: &str) -> Result<Self> {
        Ok(Self::for_address(address.parse()?))
    }

    /// Defaults for an address at hand.
    pub fn for_address(address: Address) -> Self {
        ClientBuilder { address, options: Options::default() }
    }

    /// The connection's name in the broker's lists.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// The wished time between heartbeats; zero for none. The broker decides. A broker that is silent for two
    /// intervals is gone. Default 20 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.options.heartbeat = interval;
        self
    }

    /// Time for connecting and logging in, each time. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Time for each request, waiting for a connection included. Default 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// Time for settling what is on its way when the client is closed. Default 10 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.options.close_timeout = timeout;
        self
    }

    /// Longest frame that the client takes, in bytes after the length field. Default: the broker's choice.
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.options.frame_max = bytes;
        self
    }

    /// Bytes of messages that are queued or wait for their outcome before publishing waits. They are kept in
    /// memory, to be published again after a lost connection. Default 32 MiB; from 4 KiB to 1 GiB.
    pub fn publish_buffer(mut self, bytes: usize) -> Self {
        self.options.publish_buffer = bytes.clamp(4 * 1024, 1024 * 1024 * 1024);
        self
    }

    /// What to do when the connection breaks. Default: try again, without end.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.options.reconnect = reconnect;
        self
    }

    /// Trusts brokers whose certificate comes from these authorities (PEM, one or more), in place of those that the
    /// system trusts. For `rialtos://`.
    ///
    /// # Errors
    /// [`Error::InvalidTls`](crate::Error::InvalidTls).
    pub fn trust(mut self, authorities: &[u8]) -> Result<Self> {
        self.options.tls.trust(authorities)?;
        Ok(self)
    }

    /// Shows this certificate (PEM, with what leads to its authority) to brokers that ask for one. For `rialtos://`.
    ///
    /// # Errors
    /// [`Error::InvalidTls`](crate::Error::InvalidTls).
    pub fn identity(mut self, certificate: &[u8], key: &[u8]) -> Result<Self> {
        self.options.tls.identify(certificate, key)?;
        Ok(self)
    }

    /// Logs in as whom the certificate names (SASL EXTERNAL), not with the address's user and password.
    pub fn login_by_certificate(mut self) -> Self {
        self.options.tls.is_login = true;
        self
    }

    /// Expects the broker's certificate to be for this name, and asks for it, in place of the address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.options.tls.set_server_name(name.into());
        self
    }

    /// Connects and logs in, once: a first connection that fails is an error, not a wait. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`](crate::Error::Connect), [`Error::Tls`](crate::Error::Tls), [`Error::LoginRefused`](crate::Error::LoginRefused), [`Error::Incompatible`](crate::Error::Incompatible), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn connect(self) -> Result<Client> {
        let (shared, task) = supervisor::start(self.address, self.options).await?;
        Ok(Client { handle: Arc::new(Handle { shared, task: Mutex::new(Some(task)) }) })
    }
}
