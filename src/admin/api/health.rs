//! Health checks, for load balancers and for what watches over containers: 200 while all is well, 503 and why when not.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::{AdminState, ApiError};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(alarms))
        .routes(routes!(local_alarms))
        .routes(routes!(virtual_hosts))
        .routes(routes!(port_listener))
        .routes(routes!(protocol_listener))
        .routes(routes!(certificate_expiration))
        .routes(routes!(quorum_critical))
        .routes(routes!(mirror_sync_critical))
        .routes(routes!(is_in_service))
        .routes(routes!(ready_to_serve_clients))
        .routes(routes!(below_connection_limit))
        .routes(routes!(metadata_store))
        .routes(routes!(metadata_store_with_data))
        .routes(routes!(node))
        .routes(routes!(aliveness))
}

fn well(facts: Value) -> Response {
    let mut answer = json!({"status": "ok"});
    join(&mut answer, facts);
    Json(answer).into_response()
}

fn failed(reason: &str, facts: Value) -> Response {
    let mut answer = json!({"status": "failed", "reason": reason});
    join(&mut answer, facts);
    (StatusCode::SERVICE_UNAVAILABLE, Json(answer)).into_response()
}

fn join(answer: &mut Value, facts: Value) {
    if let (Value::Object(answer), Value::Object(facts)) = (answer, facts) {
        answer.extend(facts);
    }
}

fn check_alarms(state: &AdminState) -> Response {
    let alarms = state.alarms();
    match alarms.is_empty() {
        true => well(json!({})),
        false => {
            let rows: Vec<_> =
                alarms.iter().map(|alarm| json!({"node": state.node.name(), "resource": alarm})).collect();
            failed("resource alarm(s) in effect", json!({"alarms": rows}))
        }
    }
}

/// 503 while a memory or disk alarm holds publishers back
#[utoipa::path(get, path = "/api/health/checks/alarms", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn alarms(_caller: Caller, State(state): State<AdminState>) -> Response {
    check_alarms(&state)
}

/// 503 while an alarm of this node holds publishers back
#[utoipa::path(get, path = "/api/health/checks/local-alarms", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn local_alarms(_caller: Caller, State(state): State<AdminState>) -> Response {
    check_alarms(&state)
}

/// 503 if a vhost does not run
#[utoipa::path(get, path = "/api/health/checks/virtual-hosts", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn virtual_hosts(_caller: Caller, State(state): State<AdminState>) -> Response {
    match state.broker.log_stopped() {
        None => well(json!({})),
        Some(why) => failed("the journal has stopped", json!({"details": why})),
    }
}

/// 503 if nothing listens on a port
#[utoipa::path(get, path = "/api/health/checks/port-listener/{port}", tag = "health",
    params(("port" = u16, Path)), responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn port_listener(_caller: Caller, State(state): State<AdminState>, Path(port): Path<u16>) -> Response {
    let ports: Vec<_> = state.node.listeners().iter().map(|listener| listener.address.port()).collect();
    match ports.contains(&port) {
        true => well(json!({"port": port})),
        false => failed("No active listener", json!({"missing": port, "ports": ports})),
    }
}

/// 503 if nothing listens for a protocol
#[utoipa::path(get, path = "/api/health/checks/protocol-listener/{protocol}", tag = "health",
    params(("protocol" = String, Path, description = "`amqp`, `amqps`, `http`, `https` or another of RabbitMQ's names")),
    responses(
        (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn protocol_listener(
    _caller: Caller,
    State(state): State<AdminState>,
    Path(protocol): Path<String>,
) -> Response {
    // RabbitMQ's own names for protocols, and people's.
    let known = match protocol.to_ascii_lowercase().as_str() {
        "amqp" | "amqp091" | "amqp0.9.1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp/ssl" | "amqp091s" => "amqp/ssl",
        "http" | "management" => "http",
        "https" | "management/ssl" => "https",
        "prometheus" | "http/prometheus" => "http/prometheus",
        _ => protocol.as_str(),
    }
    .to_owned();
    let mut protocols: Vec<_> = state.node.listeners().iter().map(|listener| listener.protocol).collect();
    protocols.dedup();
    match protocols.contains(&known.as_str()) {
        true => well(json!({"protocol": known})),
        false => failed("No active listener", json!({"missing": protocol, "protocols": protocols})),
    }
}

/// 503 if a certificate expires within so long
#[utoipa::path(get, path = "/api/health/checks/certificate-expiration/{within}/{unit}", tag = "health",
    params(("within" = u32, Path), ("unit" = String, Path, description = "`days`, `weeks`, `months` or `years`")),
    responses(
        (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn certificate_expiration(
    _caller: Caller,
    State(state): State<AdminState>,
    Path((within, unit)): Path<(u32, String)>,
) -> Result<Response, ApiError> {
    let days: u64 = match unit.as_str() {
        "day" | "days" => 1,
        "week" | "weeks" => 7,
        "month" | "months" => 30,
        "year" | "years" => 365,
        other => {
            let reason = format!("{other:?} is no unit of time; days, weeks, months and years are");
            return Err(ApiError::bad_request(reason));
        }
    };
    // 4 billion years at most: no overflow.
    let by = SystemTime::now() + Duration::from_secs(u64::from(within) * days * 24 * 60 * 60);
    let certificates = state.tls.as_ref().map(|tls| tls.certificates()).unwrap_or_default();
    let ending: Vec<_> = certificates
        .iter()
        .filter(|certificate| certificate.not_after <= by)
        .map(|certificate| {
            let path = certificate.path.display().to_string();
            let ends = humantime::format_rfc3339_seconds(certificate.not_after).to_string();
            json!({"node": state.node.name(), "certfile": path, "names": certificate.names, "certfile_expires_on": [ends]})
        })
        .collect();
    match ending.is_empty() {
        true => Ok(well(json!({}))),
        false => Ok(failed("Certificates expiring", json!({"expired": ending}))),
    }
}

/// Whether queues would lose their majority without this node: there is one node
#[utoipa::path(get, path = "/api/health/checks/node-is-quorum-critical", tag = "health", responses(
    (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn quorum_critical(_caller: Caller) -> Response {
    well(json!({"reason": "single node cluster"}))
}

/// Whether mirrors would be lost without this node: there are none
#[utoipa::path(get, path = "/api/health/checks/node-is-mirror-sync-critical", tag = "health", responses(
    (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn mirror_sync_critical(_caller: Caller) -> Response {
    well(json!({"reason": "single node cluster"}))
}

/// Whether this node serves
#[utoipa::path(get, path = "/api/health/checks/is-in-service", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn is_in_service(caller: Caller, state: State<AdminState>) -> Response {
    virtual_hosts(caller, state).await
}

/// Whether clients may come
#[utoipa::path(get, path = "/api/health/checks/ready-to-serve-clients", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn ready_to_serve_clients(caller: Caller, state: State<AdminState>) -> Response {
    virtual_hosts(caller, state).await
}

/// 503 if there are as many connections as there may be
#[utoipa::path(get, path = "/api/health/checks/below-node-connection-limit", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn below_connection_limit(_caller: Caller, State(state): State<AdminState>) -> Response {
    let (max, now) = (state.settings.server.connections_max as usize, state.broker.connections().len());
    let facts = json!({"limit": max, "connections": now});
    if now < max { well(facts) } else { failed("connection limit is reached", facts) }
}

/// Whether the catalog is open
#[utoipa::path(get, path = "/api/health/checks/metadata-store/initialized", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn metadata_store(caller: Caller, state: State<AdminState>) -> Response {
    virtual_hosts(caller, state).await
}

/// Whether the catalog is open and read
#[utoipa::path(get, path = "/api/health/checks/metadata-store/initialized/with-data", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn metadata_store_with_data(caller: Caller, state: State<AdminState>) -> Response {
    virtual_hosts(caller, state).await
}

/// Whether this node is well, as old load balancers ask
#[utoipa::path(get, path = "/api/healthchecks/node", tag = "health", responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn node(_caller: Caller, State(state): State<AdminState>) -> Response {
    check_alarms(&state)
}

/// Whether a vhost works
///
/// RabbitMQ declares a queue and sends a message through it. Here nothing is left behind: it is asked whether messages
/// could be kept.
#[utoipa::path(get, path = "/api/aliveness-test/{vhost}", tag = "health",
    params(("vhost" = String, Path)), responses(
    (status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Object),
    (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
))]
async fn aliveness(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    caller.vhost(&state, &vhost)?;
    Ok(virtual_hosts(caller, State(state)).await)
}
