//! The broker at a glance.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queue_row;
use crate::admin::AdminState;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::model::ExchangeKind;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// What runs here, and how much of it
#[utoipa::path(
    get, path = "/api/overview", tag = "overview",
    responses((status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn overview(caller: Caller, State(state): State<AdminState>) -> Json<Value> {
    Json(state.blocking(move |state| render(&caller, state)).await)
}

fn render(caller: &Caller, state: &AdminState) -> Value {
    let version = &state.settings.management.announce_version;
    let (mut queues, mut exchanges) = (0usize, 0usize);
    let (mut ready, mut unacked, mut consumers) = (0u64, 0u64, 0u64);
    for vhost in caller.vhosts_outside(state) {
        exchanges += vhost.exchange_count();
        for queue in vhost.listed_queues() {
            let stats = queue_row::figures(&queue);
            queues += 1;
            ready += stats.ready + stats.delayed;
            unacked += stats.unacked;
            consumers += stats.consumers;
        }
    }
    let connections = super::connections::visible(caller, state);
    let channels: u64 = connections.iter().map(|info| super::channels::count(info)).sum();
    let mut overview = json!({
        "management_version": version,
        "rabbitmq_version": version,
        "product_name": "Rialto",
        "product_version": env!("CARGO_PKG_VERSION"),
        "cluster_name": state.cluster_name(),
        "node": state.node.name(),
        // Tools that look for the platform find what it is.
        "erlang_version": "none",
        "erlang_full_version": "Rialto is no Erlang program",
        "rates_mode": "basic",
        "sample_retention_policies": {"global": [60], "basic": [60], "detailed": [60]},
        "release_series_support_status": "supported",
        "disable_stats": false,
        "enable_queue_totals": false,
        "is_op_policy_updating_enabled": true,
        "exchange_types": exchange_types(),
        "object_totals": {
            "queues": queues, "exchanges": exchanges, "connections": connections.len(), "channels": channels,
            "consumers": consumers,
        },
        "queue_totals": {
            "messages": ready + unacked, "messages_ready": ready, "messages_unacknowledged": unacked,
        },
        "message_stats": queue_row::as_json(&state.stats.total()),
        "churn_rates": churn(state),
        "statistics_db_event_queue": 0,
    });
    if let (Some(Value::Object(totals)), Value::Object(rates)) =
        (overview.get_mut("queue_totals"), queue_row::as_json(&state.stats.total_lengths()))
    {
        totals.extend(rates);
    }
    if caller.require(Level::Monitoring).is_ok() {
        overview["listeners"] = state
            .node
            .listeners()
            .iter()
            .map(|listener| {
                json!({
                    "node": state.node.name(), "protocol": listener.protocol,
                    "ip_address": listener.address.ip().to_string(), "port": listener.address.port(),
                    "socket_opts": {"nodelay": true},
                })
            })
            .collect();
        overview["contexts"] = contexts(state);
    }
    overview
}

fn churn(state: &AdminState) -> Value {
    let churn = state.broker.counters().churn();
    json!({
        "connection_created": churn.connections_opened,
        "connection_closed": churn.connections_closed,
        "channel_created": churn.channels_opened,
        "channel_closed": churn.channels_closed,
        "queue_declared": churn.queues_declared,
        "queue_created": churn.queues_created,
        "queue_deleted": churn.queues_deleted,
    })
}

/// The kinds of exchanges that can be declared.
pub(super) fn exchange_types() -> Value {
    let kinds = ExchangeKind::ALL.iter();
    let row = |kind: &ExchangeKind| json!({"name": kind.name(), "description": format!("{} exchange", kind.name()), "enabled": true});
    kinds.map(row).collect()
}

/// Where the API answers.
pub(super) fn contexts(state: &AdminState) -> Value {
    let listeners = state.node.listeners().iter();
    let listeners = listeners.filter(|listener| matches!(listener.protocol, "http" | "https"));
    let row = |listener: &crate::admin::Listener| {
        json!({
            "node": state.node.name(), "description": "Rialto HTTP API", "path": "/",
            "ip": listener.address.ip().to_string(), "port": listener.address.port().to_string(),
            "ssl": listener.protocol == "https",
        })
    };
    listeners.map(row).collect()
}
