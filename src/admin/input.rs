//! What a request says: names in its path, parameters behind it, and its body, refused in our own words when they are
//! not what they should be.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use rialto_protocol::types::FieldTable;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ApiError;
use crate::model::table_from_json;

/// Names of the path, percent-decoded each for itself: a vhost `/` is `%2F`.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(names)) => Ok(Path(names)),
            Err(error) => Err(ApiError::bad_request(error.body_text())),
        }
    }
}

/// Parameters behind the path.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(values)) => Ok(Query(values)),
            Err(error) => Err(ApiError::bad_request(error.body_text())),
        }
    }
}

/// A JSON object; none at all counts as an empty one. The content type does not matter, as with RabbitMQ: people use
/// `curl -d`.
pub(super) struct Object(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Object(Map::new()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Object(object)),
            Ok(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "not_json", "the body is not a JSON object")),
            Err(error) => Err(not_json(&error)),
        }
    }
}

/// A JSON body of a known shape.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(request, state).await?;
        serde_json::from_slice(&bytes).map(Json).map_err(|error| not_json(&error))
    }
}

/// The body as it is.
///
/// # Errors
/// 413: it is too long. 400: it did not arrive.
pub(super) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::body_too_large()
        }
        _ => ApiError::bad_request("the body did not arrive as a whole"),
    })
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let error = match error.is_data() {
        true => return ApiError::bad_request(format!("the body does not fit: {error}")),
        false => error,
    };
    ApiError::new(StatusCode::BAD_REQUEST, "not_json", format!("the body is not JSON: {error}"))
}

/// Reads fields of an object as RabbitMQ does: `rabbitmqadmin` sends numbers and yes or no as texts.
pub(super) trait Fields {
    /// A yes or no.
    ///
    /// # Errors
    /// It is something else.
    fn flag(&self, name: &str) -> Result<Option<bool>, ApiError>;

    /// A whole number.
    ///
    /// # Errors
    /// It is something else.
    fn number(&self, name: &str) -> Result<Option<i64>, ApiError>;

    /// A text.
    ///
    /// # Errors
    /// It is something else.
    fn text(&self, name: &str) -> Result<Option<&str>, ApiError>;

    /// An object.
    ///
    /// # Errors
    /// It is something else.
    fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, ApiError>;

    /// An object as a field table.
    ///
    /// # Errors
    /// It is something else, or no table can be like it: see [`table_from_json`].
    fn table(&self, name: &str) -> Result<Option<FieldTable>, ApiError> {
        self.object(name)?.map(table_from_json).transpose().map_err(ApiError::bad_request)
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is not, or is something else.
    fn needed_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| ApiError::bad_request(format!("the field {name:?} is missing")))
    }
}

impl Fields for Map<String, Value> {
    fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(expected(name, "true or false", other)),
        }
    }

    fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let number = match value {
                    Value::String(text) => text.trim().parse().ok(),
                    value => value.as_i64(),
                };
                number.map(Some).ok_or_else(|| expected(name, "a whole number", value))
            }
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(expected(name, "a text", other)),
        }
    }

    fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, ApiError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            // What some Erlang and PHP tools make of an empty object.
            Some(Value::Array(list)) if list.is_empty() => Ok(None),
            Some(other) => Err(expected(name, "an object", other)),
        }
    }
}

fn expected(name: &str, wanted: &str, found: &Value) -> ApiError {
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "another text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    ApiError::bad_request(format!("the field {name:?} must be {wanted}, and is {kind}"))
}
