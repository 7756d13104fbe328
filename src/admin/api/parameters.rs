//! Parameters: kept for tools that read them here, and for the RabbitMQ that definitions come from or go to.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::export::{
    global_parameter_row, limits_parameter, operator_parameter, parameter_row, value_of,
};
use crate::admin::definitions::items::GlobalParameter;
use crate::admin::definitions::read_body;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Object, Path};
use crate::admin::{AdminState, ApiError};
use crate::broker::Vhost;
use crate::model::{PolicyKind, VhostLimits};
use crate::store::ParameterRow;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list_component))
        .routes(routes!(list))
        .routes(routes!(show, put, delete))
        .routes(routes!(global_list))
        .routes(routes!(global_show, global_put, global_delete))
}

/// What RabbitMQ calls parameters of a vhost: operator policies and limits are among them.
fn rows(state: &AdminState, vhost: &Vhost, component: Option<&str>) -> Vec<Value> {
    let kept = state.broker.parameters();
    let of_vhost = kept.iter().filter(|row| row.vhost.as_ref() == Some(vhost.name()));
    let mut rows: Vec<_> = of_vhost.map(|row| parameter_row(row, value_of(row))).collect();
    rows.extend(vhost.policies(PolicyKind::Operator).iter().map(|policy| operator_parameter(vhost, policy)));
    if vhost.limits() != VhostLimits::default() {
        rows.push(limits_parameter(vhost));
    }
    rows.retain(|row| component.is_none_or(|component| row["component"] == *component));
    rows
}

/// Every parameter
#[utoipa::path(
    get, path = "/api/parameters", tag = "parameters",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn list_all(caller: Caller, State(state): State<AdminState>) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Policymaker)?;
    Ok(Json(caller.vhosts(&state).iter().flat_map(|vhost| rows(&state, vhost, None)).collect()))
}

/// Every parameter of a component
#[utoipa::path(
    get, path = "/api/parameters/{component}", tag = "parameters", params(("component" = String, Path)),
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn list_component(
    caller: Caller,
    State(state): State<AdminState>,
    Path(component): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Policymaker)?;
    let vhosts = caller.vhosts(&state);
    Ok(Json(vhosts.iter().flat_map(|vhost| rows(&state, vhost, Some(&component))).collect()))
}

/// Every parameter of a component in a vhost
#[utoipa::path(
    get, path = "/api/parameters/{component}/{vhost}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list(
    caller: Caller,
    State(state): State<AdminState>,
    Path((component, vhost)): Path<(String, String)>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Policymaker)?;
    Ok(Json(rows(&state, &*caller.vhost(&state, &vhost)?, Some(&component))))
}

/// One parameter
#[utoipa::path(
    get, path = "/api/parameters/{component}/{vhost}/{name}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = OK, body = Object),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Policymaker)?;
    let rows = rows(&state, &*caller.vhost(&state, &vhost)?, Some(&component));
    let row = rows.into_iter().find(|row| row["name"] == *name);
    row.map(Json).ok_or_else(ApiError::not_found)
}

/// Those that have addresses of their own, because they mean something.
fn check_component(component: &str) -> Result<(), ApiError> {
    let address = match component {
        "operator_policy" => "/api/operator-policies",
        "vhost-limits" => "/api/vhost-limits",
        "policy" => "/api/policies",
        _ => return Ok(()),
    };
    Err(ApiError::bad_request(format!("component '{component}' is set at {address}")))
}

/// Sets a parameter
///
/// It is kept and exported, and has no effect here.
#[utoipa::path(
    put, path = "/api/parameters/{component}/{vhost}/{name}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path), ("name" = String, Path)),
    request_body(content = Object, example = json!({"value": {"uri": "amqp://elsewhere"}})),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn put(
    caller: Caller,
    State(state): State<AdminState>,
    Path((component, vhost, name)): Path<(String, String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Policymaker)?;
        let vhost = caller.vhost(&state, &vhost)?;
        check_component(&component)?;
        let item = read_body(&body, |reader| GlobalParameter::read_fields(reader, &name))?;
        let is_new = !rows(&state, &vhost, Some(&component)).iter().any(|row| row["name"] == *name);
        let (vhost, value) = (Some(vhost.name().clone()), item.value.to_string());
        let row = ParameterRow { vhost, component: component.clone(), name: item.name, value };
        Ok((state.broker.set_parameter(row)?, is_new))
    };
    let done = set();
    audit(&caller, "parameter.put", &super::outcome::object(&vhost, &name), &done);
    let (commit, is_new) = done?;
    state.answer_set(commit, is_new).await
}

/// Takes a parameter away
#[utoipa::path(
    delete, path = "/api/parameters/{component}/{vhost}/{name}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let clear = || -> Result<_, ApiError> {
        caller.require(Level::Policymaker)?;
        let vhost = caller.vhost(&state, &vhost)?;
        check_component(&component)?;
        Ok(state.broker.clear_parameter(Some(vhost.name()), &component, &name)?)
    };
    let done = clear();
    audit(&caller, "parameter.delete", &super::outcome::object(&vhost, &name), &done);
    state.answer_done(done?).await
}

fn global(state: &AdminState) -> Vec<ParameterRow> {
    state.broker.parameters().into_iter().filter(|row| row.vhost.is_none()).collect()
}

/// Every global parameter
#[utoipa::path(
    get, path = "/api/global-parameters", tag = "parameters",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn global_list(caller: Caller, State(state): State<AdminState>) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Policymaker)?;
    Ok(Json(global(&state).iter().map(global_parameter_row).collect()))
}

/// One global parameter
#[utoipa::path(
    get, path = "/api/global-parameters/{name}", tag = "parameters", params(("name" = String, Path)),
    responses(
        (status = OK, body = Object),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn global_show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Policymaker)?;
    let row = global(&state).into_iter().find(|row| row.name == name).ok_or_else(ApiError::not_found)?;
    Ok(Json(global_parameter_row(&row)))
}

/// Sets a global parameter
///
/// It is kept and exported. Only `cluster_name` has an effect here.
#[utoipa::path(
    put, path = "/api/global-parameters/{name}", tag = "parameters", params(("name" = String, Path)),
    request_body(content = Object, example = json!({"value": {"any": "thing"}})),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn global_put(
    caller: Caller,
    State(state): State<AdminState>,
    Path(name): Path<String>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Policymaker)?;
        let item = read_body(&body, |reader| GlobalParameter::read_fields(reader, &name))?;
        let is_new = !global(&state).iter().any(|row| row.name == name);
        let value = item.value.to_string();
        let row = ParameterRow { vhost: None, component: String::new(), name: item.name, value };
        Ok((state.broker.set_parameter(row)?, is_new))
    };
    let done = set();
    audit(&caller, "global_parameter.put", &format!("{name:?}"), &done);
    let (commit, is_new) = done?;
    state.answer_set(commit, is_new).await
}

/// Takes a global parameter away
#[utoipa::path(
    delete, path = "/api/global-parameters/{name}", tag = "parameters", params(("name" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn global_delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let may = caller.require(Level::Policymaker);
    let done = may.and_then(|()| Ok(state.broker.clear_parameter(None, "", &name)?));
    audit(&caller, "global_parameter.delete", &format!("{name:?}"), &done);
    state.answer_done(done?).await
}
