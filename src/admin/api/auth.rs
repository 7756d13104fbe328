//! Logins that there were, and hashes of passwords.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Credentials, PASSWORD_LEN_MAX, Protocol, RabbitHashing};
use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::{AdminState, ApiError};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(hash_password)).routes(routes!(attempts, reset))
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

fn check_node(state: &AdminState, node: &str) -> Result<(), ApiError> {
    if node == state.node.name() { Ok(()) } else { Err(ApiError::not_found()) }
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
    check_node(&state, &node)?;
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
    caller.require(Level::Monitoring)?;
    check_node(&state, &node)?;
    state.broker.access().reset_attempts();
    audit(&caller, "auth.attempts.reset", &node, &Ok(()));
    Ok(StatusCode::NO_CONTENT)
}
