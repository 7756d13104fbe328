//! What the API answers, one file per noun. Each has its `routes()`.

mod log;
mod overview;
mod whoami;

use utoipa_axum::router::OpenApiRouter;

use super::AdminState;

/// Every route.
pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::default().merge(log::routes()).merge(overview::routes()).merge(whoami::routes())
}
