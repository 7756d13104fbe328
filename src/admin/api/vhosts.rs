//! Virtual hosts: made, described and deleted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::export::{limits, permission_row, topic_permission_row, vhost_row};
use crate::admin::definitions::items::VhostItem;
use crate::admin::definitions::read_body;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Object, Path, Query};
use crate::admin::page::{ListQuery, Listing};
use crate::admin::{AdminState, ApiError};
use crate::broker::{Turn, Vhost};
use crate::model::{VhostName, VhostOptions};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, put, delete))
        .routes(routes!(protect, lift_protection))
        .routes(routes!(permissions))
        .routes(routes!(topic_permissions))
}

/// A vhost as the API shows it.
fn row(state: &AdminState, vhost: &Vhost) -> Value {
    let mut row = vhost_row(vhost);
    let figures = vhost.listed_queues().iter().fold((0, 0), |(ready, unacked), queue| {
        let figures = queue.figures();
        (ready + figures.ready + figures.delayed, unacked + figures.unacked)
    });
    row["tracing"] = false.into();
    row["protected_from_deletion"] = vhost.options().protected_from_deletion.into();
    row["cluster_state"] = json!({ state.node.name(): "running" });
    row["limits"] = limits(&vhost.limits());
    row["messages_ready"] = figures.0.into();
    row["messages_unacknowledged"] = figures.1.into();
    row["messages"] = (figures.0 + figures.1).into();
    if row.get("default_queue_type").is_none() {
        row["default_queue_type"] = "classic".into();
    }
    row
}

/// Every vhost that the user may see
#[utoipa::path(
    get, path = "/api/vhosts", tag = "vhosts", params(ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn list(
    caller: Caller,
    State(state): State<AdminState>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let list = move |state: &AdminState| {
        let rows: Vec<_> = caller.vhosts_outside(state).iter().map(|vhost| row(state, vhost)).collect();
        query.select(state, rows)
    };
    state.blocking(list).await
}

/// One vhost
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}", tag = "vhosts", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    Ok(Json(row(&state, &vhost)))
}

/// Makes a vhost, or describes one anew
///
/// Whoever makes one may do everything in it.
#[utoipa::path(
    put, path = "/api/vhosts/{vhost}", tag = "vhosts", params(("vhost" = String, Path)),
    request_body(content = Object, example = json!({"description": "orders", "tags": ["production"]})),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn put(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let set = || -> Result<bool, ApiError> {
        caller.require(Level::Administrator)?;
        let name =
            VhostName::new(&vhost).map_err(|_| ApiError::bad_request("the name has more than 255 bytes"))?;
        let item = read_body(&body, |reader| Some(VhostItem::read_fields(reader, name.clone())))?;
        let known = state.broker.vhost(&vhost);
        let before = known.as_ref().map(|known| VhostOptions::clone(&known.options())).unwrap_or_default();
        let options = VhostOptions {
            description: item.description.unwrap_or(before.description),
            tags: item.tags.unwrap_or(before.tags),
            default_queue_type: item.default_queue_type.or(before.default_queue_type),
            protected_from_deletion: item.protected_from_deletion.unwrap_or(before.protected_from_deletion),
        };
        state.broker.add_vhost(&vhost, options)?;
        if let Some(limits) = item.limits {
            state.broker.set_vhost_limits(&vhost, limits)?;
        }
        if known.is_none() {
            // A user of the file may do everything everywhere already, and cannot be set here.
            let _ = state.broker.set_permission(crate::access::Permission::full(caller.user(), name));
        }
        Ok(known.is_none())
    };
    let is_new = set();
    audit(&caller, "vhost.put", &format!("{vhost:?}"), &is_new);
    state.answer_set(state.broker.catalog_commit(), is_new?).await
}

/// Deletes a vhost with all that is in it, and closes its connections
#[utoipa::path(
    delete, path = "/api/vhosts/{vhost}", tag = "vhosts", params(("vhost" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody),
        (status = PRECONDITION_FAILED, description = "It is protected from deletion", body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<StatusCode, ApiError> {
    let name = vhost.clone();
    let delete = move |state: &AdminState| Ok(state.broker.delete_vhost(&name, &mut Turn::new())?);
    let may = caller.require(Level::Administrator).and_then(|()| caller.vhost(&state, &vhost));
    let deleted = match may {
        Ok(_) => state.blocking(delete).await,
        Err(error) => Err(error),
    };
    audit(&caller, "vhost.delete", &format!("{vhost:?}"), &deleted);
    state.answer_done(deleted?).await
}

/// Protects a vhost from being deleted
///
/// Whoever means to delete it has to lift the protection first.
#[utoipa::path(
    post, path = "/api/vhosts/{vhost}/deletion/protection", tag = "vhosts", params(("vhost" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn protect(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_protection(&caller, &state, &vhost, true).await
}

/// Lets a vhost be deleted again
#[utoipa::path(
    delete, path = "/api/vhosts/{vhost}/deletion/protection", tag = "vhosts", params(("vhost" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn lift_protection(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_protection(&caller, &state, &vhost, false).await
}

async fn set_protection(
    caller: &Caller,
    state: &AdminState,
    vhost: &str,
    is_protected: bool,
) -> Result<StatusCode, ApiError> {
    let act = if is_protected { "vhost.protect" } else { "vhost.unprotect" };
    let set = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        caller.vhost(state, vhost)?;
        Ok(state.broker.protect_vhost(vhost, is_protected)?)
    };
    let set = set();
    audit(caller, act, &format!("{vhost:?}"), &set);
    state.answer_done(set?).await
}

/// What users may do in a vhost
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/permissions", tag = "vhosts", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn permissions(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    let permissions = state.broker.access().permissions();
    let of_vhost = permissions.iter().filter(|permission| permission.vhost == *vhost.name());
    Ok(Json(of_vhost.map(|permission| permission_row(permission)).collect()))
}

/// Which routing keys users may use in a vhost
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/topic-permissions", tag = "vhosts", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn topic_permissions(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    let vhost = caller.vhost(&state, &vhost)?;
    let topics = state.broker.access().topic_permissions();
    let of_vhost = topics.iter().filter(|topic| topic.vhost == *vhost.name());
    Ok(Json(of_vhost.map(|topic| topic_permission_row(topic)).collect()))
}
