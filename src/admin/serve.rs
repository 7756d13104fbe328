//! The driver of the HTTP API: sockets and connections around the router.
//!
//! Invariant: a client that is slow, or silent, holds a connection for a limited time; a broker that stops waits for no
//! client of the API longer than for others.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::AdminState;
use crate::config::Settings;

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

/// Answers requests until `stop` is cancelled: then no new ones, and those that run get `server.shutdown_grace`.
pub async fn serve(state: AdminState, listeners: Vec<TcpListener>, stop: CancellationToken) {
    let (settings, jobs) = (state.settings.clone(), state.jobs.clone());
    answer_all(&settings, || super::router(state), listeners, stop).await;
    if tokio::time::timeout(settings.server.shutdown_grace, jobs.stop()).await.is_err() {
        tracing::warn!("some jobs did not end within server.shutdown_grace");
    }
}

/// Answers scrapes as [`serve`] answers requests, on sockets of their own.
pub async fn serve_metrics(state: AdminState, listeners: Vec<TcpListener>, stop: CancellationToken) {
    answer_all(&state.settings.clone(), || super::metrics::router(state), listeners, stop).await;
}

async fn answer_all(
    settings: &Settings,
    router: impl FnOnce() -> Router,
    listeners: Vec<TcpListener>,
    stop: CancellationToken,
) {
    if listeners.is_empty() {
        // The routes and their document are megabytes that nobody asks for.
        return stop.cancelled().await;
    }
    let router = router();
    let grace = settings.server.shutdown_grace;
    let room = Arc::new(Semaphore::new(settings.management.connections_max as usize));
    let times =
        Times { header: settings.management.header_timeout, connection: settings.management.request_timeout };
    let tasks = TaskTracker::new();
    for listener in listeners {
        let accepting = accept(listener, router.clone(), times, room.clone(), tasks.clone(), stop.clone());
        tasks.spawn(accepting);
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

async fn accept(
    listener: TcpListener,
    router: Router,
    times: Times,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await.expect("nobody closes it");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serving = converse(stream, peer, router.clone(), times, stop.clone());
                tasks.spawn(async move {
                    serving.await;
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

/// One connection, request after request.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    times: Times,
    stop: CancellationToken,
) {
    // Without it small answers wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
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

async fn answer(router: Router, request: Request) -> Result<axum::response::Response, Infallible> {
    router.oneshot(request).await
}
