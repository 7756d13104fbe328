//! Policies of users and of operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::export::policy_row;
use crate::admin::definitions::items::PolicyItem;
use crate::admin::definitions::read_body;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Object, Path};
use crate::admin::{AdminState, ApiError};
use crate::broker::{Turn, Vhost};
use crate::model::PolicyKind;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list))
        .routes(routes!(show, put, delete))
        .routes(routes!(operator_list_all))
        .routes(routes!(operator_list))
        .routes(routes!(operator_show, operator_put, operator_delete))
}

fn rows(vhost: &Vhost, kind: PolicyKind) -> Vec<Value> {
    vhost.policies(kind).iter().map(|policy| policy_row(vhost, policy)).collect()
}

fn acts(kind: PolicyKind) -> [&'static str; 2] {
    match kind {
        PolicyKind::User => ["policy.put", "policy.delete"],
        PolicyKind::Operator => ["operator_policy.put", "operator_policy.delete"],
    }
}

async fn put_policy(
    caller: &Caller,
    state: &AdminState,
    vhost: &Arc<Vhost>,
    kind: PolicyKind,
    name: &str,
    body: &Map<String, Value>,
) -> Result<StatusCode, ApiError> {
    let read = read_body(body, |reader| PolicyItem::read_fields(reader, kind, vhost.name().clone(), name));
    let of = vhost.clone();
    // It is applied to every queue of the vhost.
    let set = move |state: &AdminState| -> Result<bool, ApiError> {
        let policy = read?.policy;
        let is_new = of.policy(kind, policy.name()).is_none();
        let mut turn = Turn::new();
        turn.begin(state.broker.now());
        let set = of.set_policy(policy, &mut turn);
        turn.finish(&state.broker);
        set?;
        Ok(is_new)
    };
    let is_new = state.blocking(set).await;
    audit(caller, acts(kind)[0], &super::outcome::object(vhost, name), &is_new);
    let is_new = is_new?;
    state.committed().await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

async fn delete_policy(
    caller: &Caller,
    state: &AdminState,
    vhost: &Arc<Vhost>,
    kind: PolicyKind,
    name: &str,
) -> Result<StatusCode, ApiError> {
    let (of, named) = (vhost.clone(), name.to_owned());
    let clear = move |state: &AdminState| -> Result<(), ApiError> {
        let mut turn = Turn::new();
        turn.begin(state.broker.now());
        let cleared = of.clear_policy(kind, &named, &mut turn);
        turn.finish(&state.broker);
        if cleared? { Ok(()) } else { Err(ApiError::not_found()) }
    };
    let cleared = state.blocking(clear).await;
    audit(caller, acts(kind)[1], &super::outcome::object(vhost, name), &cleared);
    cleared?;
    state.committed().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every policy
#[utoipa::path(
    get, path = "/api/policies", tag = "policies",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn list_all(caller: Caller, State(state): State<AdminState>) -> Json<Vec<Value>> {
    Json(caller.vhosts(&state).iter().flat_map(|vhost| rows(vhost, PolicyKind::User)).collect())
}

/// Every policy of a vhost
#[utoipa::path(
    get, path = "/api/policies/{vhost}", tag = "policies", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(rows(&*caller.vhost(&state, &vhost)?, PolicyKind::User)))
}

/// One policy
#[utoipa::path(
    get, path = "/api/policies/{vhost}/{name}", tag = "policies",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = OK, body = Object),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Policymaker)?;
    let vhost = caller.vhost(&state, &vhost)?;
    let policy = vhost.policy(PolicyKind::User, &name).ok_or_else(ApiError::not_found)?;
    Ok(Json(policy_row(&vhost, &policy)))
}

/// Sets a policy: it holds at once
#[utoipa::path(
    put, path = "/api/policies/{vhost}/{name}", tag = "policies",
    params(("vhost" = String, Path), ("name" = String, Path)),
    request_body(
        content = Object,
        example = json!({"pattern": "^q", "definition": {"max-length": 1000}, "apply-to": "queues", "priority": 1})
    ),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn put(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Policymaker)?;
    let vhost = caller.vhost(&state, &vhost)?;
    put_policy(&caller, &state, &vhost, PolicyKind::User, &name, &body).await
}

/// Takes a policy away
#[utoipa::path(
    delete, path = "/api/policies/{vhost}/{name}", tag = "policies",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Policymaker)?;
    let vhost = caller.vhost(&state, &vhost)?;
    delete_policy(&caller, &state, &vhost, PolicyKind::User, &name).await
}

/// Every operator policy
#[utoipa::path(
    get, path = "/api/operator-policies", tag = "policies",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn operator_list_all(caller: Caller, State(state): State<AdminState>) -> Json<Vec<Value>> {
    Json(caller.vhosts(&state).iter().flat_map(|vhost| rows(vhost, PolicyKind::Operator)).collect())
}

/// Every operator policy of a vhost
#[utoipa::path(
    get, path = "/api/operator-policies/{vhost}", tag = "policies", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn operator_list(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(rows(&*caller.vhost(&state, &vhost)?, PolicyKind::Operator)))
}

/// One operator policy
#[utoipa::path(
    get, path = "/api/operator-policies/{vhost}/{name}", tag = "policies",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = OK, body = Object),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn operator_show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    let policy = vhost.policy(PolicyKind::Operator, &name).ok_or_else(ApiError::not_found)?;
    Ok(Json(policy_row(&vhost, &policy)))
}

/// Sets an operator policy: it holds at once
#[utoipa::path(
    put, path = "/api/operator-policies/{vhost}/{name}", tag = "policies",
    params(("vhost" = String, Path), ("name" = String, Path)),
    request_body(
        content = Object,
        example = json!({"pattern": "^q", "definition": {"max-length": 1000}, "apply-to": "queues", "priority": 1})
    ),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn operator_put(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    put_policy(&caller, &state, &vhost, PolicyKind::Operator, &name, &body).await
}

/// Takes an operator policy away
#[utoipa::path(
    delete, path = "/api/operator-policies/{vhost}/{name}", tag = "policies",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn operator_delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    delete_policy(&caller, &state, &vhost, PolicyKind::Operator, &name).await
}
