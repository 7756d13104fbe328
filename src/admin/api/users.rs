//! Users, and what each of them may do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{RabbitHashing, User, UserSource};
use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::export::{permission_row, topic_permission_row, user_row};
use crate::admin::definitions::items::{PasswordItem, UserItem};
use crate::admin::definitions::read_body;
use crate::admin::error::ErrorBody;
use crate::admin::input::{self, Object, Path, Query};
use crate::admin::page::{ListQuery, Listing};
use crate::admin::{AdminState, ApiError};
use crate::broker::Commit;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(without_permissions))
        .routes(routes!(bulk_delete))
        .routes(routes!(show, put, delete))
        .routes(routes!(permissions))
        .routes(routes!(topic_permissions))
}

/// Every user
#[utoipa::path(
    get, path = "/api/users", tag = "users", params(ListQuery),
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
    caller.require(Level::Administrator)?;
    let users = state.broker.access().users();
    query.select(&state, users.iter().map(|user| shown(user)).collect())
}

/// A user as definitions have it, and whether it can be changed here.
fn shown(user: &User) -> Value {
    let mut row = user_row(user);
    if user.source == UserSource::File {
        row["in_settings_file"] = true.into();
    }
    row
}

/// The users who may enter no vhost
#[utoipa::path(
    get, path = "/api/users/without-permissions", tag = "users",
    responses((status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn without_permissions(
    caller: Caller,
    State(state): State<AdminState>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    let access = state.broker.access();
    let mut users = access.users();
    let vhosts = state.broker.vhosts();
    users.retain(|user| vhosts.iter().all(|vhost| access.permission(&user.name, vhost.name()).is_none()));
    Ok(Json(users.iter().map(|user| shown(user)).collect()))
}

/// Names of users.
#[derive(Deserialize, ToSchema)]
struct Users {
    /// Those to delete.
    users: Vec<String>,
}

/// Deletes users
#[utoipa::path(
    post, path = "/api/users/bulk-delete", tag = "users", request_body = Users,
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn bulk_delete(
    caller: Caller,
    State(state): State<AdminState>,
    input::Json(Users { users }): input::Json<Users>,
) -> Result<StatusCode, ApiError> {
    let checked = check_all(&caller, &state, &users);
    if checked.is_err() {
        audit(&caller, "user.delete", &format!("{} users", users.len()), &checked);
    }
    checked?;
    for name in &users {
        // One that is named twice is gone by now.
        if state.broker.access().user(name).is_some() {
            delete_user(&caller, &state, name)?;
        }
    }
    state.answer_done(state.broker.catalog_commit()).await
}

/// Whether the caller may delete them, and each can be.
fn check_all(caller: &Caller, state: &AdminState, users: &[String]) -> Result<(), ApiError> {
    caller.require(Level::Administrator)?;
    if let Some(unknown) = users.iter().find(|name| state.broker.access().user(name).is_none()) {
        return Err(ApiError::bad_request(format!("no such user: {unknown:?}; none was deleted")));
    }
    let is_of_file =
        |name: &&String| state.broker.access().user(name).is_some_and(|user| user.source == UserSource::File);
    match users.iter().find(is_of_file) {
        Some(of_file) => Err(ApiError::bad_request(format!(
            "user {of_file:?} is set in the broker's settings file: delete it there; none was deleted"
        ))),
        None => Ok(()),
    }
}

fn delete_user(caller: &Caller, state: &AdminState, name: &str) -> Result<Commit, ApiError> {
    let delete = || -> Result<_, ApiError> {
        caller.require(Level::Administrator)?;
        state.broker.access().user(name).ok_or_else(ApiError::not_found)?;
        Ok(state.broker.delete_user(name)?)
    };
    let deleted = delete();
    audit(caller, "user.delete", &format!("{name:?}"), &deleted);
    deleted
}

/// One user
#[utoipa::path(
    get, path = "/api/users/{user}", tag = "users", params(("user" = String, Path)),
    responses(
        (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.require(Level::Administrator)?;
    let user = state.broker.access().user(&user).ok_or_else(ApiError::not_found)?;
    Ok(Json(shown(&user)))
}

/// Sets a user
///
/// With `password`, or `password_hash` and `hashing_algorithm`; with neither, no password is right any more.
#[utoipa::path(
    put, path = "/api/users/{user}", tag = "users", params(("user" = String, Path)),
    request_body(content = Object, example = json!({"password": "wonder", "tags": "monitoring"})),
    responses(
        (status = CREATED), (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn put(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let name = user.clone();
    let set = move |state: &AdminState| -> Result<bool, ApiError> {
        let item = read_body(&body, |reader| UserItem::read_fields(reader, &name, RabbitHashing::Sha256))?;
        let UserItem { name, password, tags, limits } = item;
        let credentials = match password {
            PasswordItem::Credentials(credentials) => credentials,
            PasswordItem::Clear(password) => {
                let hashed = state.broker.access().hash_password(&password.0);
                hashed.map_err(|error| ApiError::bad_request(error.to_string()))?
            }
        };
        let known = state.broker.access().user(&name);
        let limits = if body.contains_key("limits") {
            limits
        } else {
            known.as_ref().map(|known| known.limits).unwrap_or_default()
        };
        state.broker.put_user(User::new(&name, credentials, tags).with_limits(limits))?;
        Ok(known.is_none())
    };
    // Hashing a password takes long, on purpose.
    let is_new = match caller.require(Level::Administrator) {
        Ok(()) => state.blocking(set).await,
        Err(error) => Err(error),
    };
    audit(&caller, "user.put", &format!("{user:?}"), &is_new);
    state.answer_set(state.broker.catalog_commit(), is_new?).await
}

/// Deletes a user with all permissions, and closes its connections
#[utoipa::path(
    delete, path = "/api/users/{user}", tag = "users", params(("user" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
) -> Result<StatusCode, ApiError> {
    let commit = delete_user(&caller, &state, &user)?;
    state.answer_done(commit).await
}

/// What a user may do, in each vhost
#[utoipa::path(
    get, path = "/api/users/{user}/permissions", tag = "users", params(("user" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn permissions(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    let access = state.broker.access();
    access.user(&user).ok_or_else(ApiError::not_found)?;
    let mut vhosts = state.broker.vhosts();
    vhosts.sort_by(|a, b| a.name().cmp(b.name()));
    let permissions = vhosts.iter().filter_map(|vhost| access.permission(&user, vhost.name()));
    Ok(Json(permissions.map(|permission| permission_row(&permission)).collect()))
}

/// Which routing keys a user may use
#[utoipa::path(
    get, path = "/api/users/{user}/topic-permissions", tag = "users", params(("user" = String, Path)),
    responses(
        (status = OK, body = Vec<Object>), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn topic_permissions(
    caller: Caller,
    State(state): State<AdminState>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Value>>, ApiError> {
    caller.require(Level::Administrator)?;
    state.broker.access().user(&user).ok_or_else(ApiError::not_found)?;
    let topics = state.broker.access().topic_permissions();
    let of_user = topics.iter().filter(|topic| topic.user == user);
    Ok(Json(of_user.map(|topic| topic_permission_row(topic)).collect()))
}
