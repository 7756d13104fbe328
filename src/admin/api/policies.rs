//! Policies of users and of operators: the same requests at two addresses.
//!
//! Invariant: which kind a request is about is said by where it was sent, and by nothing else.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::Value;
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
use crate::model::{Policy, PolicyKind};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .nest("/api/policies", of_kind(PolicyKind::User))
        .nest("/api/operator-policies", of_kind(PolicyKind::Operator))
}

fn of_kind(kind: PolicyKind) -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list))
        .routes(routes!(show, put, delete))
        .layer(Extension(kind))
}

fn rows(vhost: &Vhost, kind: PolicyKind) -> Vec<Value> {
    vhost.policies(kind).iter().map(|policy| policy_row(vhost, policy)).collect()
}

/// Who may look at a single policy of a kind and change it, and what the audit log calls it to set one and to take one away.
fn rules(kind: PolicyKind) -> (Level, &'static str, &'static str) {
    match kind {
        PolicyKind::User => (Level::Policymaker, "policy.put", "policy.delete"),
        PolicyKind::Operator => (Level::Administrator, "operator_policy.put", "operator_policy.delete"),
    }
}

/// Every policy
#[utoipa::path(get, path = "/", tag = "policies", responses((status = OK, body = Vec<Object>)))]
async fn list_all(
    caller: Caller,
    State(state): State<AdminState>,
    Extension(kind): Extension<PolicyKind>,
) -> Json<Vec<Value>> {
    Json(caller.vhosts(&state).iter().flat_map(|vhost| rows(vhost, kind)).collect())
}

/// Every policy of a vhost
#[utoipa::path(
    get, path = "/{vhost}", tag = "policies", params(("vhost" = String, Path)),
    responses((status = OK, body = Vec<Object>), (status = NOT_FOUND, body = ErrorBody))
)]
async fn list(
    caller: Caller,
    State(state): State<AdminState>,
    Extension(kind): Extension<PolicyKind>,
    Path(vhost): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    Ok(Json(rows(&*caller.vhost(&state, &vhost)?, kind)))
}

/// One policy
#[utoipa::path(
    get, path = "/{vhost}/{name}", tag = "policies", params(("vhost" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Object), (status = NOT_FOUND, body = ErrorBody))
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Extension(kind): Extension<PolicyKind>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    caller.require(rules(kind).0)?;
    let vhost = caller.vhost(&state, &vhost)?;
    let policy = vhost.policy(kind, &name).ok_or_else(ApiError::not_found)?;
    Ok(Json(policy_row(&vhost, &policy)))
}

/// Sets a policy: it holds at once
#[utoipa::path(
    put, path = "/{vhost}/{name}", tag = "policies", params(("vhost" = String, Path), ("name" = String, Path)),
    request_body(
        content = Object,
        example = json!({"pattern": "^q", "definition": {"max-length": 1000}, "apply-to": "queues", "priority": 1})
    ),
    responses((status = CREATED), (status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn put(
    caller: Caller,
    State(state): State<AdminState>,
    Extension(kind): Extension<PolicyKind>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let (level, act, _) = rules(kind);
    let set = async || -> Result<bool, ApiError> {
        caller.require(level)?;
        let of = caller.vhost(&state, &vhost)?;
        let policy =
            read_body(&body, |reader| PolicyItem::read_fields(reader, kind, of.name().clone(), &name))?;
        // It is applied to every queue of the vhost.
        state.blocking(move |state| set_policy(state, &of, policy.policy)).await
    };
    let is_new = set().await;
    audit(&caller, act, &super::outcome::object(&vhost, &name), &is_new);
    state.answer_set(state.broker.catalog_commit(), is_new?).await
}

/// Whether there was none of this name.
fn set_policy(state: &AdminState, vhost: &Vhost, policy: Policy) -> Result<bool, ApiError> {
    let is_new = vhost.policy(policy.kind(), policy.name()).is_none();
    let mut turn = Turn::new();
    turn.begin(state.broker.now());
    let set = vhost.set_policy(policy, &mut turn);
    turn.finish(&state.broker);
    set?;
    Ok(is_new)
}

/// Takes a policy away
#[utoipa::path(
    delete, path = "/{vhost}/{name}", tag = "policies", params(("vhost" = String, Path), ("name" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Extension(kind): Extension<PolicyKind>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (level, _, act) = rules(kind);
    let clear = async || -> Result<(), ApiError> {
        caller.require(level)?;
        let (of, named) = (caller.vhost(&state, &vhost)?, name.clone());
        state.blocking(move |state| clear_policy(state, &of, kind, &named)).await
    };
    let cleared = clear().await;
    audit(&caller, act, &super::outcome::object(&vhost, &name), &cleared);
    cleared?;
    state.answer_done(state.broker.catalog_commit()).await
}

fn clear_policy(state: &AdminState, vhost: &Vhost, kind: PolicyKind, name: &str) -> Result<(), ApiError> {
    let mut turn = Turn::new();
    turn.begin(state.broker.now());
    let cleared = vhost.clear_policy(kind, name, &mut turn);
    turn.finish(&state.broker);
    if cleared? { Ok(()) } else { Err(ApiError::not_found()) }
}
