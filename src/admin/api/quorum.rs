//! What RabbitMQ's tools ask about members of quorum queues, answered for the one node that there is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::existing;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path};
use crate::admin::{AdminState, ApiError};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(add))
        .routes(routes!(remove))
        .routes(routes!(grow))
        .routes(routes!(shrink))
}

/// Where the members of a queue are
#[utoipa::path(
    get, path = "/api/queues/quorum/{vhost}/{queue}/status", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    responses((status = OK, body = Vec<Object>), (status = NOT_FOUND, body = ErrorBody))
)]
async fn status(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    existing(vhost.listed_queue(&queue))?;
    Ok(Json(json!([{"Node Name": state.node.name(), "Raft State": "leader", "Membership": "voter"}])))
}

/// Refuses to give a queue a member, or to take its only one.
fn refuse(
    caller: &Caller,
    state: &AdminState,
    vhost: &str,
    queue: &str,
    node: &str,
    reason: &str,
) -> ApiError {
    let check = || {
        caller.require(Level::Administrator)?;
        existing(caller.vhost(state, vhost)?.listed_queue(queue)).map(drop)
    };
    match check() {
        Err(error) => error,
        Ok(()) if node == state.node.name() => ApiError::bad_request(reason),
        Ok(()) => ApiError::bad_request(format!("there is no node {node:?}")),
    }
}

/// Gives a queue a member on a node: it has one on the only node already
#[utoipa::path(
    post, path = "/api/queues/quorum/{vhost}/{queue}/replicas/add", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = Object, example = json!({"node": "rialto@host"})),
    responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn add(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let node = body.needed_text("node")?;
    Err(refuse(&caller, &state, &vhost, &queue, node, "the queue has a member on this node already"))
}

/// Takes a queue's member from a node: the only one stays
#[utoipa::path(
    delete, path = "/api/queues/quorum/{vhost}/{queue}/replicas/delete", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = Object, example = json!({"node": "rialto@host"})),
    responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn remove(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let node = body.needed_text("node")?;
    Err(refuse(&caller, &state, &vhost, &queue, node, "the queue's only member is on this node"))
}

/// Gives queues members on a node: they all have one on the only node
#[utoipa::path(
    post, path = "/api/queues/quorum/replicas/on/{node}/grow", tag = "queues", params(("node" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn grow(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    state.check_node(&node)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the members of queues from a node: not from the only one
#[utoipa::path(
    delete, path = "/api/queues/quorum/replicas/on/{node}/shrink", tag = "queues", params(("node" = String, Path)),
    responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn shrink(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    state.check_node(&node)?;
    Err(ApiError::bad_request("the only members of all queues are on this node"))
}
