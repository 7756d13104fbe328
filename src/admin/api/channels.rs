//! Channels.

use std::sync::atomic::Ordering;

use utoipa_axum::router::OpenApiRouter;

use crate::admin::AdminState;
use crate::broker::ConnectionInfo;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
}

/// How many a connection has open.
pub(super) fn count(info: &ConnectionInfo) -> u64 {
    info.channels.load(Ordering::Relaxed).into()
}
