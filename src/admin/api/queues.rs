//! Queues: lists of them, and what can be done to one as a whole.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queue_row::{self, Detail, QueueRow};
use super::{existing, names, outcome};
use crate::access::Operation;
use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path, Query};
use crate::admin::page::{ListQuery, Listing, is_yes};
use crate::admin::{AdminState, ApiError};
use crate::broker::{Turn, Vhost};
use crate::model::QueueFlags;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list_all_detailed))
        .routes(routes!(list_of_vhost))
        .routes(routes!(show, declare, delete))
        .routes(routes!(purge))
        .routes(routes!(act))
        .routes(routes!(rebalance))
}

/// Every queue
#[utoipa::path(
    get, path = "/api/queues", tag = "queues", params(ListQuery),
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
    let detail = detail(&query);
    state.blocking(move |state| select(&caller, state, &query, detail)).await
}

/// Every queue, with its consumers
#[utoipa::path(
    get, path = "/api/queues/detailed", tag = "queues", params(ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn list_all_detailed(
    caller: Caller,
    State(state): State<AdminState>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    state.blocking(move |state| select(&caller, state, &query, Detail::Everything)).await
}

/// The queues of a vhost
#[utoipa::path(
    get, path = "/api/queues/{vhost}", tag = "queues",
    params(("vhost" = String, Path, description = "A vhost's name; `/` is `%2F`"), ListQuery),
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
    let detail = detail(&query);
    state.blocking(move |state| query.select(state, QueueRow::all(state, &[vhost], detail))).await
}

fn select(
    caller: &Caller,
    state: &AdminState,
    query: &ListQuery,
    detail: Detail,
) -> Result<Listing, ApiError> {
    query.select(state, QueueRow::all(state, &caller.vhosts(state), detail))
}

fn detail(query: &ListQuery) -> Detail {
    match (is_yes(query.disable_stats.as_deref()), is_yes(query.enable_queue_totals.as_deref())) {
        (true, false) => Detail::Declared,
        (true, true) => Detail::Totals,
        (false, _) => Detail::Figures,
    }
}

/// One queue, with its consumers
#[utoipa::path(
    get, path = "/api/queues/{vhost}/{queue}", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    responses(
        (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    let queue = existing(vhost.listed_queue(&queue))?;
    Ok(Json(queue_row::render(&state, &vhost, &queue, Detail::Everything)))
}

/// Declares a queue
///
/// What it has in its body is compared with a queue that exists: 204 if they agree.
#[utoipa::path(
    put, path = "/api/queues/{vhost}/{queue}", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = Object, example = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})),
    responses(
        (status = CREATED), (status = NO_CONTENT, description = "It exists, like this"),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn declare(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let found = caller.vhost(&state, &vhost);
    let declared = found.and_then(|vhost| declare_as(&caller, &state, &vhost, &queue, &body));
    audit(&caller, "queue.declare", &outcome::object(&vhost, &queue), &declared);
    state.answer_set(state.broker.catalog_commit(), declared?).await
}

fn declare_as(
    caller: &Caller,
    state: &AdminState,
    vhost: &Vhost,
    queue: &str,
    body: &serde_json::Map<String, Value>,
) -> Result<bool, ApiError> {
    let name = names::queue(queue)?;
    let flags = QueueFlags {
        durable: body.flag("durable")?.unwrap_or(false),
        auto_delete: body.flag("auto_delete")?.unwrap_or(false),
        exclusive: false,
    };
    let arguments = body.table("arguments")?.unwrap_or_default();
    let pass = caller.pass(vhost)?;
    let mut turn = Turn::new();
    turn.begin(state.broker.now());
    let declared = vhost.declare_queue_as(&pass, &name, flags, &arguments, state.connection, &mut turn);
    turn.finish(&state.broker);
    Ok(declared?.created)
}

/// When a queue may be deleted.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// `true`: only without messages.
    #[serde(rename = "if-empty")]
    if_empty: Option<String>,
    /// `true`: only without consumers.
    #[serde(rename = "if-unused")]
    if_unused: Option<String>,
}

/// Deletes a queue with its messages
#[utoipa::path(
    delete, path = "/api/queues/{vhost}/{queue}", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path), DeleteQuery),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    let (if_unused, if_empty) = (is_yes(query.if_unused.as_deref()), is_yes(query.if_empty.as_deref()));
    let work = || {
        let vhost = caller.vhost(&state, &vhost)?;
        existing(vhost.listed_queue(&queue))?;
        caller.check(&vhost, &Operation::DeleteQueue { queue: &queue })?;
        let mut turn = Turn::new();
        turn.begin(state.broker.now());
        let deleted = vhost.delete_queue(&queue, if_unused, if_empty, state.connection, &mut turn);
        turn.finish(&state.broker);
        Ok(deleted?)
    };
    let deleted = work();
    audit(&caller, "queue.delete", &outcome::object(&vhost, &queue), &deleted);
    deleted?;
    state.answer_done(state.broker.catalog_commit()).await
}

/// Drops what waits in a queue
#[utoipa::path(
    delete, path = "/api/queues/{vhost}/{queue}/contents", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn purge(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let work = || {
        let vhost = caller.vhost(&state, &vhost)?;
        existing(vhost.listed_queue(&queue))?;
        caller.check(&vhost, &Operation::PurgeQueue { queue: &queue })?;
        let mut turn = Turn::new();
        turn.begin(state.broker.now());
        let purged = vhost.purge_queue(&queue, state.connection, &mut turn);
        turn.finish(&state.broker);
        purged?;
        Ok(turn.take_commit())
    };
    let purged = work();
    audit(&caller, "queue.purge", &outcome::object(&vhost, &queue), &purged);
    state.answer_done(purged?).await
}

/// Starts or ends the synchronisation of mirrors, of which there are none
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/actions", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = Object, example = json!({"action": "sync"})),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn act(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    existing(vhost.listed_queue(&queue))?;
    match body.needed_text("action")? {
        "sync" | "cancel_sync" => Ok(StatusCode::NO_CONTENT),
        other => {
            Err(ApiError::bad_request(format!("unknown action {other:?}; sync and cancel_sync are known")))
        }
    }
}

/// Moves leaders of queues between nodes, of which there is one
#[utoipa::path(
    post, path = "/api/rebalance/queues", tag = "queues",
    responses((status = NO_CONTENT), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn rebalance(caller: Caller) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    Ok(StatusCode::NO_CONTENT)
}
