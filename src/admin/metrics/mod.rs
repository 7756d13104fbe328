//! Figures for Prometheus, with RabbitMQ's names where it has them.
//!
//! `/metrics` tells of the whole broker, in as many lines however much there is; `/metrics/per-object` of each queue,
//! exchange, connection and channel, too; `/metrics/detailed` of those families, and those vhosts, that are asked for.
//! Invariants: a scrape takes no queue's lock; lines for each object are bounded (`metrics.objects_max`), and how many
//! were left out is told. Not here: rates (`stats`): Prometheus works them out itself.

mod exposition;
mod families;
mod objects;
mod overview;
mod own;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Level};
use super::error::ErrorBody;
use super::{AdminState, ApiError, guard};
use exposition::Exposition;
use families::{Family, Selection};

/// The routes of the HTTP API, for users with the tag `monitoring`.
pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(metrics)).routes(routes!(per_object)).routes(routes!(detailed))
}

/// The same for the port of its own, where nobody logs in.
pub(super) fn router(state: AdminState) -> Router {
    let whole = |State(state): State<AdminState>| async move { answer(&state, Selection::Whole).await };
    let each = |State(state): State<AdminState>| async move { answer(&state, Selection::Each).await };
    let some = |State(state): State<AdminState>, uri: Uri| async move {
        let selection = Selection::read(&uri)?;
        Ok::<_, ApiError>(answer(&state, selection).await)
    };
    Router::new()
        .route("/metrics", axum::routing::get(whole))
        .route("/metrics/per-object", axum::routing::get(each))
        .route("/metrics/detailed", axum::routing::get(some))
        .fallback(|| async { ApiError::not_found() })
        .layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}

/// Figures of the whole broker, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = OK, body = String, content_type = "text/plain"), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn metrics(caller: Caller, State(state): State<AdminState>) -> Result<Response, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(answer(&state, Selection::Whole).await)
}

/// Figures of each queue, exchange, connection and channel, too
#[utoipa::path(get, path = "/metrics/per-object", tag = "metrics", responses(
    (status = OK, body = String, content_type = "text/plain"), (status = UNAUTHORIZED, body = ErrorBody)
))]
async fn per_object(caller: Caller, State(state): State<AdminState>) -> Result<Response, ApiError> {
    caller.require(Level::Monitoring)?;
    Ok(answer(&state, Selection::Each).await)
}

/// Figures of the families and vhosts that are asked for
#[utoipa::path(get, path = "/metrics/detailed", tag = "metrics",
    params(
        ("family" = Option<Vec<String>>, Query, description = "Families, like `queue_coarse_metrics`; each once"),
        ("vhost" = Option<Vec<String>>, Query, description = "Vhosts; all of them if none is named")
    ),
    responses(
        (status = OK, body = String, content_type = "text/plain"), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody)
    )
)]
async fn detailed(caller: Caller, State(state): State<AdminState>, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Level::Monitoring)?;
    let selection = Selection::read(&uri)?;
    Ok(answer(&state, selection).await)
}

async fn answer(state: &AdminState, selection: Selection) -> Response {
    let text = state.blocking(move |state| render(state, &selection)).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn render(state: &AdminState, selection: &Selection) -> String {
    let prefix = match selection {
        Selection::Whole | Selection::Each => "rabbitmq",
        Selection::Some { .. } => "rabbitmq_detailed",
    };
    let mut text = Exposition::new(prefix);
    match selection {
        Selection::Whole => overview::render(state, true, &mut text),
        Selection::Each => {
            overview::render(state, false, &mut text);
            objects::render(state, &Family::ALL, &[], &mut text);
        }
        Selection::Some { families, vhosts } => objects::render(state, families, vhosts, &mut text),
    }
    text.into_text()
}
