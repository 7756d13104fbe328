//! Sending dead letters back to where they came from.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::destination::{Destination, DestinationBody};
use super::queue_of;
use crate::admin::api::jobs::JobBody;
use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::filter::FilterBody;
use crate::admin::input::{Object, Path};
use crate::admin::jobs::{JobFacts, Redrive, Where};
use crate::admin::{AdminState, ApiError};

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(redrive))
}

/// Where dead letters go back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Back {
    /// Each to the queue in which it died first, and to no other.
    #[default]
    Queue,
    /// Each to the exchange that it had been published to: every queue that is bound gets it again.
    Exchange,
}

/// What is to be sent back, and how.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RedriveBody {
    /// Which messages; without it, all.
    filter: FilterBody,
    /// Where to: by the history of their deaths, unless `to` says otherwise.
    back_to: Back,
    /// Somewhere else, the same for all; then they need not be dead letters.
    to: Option<DestinationBody>,
    /// Most messages a second. Without it, as fast as it goes.
    #[schema(minimum = 1)]
    rate: Option<u32>,
    /// Most messages to send.
    #[schema(minimum = 1)]
    limit: Option<u64>,
    /// Only count what would be sent, and where to.
    dry_run: bool,
    /// Whether messages keep the history of their deaths (`x-death` and its like). Consumers that give up after so many
    /// deaths would give up again.
    keep_history: bool,
}

/// Send dead letters back
///
/// Starts a job; see `/api/jobs/{id}` for its progress, and to cancel it. Messages that come to the queue later than this
/// are not meant. Each leaves this queue and enters the other in one step: a crash neither loses nor doubles it.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/redrive", tag = "jobs",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = RedriveBody),
    responses(
        (status = ACCEPTED, body = JobBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = TOO_MANY_REQUESTS, description = "as many jobs run as may (management.jobs_max)", body = ErrorBody)
    )
)]
async fn redrive(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, name)): Path<(String, String)>,
    Object(body): Object,
) -> Result<(StatusCode, axum::Json<JobBody>), ApiError> {
    let start = || {
        let (home, queue) = queue_of(&state, &caller, &vhost, &name)?;
        caller.may_read(&home, &name)?;
        let body: RedriveBody = super::body_of(body)?;
        if body.rate == Some(0) || body.limit == Some(0) {
            return Err(ApiError::bad_request("\"rate\" and \"limit\" must be 1 or more"));
        }
        let to = match (&body.to, body.back_to) {
            (Some(to), _) => match to.check(&state, &caller, &vhost)? {
                Destination::Queue(other) if other.id() == queue.id() => {
                    return Err(ApiError::bad_request(format!("queue '{name}' is where the messages are")));
                }
                Destination::Queue(queue) => Where::OneQueue(queue),
                Destination::Exchange { exchange, routing_key, .. } => {
                    Where::OneExchange(exchange, routing_key)
                }
            },
            (None, Back::Queue) => Where::Queue,
            (None, Back::Exchange) => Where::Exchange,
        };
        if body.to.is_none() {
            // To their queues they go by the default exchange; what goes by another is asked for each message.
            caller.may_write(&home, "", "")?;
        }
        let filter = body.filter.check()?;
        let (limit, keep_history) = (body.limit, body.keep_history);
        let redrive = Redrive { caller: caller.clone(), vhost: home, queue, filter, to, keep_history, limit };
        let facts = JobFacts {
            kind: "redrive",
            vhost: vhost.clone(),
            queue: name.clone(),
            user: caller.user().to_owned(),
            is_dry_run: body.dry_run,
            rate: body.rate,
        };
        let started = state.jobs.start(&state, facts, |state, job| redrive.run(state, job));
        let job = started.map_err(|full| {
            let reason = format!(
                "{} jobs run, and no more may (management.jobs_max); wait for one, or cancel it",
                full.max
            );
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", reason)
        })?;
        Ok((StatusCode::ACCEPTED, axum::Json(JobBody::of(&job, state.broker.now()))))
    };
    let outcome = start();
    audit(&caller, "redrive", &format!("queue '{name}' in vhost '{vhost}'"), &outcome);
    outcome
}
