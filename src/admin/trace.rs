//! A span for each request, for the collector of `tracing.otlp_endpoint`. Without one it is next to nothing.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::Peer;
use crate::log;

/// The layer around all routes.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let span = {
        let extensions = request.extensions();
        let Some(Peer(peer)) = extensions.get::<Peer>() else { return next.run(request).await };
        let route = extensions.get::<MatchedPath>().map_or("none", MatchedPath::as_str);
        let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        log::request_span(request.method().as_str(), route, *peer, parent)
    };
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}
