//! Jobs: ordering, listing, following and ending them.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::{
    JobId,
    message::job::{Operation, Status},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Params, Segments},
    problem::{Problem, ProblemBody},
    validate::shown,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::{self, JobFilter},
    view::{JobOperation, JobPage, JobStatus, JobView, LogPage},
};

/// How many jobs a page has when nobody says.
const PAGE_SIZE: u32 = 50;

/// How many jobs a page may have.
const PAGE_SIZE_MAX: u32 = 500;

/// How many log lines a page may have.
const LOG_PAGE_SIZE_MAX: u32 = 1000;

/// A job to run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    /// What to do.
    #[schema(value_type = JobOperation)]
    operation: Operation,
    /// The source group to do it with.
    group: String,
}

/// A job that was ordered, or that something was asked of.
#[derive(Serialize, ToSchema)]
struct Ordered {
    /// The job.
    #[schema(value_type = Uuid)]
    job_id: JobId,
}

/// Which jobs to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Name or id of a host: only its jobs.
    host: Option<String>,
    /// Only jobs in this state.
    #[param(value_type = Option<JobStatus>)]
    status: Option<String>,
    /// At most this many, 1 to 500.
    #[param(default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    before: Option<String>,
}

/// Which log lines to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogRange {
    /// Only lines after this number.
    #[serde(default)]
    after: u64,
    /// At most this many, 1 to 1000.
    #[param(default = 1000)]
    limit: Option<u32>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    let operator = Access::Role(Role::Operator);
    OpenApiRouter::new()
        .routes(openapi::routes(operator, routes!(order)))
        .routes(openapi::narrowed(viewer, routes!(list)))
        .routes(openapi::routes(viewer, routes!(show)))
        .routes(openapi::routes(viewer, routes!(log)))
        .routes(openapi::routes(operator, routes!(cancel)))
        .routes(openapi::routes(operator, routes!(pause)))
        .routes(openapi::routes(operator, routes!(resume)))
}

/// Orders a job. When the host's agent is away, the job waits for it.
#[utoipa::path(post, path = "/hosts/{host}/jobs", tag = "jobs", operation_id = "order_job",
    params(("host" = String, Path, description = "Name or id")),
    request_body = Order,
    responses((status = 202, body = Ordered),
        (status = 400, body = ProblemBody, description = "`unsupported_operation`"),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`"),
        (status = 429, body = ProblemBody, description = "`outbox_full`")))]
async fn order(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
    Body(order): Body<Order>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    let host = state.store.find_host(&host).await?;
    if order.operation != Operation::Backup {
        return Err(unsupported(order.operation));
    }
    let job_id = state.hub.run_backup(&principal.name, host, &order.group).await?;
    Ok((StatusCode::ACCEPTED, Json(Ordered { job_id })))
}

/// Lists jobs, the newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs", operation_id = "list_jobs", params(Filter),
    responses((status = 200, body = JobPage),
        (status = 400, body = ProblemBody,
            description = "`invalid_status`, `invalid_limit` or `invalid_cursor`"),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn list(
    State(state): State<AppState>,
    principal: Principal,
    Params(filter): Params<Filter>,
) -> Result<Json<JobPage>, Problem> {
    let host = match &filter.host {
        Some(host) => Some(state.store.find_host(host).await?),
        None => None,
    };
    let filter = JobFilter {
        host,
        host_groups: principal.scope.only(),
        status: filter.status.as_deref().map(status).transpose()?,
        limit: limit(filter.limit.unwrap_or(PAGE_SIZE), PAGE_SIZE_MAX)?,
        before: filter.before,
    };
    Ok(Json(state.live.jobs(&filter).await?))
}

/// Shows a job.
#[utoipa::path(get, path = "/jobs/{job}", tag = "jobs", operation_id = "show_job",
    params(("job" = Uuid, Path, description = "The job's id")),
    responses((status = 200, body = JobView),
        (status = 404, body = ProblemBody, description = "`job_not_found`")))]
async fn show(
    State(state): State<AppState>,
    Segments(job): Segments<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(state.live.job(id(&job)?).await?))
}

/// Shows lines of a job's log, oldest first.
#[utoipa::path(get, path = "/jobs/{job}/log", tag = "jobs", operation_id = "show_job_log",
    params(("job" = Uuid, Path, description = "The job's id"), LogRange),
    responses((status = 200, body = LogPage),
        (status = 404, body = ProblemBody, description = "`job_not_found`")))]
async fn log(
    State(state): State<AppState>,
    Segments(job): Segments<String>,
    Params(range): Params<LogRange>,
) -> Result<Json<LogPage>, Problem> {
    let size = limit(range.limit.unwrap_or(LOG_PAGE_SIZE_MAX), LOG_PAGE_SIZE_MAX)?;
    Ok(Json(state.store.job_log(id(&job)?, range.after, size).await?))
}

/// Asks for a job's end. What it has stored so far stays in the repository for the next run.
#[utoipa::path(post, path = "/jobs/{job}/cancel", tag = "jobs", operation_id = "cancel_job",
    params(("job" = Uuid, Path, description = "The job's id")),
    responses((status = 202, body = Ordered),
        (status = 404, body = ProblemBody, description = "`job_not_found`"),
        (status = 409, body = ProblemBody, description = "`job_ended`")))]
async fn cancel(
    State(state): State<AppState>,
    principal: Principal,
    Segments(job): Segments<String>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    let job_id = id(&job)?;
    state.hub.cancel(&principal.name, job_id).await?;
    Ok((StatusCode::ACCEPTED, Json(Ordered { job_id })))
}

/// Asks for a running job to stop where it stands.
#[utoipa::path(post, path = "/jobs/{job}/pause", tag = "jobs", operation_id = "pause_job",
    params(("job" = Uuid, Path, description = "The job's id")),
    responses((status = 202, body = Ordered),
        (status = 404, body = ProblemBody, description = "`job_not_found`"),
        (status = 409, body = ProblemBody, description = "`job_ended`")))]
async fn pause(
    State(state): State<AppState>,
    principal: Principal,
    Segments(job): Segments<String>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    let job_id = id(&job)?;
    state.hub.pause(&principal.name, job_id).await?;
    Ok((StatusCode::ACCEPTED, Json(Ordered { job_id })))
}

/// Asks for a paused job to go on.
#[utoipa::path(post, path = "/jobs/{job}/resume", tag = "jobs", operation_id = "resume_job",
    params(("job" = Uuid, Path, description = "The job's id")),
    responses((status = 202, body = Ordered),
        (status = 404, body = ProblemBody, description = "`job_not_found`"),
        (status = 409, body = ProblemBody, description = "`job_ended`")))]
async fn resume(
    State(state): State<AppState>,
    principal: Principal,
    Segments(job): Segments<String>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    let job_id = id(&job)?;
    state.hub.resume(&principal.name, job_id).await?;
    Ok((StatusCode::ACCEPTED, Json(Ordered { job_id })))
}

fn unsupported(operation: Operation) -> Problem {
    Problem::invalid(
        "unsupported_operation",
        format!("`{}` cannot be ordered here.", operation.as_str()),
        "Order a backup.",
    )
}

/// A text that is no id names no job.
fn id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| store::Error::JobNotFound { job: shown(text) }.into())
}

fn status(word: &str) -> Result<Status, Problem> {
    Status::from_word(word).ok_or_else(|| {
        Problem::invalid(
            "invalid_status",
            format!("`{}` is not a status.", shown(word)),
            "Use queued, running, paused, succeeded, partial, failed, cancelled, interrupted or \
             missed.",
        )
    })
}

pub(super) fn limit(limit: u32, max: u32) -> Result<u32, Problem> {
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid(
        "invalid_limit",
        format!("The limit {limit} is out of range."),
        format!("Use a limit from 1 to {max}."),
    ))
}
