//! What is not there, for tools that ask for it all the same: shovels, federation, statistics that can be thrown away.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::{AdminState, ApiError};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .nest("/api/shovels", running().routes(routes!(shovel, delete_shovel)))
        .nest("/api/federation-links", running())
        .routes(routes!(reset))
        .routes(routes!(reset_node))
}

/// What runs of something that is not there.
fn running() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(none)).routes(routes!(none_in_vhost))
}

/// Those that run: none
#[utoipa::path(get, path = "/", tag = "absent", responses((status = OK, body = Vec<Object>)))]
async fn none(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(Json(json!([])))
}

/// Those that run in a vhost: none
#[utoipa::path(
    get, path = "/{vhost}", tag = "absent", params(("vhost" = String, Path)),
    responses((status = OK, body = Vec<Object>), (status = NOT_FOUND, body = ErrorBody))
)]
async fn none_in_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    state.broker.vhost(&vhost).ok_or_else(ApiError::not_found)?;
    Ok(Json(json!([])))
}

/// A shovel that runs: there is none
#[utoipa::path(
    get, path = "/{vhost}/{name}", tag = "absent",
    params(("vhost" = String, Path), ("name" = String, Path)), responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn shovel(caller: Caller, Path(_named): Path<(String, String)>) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    Err(ApiError::not_found())
}

/// Stops a shovel: there is none
#[utoipa::path(
    delete, path = "/{vhost}/{name}", tag = "absent",
    params(("vhost" = String, Path), ("name" = String, Path)), responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn delete_shovel(caller: Caller, Path(_named): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    caller.require(Level::Policymaker)?;
    Err(ApiError::not_found())
}

/// Throws statistics away: they are counters, which stay
#[utoipa::path(delete, path = "/api/reset", tag = "absent", responses((status = NO_CONTENT)))]
async fn reset(caller: Caller) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Throws the statistics of a node away: they are counters, which stay
#[utoipa::path(
    delete, path = "/api/reset/{node}", tag = "absent", params(("node" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn reset_node(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    state.check_node(&node)?;
    Ok(StatusCode::NO_CONTENT)
}
