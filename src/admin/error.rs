//! A refused request: a status, and RabbitMQ's `{"error", "reason"}`.
//!
//! Invariant: what a client got wrong is 4xx. 5xx is left to health checks, whose 503 is an answer.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rialto_protocol::ReplyCode;
use serde::Serialize;

use crate::broker::BrokerError;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    error: Cow<'static, str>,
    reason: String,
}

/// What a refused request is answered with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorBody {
    /// What kind of refusal it is.
    #[schema(example = "bad_request")]
    error: String,
    /// Why, in words for people.
    reason: String,
}

impl ApiError {
    /// A refusal with a status of its own.
    pub fn new(status: StatusCode, error: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        ApiError { status, error: error.into(), reason: reason.into() }
    }

    /// 400: the request cannot be carried out as it is.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 401: nobody is logged in, or whoever is may not do this (RabbitMQ answers that with 401, too).
    pub fn not_authorised(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 401: nobody is logged in. Which part of a login was wrong is not told.
    pub fn login_failed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed")
    }

    /// 403: whoever asks, this is not done.
    pub fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason)
    }

    /// 413: more was sent than is read.
    pub fn body_too_large() -> Self {
        let reason = "the body is longer than management.body_max allows";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", reason)
    }

    /// 404: there is no such thing.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// Why, in words for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// As RabbitMQ's plugin turns what a channel was closed for into an answer.
impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        if let BrokerError::VhostProtected { .. } = error {
            return Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", error.to_string());
        }
        match error.reply_code() {
            ReplyCode::NotFound => Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
            ReplyCode::AccessRefused => Self::not_authorised(error.to_string()),
            _ => Self::bad_request(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.error.into_owned(), reason: self.reason };
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Rialto Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
