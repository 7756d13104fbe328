//! The driver of the HTTP API: sockets and connections around the router.
//!
//! Invariants: a client that is slow, or silent, holds a connection for a limited time; a broker that stops waits for no
//! client of the API longer than for others. Encrypted connections are the same behind their handshake, which takes the
//! certificates of the moment and asks for none of clients: whoever calls logs in with a password.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::AdminState;
use crate::config::Settings;
use crate::tls::{Acceptor, explain};

/// Headers of one request.
const HEADERS_MAX: usize = 64;

/// Bytes of a request's head.
const HEAD_MAX: usize = 32 << 10;

/// Where a request comes from: an extension of each.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Opens the sockets.
///
/// # Errors
/// An address is in use or cannot be had; the error names it.
pub async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address} for HTTP: {error}"))
        })?);
    }
    Ok(listeners)
}

/// The sockets of the HTTP API.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Those in clear text.
    pub plain: Vec<TcpListener>,
    /// Those that speak TLS and nothing else, by the state's certificates.
    pub tls: Vec<TcpListener>,
}

impl Sockets {
    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.tls.is_empty()
    }
}

/// Those in clear text alone.
impl From<Vec<TcpListener>> for Sockets {
    fn from(plain: Vec<TcpListener>) -> Self {
        Sockets { plain, tls: Vec::new() }
    }
}

/// Answers requests until `stop` is cancelled: then no new ones, and those that run get `server.shutdown_grace`.
pub async fn serve(state: AdminState, sockets: impl Into<Sockets>, stop: CancellationToken) {
    let (settings, jobs, tls) = (state.settings.clone(), state.jobs.clone(), state.tls.clone());
    answer_all(&settings, || super::router(state), sockets.into(), tls, stop).await;
    if tokio::time::timeout(settings.server.shutdown_grace, jobs.stop()).await.is_err() {
        tracing::warn!("some jobs did not end within server.shutdown_grace");
    }
}

/// Answers scrapes as [`serve`] answers requests, on sockets of their own.
pub async fn serve_metrics(state: AdminState, listeners: Vec<TcpListener>, stop: CancellationToken) {
    answer_all(&state.settings.clone(), || super::metrics::router(state), listeners.into(), None, stop).await;
}

async fn answer_all(
    settings: &Settings,
    router: impl FnOnce() -> Router,
    sockets: Sockets,
    tls: Option<Arc<Acceptor>>,
    stop: CancellationToken,
) {
    if sockets.is_empty() {
        // The routes and their document are megabytes that nobody asks for.
        return stop.cancelled().await;
    }
    let grace = settings.server.shutdown_grace;
    let room = Arc::new(Semaphore::new(settings.management.connections_max as usize));
    let times =
        Times { header: settings.management.header_timeout, connection: settings.management.request_timeout };
    let answering = Answering { router: router(), times, stop: stop.clone() };
    let tasks = TaskTracker::new();
    let plain = sockets.plain.into_iter().map(|listener| (listener, None));
    // Nobody opens a socket for TLS without a certificate.
    let encrypted = sockets.tls.into_iter().filter_map(|listener| Some((listener, Some(tls.clone()?))));
    for (listener, tls) in plain.chain(encrypted) {
        tasks.spawn(accept(listener, tls, answering.clone(), room.clone(), tasks.clone()));
    }
    stop.cancelled().await;
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
        tracing::warn!("some requests of the HTTP API did not end within server.shutdown_grace");
    }
}

#[derive(Clone, Copy)]
struct Times {
    header: Duration,
    connection: Duration,
}

/// What all connections share.
#[derive(Clone)]
struct Answering {
    router: Router,
    times: Times,
    stop: CancellationToken,
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Acceptor>>,
    answering: Answering,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
) {
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await.expect("nobody closes it");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = answering.stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (answering, tls) = (answering.clone(), tls.clone());
                tasks.spawn(async move {
                    answering.converse(stream, tls, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the HTTP API cannot accept a connection");
                // Out of file descriptors, most likely: others have to end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Answering {
    /// One connection, encrypted or not.
    async fn converse(self, stream: TcpStream, tls: Option<Arc<Acceptor>>, peer: SocketAddr) {
        // Without it small answers wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.answer_all(stream, peer).await };
        let handshake = TlsAcceptor::from(tls.without_client_certificates()).accept(stream);
        let encrypted = tokio::select! {
            // A client has as long for it as for the head of a request.
            encrypted = tokio::time::timeout(self.times.header, handshake) => encrypted,
            () = self.stop.cancelled() => return,
        };
        match encrypted {
            Ok(Ok(stream)) => self.answer_all(stream, peer).await,
            Ok(Err(error)) => match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
                Some(error) => {
                    tracing::info!(%peer, "TLS handshake with the HTTP API failed: {}", explain(error))
                }
                None => tracing::debug!(%peer, %error, "a connection of the HTTP API ended before it began"),
            },
            Err(_) => tracing::debug!(%peer, "a TLS handshake with the HTTP API took too long"),
        }
    }

    /// Request after request.
    async fn answer_all(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
    ) {
        let Answering { router, times, stop } = self;
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let router = router.clone();
            async move { answer(router, request.map(axum::body::Body::new)).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(times.header)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(super::slow::Patient::new(stream, times.connection)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection of the HTTP API ended early");
        }
    }
}

async fn answer(router: Router, request: Request) -> Result<axum::response::Response, Infallible> {
    router.oneshot(request).await
}
