//! Connections: lists of them, and closing them.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::{Path, Query};
use crate::admin::page::{ListQuery, Listing, Row};
use crate::admin::{AdminState, ApiError};
use crate::broker::ConnectionInfo;
use crate::model::{ChannelId, ConnectionId, TlsFacts, json_from_table};

/// Longest reason of a close that a client is told, in bytes.
const REASON_LEN_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_of_user, close_of_user))
        .routes(routes!(show, close))
}

/// Every connection
#[utoipa::path(
    get, path = "/api/connections", tag = "connections", params(ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn list_all(
    caller: Caller,
    State(state): State<AdminState>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    state.blocking(move |state| query.select(state, rows(&caller, state, |_| true))).await
}

/// The connections to a vhost
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/connections", tag = "connections",
    params(("vhost" = String, Path), ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list_of_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let vhost = caller.vhost_outside(&state, &vhost)?;
    let rows = move |state: &AdminState| rows(&caller, state, |info| info.vhost == *vhost.name());
    state.blocking(move |state| query.select(state, rows(state))).await
}

/// The connections of a user
#[utoipa::path(
    get, path = "/api/connections/username/{user}", tag = "connections",
    params(("user" = String, Path), ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn list_of_user(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let rows = move |state: &AdminState| rows(&caller, state, |info| info.user == user);
    state.blocking(move |state| query.select(state, rows(state))).await
}

/// Closes the connections of a user
///
/// The header `X-Reason` is what their clients are told.
#[utoipa::path(
    delete, path = "/api/connections/username/{user}", tag = "connections", params(("user" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn close_of_user(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let close = || {
        may_close(&caller, &user)?;
        let reason = reason(&headers)?;
        for info in visible(&caller, &state).into_iter().filter(|info| info.user == user) {
            info.close(&reason);
        }
        Ok(())
    };
    let closed = close();
    audit(&caller, "connection.close", &format!("all of user {user:?}"), &closed);
    closed?;
    Ok(StatusCode::NO_CONTENT)
}

/// One connection
#[utoipa::path(
    get, path = "/api/connections/{connection}", tag = "connections", params(("connection" = String, Path)),
    responses(
        (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = find(&caller, &state, &name)?;
    Ok(Json(render(&state, &found)))
}

/// Closes a connection
///
/// The header `X-Reason` is what its client is told.
#[utoipa::path(
    delete, path = "/api/connections/{connection}", tag = "connections", params(("connection" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn close(
    caller: Caller,
    State(state): State<AdminState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let close = || {
        let info = find(&caller, &state, &name)?;
        may_close(&caller, &info.user)?;
        info.close(&reason(&headers)?);
        Ok(())
    };
    let closed = close();
    audit(&caller, "connection.close", &name, &closed);
    closed?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever watches over connections sees those of others, and closes their own.
fn may_close(caller: &Caller, user: &str) -> Result<(), ApiError> {
    if user == caller.user() { Ok(()) } else { caller.require(Level::Administrator) }
}

/// What a client is told: the header `X-Reason`, as far as there is room for it.
///
/// # Errors
/// 400: it is not UTF-8.
fn reason(headers: &HeaderMap) -> Result<String, ApiError> {
    let given = headers.get("x-reason").map_or(Ok(""), |value| std::str::from_utf8(value.as_bytes()));
    let given = given.map_err(|_| ApiError::bad_request("the header X-Reason is not UTF-8"))?.trim();
    let given = if given.is_empty() { "Closed via management plugin" } else { given };
    let mut length = 0;
    let fits = |sign: &char| {
        length += sign.len_utf8();
        length <= REASON_LEN_MAX
    };
    Ok(given.chars().take_while(fits).collect())
}

/// The connections that the caller may see: its own, or with `monitoring` all.
pub(super) fn visible(caller: &Caller, state: &AdminState) -> Vec<Arc<ConnectionInfo>> {
    let mut all = state.broker.connections();
    if caller.require(Level::Monitoring).is_err() {
        all.retain(|info| info.user == caller.user());
    }
    all.sort_unstable_by_key(|info| info.id.0);
    all
}

pub(super) fn find(caller: &Caller, state: &AdminState, name: &str) -> Result<Arc<ConnectionInfo>, ApiError> {
    let mut all = visible(caller, state).into_iter();
    all.find(|info| connection_name(info) == name).ok_or_else(ApiError::not_found)
}

fn rows(
    caller: &Caller,
    state: &AdminState,
    is_meant: impl Fn(&ConnectionInfo) -> bool,
) -> Vec<ConnectionRow> {
    let all = visible(caller, state).into_iter().filter(|info| is_meant(info));
    all.map(|info| ConnectionRow { state: state.clone(), info }).collect()
}

struct ConnectionRow {
    state: AdminState,
    info: Arc<ConnectionInfo>,
}

impl Row for ConnectionRow {
    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(connection_name(&self.info))
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "name" => connection_name(&self.info).into(),
            "user" => self.info.user.as_str().into(),
            "vhost" => self.info.vhost.as_str().into(),
            _ => return None,
        })
    }

    fn render(&self) -> Value {
        render(&self.state, &self.info)
    }
}

/// What RabbitMQ calls a connection: its two ends.
pub(super) fn connection_name(info: &ConnectionInfo) -> String {
    info.link.name()
}

fn render(state: &AdminState, info: &ConnectionInfo) -> Value {
    let (peer, local) = (info.link.peer(), info.link.local());
    let mut row = json!({
        "name": info.link.name(),
        "node": state.node.name(),
        "user": info.user,
        "user_who_performed_action": info.user,
        "user_provided_name": info.name,
        "vhost": info.vhost.as_str(),
        "protocol": info.protocol.title(),
        "type": "network",
        "auth_mechanism": info.mechanism,
        "state": if info.is_blocked.load(Ordering::Relaxed) { "blocked" } else { "running" },
        "peer_host": peer.ip().to_string(),
        "peer_port": peer.port(),
        "host": local.ip().to_string(),
        "port": local.port(),
        "connected_at": info.connected_at.as_micros() / 1000,
        "timeout": info.heartbeat.map_or(0, |heartbeat| Duration::as_secs(&heartbeat)),
        "frame_max": info.frame_max,
        "channel_max": info.channel_max,
        "channels": info.channels.len(),
        "client_properties": json_from_table(&info.client_properties()),
        "send_pend": 0,
    });
    if let Value::Object(row) = &mut row {
        row.extend(tls(info.link.tls()));
        // Bytes and packets that have passed, each with its rate.
        if let Ok(Value::Object(traffic)) = serde_json::to_value(state.stats.traffic(info)) {
            row.extend(traffic);
        }
    }
    row
}

fn tls(facts: Option<&TlsFacts>) -> Map<String, Value> {
    let certificate = facts.and_then(|facts| facts.peer.as_ref());
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
    put("ssl", facts.is_some().into());
    put("ssl_protocol", facts.map_or(Value::Null, |facts| facts.protocol.into()));
    put("ssl_cipher", facts.map_or(Value::Null, |facts| facts.cipher.as_str().into()));
    put("ssl_key_exchange", facts.map_or(Value::Null, |facts| facts.key_exchange.as_str().into()));
    put("ssl_hash", facts.map_or(Value::Null, |facts| facts.hash.as_str().into()));
    put("peer_cert_subject", certificate.map_or(Value::Null, |facts| facts.subject.as_str().into()));
    put("peer_cert_issuer", certificate.map_or(Value::Null, |facts| facts.issuer.as_str().into()));
    put("peer_cert_validity", certificate.map_or(Value::Null, |facts| facts.validity.as_str().into()));
    row
}

/// A connection, as other things refer to it.
pub(super) fn connection_details(info: &ConnectionInfo) -> Value {
    let peer = info.link.peer();
    json!({"name": info.link.name(), "peer_host": peer.ip().to_string(), "peer_port": peer.port()})
}

/// A channel, as other things refer to it.
pub(super) fn channel_details(state: &AdminState, info: &ConnectionInfo, channel: ChannelId) -> Value {
    let (name, peer) = (info.link.name(), info.link.peer());
    json!({
        "name": format!("{name} ({})", channel.0),
        "number": channel.0,
        "connection_name": name,
        "node": state.node.name(),
        "peer_host": peer.ip().to_string(),
        "peer_port": peer.port(),
        "user": info.user,
    })
}

impl AdminState {
    /// A connection, as what belongs to it refers to it.
    pub(super) fn connection_facts(&self, id: ConnectionId) -> Option<Value> {
        self.broker.connection(id).map(|info| connection_details(&info))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn told(header: &[u8]) -> Result<String, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-reason", HeaderValue::from_bytes(header).expect("a header"));
        reason(&headers)
    }

    #[test]
    fn a_reason_is_told_in_any_language_and_cut_between_signs() {
        assert_eq!(told("Wartung für heute".as_bytes()).unwrap(), "Wartung für heute");
        assert_eq!(told(b" ").unwrap(), reason(&HeaderMap::new()).unwrap());
        let cut = told("xü".repeat(100).as_bytes()).unwrap();
        assert_eq!((cut.len(), cut.ends_with('x')), (199, true));
        assert_eq!(told(b"\xfc").unwrap_err().status(), 400);
    }
}
