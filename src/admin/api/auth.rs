//! Logins that there were, and hashes of passwords.

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Credentials, FailedLogins, PASSWORD_LEN_MAX, Protocol, RabbitHashing};
use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::{AdminState, ApiError, Peer};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(hash_password))
        .routes(routes!(attempts, reset))
        .routes(routes!(sources, forget))
        .routes(routes!(login))
}

/// A hash.
#[derive(Serialize, ToSchema)]
struct Hashed {
    /// For `password_hash` with the algorithm `rabbit_password_hashing_sha256`.
    ok: String,
}

/// Hashes a password as RabbitMQ does
///
/// For definitions that a RabbitMQ takes, too. The password is part of the address here: better send it as
/// `password` to `PUT /api/users/{user}`.
#[utoipa::path(
    get, path = "/api/auth/hash_password/{password}", tag = "auth", params(("password" = String, Path)),
    responses(
        (status = OK, body = Hashed), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn hash_password(caller: Caller, Path(password): Path<String>) -> Result<Json<Hashed>, ApiError> {
    caller.require(Level::Administrator)?;
    if password.len() > PASSWORD_LEN_MAX {
        return Err(ApiError::bad_request(format!("a password has at most {PASSWORD_LEN_MAX} bytes")));
    }
    let (ok, _) = Credentials::new_rabbitmq(&password, RabbitHashing::Sha256).to_definition();
    Ok(Json(Hashed { ok }))
}

/// Logins of a protocol.
#[derive(Serialize, ToSchema)]
struct Attempts {
    /// The protocol.
    protocol: &'static str,
    /// All of them.
    auth_attempts: u64,
    /// Those that were refused.
    auth_attempts_failed: u64,
    /// Those that were not.
    auth_attempts_succeeded: u64,
}

/// How many logins there were, by protocol: those that somebody has tried
#[utoipa::path(
    get, path = "/api/auth/attempts/{node}", tag = "auth", params(("node" = String, Path)),
    responses(
        (status = OK, body = Vec<Attempts>), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn attempts(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<Json<Vec<Attempts>>, ApiError> {
    caller.require(Level::Monitoring)?;
    state.check_node(&node)?;
    let of = |protocol: Protocol| {
        let (succeeded, failed) = state.broker.access().attempts(protocol);
        Attempts {
            protocol: protocol.name(),
            auth_attempts: succeeded + failed,
            auth_attempts_failed: failed,
            auth_attempts_succeeded: succeeded,
        }
    };
    // As RabbitMQ does; besides, strict clients cannot read a row of a protocol that RabbitMQ has not.
    let used = Protocol::ALL.into_iter().map(of).filter(|attempts| attempts.auth_attempts > 0);
    Ok(Json(used.collect()))
}

/// Forgets how many logins there were
#[utoipa::path(
    delete, path = "/api/auth/attempts/{node}", tag = "auth", params(("node" = String, Path)),
    responses(
        (status = NO_CONTENT), (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn reset(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let may = caller.require(Level::Monitoring).and_then(|()| state.check_node(&node));
    audit(&caller, "auth.attempts.reset", &format!("{node:?}"), &may);
    may?;
    state.broker.access().reset_attempts();
    Ok(StatusCode::NO_CONTENT)
}

/// Failed logins of a user from an address.
#[derive(Serialize, ToSchema)]
struct Source {
    /// Where they came from.
    remote_address: String,
    /// The user's name, as it was given.
    username: String,
    /// As those that failed: what succeeds ends the row.
    auth_attempts: u32,
    /// How many failed, since the last that did not.
    auth_attempts_failed: u32,
    /// None.
    auth_attempts_succeeded: u32,
    /// When the last was, in milliseconds since 1970.
    last_attempt_at: u64,
}

/// Failed logins that slow down the next ones, by user and address
#[utoipa::path(
    get, path = "/api/auth/attempts/{node}/source", tag = "auth", params(("node" = String, Path)),
    responses((status = OK, body = Vec<Source>), (status = NOT_FOUND, body = ErrorBody))
)]
async fn sources(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<Json<Vec<Source>>, ApiError> {
    caller.require(Level::Monitoring)?;
    state.check_node(&node)?;
    let row = |failed: FailedLogins| Source {
        remote_address: failed.address.to_string(),
        username: failed.user,
        auth_attempts: failed.count,
        auth_attempts_failed: failed.count,
        auth_attempts_succeeded: 0,
        last_attempt_at: failed.last.as_micros() / 1000,
    };
    Ok(Json(state.broker.access().failures().into_iter().map(row).collect()))
}

/// Forgets failed logins: whoever was slowed down is so no more
#[utoipa::path(
    delete, path = "/api/auth/attempts/{node}/source", tag = "auth", params(("node" = String, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
async fn forget(
    caller: Caller,
    State(state): State<AdminState>,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let may = caller.require(Level::Administrator).and_then(|()| state.check_node(&node));
    audit(&caller, "auth.failures.reset", &format!("{node:?}"), &may);
    may?;
    state.broker.access().forget_failures();
    Ok(StatusCode::NO_CONTENT)
}

/// A login of a page's form.
#[derive(Deserialize, ToSchema)]
struct Login {
    /// The user's name.
    username: String,
    /// The password.
    password: String,
}

/// Whether a login is right
///
/// Nothing is remembered of it, in a cookie or elsewhere: each request carries user and password.
#[utoipa::path(
    post, path = "/api/login", tag = "auth", security(()),
    request_body(content = Login, content_type = "application/x-www-form-urlencoded"),
    responses((status = OK, body = String, content_type = "application/json"), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn login(
    State(state): State<AdminState>,
    Peer(address): Peer,
    form: Result<Form<Login>, FormRejection>,
) -> Result<Json<&'static str>, ApiError> {
    let Form(Login { username, password }) = form.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::body_too_large(),
        _ => ApiError::bad_request("a form with username and password is expected"),
    })?;
    Caller::log_in(&state, address, &username, &password).await?;
    Ok(Json("ok"))
}
