//! Definitions, out and in.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::{Caller, Level};
use crate::admin::definitions::findings::{Fault, Findings, Notice};
use crate::admin::definitions::{export, take};
use crate::admin::error::ErrorBody;
use crate::admin::input::{self, Path};
use crate::admin::{AdminState, ApiError};
use crate::broker::Commit;
use crate::model::VhostName;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(export_all, import_all))
        .routes(routes!(export_vhost, import_vhost))
        .routes(routes!(openapi))
}

/// What came of an import.
#[derive(Serialize, ToSchema)]
struct Imported {
    /// How many items the document had. Those that were here already, and the same, count.
    items: usize,
    /// What was taken otherwise than it stands in the document, or not at all.
    notices: Vec<Notice>,
}

/// Why nothing was imported.
#[derive(Serialize, ToSchema)]
struct NotImported {
    /// What kind of refusal it is.
    error: &'static str,
    /// All errors, a line each.
    reason: String,
    /// Each error with its place.
    errors: Vec<Fault>,
    /// Errors beyond those.
    errors_more: usize,
    /// What would have been taken otherwise than it stands there.
    notices: Vec<Notice>,
}

/// Everything that was declared and set
///
/// The hashes of passwords are in it: keep it as you would keep those.
#[utoipa::path(
    get, path = "/api/definitions", tag = "definitions",
    responses((status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn export_all(caller: Caller, State(state): State<AdminState>) -> Result<Json<Value>, ApiError> {
    let may = caller.require(Level::Administrator);
    audit(&caller, "definitions.export", "all", &may);
    may?;
    let all = |state: &AdminState| {
        export::export(&state.broker, &state.settings.management.announce_version, &state.cluster_name())
    };
    Ok(Json(state.blocking(all).await))
}

/// What was declared and set in a vhost
#[utoipa::path(
    get, path = "/api/definitions/{vhost}", tag = "definitions", params(("vhost" = String, Path)),
    responses(
        (status = OK, body = Object),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn export_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let may = caller.require(Level::Administrator).and_then(|()| caller.vhost(&state, &vhost));
    audit(&caller, "definitions.export", &format!("{vhost:?}"), &may);
    let vhost = may?;
    let version = state.settings.management.announce_version.clone();
    let all = state.blocking(move |state| export::export_vhost(&state.broker, &vhost, &version)).await;
    Ok(Json(all))
}

/// Takes definitions over, all or nothing
///
/// As JSON, or as `file` of a form. What exists and is the same is left alone. Every error is told.
#[utoipa::path(
    post, path = "/api/definitions", tag = "definitions",
    request_body(content = Object, example = json!({"queues": [{"vhost": "/", "name": "q", "durable": true}]})),
    responses(
        (status = OK, body = Imported), (status = BAD_REQUEST, body = NotImported),
        (status = UNAUTHORIZED, body = ErrorBody), (status = PAYLOAD_TOO_LARGE, body = ErrorBody)
    )
)]
async fn import_all(caller: Caller, State(state): State<AdminState>, Uploaded(bytes): Uploaded) -> Response {
    let may = caller.require(Level::Administrator).map(|()| None);
    import(caller, state, bytes, "all", may).await
}

/// Takes definitions over into a vhost, all or nothing
#[utoipa::path(
    post, path = "/api/definitions/{vhost}", tag = "definitions", params(("vhost" = String, Path)),
    request_body(content = Object, example = json!({"queues": [{"name": "q", "durable": true}]})),
    responses(
        (status = OK, body = Imported), (status = BAD_REQUEST, body = NotImported),
        (status = PAYLOAD_TOO_LARGE, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn import_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
    Uploaded(bytes): Uploaded,
) -> Response {
    let may = caller.require(Level::Administrator).and_then(|()| caller.vhost(&state, &vhost));
    let into = may.map(|vhost| Some(vhost.name().clone()));
    import(caller, state, bytes, &format!("{vhost:?}"), into).await
}

/// Takes them over into this vhost, or each into its own; `object` is what the audit log calls that.
async fn import(
    caller: Caller,
    state: AdminState,
    bytes: Bytes,
    object: &str,
    into: Result<Option<VhostName>, ApiError>,
) -> Response {
    let into = match into {
        Ok(into) => into,
        Err(error) => {
            audit(&caller, "definitions.import", object, &Err::<(), _>(error.clone()));
            return error.into_response();
        }
    };
    let work = move |state: &AdminState| -> (Result<(usize, Commit), ApiError>, Findings) {
        // One at a time: each compares with what is there before it changes anything.
        let _one = state.imports.lock();
        let mut findings = Findings::default();
        let taken = take(&state.broker, &bytes, into.as_ref(), &mut findings);
        (taken.map_err(|_| ApiError::bad_request(findings.text())), findings)
    };
    let (taken, findings) = state.blocking(work).await;
    audit(&caller, "definitions.import", object, &taken);
    let notices = findings.notices();
    for Notice { notice, count, at } in &notices {
        tracing::warn!(count, ?at, "definitions: {notice}");
    }
    let (items, commit) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            let (errors, errors_more) = findings.faults();
            let (errors, reason) = (errors.to_vec(), error.reason().to_owned());
            let body = NotImported { error: "bad_request", reason, errors, errors_more, notices };
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    };
    match state.wait_for(commit).await {
        Ok(()) => Json(Imported { items, notices }).into_response(),
        Err(error) => error.into_response(),
    }
}

/// The body, or the file in it if it is a form.
struct Uploaded(Bytes);

impl FromRequest<AdminState> for Uploaded {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            return input::body(request, state).await.map(Uploaded);
        }
        let wrong = |error: String| ApiError::bad_request(format!("the form cannot be read: {error}"));
        let form = Multipart::from_request(request, state).await;
        let mut form = form.map_err(|error| wrong(error.body_text()))?;
        loop {
            let field = form.next_field().await.map_err(|error| wrong(error.body_text()))?;
            match field {
                Some(field) if field.name() == Some("file") => {
                    let bytes = field.bytes().await;
                    return match bytes {
                        Ok(bytes) => Ok(Uploaded(bytes)),
                        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                            let reason = "the file is longer than management.body_max allows";
                            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", reason))
                        }
                        Err(error) => Err(wrong(error.body_text())),
                    };
                }
                Some(_) => {}
                None => return Err(wrong("it has no field named file".to_owned())),
            }
        }
    }
}

/// This document
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "overview",
    responses((status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn openapi(_caller: Caller) -> Json<Value> {
    let document = serde_json::to_value(crate::admin::document());
    Json(document.unwrap_or_else(|error| json!({ "error": error.to_string() })))
}
