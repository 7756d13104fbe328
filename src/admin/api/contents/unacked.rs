//! The messages that consumers hold.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queue_of;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Path, Query};
use crate::admin::shown::{ContentBody, Encoding, Shown, TRUNCATE, held_from, held_text, millis};
use crate::admin::{AdminState, ApiError};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(unacked))
}

/// Which of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct UnackedQuery {
    /// Most messages to answer, 100 if it is not said.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// Where to go on: the `next` of the answer before.
    after: Option<String>,
    /// Of consumers with this tag only.
    consumer_tag: Option<String>,
    /// Most bytes of each body to show, 50,000 if it is not said.
    #[param(minimum = 0)]
    truncate: Option<usize>,
}

/// A message that is delivered and not settled.
#[derive(Debug, Serialize, ToSchema)]
struct HeldBody {
    /// Its identity in this broker.
    id: u64,
    /// Since when it is held, in milliseconds since 1970, to a tenth of a second.
    since: u64,
    /// For how many milliseconds it has been held.
    held_ms: u64,
    /// Who holds it.
    holder: HolderBody,
    /// When it came to the queue, in milliseconds since 1970.
    enqueued_at: u64,
    /// Whether it was delivered before.
    redelivered: bool,
    /// How often a delivery of it failed before.
    delivery_count: u32,
    #[serde(flatten)]
    content: ContentBody,
}

/// Who holds a message.
#[derive(Debug, Serialize, ToSchema)]
struct HolderBody {
    /// The consumer's tag; `""` for a `basic.get`.
    consumer_tag: String,
    /// `consumer`, `cancelled consumer` (it may still settle), or `get`.
    kind: &'static str,
    /// The consumer's own number of the delivery. (An AMQP channel counts over all its consumers.)
    delivery_tag: u64,
    /// The number of the channel, if it is known.
    channel: Option<u16>,
    /// The connection's name, as in the list of connections, if it is known.
    connection: Option<String>,
    /// The user, if it is known.
    user: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
struct UnackedBody {
    /// The messages, by consumer, the oldest delivery first.
    messages: Vec<HeldBody>,
    /// Where to go on, if there are more.
    next: Option<String>,
}

/// Who holds which messages, and since when
#[utoipa::path(
    get, path = "/api/queues/{vhost}/{queue}/unacked", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path), UnackedQuery),
    responses(
        (status = OK, body = UnackedBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn unacked(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<UnackedQuery>,
) -> Result<axum::Json<UnackedBody>, ApiError> {
    let (home, queue) = queue_of(&state, &caller, &vhost, &name)?;
    caller.may_read(&home, &name)?;
    let max = state.settings.management.peek_max;
    let limit = query.limit.unwrap_or(100.min(max));
    if limit == 0 || limit > max {
        return Err(ApiError::bad_request(format!("\"limit\" must be 1 to {max} (management.peek_max)")));
    }
    let after = query.after.as_deref().map(held_from).transpose()?;
    let now = state.broker.now();
    let shown = Shown { truncate: query.truncate.unwrap_or(TRUNCATE), encoding: Encoding::Auto, now };
    let work = move |_: &AdminState| {
        let page = queue.unacked(after, limit as usize, query.consumer_tag.as_deref());
        let held = page.messages.into_iter().map(|(held, by)| {
            let connection = by.as_ref().and_then(|by| by.connection.as_ref());
            HeldBody {
                id: held.lsn.0,
                since: millis(held.given),
                held_ms: now.since(held.given).as_millis() as u64,
                holder: HolderBody {
                    consumer_tag: held.consumer_tag.to_string(),
                    kind: match (held.is_get, held.is_cancelled) {
                        (true, _) => "get",
                        (false, true) => "cancelled consumer",
                        (false, false) => "consumer",
                    },
                    delivery_tag: held.tag,
                    channel: by.as_ref().map(|by| by.local.channel.0),
                    connection: connection.map(|info| info.link.name()),
                    user: connection.map(|info| info.user.clone()),
                },
                enqueued_at: millis(held.enqueued),
                redelivered: held.returns > 0,
                delivery_count: held.failures,
                content: ContentBody::of(&held.message, shown),
            }
        });
        UnackedBody { messages: held.collect(), next: page.next.map(held_text) }
    };
    Ok(axum::Json(state.blocking(work).await))
}
