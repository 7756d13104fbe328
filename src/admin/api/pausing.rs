//! Deliveries of a queue, held up and let go.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::contents::{queue_of, safe};
use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::{AdminState, ApiError};
use crate::broker::Turn;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(pause)).routes(routes!(resume))
}

/// Stop a queue's deliveries
///
/// The queue takes messages and expires them as ever; consumers and `basic.get` are given nothing until it is resumed. A
/// durable queue stays paused over a restart. To pause a paused queue changes nothing.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/pause", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    responses(
        (status = NO_CONTENT),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "nothing durable can be changed", body = ErrorBody)
    )
)]
async fn pause(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    set_paused(&caller, &state, &vhost, &name, true).await
}

/// Let a queue's deliveries go on
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/resume", tag = "queues",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    responses(
        (status = NO_CONTENT),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = CONFLICT, description = "nothing durable can be changed", body = ErrorBody)
    )
)]
async fn resume(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    set_paused(&caller, &state, &vhost, &name, false).await
}

async fn set_paused(
    caller: &Caller,
    state: &AdminState,
    vhost: &str,
    name: &str,
    paused: bool,
) -> Result<StatusCode, ApiError> {
    let set = async || {
        let (home, queue) = queue_of(state, caller, vhost, name)?;
        caller.may_pause(&home, name)?;
        let work = move |state: &AdminState| {
            let mut turn = Turn::new();
            turn.begin(state.broker.now());
            let commit = home.pause_queue(&queue, paused, &mut turn);
            turn.finish(&state.broker);
            commit
        };
        let commit = state.blocking(work).await?;
        safe(state, commit).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    let outcome = set().await;
    let act = if paused { "pause" } else { "resume" };
    audit(caller, act, &format!("queue '{name}' in vhost '{vhost}'"), &outcome);
    outcome
}
