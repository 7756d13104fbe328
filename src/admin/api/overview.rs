//! The broker at a glance.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::AdminState;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// The broker at a glance.
#[derive(Serialize, ToSchema)]
struct Overview {
    management_version: String,
    rabbitmq_version: String,
    product_name: &'static str,
    product_version: &'static str,
    cluster_name: String,
    node: String,
}

/// What runs here, and how much of it
#[utoipa::path(
    get, path = "/api/overview", tag = "overview",
    responses((status = OK, body = Overview), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn overview(_caller: Caller, State(state): State<AdminState>) -> Json<Overview> {
    let version = &state.settings.management.announce_version;
    Json(Overview {
        management_version: version.clone(),
        rabbitmq_version: version.clone(),
        product_name: "Rialto",
        product_version: env!("CARGO_PKG_VERSION"),
        cluster_name: state.node.name().to_owned(),
        node: state.node.name().to_owned(),
    })
}
