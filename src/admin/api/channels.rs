//! Channels.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections::{self, connection_details, connection_name};
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Path, Query};
use crate::admin::page::{ListQuery, Listing, Row};
use crate::admin::{AdminState, ApiError};
use crate::broker::{ChannelInfo, ChannelMode, ConnectionInfo};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_of_connection))
        .routes(routes!(show))
}

/// Every channel
#[utoipa::path(
    get, path = "/api/channels", tag = "channels", params(ListQuery),
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
    let list =
        move |state: &AdminState| query.select(state, rows(state, connections::visible(&caller, state)));
    state.blocking(list).await
}

/// The channels in a vhost
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/channels", tag = "channels", params(("vhost" = String, Path), ListQuery),
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
    let list = move |state: &AdminState| {
        let mut connections = connections::visible(&caller, state);
        connections.retain(|info| info.vhost == *vhost.name());
        query.select(state, rows(state, connections))
    };
    state.blocking(list).await
}

/// The channels of a connection
#[utoipa::path(
    get, path = "/api/connections/{connection}/channels", tag = "channels",
    params(("connection" = String, Path), ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list_of_connection(
    caller: Caller,
    State(state): State<AdminState>,
    Path(connection): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let info = connections::find(&caller, &state, &connection)?;
    query.select(&state, rows(&state, vec![info]))
}

/// One channel
#[utoipa::path(
    get, path = "/api/channels/{channel}", tag = "channels", params(("channel" = String, Path)),
    responses(
        (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(channel): Path<String>,
) -> Result<Json<Value>, ApiError> {
    // `CONNECTION (NUMBER)`
    let name = channel.rsplit_once(" (").map_or(channel.as_str(), |(connection, _)| connection);
    let info = connections::find(&caller, &state, name)?;
    let mut rows = rows(&state, vec![info]).into_iter();
    let found = rows.find(|row| row.name() == channel).ok_or_else(ApiError::not_found)?;
    Ok(Json(found.render()))
}

struct ChannelRow {
    state: AdminState,
    connection: Arc<ConnectionInfo>,
    channel: Arc<ChannelInfo>,
}

fn rows(state: &AdminState, connections: Vec<Arc<ConnectionInfo>>) -> Vec<ChannelRow> {
    let of = |connection: Arc<ConnectionInfo>| {
        let channels = connection.channels.all().into_iter();
        channels.map(move |channel| ChannelRow {
            state: state.clone(),
            connection: connection.clone(),
            channel,
        })
    };
    connections.into_iter().flat_map(of).collect()
}

impl Row for ChannelRow {
    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} ({})", connection_name(&self.connection), self.channel.number.0))
    }

    fn render(&self) -> Value {
        let ChannelRow { state, connection, channel } = self;
        json!({
            "name": self.name(),
            "number": channel.number.0,
            "node": state.node.name(),
            "user": connection.user,
            "user_who_performed_action": connection.user,
            "vhost": connection.vhost.as_str(),
            "state": "running",
            "confirm": channel.mode() == ChannelMode::Confirm,
            "transactional": channel.mode() == ChannelMode::Transaction,
            "prefetch_count": channel.prefetch.get(),
            "global_prefetch_count": channel.global_prefetch.get(),
            "consumer_count": channel.consumers.get(),
            "messages_unacknowledged": channel.unacked.get(),
            "messages_unconfirmed": channel.unconfirmed.get(),
            "messages_uncommitted": channel.uncommitted.get(),
            "acks_uncommitted": channel.acks_uncommitted.get(),
            "connection_details": connection_details(connection),
            "message_stats": state.stats.channel(connection, channel),
        })
    }
}

/// How many a connection has open.
pub(super) fn count(info: &ConnectionInfo) -> u64 {
    info.channels.len() as u64
}
