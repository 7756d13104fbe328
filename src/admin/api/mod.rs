//! What the API answers, one file per noun. Each has its `routes()`.

mod absent;
mod auth;
mod bindings;
mod channels;
mod connections;
mod consumers;
mod contents;
mod definitions;
mod exchanges;
mod explain;
mod features;
mod health;
mod jobs;
mod limits;
mod log;
mod messages;
mod names;
mod nodes;
mod outcome;
mod overview;
mod parameters;
mod pausing;
mod permissions;
mod policies;
mod queue_row;
mod queues;
mod quorum;
mod users;
mod vhosts;
mod whoami;

use utoipa_axum::router::OpenApiRouter;

use super::{AdminState, ApiError};
use crate::broker::BrokerError;

/// Every route.
pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::default()
        .merge(bindings::routes())
        .merge(channels::routes())
        .merge(connections::routes())
        .merge(consumers::routes())
        .merge(contents::routes())
        .merge(exchanges::routes())
        .merge(explain::routes())
        .merge(features::routes())
        .merge(health::routes())
        .merge(jobs::routes())
        .merge(log::routes())
        .merge(messages::routes())
        .merge(nodes::routes())
        .merge(overview::routes())
        .merge(pausing::routes())
        .merge(queues::routes())
        .merge(quorum::routes())
        .merge(absent::routes())
        .merge(auth::routes())
        .merge(definitions::routes())
        .merge(limits::routes())
        .merge(parameters::routes())
        .merge(permissions::routes())
        .merge(policies::routes())
        .merge(users::routes())
        .merge(vhosts::routes())
        .merge(whoami::routes())
}

/// What a path names: if it is not there, nothing is there.
///
/// # Errors
/// 404.
fn existing<T>(found: Result<T, BrokerError>) -> Result<T, ApiError> {
    found.map_err(|_| ApiError::not_found())
}
