//! Exchanges.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::names::{self, exchange_in_path};
use super::outcome;
use super::queue_row::as_json;
use crate::access::Operation;
use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path, Query};
use crate::admin::page::{ListQuery, Listing, is_yes};
use crate::admin::{AdminState, ApiError};
use crate::broker::{ExchangeView, Vhost};
use crate::model::{ExchangeFlags, json_from_table};
use crate::routing::Declared;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_all))
        .routes(routes!(list_of_vhost))
        .routes(routes!(show, declare, delete))
}

/// Every exchange
#[utoipa::path(
    get, path = "/api/exchanges", tag = "exchanges", params(ListQuery),
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
        query.select(state, vhosts.iter().flat_map(|vhost| rows(state, vhost)).collect::<Vec<_>>())
    };
    state.blocking(list).await
}

/// The exchanges of a vhost
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}", tag = "exchanges", params(("vhost" = String, Path), ListQuery),
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
    state.blocking(move |state| query.select(state, rows(state, &vhost))).await
}

fn rows(state: &AdminState, vhost: &Vhost) -> Vec<Value> {
    let mut exchanges = vhost.exchanges();
    exchanges.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    exchanges.iter().map(|exchange| render(state, vhost, exchange)).collect()
}

fn render(state: &AdminState, vhost: &Vhost, exchange: &ExchangeView) -> Value {
    let options = &exchange.options;
    let mut row = json!({
        "name": exchange.name.as_str(),
        "vhost": vhost.name().as_str(),
        "type": options.kind.name(),
        "durable": options.durable,
        "auto_delete": options.auto_delete,
        "internal": options.internal,
        "arguments": json_from_table(&options.arguments),
        "user_who_performed_action": "rmq-internal",
    });
    for (key, policy) in
        [("policy", &exchange.policies.policy), ("operator_policy", &exchange.policies.operator)]
    {
        if let Some(policy) = policy {
            row[key] = policy.name().into();
        }
    }
    if let Some(counts) = vhost.exchange_counts(&exchange.name) {
        row["message_stats"] = as_json(&state.stats.exchange(vhost, &exchange.name, &counts));
    }
    if let Some(delayed) = exchange.messages_delayed {
        row["messages_delayed"] = delayed.into();
    }
    row
}

/// One exchange
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}/{exchange}", tag = "exchanges",
    params(("vhost" = String, Path), ("exchange" = String, Path, description = "`amq.default` is the default exchange")),
    responses(
        (status = OK, body = Object), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, exchange)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let vhost = caller.vhost(&state, &vhost)?;
    let exchange = vhost.exchange(exchange_in_path(&exchange)).ok_or_else(ApiError::not_found)?;
    let mut row = render(&state, &vhost, &exchange);
    row["incoming"] = json!([]);
    row["outgoing"] = json!([]);
    Ok(Json(row))
}

/// Declares an exchange
///
/// What it has in its body is compared with an exchange that exists: 204 if they agree.
#[utoipa::path(
    put, path = "/api/exchanges/{vhost}/{exchange}", tag = "exchanges",
    params(("vhost" = String, Path), ("exchange" = String, Path)),
    request_body(content = Object, example = json!({"type": "topic", "durable": true})),
    responses(
        (status = CREATED), (status = NO_CONTENT, description = "It exists, like this"),
        (status = BAD_REQUEST, body = ErrorBody), (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn declare(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, exchange)): Path<(String, String)>,
    Object(body): Object,
) -> Result<StatusCode, ApiError> {
    let found = caller.vhost(&state, &vhost);
    let declared = found.and_then(|vhost| declare_as(&caller, &vhost, &exchange, &body));
    audit(&caller, "exchange.declare", &outcome::object(&vhost, &exchange), &declared);
    state.answer_set(state.broker.catalog_commit(), declared? == Declared::Created).await
}

fn declare_as(
    caller: &Caller,
    vhost: &Vhost,
    exchange: &str,
    body: &Map<String, Value>,
) -> Result<Declared, ApiError> {
    let name = names::exchange(exchange_in_path(exchange))?;
    let flags = ExchangeFlags {
        durable: body.flag("durable")?.unwrap_or(false),
        auto_delete: body.flag("auto_delete")?.unwrap_or(false),
        internal: body.flag("internal")?.unwrap_or(false),
    };
    let kind = body.text("type")?.unwrap_or("direct");
    let arguments = body.table("arguments")?.unwrap_or_default();
    vhost.may_declare_exchange(&caller.pass(vhost)?, &name, &arguments)?;
    Ok(vhost.declare_exchange_from(&name, kind, flags, arguments)?)
}

/// When an exchange may be deleted.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// `true`: only without bindings.
    #[serde(rename = "if-unused")]
    if_unused: Option<String>,
}

/// Deletes an exchange with its bindings
#[utoipa::path(
    delete, path = "/api/exchanges/{vhost}/{exchange}", tag = "exchanges",
    params(("vhost" = String, Path), ("exchange" = String, Path), DeleteQuery),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn delete(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, exchange)): Path<(String, String)>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    let work = || {
        let vhost = caller.vhost(&state, &vhost)?;
        let found = vhost.exchange(exchange_in_path(&exchange)).ok_or_else(ApiError::not_found)?;
        caller.check(&vhost, &Operation::DeleteExchange { exchange: &found.name })?;
        Ok(vhost.delete_exchange(&found.name, is_yes(query.if_unused.as_deref()))?)
    };
    let deleted = work();
    audit(&caller, "exchange.delete", &outcome::object(&vhost, &exchange), &deleted);
    deleted?;
    state.answer_done(state.broker.catalog_commit()).await
}
