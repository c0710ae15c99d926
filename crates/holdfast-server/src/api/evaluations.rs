//! What was due, and what became of it: the answer to "why did it not run?".

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Params, Segments},
    problem::{Problem, ProblemBody},
};
use crate::{
    auth::{Access, Role},
    openapi,
    store::EvaluationFilter,
    view::EvaluationView,
};

/// What became of a host's due runs.
#[derive(Serialize, ToSchema)]
struct Evaluations {
    /// The newest first.
    evaluations: Vec<EvaluationView>,
}

/// Which evaluations to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only of this source group.
    group: Option<String>,
    /// Only of runs that were due before this time.
    before: Option<Timestamp>,
    /// At most this many, 1 to 500.
    #[param(default = 100)]
    limit: Option<u32>,
}

const PAGE_SIZE: u32 = 100;
const PAGE_SIZE_MAX: u32 = 500;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
}

/// Tells what became of every due run of a host's schedules, the newest first.
///
/// They are kept for 40 days.
#[utoipa::path(get, path = "/hosts/{host}/evaluations", tag = "schedules",
    operation_id = "list_evaluations",
    params(("host" = String, Path, description = "Name or id"), Filter),
    responses((status = 200, body = Evaluations),
        (status = 400, body = ProblemBody, description = "`invalid_limit`"),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn list(
    State(state): State<AppState>,
    Segments(host): Segments<String>,
    Params(filter): Params<Filter>,
) -> Result<Json<Evaluations>, Problem> {
    let host = state.store.find_host(&host).await?;
    let limit = super::jobs::limit(filter.limit.unwrap_or(PAGE_SIZE), PAGE_SIZE_MAX)?;
    let filter = EvaluationFilter { group: filter.group, before: filter.before, limit };
    Ok(Json(Evaluations { evaluations: state.store.evaluations(host, &filter).await? }))
}
