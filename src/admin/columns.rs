//! `columns`: the fields that are wanted of an answer, for every GET that answers an object or a list of objects.
//!
//! Lists narrow their rows themselves, before they are rendered (`page`), and say so; what others answer is narrowed
//! here. Invariant: only a JSON answer of status 200 is touched.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::{AdminState, ApiError};

/// Marks an answer that has no more than the wanted fields already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrowed;

/// The layer around all routes.
pub(super) async fn columns(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let columns = match wanted(request.uri()) {
        Ok(Some(columns)) => columns,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    let response = next.run(request).await;
    let is_done = response.extensions().get::<Narrowed>().is_some();
    if is_done || response.status() != StatusCode::OK || !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is in memory already: the API answers nothing by and by.
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return ApiError::bad_request(format!("no answer: {error}")).into_response(),
    };
    // Definitions of a large broker take longer than a moment.
    let body = state.blocking(move |_| narrowed(body, &columns)).await;
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// The fields that a request wants, if it does not want all.
fn wanted(uri: &Uri) -> Result<Option<String>, ApiError> {
    #[derive(Deserialize)]
    struct Wanted {
        columns: Option<String>,
    }
    if !uri.query().is_some_and(|query| query.contains("columns")) {
        return Ok(None);
    }
    let query = axum::extract::Query::<Wanted>::try_from_uri(uri);
    let columns = query.map_err(|error| ApiError::bad_request(error.body_text()))?.0.columns;
    Ok(columns.filter(|columns| !names(columns).is_empty()))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn names(columns: &str) -> Vec<&str> {
    columns.split(',').map(str::trim).filter(|column| !column.is_empty()).collect()
}

fn narrowed(body: Bytes, columns: &str) -> Bytes {
    match serde_json::from_slice(&body) {
        Ok(value) => narrow(value, &names(columns)).to_string().into(),
        Err(_) => body,
    }
}

/// What these columns have of a value. A dot leads into a field; of a list each entry is meant, wherever it stands.
fn narrow(value: Value, columns: &[&str]) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| narrow(value, columns)).collect(),
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| {
                let inside: Vec<_> = columns.iter().filter_map(|column| behind(column, &name)).collect();
                match inside.contains(&"") {
                    true => Some((name, value)),
                    false if inside.is_empty() => None,
                    false => Some((name, narrow(value, &inside))),
                }
            });
            Value::Object(kept.collect())
        }
        plain => plain,
    }
}

/// What a column says behind this name: nothing if the name is all of it, none if it is about another.
fn behind<'a>(column: &'a str, name: &str) -> Option<&'a str> {
    let rest = column.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value, columns: &str) -> Value {
        narrow(value, &names(columns))
    }

    #[test]
    fn an_object_keeps_the_fields_that_are_wanted() {
        let value = json!({"name": "q", "names": 1, "totals": {"messages": 2, "ready": 1}, "null": null});
        assert_eq!(of(value.clone(), "name, totals.ready"), json!({"name": "q", "totals": {"ready": 1}}));
        assert_eq!(of(value.clone(), "totals,totals.ready")["totals"], value["totals"]);
        assert_eq!(of(value.clone(), "null"), json!({"null": null}));
        assert_eq!(of(value, "nothing,name.x"), json!({"name": "q"}));
    }

    #[test]
    fn each_entry_of_a_list_is_narrowed_wherever_the_list_stands() {
        let value = json!([{"a": 1, "b": [{"c": 1, "d": 2}, {"c": 3}]}, {"b": []}, 7]);
        assert_eq!(of(value, "b.c"), json!([{"b": [{"c": 1}, {"c": 3}]}, {"b": []}, 7]));
    }

    #[test]
    fn all_is_wanted_where_nothing_is_said() {
        let wanted = |uri: &str| wanted(&uri.parse().expect("an address"));
        assert_eq!(wanted("/api/overview"), Ok(None));
        assert_eq!(wanted("/api/overview?columns="), Ok(None));
        assert_eq!(wanted("/api/overview?page=1&columns=a%2Cb"), Ok(Some("a,b".to_owned())));
        assert_eq!(wanted("/api/overview?columns=a&columns=b").unwrap_err().status(), 400);
    }
}
