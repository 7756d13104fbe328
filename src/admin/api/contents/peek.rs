//! Looking at the messages that wait in a queue.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queue_of;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::filter::FilterBody;
use crate::admin::input::{Object, Path};
use crate::admin::shown::{Encoding, Shown, TRUNCATE, WaitingBody, place_from, place_text};
use crate::admin::{AdminState, ApiError};
use crate::queue::BrowsePlace;

/// Messages that are read at once.
const STEP: usize = 256;

/// Bytes of messages that an answer holds, about.
const BYTES_MAX: usize = 8 << 20;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(peek))
}

/// What to look for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct PeekBody {
    /// Most messages to answer, 10 if it is not said.
    #[schema(minimum = 1)]
    limit: Option<u32>,
    /// Where to go on: the `next` of the answer before.
    after: Option<String>,
    /// Which messages.
    filter: FilterBody,
    /// Most bytes of each body to show, 50,000 if it is not said.
    #[schema(minimum = 0)]
    truncate: Option<usize>,
    /// How bodies are shown.
    encoding: Encoding,
}

/// What was found.
#[derive(Debug, Default, Serialize, ToSchema)]
struct PeekedBody {
    /// The messages, in the order in which they would be delivered.
    messages: Vec<WaitingBody>,
    /// Where to go on, if there may be more.
    next: Option<String>,
    /// How many messages were looked at.
    scanned: u64,
    /// Messages that were passed over because they cannot be read now.
    unreadable: u64,
}

/// Look at messages without taking them
///
/// Nothing changes: no order, no counts, no time to live. Ready messages come first, then those that came back and wait.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/peek", tag = "contents",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = PeekBody),
    responses(
        (status = OK, body = PeekedBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn peek(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<axum::Json<PeekedBody>, ApiError> {
    let (home, queue) = queue_of(&state, &caller, &vhost, &name)?;
    caller.may_read(&home, &name)?;
    let body: PeekBody = super::body_of(body)?;
    let settings = &state.settings.management;
    let limit = body.limit.unwrap_or(10);
    if limit == 0 || limit > settings.peek_max {
        let reason = format!("\"limit\" must be 1 to {} (management.peek_max)", settings.peek_max);
        return Err(ApiError::bad_request(reason));
    }
    let after = body.after.as_deref().map(place_from).transpose()?;
    let filter = body.filter.check()?;
    let shown = Shown {
        truncate: body.truncate.unwrap_or(TRUNCATE),
        encoding: body.encoding,
        now: state.broker.now(),
    };
    let scan_max = u64::from(settings.peek_scan_max);
    let work = move |_: &AdminState| {
        let mut found = PeekedBody::default();
        let (mut after, mut bytes): (Option<BrowsePlace>, usize) = (after, 0);
        loop {
            let page = queue.browse(after, STEP);
            found.unreadable += page.unreadable;
            let ends = page.next.is_none();
            for browsed in page.messages {
                found.scanned += 1;
                after = Some(browsed.place);
                if filter.wants(&browsed, shown.now) {
                    bytes += browsed.message.len().min(shown.truncate);
                    found.messages.push(WaitingBody::of(&browsed, shown));
                    if found.messages.len() >= limit as usize || bytes >= BYTES_MAX {
                        found.next = after.map(place_text);
                        return found;
                    }
                }
            }
            if ends {
                return found;
            }
            after = page.next;
            if found.scanned >= scan_max {
                found.next = after.map(place_text);
                return found;
            }
        }
    };
    Ok(axum::Json(state.blocking(work).await))
}
