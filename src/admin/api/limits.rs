//! Limits of vhosts and of users.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{User, UserLimits};
use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::export;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path};
use crate::admin::{AdminState, ApiError};
use crate::broker::{Commit, Vhost};
use crate::model::VhostLimits;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(vhosts))
        .routes(routes!(vhost))
        .routes(routes!(put_vhost, delete_vhost))
        .routes(routes!(users))
        .routes(routes!(user))
        .routes(routes!(put_user, delete_user))
}

/// A limit of a body: a number; a negative one is none.
fn value(body: &Map<String, Value>) -> Result<Option<u32>, ApiError> {
    let missing = || ApiError::bad_request("the field \"value\" is missing");
    let value = body.number("value")?.ok_or_else(missing)?;
    match u32::try_from(value) {
        Ok(limit) => Ok(Some(limit)),
        Err(_) if value < 0 => Ok(None),
        Err(_) => Err(ApiError::bad_request(format!("{value} is more than a limit can be; -1 means none"))),
    }
}

fn unknown(name: &str, known: &str) -> ApiError {
    ApiError::bad_request(format!("'{name}' is no limit; expected {known}"))
}

fn vhost_row(vhost: &Vhost) -> Option<Value> {
    let limits = vhost.limits();
    let row = || json!({ "vhost": vhost.name().as_str(), "value": export::limits(&limits) });
    (limits != VhostLimits::default()).then(row)
}

fn user_row(user: &User) -> Option<Value> {
    let row = || json!({ "user": user.name, "value": export::user_limits(user) });
    (user.limits != UserLimits::default()).then(row)
}

/// The limits of every vhost that has some
#[utoipa::path(
    get, path = "/api/vhost-limits", tag = "limits",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn vhosts(caller: Caller, State(state): State<AdminState>) -> Json<Vec<Value>> {
    Json(caller.vhosts_outside(&state).iter().filter_map(|vhost| vhost_row(vhost)).collect())
}

/// The limits of a vhost
#[utoipa::path(
    get, path = "/api/vhost-limits/{vhost}", tag = "limits", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let vhost = caller.vhost_outside(&state, &vhost)?;
    Ok(Json(vhost_row(&vhost).into_iter().collect()))
}

fn set_vhost(
    caller: &Caller,
    state: &AdminState,
    vhost: &str,
    name: &str,
    limit: Result<Option<u32>, ApiError>,
) -> Result<Commit, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        let found = caller.vhost(state, vhost)?;
        let mut limits = found.limits();
        match name {
            "max-connections" => limits.max_connections = limit?,
            "max-queues" => limits.max_queues = limit?,
            other => return Err(unknown(other, "max-connections or max-queues")),
        }
        Ok(state.broker.set_vhost_limits(vhost, limits)?)
    };
    let set = set();
    audit(caller, "vhost_limit.set", &super::outcome::object(vhost, name), &set);
    set
}

/// Sets a limit of a vhost: `max-connections` or `max-queues`
#[utoipa::path(
    put, path = "/api/vhost-limits/{vhost}/{name}", tag = "limits",
    params(("vhost" = String, Path), ("name" = String, Path)),
    request_body(content = Object, example = json!({"value": 100})),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn put_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let commit = set_vhost(&caller, &state, &vhost, &name, value(&body))?;
    state.answer_done(commit).await
}

/// Lifts a limit of a vhost
#[utoipa::path(
    delete, path = "/api/vhost-limits/{vhost}/{name}", tag = "limits",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let commit = set_vhost(&caller, &state, &vhost, &name, Ok(None))?;
    state.answer_done(commit).await
}

/// The limits of every user who has some
///
/// Whoever is no administrator sees their own.
#[utoipa::path(
    get, path = "/api/user-limits", tag = "limits",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn users(caller: Caller, State(state): State<AdminState>) -> Json<Vec<Value>> {
    let mut users = state.broker.access().users();
    users.retain(|user| may_see(&caller, &user.name).is_ok());
    Json(users.iter().filter_map(|user| user_row(user)).collect())
}

/// Names of other users are for administrators only, whatever RabbitMQ tells with their limits.
fn may_see(caller: &Caller, user: &str) -> Result<(), ApiError> {
    if user == caller.user() { Ok(()) } else { caller.require(Level::Administrator) }
}

/// The limits of a user
#[utoipa::path(
    get, path = "/api/user-limits/{user}", tag = "limits", params(("user" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn user(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    may_see(&caller, &user)?;
    let user = state.broker.access().user(&user).ok_or_else(ApiError::not_found)?;
    Ok(Json(user_row(&user).into_iter().collect()))
}

fn set_user(
    caller: &Caller,
    state: &AdminState,
    user: &str,
    name: &str,
    limit: Result<Option<u32>, ApiError>,
) -> Result<Commit, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        let found = state.broker.access().user(user).ok_or_else(ApiError::not_found)?;
        let mut limits = found.limits;
        match name {
            "max-connections" => limits.max_connections = limit?,
            "max-channels" => limits.max_channels = limit?,
            other => return Err(unknown(other, "max-connections or max-channels")),
        }
        Ok(state.broker.set_user_limits(user, limits)?)
    };
    let set = set();
    audit(caller, "user_limit.set", &format!("{name:?} of {user:?}"), &set);
    set
}

/// Sets a limit of a user: `max-connections` or `max-channels`
#[utoipa::path(
    put, path = "/api/user-limits/{user}/{name}", tag = "limits",
    params(("user" = String, Path), ("name" = String, Path)),
    request_body(content = Object, example = json!({"value": 100})),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn put_user(
    caller: Caller,
    State(state): State<AdminState>,
    Path((user, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let commit = set_user(&caller, &state, &user, &name, value(&body))?;
    state.answer_done(commit).await
}

/// Lifts a limit of a user
#[utoipa::path(
    delete, path = "/api/user-limits/{user}/{name}", tag = "limits",
    params(("user" = String, Path), ("name" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete_user(
    caller: Caller,
    State(state): State<AdminState>,
    Path((user, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let commit = set_user(&caller, &state, &user, &name, Ok(None))?;
    state.answer_done(commit).await
}
