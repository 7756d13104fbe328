//! Bindings.
//!
//! A binding between two is told from others of the same two by its `properties_key`: the routing key, percent-encoded,
//! and if it has arguments `~` and a short hash of those. (The hash is ours; RabbitMQ's is of Erlang's terms.)

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::names::{self, exchange_in_path};
use super::outcome;
use crate::access::Resource;
use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path, Query};
use crate::admin::page::{ListQuery, Listing, Row};
use crate::admin::{AdminState, ApiError};
use crate::broker::Vhost;
use crate::model::json_from_table;
use crate::routing::{Binding, BindingTarget, Destination};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_of_queue))
        .routes(routes!(list_of_exchange))
        .routes(routes!(list_between, bind))
        .routes(routes!(show, unbind))
}

/// Every binding
#[utoipa::path(
    get, path = "/api/bindings", tag = "bindings", params(ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn list_all(
    caller: Caller,
    State(state): State<AdminState>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let list = move |state: &AdminState| {
        let vhosts = caller.vhosts(state);
        let rows = vhosts.iter().flat_map(|vhost| rows(vhost, vhost.bindings()));
        query.select(state, rows.collect::<Vec<_>>())
    };
    state.blocking(list).await
}

/// The bindings of a vhost
#[utoipa::path(
    get, path = "/api/bindings/{vhost}", tag = "bindings", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list_of_vhost(
    caller: Caller,
    State(state): State<AdminState>,
    Path(vhost): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    state.blocking(move |state| query.select(state, rows(&vhost, vhost.bindings()))).await
}

/// The bindings that lead to a queue
#[utoipa::path(
    get, path = "/api/queues/{vhost}/{queue}/bindings", tag = "bindings",
    params(("vhost" = String, Path), ("queue" = String, Path), ListQuery),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list_of_queue(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    let destination = End::Queue(&queue).find(&vhost)?;
    query.select(&state, rows(&vhost, vhost.bindings_to(&destination)))
}

/// The bindings of an exchange: those from it (`source`) or those to it (`destination`)
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}/{exchange}/bindings/{side}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("exchange" = String, Path),
        ("side" = String, Path, description = "`source` or `destination`: what the exchange is"), ListQuery
    ),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list_of_exchange(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, exchange, side)): Path<(String, String, String)>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    let found = vhost.exchange(exchange_in_path(&exchange)).ok_or_else(ApiError::not_found)?;
    let bindings = match side.as_str() {
        "source" => vhost.bindings_from(&found.name),
        "destination" => vhost.bindings_to(&Destination::Exchange(found.name)),
        _ => return Err(ApiError::not_found()),
    };
    query.select(&state, rows(&vhost, bindings))
}

/// The bindings from an exchange to a queue (`q`) or an exchange (`e`)
#[utoipa::path(
    get, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path, description = "`q` or `e`"),
        ("destination" = String, Path), ListQuery
    ),
    responses(
        (status = OK, body = Listing),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn list_between(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, source, kind, destination)): Path<(String, String, String, String)>,
    Query(query): Query<ListQuery>,
) -> Result<Listing, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    query.select(&state, rows(&vhost, between(&vhost, &source, &kind, &destination)?))
}

/// Binds
#[utoipa::path(
    post, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path, description = "`q` or `e`"),
        ("destination" = String, Path)
    ),
    request_body(content = Object, example = json!({"routing_key": "orders.*", "arguments": {}})),
    responses(
        (status = CREATED, description = "`Location` tells it from others"), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn bind(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, source, kind, destination)): Path<(String, String, String, String)>,
    Object(body): Object,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let work = || {
        let end = End::of(&kind, &destination)?;
        bind_as(&caller, &state, &*caller.vhost(&state, &vhost)?, &source, end, &body)
    };
    let bound = work();
    let object = outcome::object(&vhost, &format!("{source} -> {destination}"));
    audit(&caller, "binding.add", &object, &bound);
    let properties = bound?;
    state.wait_for(state.broker.catalog_commit()).await?;
    let mut headers = HeaderMap::new();
    let location = format!("{}/{}", quoted(&destination), quoted(&properties));
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers))
}

fn bind_as(
    caller: &Caller,
    state: &AdminState,
    vhost: &Vhost,
    source: &str,
    destination: End<'_>,
    body: &Map<String, Value>,
) -> Result<String, ApiError> {
    let source = names::exchange(exchange_in_path(source))?;
    let routing_key = names::routing_key(body.text("routing_key")?.unwrap_or_default())?;
    let arguments = body.table("arguments")?.unwrap_or_default();
    vhost.may_bind(&caller.pass(vhost)?, &source, destination.resource(), &routing_key)?;
    match destination {
        End::Queue(queue) => {
            vhost.bind_queue(&source, queue, routing_key.clone(), arguments.clone(), state.connection)?;
        }
        End::Exchange(_) => {
            vhost.bind(&source, &destination.find(vhost)?, routing_key.clone(), &arguments)?;
        }
    }
    let target = BindingTarget::Exchange(source.clone());
    // Arguments in the order in which lists have them.
    let mut entries: Vec<_> = arguments.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    let arguments = entries.into_iter().collect();
    Ok(properties_key(&Binding { source, destination: target, routing_key, arguments }))
}

/// One binding
#[utoipa::path(
    get, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{properties}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path, description = "`q` or `e`"),
        ("destination" = String, Path), ("properties" = String, Path, description = "Its `properties_key`")
    ),
    responses(
        (status = OK, body = Object), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, source, kind, destination, properties)): Path<(String, String, String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    let found = find(&vhost, &source, &kind, &destination, &properties)?;
    Ok(Json(render(vhost.name(), &found)))
}

/// Takes a binding away
#[utoipa::path(
    delete, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{properties}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path, description = "`q` or `e`"),
        ("destination" = String, Path), ("properties" = String, Path, description = "Its `properties_key`")
    ),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn unbind(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, source, kind, destination, properties)): Path<(String, String, String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let work = || {
        let vhost = caller.vhost(&state, &vhost)?;
        let end = End::of(&kind, &destination)?;
        let Binding { source, routing_key, arguments, .. } =
            find(&vhost, &source, &kind, &destination, &properties)?;
        vhost.may_unbind(&caller.pass(&vhost)?, &source, end.resource(), &routing_key)?;
        match end {
            End::Queue(queue) => {
                vhost.unbind_queue(&source, queue, &routing_key, &arguments, state.connection)?;
            }
            End::Exchange(_) => vhost.unbind(&source, &end.find(&vhost)?, &routing_key, &arguments)?,
        }
        Ok(())
    };
    let unbound = work();
    let object = outcome::object(&vhost, &format!("{source} -> {destination} by {properties}"));
    audit(&caller, "binding.delete", &object, &unbound);
    unbound?;
    state.answer_done(state.broker.catalog_commit()).await
}

/// Where a binding of a path leads.
#[derive(Clone, Copy)]
enum End<'a> {
    Queue(&'a str),
    Exchange(&'a str),
}

impl<'a> End<'a> {
    fn of(kind: &str, name: &'a str) -> Result<Self, ApiError> {
        match kind {
            "q" => Ok(End::Queue(name)),
            "e" => Ok(End::Exchange(exchange_in_path(name))),
            _ => Err(ApiError::not_found()),
        }
    }

    fn resource(self) -> Resource<'a> {
        match self {
            End::Queue(name) => Resource::Queue(name),
            End::Exchange(name) => Resource::Exchange(name),
        }
    }

    fn find(self, vhost: &Vhost) -> Result<Destination, ApiError> {
        match self {
            End::Queue(name) => Ok(Destination::Queue(vhost.listed_queue(name)?.id())),
            End::Exchange(name) => match vhost.exchange(name) {
                Some(found) => Ok(Destination::Exchange(found.name)),
                None => {
                    vhost.check_exchange(&names::exchange(name)?)?;
                    Err(ApiError::not_found())
                }
            },
        }
    }
}

fn between(vhost: &Vhost, source: &str, kind: &str, destination: &str) -> Result<Vec<Binding>, ApiError> {
    let destination = End::of(kind, destination)?.find(vhost).map_err(|_| ApiError::not_found())?;
    let source = vhost.exchange(exchange_in_path(source)).ok_or_else(ApiError::not_found)?;
    let mut bindings = vhost.bindings_to(&destination);
    bindings.retain(|binding| binding.source == source.name);
    Ok(bindings)
}

fn find(
    vhost: &Vhost,
    source: &str,
    kind: &str,
    destination: &str,
    properties: &str,
) -> Result<Binding, ApiError> {
    let is_meant = |binding: &Binding| {
        // Some clients encode the key once more for the path, and some do not.
        let key = properties_key(binding);
        key == properties || plain_key(binding) == properties
    };
    let mut bindings = between(vhost, source, kind, destination)?.into_iter();
    bindings.find(is_meant).ok_or_else(ApiError::not_found)
}

struct BindingRow {
    vhost: String,
    binding: Binding,
}

impl Row for BindingRow {
    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.binding.destination.name().as_str().into()
    }

    fn render(&self) -> Value {
        render(&self.vhost, &self.binding)
    }
}

fn rows(vhost: &Vhost, bindings: Vec<Binding>) -> Vec<BindingRow> {
    let row = |binding| BindingRow { vhost: vhost.name().as_str().to_owned(), binding };
    bindings.into_iter().map(row).collect()
}

fn render(vhost: &str, binding: &Binding) -> Value {
    json!({
        "source": binding.source.as_str(),
        "vhost": vhost,
        "destination": binding.destination.name().as_str(),
        "destination_type": binding.destination.kind(),
        "routing_key": binding.routing_key.as_str(),
        "arguments": json_from_table(&binding.arguments),
        "properties_key": properties_key(binding),
    })
}

/// What tells a binding from others between the same two.
fn properties_key(binding: &Binding) -> String {
    key_with(&quoted(&binding.routing_key), binding)
}

fn plain_key(binding: &Binding) -> String {
    key_with(&binding.routing_key, binding)
}

fn key_with(routing_key: &str, binding: &Binding) -> String {
    if binding.arguments.is_empty() {
        return if routing_key.is_empty() { "~".to_owned() } else { routing_key.to_owned() };
    }
    let hash = crc32c::crc32c(&binding.arguments.encoded());
    format!("{routing_key}~{}", URL_SAFE_NO_PAD.encode(hash.to_be_bytes()))
}

/// Percent-encoded as forms are, which is how RabbitMQ does it here.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExchangeName, RoutingKey};
    use rialto_protocol::types::FieldTable;

    fn key(routing_key: &str, arguments: FieldTable) -> String {
        let name = ExchangeName::new("e").unwrap();
        properties_key(&Binding {
            source: name.clone(),
            destination: BindingTarget::Exchange(name),
            routing_key: RoutingKey::new(routing_key).unwrap(),
            arguments,
        })
    }

    #[test]
    fn a_bindings_key_is_quoted_as_rabbitmq_quotes_it() {
        let none = FieldTable::new;
        assert_eq!(key("a b/c%", none()), "a+b%2Fc%25");
        assert_eq!(key("a.*", none()), "a.%2A");
        assert_eq!(key("", none()), "~");
        let with = key("a", FieldTable::new().with("x", 1));
        assert!(with.starts_with("a~") && with.len() == 8, "{with}");
        assert_ne!(with, key("a", FieldTable::new().with("x", 2)));
    }
}
