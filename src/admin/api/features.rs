//! What tools ask before they do anything else: versions, extensions, feature flags.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path};
use crate::admin::{AdminState, ApiError};
use crate::broker::{CLUSTER_NAME, CLUSTER_NAME_LEN_MAX, is_cluster_name};
use crate::store::ParameterRow;

/// RabbitMQ's feature flags that what we do amounts to. Tools ask for some of them.
const FLAGS: [(&str, &str); 7] = [
    ("classic_mirrored_queue_version", "Classic queues have versions"),
    ("drop_unroutable_metric", "Messages that reach no queue are counted"),
    ("empty_basic_get_metric", "Gets of an empty queue are counted"),
    ("implicit_default_bindings", "Queues need no binding to the default exchange"),
    ("quorum_queue", "Queues of the type quorum"),
    ("user_limits", "Limits of users"),
    ("virtual_host_metadata", "Vhosts have a description and tags"),
];

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(cluster_name, set_cluster_name))
        .routes(routes!(extensions))
        .routes(routes!(auth))
        .routes(routes!(feature_flags))
        .routes(routes!(enable))
        .routes(routes!(deprecated))
        .routes(routes!(deprecated_used))
}

/// The version of RabbitMQ whose API this is
#[utoipa::path(get, path = "/api/version", tag = "overview", responses(
    (status = OK, body = String), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn version(_caller: Caller, State(state): State<AdminState>) -> String {
    state.settings.management.announce_version.clone()
}

/// The name of the cluster: that of its one node, until it is given another
#[utoipa::path(get, path = "/api/cluster-name", tag = "overview", responses((status = OK, body = Object)))]
async fn cluster_name(_caller: Caller, State(state): State<AdminState>) -> Json<Value> {
    Json(json!({"name": state.cluster_name()}))
}

/// Gives the cluster a name, by which people tell it from others
///
/// It is the global parameter `cluster_name`.
#[utoipa::path(put, path = "/api/cluster-name", tag = "overview",
    request_body(content = Object, example = json!({"name": "shop"})), responses((status = NO_CONTENT))
)]
async fn set_cluster_name(
    caller: Caller,
    State(state): State<AdminState>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        let name = body.needed_text("name")?;
        if !is_cluster_name(name) {
            let reason = format!("a name has 1 to {CLUSTER_NAME_LEN_MAX} bytes and no control characters");
            return Err(ApiError::bad_request(reason));
        }
        let (component, value) = (String::new(), Value::from(name).to_string());
        let row = ParameterRow { vhost: None, component, name: CLUSTER_NAME.to_owned(), value };
        Ok(state.broker.set_parameter(row)?)
    };
    let set = set();
    audit(&caller, "cluster_name.put", CLUSTER_NAME, &set);
    state.answer_done(set?).await
}

/// Extensions of RabbitMQ's pages: none
#[utoipa::path(get, path = "/api/extensions", tag = "overview", responses(
    (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn extensions(_caller: Caller) -> Json<Value> {
    Json(json!([]))
}

/// How pages log in: with a password, which they are told without one
#[utoipa::path(get, path = "/api/auth", tag = "overview", security(()), responses((status = OK, body = Object)))]
async fn auth() -> Json<Value> {
    Json(json!({"oauth_enabled": false}))
}

/// RabbitMQ's feature flags, all of them enabled
#[utoipa::path(get, path = "/api/feature-flags", tag = "overview", responses(
    (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn feature_flags(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    let flag = |(name, description): &(&str, &str)| {
        json!({
            "name": name, "desc": description, "doc_url": "", "state": "enabled", "stability": "required",
            "provided_by": "rabbit",
        })
    };
    Ok(Json(FLAGS.iter().map(flag).collect()))
}

/// Enables a feature flag, which it is
#[utoipa::path(put, path = "/api/feature-flags/{flag}/enable", tag = "overview",
    params(("flag" = String, Path)), responses(
    (status = NO_CONTENT), (status = UNAUTHORIZED, body = ErrorBody), (status = BAD_REQUEST, body = ErrorBody)
))]
async fn enable(caller: Caller, Path(flag): Path<String>) -> Result<StatusCode, ApiError> {
    caller.require(Level::Administrator)?;
    match flag == "all" || FLAGS.iter().any(|(name, _)| *name == flag) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::bad_request(format!("unsupported feature flag {flag:?}"))),
    }
}

/// Features that are to go: none
#[utoipa::path(get, path = "/api/deprecated-features", tag = "overview", responses(
    (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn deprecated(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    Ok(Json(json!([])))
}

/// Features that are to go and are in use: none
#[utoipa::path(get, path = "/api/deprecated-features/used", tag = "overview", responses(
    (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn deprecated_used(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    Ok(Json(json!([])))
}
