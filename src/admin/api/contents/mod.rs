//! What is in a queue, message by message: looking, deleting, moving, and who holds what.
//!
//! Rooms: `peek` what waits; `destination` where messages are sent; `unacked` what consumers hold; `messages` single ones by identity; `redrive` dead letters
//! back to where they came from.

mod destination;
mod messages;
mod peek;
mod redrive;
mod unacked;

use std::sync::Arc;

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;

use crate::admin::caller::Caller;
use crate::admin::{AdminState, ApiError};
use crate::broker::{Commit, Purpose, QueueCell, Vhost};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .merge(messages::routes())
        .merge(peek::routes())
        .merge(redrive::routes())
        .merge(unacked::routes())
}

/// The queue that a request names. Exclusive queues are nobody's secret from an operator; reply queues are.
pub(super) fn queue_of(
    state: &AdminState,
    caller: &Caller,
    vhost: &str,
    name: &str,
) -> Result<(Arc<Vhost>, Arc<QueueCell>), ApiError> {
    let vhost = caller.vhost(state, vhost)?;
    let queue = vhost.any_queue(name).filter(|queue| queue.purpose() != Purpose::Replies);
    let queue = queue.ok_or_else(|| ApiError::from(vhost.no_queue(name)))?;
    Ok((vhost, queue))
}

/// What a request asks for.
pub(super) fn body_of<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(object))
        .map_err(|error| ApiError::bad_request(format!("the body does not fit: {error}")))
}

/// Waits until what was done is safe.
pub(super) async fn safe(state: &AdminState, commit: Commit) -> Result<(), ApiError> {
    state.broker.committed(commit).await.map_err(|why| {
        ApiError::new(StatusCode::CONFLICT, "conflict", format!("nothing durable can be changed: {why}"))
    })
}
