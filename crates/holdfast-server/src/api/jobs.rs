//! Jobs: ordering, listing, following and ending them.

use std::num::NonZeroU32;

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::{
    HostId, JobId,
    message::{
        command::Retry,
        job::{Operation, Status},
        parameters::Bandwidth,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Params, Segments},
    parameters,
    problem::{Problem, ProblemBody},
    validate::shown,
};
use crate::{
    auth::{Access, Principal, Role, Scope},
    openapi,
    store::{self, JobFilter, Order, Store},
    view::{JobOperation, JobPage, JobStatus, JobView, LogPage},
};

/// How many jobs a page has when nobody says.
const PAGE_SIZE: u32 = 50;

/// How many jobs a page may have.
const PAGE_SIZE_MAX: u32 = 500;

/// How often a job may be tried again.
const RETRIES_MAX: u32 = 10;

/// How long the wait before the second try may be, in seconds.
const RETRY_BACKOFF_MAX: u32 = 86_400;

/// How many log lines a page may have.
const LOG_PAGE_SIZE_MAX: u32 = 1000;

/// A job to run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobOrder {
    /// What to do.
    #[schema(value_type = JobOperation)]
    operation: Operation,
    /// The source group to do it with; a backup needs one.
    #[serde(default)]
    group: Option<String>,
    /// Name or id of the repository. Absent for the group's, the one that holds the snapshot, or
    /// the host's only one.
    #[serde(default)]
    repository: Option<String>,
    /// How to do it; the fields depend on the operation.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Limits to what the job may take of the network.
    #[serde(default)]
    bandwidth: Option<BandwidthLimit>,
    /// How often a failed try is repeated, at most 10; only where that does no harm.
    #[serde(default)]
    retry_max: u32,
    /// How long to wait before the second try, in seconds, at most a day; twice as long before each
    /// later one.
    #[serde(default)]
    retry_backoff_seconds: u32,
}

/// How much of the network a job may take, in KiB per second.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BandwidthLimit {
    /// Towards the repository.
    #[schema(value_type = Option<u32>)]
    upload_kib_s: Option<NonZeroU32>,
    /// From the repository.
    #[schema(value_type = Option<u32>)]
    download_kib_s: Option<NonZeroU32>,
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
///
/// What deletes (`forget`, `prune`, `tag`, `unlock`) needs the role admin. So does a repository
/// that none of the host's source groups uses: the host has its credentials until the job has
/// ended.
#[utoipa::path(post, path = "/hosts/{host}/jobs", tag = "jobs", operation_id = "order_job",
    params(("host" = String, Path, description = "Name or id")),
    request_body = JobOrder,
    responses((status = 202, body = Ordered),
        (status = 400, body = ProblemBody,
            description = "`unsupported_operation`, `group_required`, `repository_required`, \
                `invalid_parameters` or `invalid_retry`"),
        (status = 403, body = ProblemBody,
            description = "`role_too_small` or `repository_not_used`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found`, `group_not_found`, `repository_not_found` or \
                `snapshot_not_found`"),
        (status = 409, body = ProblemBody, description = "`operation_unsupported`"),
        (status = 429, body = ProblemBody, description = "`outbox_full`")))]
async fn order(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
    Body(order): Body<JobOrder>,
) -> Result<(StatusCode, Json<Ordered>), Problem> {
    let host = state.store.find_host(&host).await?;
    order.check(&principal)?;
    let repository = match &order.repository {
        Some(text) => Some(state.store.find_repository(text).await?),
        None => None,
    };
    let mut order =
        Order { repository, may_grant: principal.role >= Role::Admin, ..order.into_order()? };
    keep_within(&state.store, &principal.scope, host, &mut order).await?;
    let job_id = state.hub.run_job(&principal.name, host, &order).await?;
    Ok((StatusCode::ACCEPTED, Json(Ordered { job_id })))
}

/// Lets those whose role counts for some hosts only name nothing but the snapshots of these, also
/// where a repository holds those of others.
async fn keep_within(
    store: &Store,
    scope: &Scope,
    host: HostId,
    order: &mut Order,
) -> Result<(), Problem> {
    let Some(parameters) = order.parameters.as_mut().filter(|_| *scope != Scope::All) else {
        return Ok(());
    };
    for snapshot in parameters::snapshots_named(parameters) {
        // The whole id, and the repository in which it was found: what stands for one of theirs
        // here must not stand for another's there.
        let (id, found) = store.placed_snapshot(host, snapshot, order.repository, scope).await?;
        *snapshot = id;
        order.repository = Some(found);
    }
    Ok(())
}

impl JobOrder {
    fn check(&self, principal: &Principal) -> Result<(), Problem> {
        if !self.operation.is_job() {
            return Err(not_a_job(self.operation));
        }
        if self.operation.needs_delete_authority() && principal.role < Role::Admin {
            return Err(needs_admin(self.operation));
        }
        if self.operation == Operation::Backup && self.group.is_none() {
            return Err(group_required());
        }
        if self.retry_max > RETRIES_MAX || self.retry_backoff_seconds > RETRY_BACKOFF_MAX {
            return Err(invalid_retry());
        }
        Ok(())
    }

    fn into_order(self) -> Result<Order, Problem> {
        let parameters = parameters::read(self.operation, self.parameters)?;
        let bandwidth = self.bandwidth.map(|limit| Bandwidth {
            upload_kib_s: limit.upload_kib_s,
            download_kib_s: limit.download_kib_s,
        });
        Ok(Order {
            group: self.group,
            parameters,
            bandwidth: bandwidth.unwrap_or_default(),
            retry: Retry {
                retry_max: self.retry_max,
                retry_backoff_seconds: self.retry_backoff_seconds,
            },
            ..Order::new(self.operation)
        })
    }
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

fn not_a_job(operation: Operation) -> Problem {
    Problem::invalid(
        "unsupported_operation",
        format!("`{}` is no job.", operation.as_str()),
        "Ask for the snapshot's entries, or download from it, instead.",
    )
}

fn needs_admin(operation: Operation) -> Problem {
    Problem::forbidden(
        "role_too_small",
        format!("`{}` deletes from a repository, which only an admin may do.", operation.as_str()),
        "Use a token with the role admin.",
    )
}

fn group_required() -> Problem {
    Problem::invalid(
        "group_required",
        "It is not said which source group to back up.",
        "Name one of the host's source groups as `group`.",
    )
}

fn invalid_retry() -> Problem {
    Problem::invalid(
        "invalid_retry",
        "So many tries, or so long a wait between them, cannot be asked for.",
        format!(
            "Use a `retry_max` of at most {RETRIES_MAX} and a `retry_backoff_seconds` of at most \
             {RETRY_BACKOFF_MAX}."
        ),
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
