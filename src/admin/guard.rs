//! What holds for every request: no cross-site acts, no request without end, no answer that a browser keeps or guesses
//! the type of.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{AdminState, ApiError};

/// The layer around all routes.
pub(super) async fn guard(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let allowed = match cross_site(&state, &request) {
        Ok(allowed) => allowed,
        Err(error) => return with_headers(error.into_response(), None),
    };
    if request.method() == Method::OPTIONS && allowed.is_some() {
        return with_headers(preflight(), allowed);
    }
    if is_too_long(&state, request.headers()) {
        // Told at once, for a client that waits to be asked for its body.
        return with_headers(ApiError::body_too_large().into_response(), allowed);
    }
    let limit = state.settings.management.request_timeout;
    let answer = async {
        match with_small_body(request).await {
            Ok(request) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => {
            let reason = "the request took longer than management.request_timeout";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", reason).into_response()
        }
    };
    with_headers(response, allowed)
}

/// Refuses what a page of another site makes a browser do: it would carry the credentials of whoever sits there. Gives
/// the foreign origin if it is one that may.
fn cross_site(state: &AdminState, request: &Request) -> Result<Option<HeaderValue>, ApiError> {
    let headers = request.headers();
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let text = origin.to_str().unwrap_or_default();
    if is_own(text, headers) {
        return Ok(None);
    }
    if state.settings.management.origins.iter().any(|allowed| allowed == text) {
        return Ok(Some(origin.clone()));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        // It changes nothing, and without our headers the page cannot read the answer.
        return Ok(None);
    }
    Err(ApiError::forbidden(
        "the request comes from a page of another site; management.origins says which may",
    ))
}

/// A body of at most so many bytes is read before anything is asked of its request.
const SMALL_BODY: usize = 64 << 10;

/// Has a small body read, whatever the request comes to: a connection on which a refused one is left unread is closed, and
/// its client may never see why it was refused.
async fn with_small_body(request: Request) -> Result<Request, ApiError> {
    if length(request.headers()).is_none_or(|length| length > SMALL_BODY as u64) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, SMALL_BODY).await;
    let body = body.map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// How long a request says that its body is, in bytes.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a request says that its body is longer than bodies may be.
fn is_too_long(state: &AdminState, headers: &HeaderMap) -> bool {
    length(headers).is_some_and(|length| length > state.settings.management.body_max.bytes())
}

fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.parse::<Uri>().ok();
    let authority = origin.as_ref().and_then(Uri::authority);
    host.zip(authority).is_some_and(|(host, authority)| authority.as_str().eq_ignore_ascii_case(host))
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, PUT, POST, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-reason"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn with_headers(mut response: Response, allowed: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    response
}
