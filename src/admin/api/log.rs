//! What is logged, looked at and changed while the broker runs.

use std::collections::BTreeMap;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::error::ErrorBody;
use crate::admin::{AdminState, ApiError, input};
use crate::config::LogLevel;
use crate::log::{Levels, Log};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_levels, put_levels))
}

/// What is written to the log.
#[derive(Serialize, ToSchema)]
struct LogLevels {
    /// The least serious events that are written: off, error, warn, info, debug or trace.
    #[schema(example = "info")]
    level: String,
    /// Parts of the broker that have a level of their own.
    rooms: BTreeMap<String, String>,
}

impl LogLevels {
    fn of(levels: &Levels) -> Self {
        let rooms = levels.rooms().iter().map(|(room, level)| ((*room).to_owned(), level.to_string()));
        LogLevels { level: levels.level.to_string(), rooms: rooms.collect() }
    }
}

/// What is to be written to the log from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogLevelChange {
    /// off, error, warn, info, debug or trace; without one, the room goes back to the level of all.
    #[schema(example = "debug")]
    level: Option<String>,
    /// The part of the broker whose level it is; without one it is that of all.
    #[schema(example = "session")]
    room: Option<String>,
}

/// Which events are logged?
#[utoipa::path(
    get, path = "/api/log/level", tag = "log",
    responses(
        (status = OK, body = LogLevels), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody, description = "another program embeds the broker, and its log"),
    )
)]
async fn get_levels(caller: Caller) -> Result<Json<LogLevels>, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(Json(LogLevels::of(&log()?.levels())))
}

/// Log more, or less, until the broker ends.
#[utoipa::path(
    put, path = "/api/log/level", tag = "log", request_body = LogLevelChange,
    responses(
        (status = OK, body = LogLevels), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = FORBIDDEN, body = ErrorBody),
        (status = PAYLOAD_TOO_LARGE, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody, description = "another program embeds the broker, and its log"),
    )
)]
async fn put_levels(
    caller: Caller,
    input::Json(change): input::Json<LogLevelChange>,
) -> Result<Json<LogLevels>, ApiError> {
    let object = format!(
        "{} {}",
        change.room.as_deref().unwrap_or("all"),
        change.level.as_deref().unwrap_or("as all")
    );
    let outcome = caller.require(Level::Administrator).and_then(|()| set(&change));
    audit(&caller, "set log level", &object, &outcome);
    outcome.map(Json)
}

fn set(change: &LogLevelChange) -> Result<LogLevels, ApiError> {
    let log = log()?;
    let level = match &change.level {
        Some(level) => Some(level.parse::<LogLevel>().map_err(ApiError::bad_request)?),
        None => None,
    };
    let mut levels = log.levels();
    match (&change.room, level) {
        (Some(room), level) => {
            levels.set_room(room, level).map_err(|error| ApiError::bad_request(error.to_string()))?;
        }
        (None, Some(level)) => levels.level = level,
        (None, None) => return Err(ApiError::bad_request("say which level: {\"level\": \"debug\"}")),
    }
    log.set_levels(levels.clone());
    Ok(LogLevels::of(&levels))
}

fn log() -> Result<&'static Log, ApiError> {
    Log::running().ok_or_else(ApiError::not_found)
}
