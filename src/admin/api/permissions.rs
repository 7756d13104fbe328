//! What users may do in vhosts, and which routing keys they may use there.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::TopicPermission;
use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::export::{permission_row, topic_permission_row};
use crate::admin::definitions::{items, read_body};
use crate::admin::error::ErrorBody;
use crate::admin::input::{Object, Path};
use crate::admin::{AdminState, ApiError};
use crate::model::VhostName;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, put, delete))
        .routes(routes!(list_topics))
        .routes(routes!(show_topics, put_topic, delete_topics))
        .routes(routes!(show_topic, delete_topic))
}

/// Every permission
#[utoipa::path(
    get, path = "/api/permissions", tag = "permissions",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn list(caller: Caller, State(state): State<AdminState>) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    let permissions = state.broker.access().permissions();
    Ok(Json(permissions.iter().map(|permission| permission_row(permission)).collect()))
}

/// A vhost's name, if there is such a vhost, and such a user.
fn known(state: &AdminState, vhost: &str, user: &str) -> Option<VhostName> {
    state.broker.access().user(user)?;
    Some(state.broker.vhost(vhost)?.name().clone())
}

/// What a user may do in a vhost
#[utoipa::path(
    get, path = "/api/permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    responses(
        (status = OK, body = Object),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = known(&state, &vhost, &user).ok_or_else(ApiError::not_found)?;
    let permission = state.broker.access().permission(&user, &vhost).ok_or_else(ApiError::not_found)?;
    Ok(Json(permission_row(&permission)))
}

/// Sets what a user may do in a vhost
#[utoipa::path(
    put, path = "/api/permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    request_body(content = Object, example = json!({"configure": "^a", "write": ".*", "read": ".*"})),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn put(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        let name = known(&state, &vhost, &user).ok_or_else(not_known)?;
        let permission = read_body(&body, |reader| items::permission(reader, user.clone(), name.clone()))?;
        let before = state.broker.access().permissions();
        let is_new = !before.iter().any(|known| known.user == user && known.vhost == name);
        Ok((state.broker.set_permission(permission)?, is_new))
    };
    let done = set();
    audit(&caller, "permission.put", &format!("{user:?} in vhost {vhost:?}"), &done);
    let (commit, is_new) = done?;
    state.answer_set(commit, is_new).await
}

/// As RabbitMQ, which answers with 400 rather than 404.
fn not_known() -> ApiError {
    ApiError::bad_request("vhost_or_user_not_found")
}

/// Takes away what a user may do in a vhost
#[utoipa::path(
    delete, path = "/api/permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let clear = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        known(&state, &vhost, &user).ok_or_else(ApiError::not_found)?;
        Ok(state.broker.clear_permission(&user, &vhost)?)
    };
    let done = clear();
    audit(&caller, "permission.delete", &format!("{user:?} in vhost {vhost:?}"), &done);
    state.answer_done(done?).await
}

/// Every topic permission
#[utoipa::path(
    get, path = "/api/topic-permissions", tag = "permissions",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn list_topics(caller: Caller, State(state): State<AdminState>) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    let topics = state.broker.access().topic_permissions();
    Ok(Json(topics.iter().map(|topic| topic_permission_row(topic)).collect()))
}

/// The topic permissions of a user in a vhost, as far as they are for this exchange.
fn topics(
    state: &AdminState,
    vhost: &str,
    user: &str,
    exchange: Option<&str>,
) -> Result<Vec<Value>, ApiError> {
    let vhost = known(state, vhost, user).ok_or_else(ApiError::not_found)?;
    let all = state.broker.access().topic_permissions();
    let is_meant = |topic: &TopicPermission| {
        let is_of_exchange = exchange.is_none_or(|exchange| *topic.exchange == *exchange);
        topic.user == user && topic.vhost == vhost && is_of_exchange
    };
    let rows: Vec<_> =
        all.iter().filter(|topic| is_meant(topic)).map(|topic| topic_permission_row(topic)).collect();
    if rows.is_empty() { Err(ApiError::not_found()) } else { Ok(rows) }
}

/// Which routing keys a user may use in a vhost
#[utoipa::path(
    get, path = "/api/topic-permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show_topics(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    topics(&state, &vhost, &user, None).map(Json)
}

/// Sets which routing keys a user may use with a topic exchange
#[utoipa::path(
    put, path = "/api/topic-permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    request_body(content = Object, example = json!({"exchange": "amq.topic", "write": "^a", "read": ".*"})),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn put_topic(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        let name = known(&state, &vhost, &user).ok_or_else(not_known)?;
        let topic = read_body(&body, |reader| items::topic_permission(reader, user.clone(), name.clone()))?;
        let is_new = topics(&state, &vhost, &user, Some(&topic.exchange)).is_err();
        Ok((state.broker.set_topic_permission(topic)?, is_new))
    };
    let done = set();
    audit(&caller, "topic_permission.put", &format!("{user:?} in vhost {vhost:?}"), &done);
    let (commit, is_new) = done?;
    state.answer_set(commit, is_new).await
}

async fn clear_topics(
    caller: &Caller,
    state: &AdminState,
    vhost: &str,
    user: &str,
    exchange: Option<&str>,
) -> Result<StatusCode, ApiError> {
    let clear = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        topics(state, vhost, user, exchange)?;
        Ok(state.broker.clear_topic_permission(user, vhost, exchange)?)
    };
    let done = clear();
    audit(caller, "topic_permission.delete", &format!("{user:?} in vhost {vhost:?}"), &done);
    state.answer_done(done?).await
}

/// Takes away all topic permissions of a user in a vhost: its routing keys are free
#[utoipa::path(
    delete, path = "/api/topic-permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete_topics(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    clear_topics(&caller, &state, &vhost, &user, None).await
}

/// Which routing keys a user may use with an exchange
#[utoipa::path(
    get, path = "/api/topic-permissions/{vhost}/{user}/{exchange}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path), ("exchange" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show_topic(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    topics(&state, &vhost, &user, Some(&exchange)).map(Json)
}

/// Takes away a topic permission
#[utoipa::path(
    delete, path = "/api/topic-permissions/{vhost}/{user}/{exchange}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path), ("exchange" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete_topic(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    clear_topics(&caller, &state, &vhost, &user, Some(&exchange)).await
}
