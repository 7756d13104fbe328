//! Traces: spans of connections and of administrative requests, sent to an OTLP collector in batches.
//!
//! Invariants: never a span for a message; without a collector a span is nothing but a look at a flag; a collector that is
//! slow or gone costs spans, never the broker's time (a thread of its own sends them, and what does not fit its
//! queue is dropped).

use std::collections::HashMap;
use std::net::SocketAddr;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::LogError;
use crate::config::TracingSettings;

/// The target of spans that a collector gets.
pub const TRACES: &str = "trace";

/// Where an OTLP collector takes traces, if its address names no path (OTLP/HTTP specification, "Endpoint URLs").
const TRACES_PATH: &str = "/v1/traces";

/// The span of a connection: from its first byte to its end. Who it is, is recorded with its login.
pub fn connection_span(peer: SocketAddr, protocol: &'static str) -> Span {
    tracing::info_span!(
        target: TRACES,
        "connection",
        otel.kind = "server",
        network.peer.address = %peer.ip(),
        network.peer.port = peer.port(),
        network.protocol.name = protocol,
        user = Empty,
        vhost = Empty,
    )
}

/// The span of a request to the HTTP API. Who asks, and what is answered, is recorded when it is known. `route` is the pattern of the
/// path (a path itself may have a password in it), `parent` the `traceparent` header (W3C Trace Context).
pub fn request_span(method: &str, route: &str, peer: SocketAddr, parent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        target: TRACES,
        "request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        client.address = %peer.ip(),
        http.response.status_code = Empty,
        user = Empty,
    );
    if let Some(parent) = parent.filter(|_| !span.is_disabled()) {
        let carrier = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
        // Fails only where the span goes nowhere.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
    span
}

/// What a collector gets.
pub(super) fn filter() -> Targets {
    Targets::new().with_target(TRACES, LevelFilter::INFO)
}

/// The way to the collector; none where none is named.
pub(super) fn provider(settings: &TracingSettings) -> Result<Option<SdkTracerProvider>, LogError> {
    if settings.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let endpoint = endpoint(&settings.otlp_endpoint);
    let exporter = SpanExporter::builder().with_http().with_endpoint(&endpoint).build();
    let exporter = exporter
        .map_err(|error| LogError::Collector { endpoint: endpoint.clone(), error: error.to_string() })?;
    let resource = Resource::builder().with_service_name(settings.service_name.clone()).build();
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
}

fn endpoint(address: &str) -> String {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    match host.trim_end_matches('/').contains('/') {
        true => address.to_owned(),
        false => address.trim_end_matches('/').to_owned() + TRACES_PATH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_one_that_collectors_have() {
        assert_eq!(endpoint("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(endpoint("http://127.0.0.1:4318/"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(endpoint("http://collector/otlp/v1/traces"), "http://collector/otlp/v1/traces");
    }

    #[test]
    fn no_address_is_no_collector() {
        assert!(provider(&TracingSettings::default()).unwrap().is_none());
    }
}
