//! Consumers, as RabbitMQ's API shows them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections;
use crate::admin::AdminState;
use crate::admin::ApiError;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Path, Query};
use crate::admin::page::{ListQuery, Listing};
use crate::broker::{ConnectionInfo, LocalConsumer, Outbox, QueueCell, Vhost};
use crate::queue::{ConsumerInfo, PauseReason, Readiness};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_all)).routes(routes!(list_of_vhost))
}

/// Every consumer
#[utoipa::path(
    get, path = "/api/consumers", tag = "consumers", params(ListQuery),
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
    state.blocking(move |state| query.select(state, rows(state, &caller.vhosts(state)))).await
}

/// The consumers of a vhost
#[utoipa::path(
    get, path = "/api/consumers/{vhost}", tag = "consumers", params(("vhost" = String, Path), ListQuery),
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
    let vhost = caller.vhost(&state, &vhost)?;
    state.blocking(move |state| query.select(state, rows(state, &[vhost]))).await
}

fn rows(state: &AdminState, vhosts: &[Arc<Vhost>]) -> Vec<Value> {
    let owners = Owners::of(state);
    let mut rows = Vec::new();
    for vhost in vhosts {
        let mut queues = vhost.listed_queues();
        queues.sort_unstable_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
        for queue in queues {
            let attached = of_queue(&queue);
            rows.extend(attached.iter().map(|consumer| owners.row(state, vhost, queue.name(), consumer)));
        }
    }
    rows
}

/// A consumer of a queue.
pub(super) struct Attached {
    local: LocalConsumer,
    outbox: Arc<Outbox>,
    /// What the queue knows of it.
    pub(super) info: ConsumerInfo,
}

/// The consumers of a queue.
pub(super) fn of_queue(queue: &QueueCell) -> Vec<Attached> {
    let all = queue.consumers_and_outboxes().into_iter();
    all.map(|(local, outbox, info)| Attached { local, outbox, info }).collect()
}

/// Rows of them.
pub(super) fn render(state: &AdminState, vhost: &Vhost, queue: &str, attached: Vec<Attached>) -> Vec<Value> {
    if attached.is_empty() {
        return Vec::new();
    }
    let owners = Owners::of(state);
    attached.iter().map(|consumer| owners.row(state, vhost, queue, consumer)).collect()
}

/// Connections by where they hear of things: a queue knows of its consumers no more than that.
struct Owners(HashMap<*const Outbox, Arc<ConnectionInfo>>);

impl Owners {
    fn of(state: &AdminState) -> Self {
        let connections = state.broker.connections().into_iter();
        Owners(connections.map(|info| (Arc::as_ptr(&info.outbox), info)).collect())
    }

    fn row(&self, state: &AdminState, vhost: &Vhost, queue: &str, consumer: &Attached) -> Value {
        let Attached { local, outbox, info } = consumer;
        let connection = self.0.get(&Arc::as_ptr(outbox));
        let channel = connection.map_or_else(
            || json!({}),
            |connection| connections::channel_details(state, connection, local.channel),
        );
        let active = info.readiness != Readiness::Paused(PauseReason::NotActive);
        json!({
            "queue": {"name": queue, "vhost": vhost.name().as_str()},
            "consumer_tag": info.tag.as_str(),
            "channel_details": channel,
            "ack_required": !info.auto_ack,
            "exclusive": info.exclusive,
            "prefetch_count": info.prefetch,
            "priority": info.priority,
            "active": active,
            "activity_status": if active { "up" } else { "waiting" },
            "messages_unacknowledged": info.unacked,
            // Strict clients want a number; 0: it may hold messages for ever.
            "consumer_timeout": info.timeout.map_or(0, |timeout| timeout.as_millis() as u64),
            "arguments": if info.priority == 0 { json!({}) } else { json!({"x-priority": info.priority}) },
        })
    }
}
