//! Jobs: what goes on in the background, looked at and ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::Path;
use crate::admin::jobs::{Job, JobState};
use crate::admin::shown::millis;
use crate::admin::{AdminState, ApiError};
use crate::model::Timestamp;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, cancel))
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobBody {
    id: u64,
    /// What it does.
    #[schema(example = "redrive")]
    kind: &'static str,
    /// `running`, `done`, `cancelled` or `failed`.
    state: &'static str,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    vhost: String,
    queue: String,
    /// Who has started it.
    user: String,
    /// When it was started, in milliseconds since 1970.
    started_at: u64,
    /// When it ended, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<u64>,
    /// For how many milliseconds it has run.
    elapsed_ms: u64,
    /// Whether it only counts what it would do.
    dry_run: bool,
    /// Messages a second that it moves at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    progress: ProgressBody,
}

/// What a job has done so far.
#[derive(Debug, Serialize, ToSchema)]
struct ProgressBody {
    /// Messages that waited when it began.
    total: u64,
    /// Messages that it has looked at.
    scanned: u64,
    /// Of these, those that its filter wants.
    matched: u64,
    /// Of these, those that it has moved, or would have moved in a dry run.
    moved: u64,
    /// Of these, those that it has left where they are.
    skipped: SkippedBody,
    /// How many went where.
    by_destination: BTreeMap<String, u64>,
}

/// Messages that stay where they are, by reason.
#[derive(Debug, Serialize, ToSchema)]
struct SkippedBody {
    /// They are no dead letters, so nobody knows where they came from.
    no_origin: u64,
    /// The queue that they came from is gone, or the exchange leads nowhere.
    no_queue: u64,
    /// Whoever started the job may not publish to the exchange that they would go to.
    not_allowed: u64,
    /// The queue that they would go to is full, and refuses them.
    full: u64,
    /// A consumer, or somebody else, was faster.
    gone: u64,
    /// They cannot be read now.
    unreadable: u64,
}

impl JobBody {
    pub(super) fn of(job: &Job, now: Timestamp) -> Self {
        let account = job.progress.account();
        let skipped = account.skipped;
        JobBody {
            id: job.id,
            kind: job.kind,
            state: account.state.name(),
            reason: account.reason,
            vhost: job.vhost.clone(),
            queue: job.queue.clone(),
            user: job.user.clone(),
            started_at: millis(job.started_at),
            ended_at: account.ended_at.map(millis),
            elapsed_ms: account.ended_at.unwrap_or(now).since(job.started_at).as_millis() as u64,
            dry_run: job.is_dry_run,
            rate: job.rate,
            progress: ProgressBody {
                total: account.total,
                scanned: account.scanned,
                matched: account.matched,
                moved: account.moved,
                skipped: SkippedBody {
                    no_origin: skipped.no_origin,
                    no_queue: skipped.no_queue,
                    not_allowed: skipped.not_allowed,
                    full: skipped.full,
                    gone: skipped.gone,
                    unreadable: skipped.unreadable,
                },
                by_destination: account.by_destination,
            },
        }
    }
}

/// Which jobs are there?
///
/// Those that run, and the last ones that have ended, in the order of their start.
#[utoipa::path(
    get, path = "/api/jobs", tag = "jobs",
    responses((status = OK, body = Vec<JobBody>), (status = UNAUTHORIZED, body = ErrorBody))
)]
async fn list(caller: Caller, State(state): State<AdminState>) -> axum::Json<Vec<JobBody>> {
    let now = state.broker.now();
    let jobs = state.jobs.all().into_iter().filter(|job| may_see(&caller, &state, job));
    axum::Json(jobs.map(|job| JobBody::of(&job, now)).collect())
}

/// How far is a job?
#[utoipa::path(
    get, path = "/api/jobs/{id}", tag = "jobs",
    params(("id" = u64, Path)),
    responses(
        (status = OK, body = JobBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn show(
    caller: Caller,
    State(state): State<AdminState>,
    Path(id): Path<u64>,
) -> Result<axum::Json<JobBody>, ApiError> {
    let job = job_of(&caller, &state, id)?;
    Ok(axum::Json(JobBody::of(&job, state.broker.now())))
}

/// Cancel a job
///
/// It ends between two batches; what it has moved stays moved. A job that has ended stays as it is.
#[utoipa::path(
    delete, path = "/api/jobs/{id}", tag = "jobs",
    params(("id" = u64, Path)),
    responses(
        (status = NO_CONTENT),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn cancel(
    caller: Caller,
    State(state): State<AdminState>,
    Path(id): Path<u64>,
) -> Result<StatusCode, ApiError> {
    let cancel = || {
        let job = job_of(&caller, &state, id)?;
        caller.may_read(&*caller.vhost(&state, &job.vhost)?, &job.queue)?;
        if job.progress.state() == JobState::Running {
            job.cancel();
        }
        Ok(StatusCode::NO_CONTENT)
    };
    let outcome = cancel();
    audit(&caller, "cancel", &format!("job {id}"), &outcome);
    outcome
}

fn may_see(caller: &Caller, state: &AdminState, job: &Job) -> bool {
    caller.vhost(state, &job.vhost).is_ok()
}

fn job_of(caller: &Caller, state: &AdminState, id: u64) -> Result<Arc<Job>, ApiError> {
    let job = state.jobs.get(id).filter(|job| may_see(caller, state, job));
    job.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("there is no job {id}")))
}
