//! Who the API takes its caller for.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::AdminState;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// Somebody who is logged in.
#[derive(Serialize, ToSchema)]
struct Whoami {
    name: String,
    tags: Vec<String>,
    is_internal_user: bool,
}

/// Who am I?
#[utoipa::path(
    get, path = "/api/whoami", tag = "overview",
    responses((status = OK, body = Whoami), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn whoami(caller: Caller) -> Json<Whoami> {
    Json(Whoami {
        name: caller.user().to_owned(),
        tags: caller.tags().names().into_iter().map(str::to_owned).collect(),
        is_internal_user: true,
    })
}
