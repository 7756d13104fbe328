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
        .routes(routes!(shovels))
        .routes(routes!(shovels_of_vhost))
        .routes(routes!(shovel, delete_shovel))
        .routes(routes!(links))
        .routes(routes!(links_of_vhost))
        .routes(routes!(reset))
        .routes(routes!(reset_node))
}

/// Shovels that run: none
#[utoipa::path(get, path = "/api/shovels", tag = "absent", responses((status = OK, body = Vec<Object>)))]
async fn shovels(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(Json(json!([])))
}

/// Shovels that run in a vhost: none
#[utoipa::path(
    get, path = "/api/shovels/{vhost}", tag = "absent", params(("vhost" = String, Path)),
    responses((status = OK, body = Vec<Object>), (status = NOT_FOUND, body = ErrorBody))
)]
async fn shovels_of_vhost(
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
    get, path = "/api/shovels/{vhost}/{name}", tag = "absent",
    params(("vhost" = String, Path), ("name" = String, Path)), responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn shovel(caller: Caller, Path(_named): Path<(String, String)>) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    Err(ApiError::not_found())
}

/// Stops a shovel: there is none
#[utoipa::path(
    delete, path = "/api/shovels/{vhost}/{name}", tag = "absent",
    params(("vhost" = String, Path), ("name" = String, Path)), responses((status = NOT_FOUND, body = ErrorBody))
)]
async fn delete_shovel(caller: Caller, Path(_named): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    caller.require(Level::Policymaker)?;
    Err(ApiError::not_found())
}

/// Links of federation that run: none
#[utoipa::path(get, path = "/api/federation-links", tag = "absent", responses((status = OK, body = Vec<Object>)))]
async fn links(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(Json(json!([])))
}

/// Links of federation that run in a vhost: none
#[utoipa::path(
    get, path = "/api/federation-links/{vhost}", tag = "absent", params(("vhost" = String, Path)),
    responses((status = OK, body = Vec<Object>), (status = NOT_FOUND, body = ErrorBody))
)]
async fn links_of_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Monitoring)?;
    state.broker.vhost(&vhost).ok_or_else(ApiError::not_found)?;
    Ok(Json(json!([])))
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
    if node == state.node.name() { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found()) }
}
