//! Single messages of a queue, by identity: shown, deleted, moved.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::destination::{DestinationBody, Route};
use super::queue_of;
use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Object, Path};
use crate::admin::shown::{Encoding, Shown, TRUNCATE, WaitingBody};
use crate::admin::{AdminState, ApiError};
use crate::broker::{Holder, Move, Moved, Outbox, QueueCell, Turn};
use crate::model::Lsn;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(show, delete_one))
        .routes(routes!(move_one))
        .routes(routes!(delete_some))
        .routes(routes!(move_some))
}

/// Which messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IdsBody {
    /// Their identities, as a look into the queue shows them.
    #[schema(min_items = 1)]
    ids: Vec<u64>,
}

/// Where a message goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MoveBody {
    /// Where to.
    to: DestinationBody,
}

/// Which messages, and where they go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MoveSomeBody {
    /// Their identities, as a look into the queue shows them.
    #[schema(min_items = 1)]
    ids: Vec<u64>,
    /// Where to.
    to: DestinationBody,
}

/// What became of messages.
#[derive(Debug, Default, Serialize, ToSchema)]
struct OutcomeBody {
    /// How many were deleted, or have gone there.
    done: u64,
    /// Those that were not in the queue, or are with a consumer.
    gone: Vec<u64>,
    /// Those that a queue would not take, because it is full: they are where they were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    full: Vec<u64>,
}

/// Show a message
#[utoipa::path(
    get, path = "/api/queues/{vhost}/{queue}/messages/{id}", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path), ("id" = u64, Path)),
    responses(
        (status = OK, body = WaitingBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "a consumer holds it", body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name, id)): Path<(String, String, u64)>,
) -> Result<axum::Json<WaitingBody>, ApiError> {
    let (home, queue) = queue_of(&state, &caller, &vhost, &name)?;
    caller.may_read(&home, &name)?;
    let shown = Shown { truncate: TRUNCATE, encoding: Encoding::Auto, now: state.broker.now() };
    let found = state.blocking(move |_| queue.browse_one(Lsn(id))).await;
    match found {
        Ok(browsed) => Ok(axum::Json(WaitingBody::of(&browsed, shown))),
        Err(holder) => Err(not_there(id, &name, holder)),
    }
}

/// Delete a message
#[utoipa::path(
    delete, path = "/api/queues/{vhost}/{queue}/messages/{id}", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path), ("id" = u64, Path)),
    responses(
        (status = NO_CONTENT),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "a consumer holds it", body = ErrorBody)
    )
)]
async fn delete_one(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name, id)): Path<(String, String, u64)>,
) -> Result<StatusCode, ApiError> {
    let object = format!("message {id} of queue '{name}' in vhost '{vhost}'");
    let delete = async || {
        let (home, queue) = queue_of(&state, &caller, &vhost, &name)?;
        caller.may_read(&home, &name)?;
        let outcome = delete(&state, queue.clone(), vec![id]).await?;
        if outcome.done == 0 {
            return Err(not_there(id, &name, queue.holder_of(Lsn(id))));
        }
        Ok(StatusCode::NO_CONTENT)
    };
    let outcome = delete().await;
    audit(&caller, "delete", &object, &outcome);
    outcome
}

/// Delete messages
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/messages/delete", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = IdsBody),
    responses(
        (status = OK, body = OutcomeBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete_some(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<axum::Json<OutcomeBody>, ApiError> {
    let IdsBody { ids } = super::body_of(body)?;
    let object = format!("{} messages of queue '{name}' in vhost '{vhost}'", ids.len());
    let delete = async || {
        let (home, queue) = queue_of(&state, &caller, &vhost, &name)?;
        caller.may_read(&home, &name)?;
        check_ids(&state, &ids)?;
        delete(&state, queue, ids).await.map(axum::Json)
    };
    let outcome = delete().await;
    audit(&caller, "delete", &object, &outcome);
    outcome
}

/// Move a message to another queue, or publish it to an exchange
///
/// It leaves this queue and enters the others in one step: a crash neither loses nor doubles it.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/messages/{id}/move", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path), ("id" = u64, Path)),
    request_body(content = MoveBody),
    responses(
        (status = OK, body = OutcomeBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "a consumer holds it, or there is no room", body = ErrorBody)
    )
)]
async fn move_one(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name, id)): Path<(String, String, u64)>,
    Object(body): Object,
) -> Result<axum::Json<OutcomeBody>, ApiError> {
    let MoveBody { to } = super::body_of(body)?;
    let object = format!("message {id} of queue '{name}' in vhost '{vhost}' to {to}");
    let go = async || {
        let (_, queue) = queue_of(&state, &caller, &vhost, &name)?;
        let outcome = move_them(&state, &caller, &vhost, &queue, vec![id], &to).await?;
        match (outcome.done, outcome.full.is_empty()) {
            (0, false) => {
                let reason =
                    format!("message {id} stays in queue '{name}': a queue that it would go to is full");
                Err(ApiError::new(StatusCode::CONFLICT, "conflict", reason))
            }
            (0, true) => Err(not_there(id, &name, queue.holder_of(Lsn(id)))),
            _ => Ok(axum::Json(outcome)),
        }
    };
    let outcome = go().await;
    audit(&caller, "move", &object, &outcome);
    outcome
}

/// Move messages to another queue, or publish them to an exchange
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/messages/move", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = MoveSomeBody),
    responses(
        (status = OK, body = OutcomeBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn move_some(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<axum::Json<OutcomeBody>, ApiError> {
    let MoveSomeBody { ids, to } = super::body_of(body)?;
    let object = format!("{} messages of queue '{name}' in vhost '{vhost}' to {to}", ids.len());
    let go = async || {
        let (_, queue) = queue_of(&state, &caller, &vhost, &name)?;
        check_ids(&state, &ids)?;
        move_them(&state, &caller, &vhost, &queue, ids, &to).await.map(axum::Json)
    };
    let outcome = go().await;
    audit(&caller, "move", &object, &outcome);
    outcome
}

fn check_ids(state: &AdminState, ids: &[u64]) -> Result<(), ApiError> {
    let max = state.settings.management.peek_max as usize;
    match ids.len() {
        0 => Err(ApiError::bad_request("\"ids\" names no message")),
        len if len > max => Err(ApiError::bad_request(format!(
            "\"ids\" names {len} messages; at most {max} at once (management.peek_max)"
        ))),
        _ => Ok(()),
    }
}

async fn delete(state: &AdminState, queue: Arc<QueueCell>, ids: Vec<u64>) -> Result<OutcomeBody, ApiError> {
    let work = move |state: &AdminState| {
        let broker = &state.broker;
        let places = places(state, &queue, &ids);
        let waiting: Vec<_> = places.iter().filter_map(|(_, place)| *place).collect();
        let mut turn = Turn::new();
        turn.begin(broker.now());
        let mut deleted = broker.delete_messages(&queue, &waiting, &mut turn).into_iter();
        turn.finish(broker);
        let mut outcome = OutcomeBody::default();
        for (id, place) in places {
            match place.is_some() && deleted.next() == Some(true) {
                true => outcome.done += 1,
                false => outcome.gone.push(id),
            }
        }
        (outcome, turn.take_commit())
    };
    let (outcome, commit) = state.blocking(work).await;
    super::safe(state, commit).await?;
    Ok(outcome)
}

type Placed = (u64, Option<crate::queue::BrowsePlace>);

/// Each message once, and where it waits.
fn places(state: &AdminState, queue: &QueueCell, ids: &[u64]) -> Vec<Placed> {
    let mut seen = std::collections::HashSet::new();
    let ids: Vec<u64> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
    let lsns: Vec<_> = ids.iter().map(|id| Lsn(*id)).collect();
    let places = state.broker.places_of(queue, &lsns);
    ids.into_iter().zip(places).collect()
}

async fn move_them(
    state: &AdminState,
    caller: &Caller,
    vhost: &str,
    queue: &Arc<QueueCell>,
    ids: Vec<u64>,
    to: &DestinationBody,
) -> Result<OutcomeBody, ApiError> {
    caller.may_read(&*caller.vhost(state, vhost)?, queue.name())?;
    let destination = to.check(state, caller, vhost)?;
    // What was declared a moment ago must be safe before a message depends on it.
    super::safe(state, state.broker.catalog_commit()).await?;
    let (caller, queue) = (caller.clone(), queue.clone());
    let work = move |state: &AdminState| {
        let broker = &state.broker;
        let mut outcome = OutcomeBody::default();
        let mut moves = Vec::new();
        let mut moving = Vec::new();
        for (id, place) in places(state, &queue, &ids) {
            let browsed = place.and_then(|_| queue.browse_one(Lsn(id)).ok());
            let Some(browsed) = browsed else {
                outcome.gone.push(id);
                continue;
            };
            let Route { route, to } = destination.of(&caller, &browsed.message)?;
            moves.push(Move { place: browsed.place, route, properties: None, to });
            moving.push(id);
        }
        let mut turn = Turn::new();
        turn.begin(broker.now());
        let (moved, commit) = broker.move_messages(&queue, &moves, &Arc::new(Outbox::new()), &mut turn);
        turn.take_congested().for_each(drop);
        turn.finish(broker);
        for (id, moved) in moving.into_iter().zip(moved) {
            match moved {
                Moved::Moved => outcome.done += 1,
                Moved::Gone => outcome.gone.push(id),
                Moved::Full | Moved::NotYet | Moved::Stopped => outcome.full.push(id),
            }
        }
        Ok::<_, ApiError>((outcome, commit))
    };
    let (outcome, commit) = state.blocking(work).await?;
    super::safe(state, commit).await?;
    Ok(outcome)
}

fn not_there(id: u64, queue: &str, holder: Holder) -> ApiError {
    match holder {
        Holder::Consumer(_) => {
            let reason =
                format!("message {id} of queue '{queue}' is with a consumer; see the queue's \"unacked\"");
            ApiError::new(StatusCode::CONFLICT, "conflict", reason)
        }
        Holder::Nobody => {
            let reason = format!("queue '{queue}' has no message {id} that waits");
            ApiError::new(StatusCode::NOT_FOUND, "not_found", reason)
        }
    }
}
