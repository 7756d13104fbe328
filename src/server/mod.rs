//! The drivers: sockets, tasks and the clock around the broker.
//!
//! Tasks: one accepts for each address, one serves each connection, one looks at the broker's timers, one at
//! back-pressure, one at the files of certificates. Each ends when the server's token is cancelled; [`Server::run`] waits for all of them.
//! Not here: what connections say (`session`), what queues do (`broker`).

mod connection;
mod control;
mod embedded;
mod greeting;
mod memory_watch;
mod open_files;
mod read_buffer;
mod serve;
mod storage;
mod timers;
mod tls_stream;
mod transport;
mod turns;
pub(crate) mod unpaced;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use control::{CONTROL_SOCKET, Control, ControlAnswer, ControlRequest};
pub use embedded::Embedded;
pub(crate) use open_files::raise as raise_open_files;
pub use serve::{Addresses, ServeError, serve};
pub use turns::runtime;

use crate::broker::Broker;
use crate::model::{Clock, SystemClock};
use crate::session::SessionOptions;
use crate::tls::{self, Acceptor};
use unpaced::Listener;

/// How a server serves. `broker.toml` documents each setting.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What connections may do.
    pub session: Arc<SessionOptions>,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Most bytes read from a connection in one turn.
    pub read_chunk: usize,
    /// How long connections may take to end when the server stops.
    pub shutdown_grace: Duration,
    /// What encrypted connections begin with; none: there are no such connections.
    pub tls: Option<Arc<Acceptor>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            session: Arc::default(),
            connections_max: 10_000,
            read_chunk: 1 << 20,
            shutdown_grace: Duration::from_secs(10),
            tls: None,
        }
    }
}

/// A broker with its listening sockets.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    /// Those that speak TLS and nothing else.
    tls_listeners: Vec<Listener>,
}

/// What every connection's task needs.
struct Shared {
    broker: Broker,
    options: ServerOptions,
    /// The time that connections live by.
    clock: SystemClock,
    room: Arc<Semaphore>,
    stop: CancellationToken,
    /// Wakes the connections when the server stops, behind [`Shared::is_parting`].
    parting: CancellationToken,
    is_parting: AtomicBool,
    tasks: TaskTracker,
}

impl Server {
    /// Opens the sockets.
    ///
    /// # Errors
    /// An address is in use or cannot be had; the error names it.
    pub async fn bind(
        broker: Broker,
        addresses: &[SocketAddr],
        options: ServerOptions,
    ) -> io::Result<Server> {
        let listeners = listen(addresses).await?;
        let room = Arc::new(Semaphore::new(options.connections_max));
        let shared = Shared {
            broker,
            options,
            clock: SystemClock::new(),
            room,
            stop: CancellationToken::new(),
            parting: CancellationToken::new(),
            is_parting: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        };
        Ok(Server { shared: Arc::new(shared), listeners, tls_listeners: Vec::new() })
    }

    /// Opens sockets that speak TLS and nothing else. The others speak it too, if [`ServerOptions::tls`] is there.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn bind_tls(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        self.tls_listeners.extend(listen(addresses).await?);
        Ok(())
    }

    /// Where it listens, with the ports that the system chose.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(Listener::local_addr).collect()
    }

    /// Where it listens for TLS alone.
    pub fn tls_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.tls_listeners.iter().map(Listener::local_addr).collect()
    }

    /// Cancel it to stop the server.
    pub fn stop_token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Serves until stopped: then accepts nobody, tells every connection why it ends, and waits for them as
    /// long as the grace lasts. True if all ended in time.
    pub async fn run(self) -> bool {
        let Server { shared, listeners, tls_listeners } = self;
        let (broker, stop) = (shared.broker.clone(), shared.stop.clone());
        shared.tasks.spawn(timers::keep_up(move || timers::expire(broker.clone(), stop.clone())));
        let (broker, stop) = (shared.broker.clone(), shared.stop.clone());
        shared.tasks.spawn(timers::keep_up(move || timers::lift_pressure(broker.clone(), stop.clone())));
        if let Some(tls) = &shared.options.tls {
            shared.tasks.spawn(tls::watch(tls.clone(), shared.stop.clone()));
        }
        let plain = listeners.into_iter().map(|listener| (listener, false));
        for (listener, only_tls) in plain.chain(tls_listeners.into_iter().map(|listener| (listener, true))) {
            shared.tasks.spawn(accept(listener, only_tls, shared.clone()));
        }
        shared.stop.cancelled().await;
        shared.part();
        shared.tasks.close();
        tokio::time::timeout(shared.options.shutdown_grace, shared.tasks.wait()).await.is_ok()
    }
}

async fn listen(addresses: &[SocketAddr]) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = Listener::bind(*address).await;
        listeners.push(
            listener.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?,
        );
    }
    Ok(listeners)
}

async fn accept(listener: Listener, only_tls: bool, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, only_tls, &shared),
            Err(error) => {
                // Usually no file descriptors are left. Connections that end will free some.
                tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, only_tls: bool, shared: &Arc<Shared>) {
    let Ok(room) = shared.room.clone().try_acquire_owned() else {
        let max = shared.options.connections_max;
        tracing::warn!(%peer, max, "connection refused: server.connections_max is reached");
        return;
    };
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        connection::serve(stream, peer, only_tls, &shared).await;
        drop(room);
    });
}

impl Shared {
    fn now(&self) -> crate::model::Timestamp {
        self.clock.now()
    }

    /// Whether connections are to end. Looked at with each turn of each of them, so it is no lock.
    fn is_parting(&self) -> bool {
        self.is_parting.load(Ordering::Acquire)
    }

    /// Has all connections end.
    fn part(&self) {
        self.is_parting.store(true, Ordering::Release);
        self.parting.cancel();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}
