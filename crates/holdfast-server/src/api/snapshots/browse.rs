//! Looking into a snapshot, and comparing two. The host's agent is asked, once for each question.

use std::num::NonZeroU32;

use axum::{Json, extract::State};
use holdfast_protocol::message::{
    browse::{self, Entries, Matches},
    job::Operation,
    parameters::{Diff, Find, Ls},
    result::Difference,
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        AppState,
        extract::{Params, Segments},
        jobs::limit,
        parameters,
        problem::{Problem, ProblemBody},
    },
    place::{Place, WAIT_MAX},
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    view::{DifferenceView, EntryPageView, FoundPageView},
};

/// How many entries a page has when nobody says, and how many it may have.
const ENTRIES: u32 = 1000;
const ENTRIES_MAX: u32 = 5000;

/// How much is found when nobody says, and at most.
const FOUND: u32 = 200;
const FOUND_MAX: u32 = 1000;

/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 255;

/// How many changes a comparison may tell.
const CHANGES_MAX: u32 = 10_000;

/// Which directory to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Directory {
    /// Name or id of the repository. Absent for the one that holds the snapshot.
    repository: Option<String>,
    /// The directory, absolute.
    #[serde(default = "top")]
    #[param(default = "/")]
    path: String,
    /// How many entries to pass over.
    #[serde(default)]
    offset: u64,
    /// At most this many, 1 to 5000. There may be fewer although there are more.
    #[param(default = 1000)]
    limit: Option<u32>,
}

fn top() -> String {
    "/".to_owned()
}

/// What to look for.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Name or id of the repository. Absent for the one that holds the snapshot.
    repository: Option<String>,
    /// A part of the name, or with `*` and `?` all of it; with a `/` in it, of the whole path.
    pattern: String,
    /// At most this many, 1 to 1000.
    #[param(default = 200)]
    limit: Option<u32>,
}

/// Which snapshots to compare.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Pair {
    /// Name or id of the repository. Absent for the one that holds the snapshots.
    repository: Option<String>,
    /// The id of the snapshot to start from.
    from: String,
    /// The id of the snapshot to get to.
    to: String,
    /// Whether a change of owner, mode or time alone counts.
    #[serde(default)]
    metadata: bool,
    /// How many changed paths to tell, 1 to 10000.
    #[param(default = 1000)]
    limit: Option<u32>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    OpenApiRouter::new()
        .routes(openapi::routes(viewer, routes!(entries)))
        .routes(openapi::routes(viewer, routes!(search)))
        .routes(openapi::routes(viewer, routes!(diff)))
}

/// Lists one directory of a snapshot. The host's agent is asked; what it told is remembered.
#[utoipa::path(get, path = "/hosts/{host}/snapshots/{snapshot}/entries", tag = "snapshots",
    operation_id = "list_entries",
    params(("host" = String, Path, description = "Name or id"),
        ("snapshot" = String, Path, description = "The snapshot's id, or its beginning"), Directory),
    responses((status = 200, body = EntryPageView),
        (status = 400, body = ProblemBody,
            description = "`invalid_parameters`, `invalid_limit` or `repository_required`"),
        (status = 403, body = ProblemBody, description = "`refused_by_policy`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found`, `snapshot_not_found` or `path_not_found`"),
        (status = 409, body = ProblemBody,
            description = "`host_offline`, `operation_unsupported` or `repository_unknown`"),
        (status = 429, body = ProblemBody, description = "`host_busy`"),
        (status = 502, body = ProblemBody, description = "`host_failed`"),
        (status = 504, body = ProblemBody, description = "`host_silent`")))]
async fn entries(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, mut snapshot)): Segments<(String, String)>,
    Params(asked): Params<Directory>,
) -> Result<Json<EntryPageView>, Problem> {
    parameters::snapshot(&snapshot)?;
    parameters::absolute(&asked.path)?;
    let most = limit(asked.limit.unwrap_or(ENTRIES), ENTRIES_MAX)?;
    let repository = asked.repository.as_deref();
    let place = Place::find(&state, &principal, &host, [&mut snapshot], repository).await?;
    let wish = Ls {
        snapshot_id: snapshot,
        path: asked.path,
        offset: asked.offset,
        limit: NonZeroU32::new(most),
    };
    let listed: Entries =
        place.ask(&state.hub, (browse::LS, Operation::Ls), wish, WAIT_MAX).await?;
    Ok(Json(listed.into()))
}

/// Looks for names in all of a snapshot; capitals do not matter. The host's agent is asked.
#[utoipa::path(get, path = "/hosts/{host}/snapshots/{snapshot}/search", tag = "snapshots",
    operation_id = "search_snapshot",
    params(("host" = String, Path, description = "Name or id"),
        ("snapshot" = String, Path, description = "The snapshot's id, or its beginning"), Wanted),
    responses((status = 200, body = FoundPageView),
        (status = 400, body = ProblemBody,
            description = "`invalid_pattern`, `invalid_limit` or `repository_required`"),
        (status = 403, body = ProblemBody, description = "`refused_by_policy`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found` or `snapshot_not_found`"),
        (status = 409, body = ProblemBody,
            description = "`host_offline`, `operation_unsupported` or `repository_unknown`"),
        (status = 429, body = ProblemBody, description = "`host_busy`"),
        (status = 502, body = ProblemBody, description = "`host_failed`"),
        (status = 504, body = ProblemBody, description = "`host_silent`")))]
async fn search(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, mut snapshot)): Segments<(String, String)>,
    Params(asked): Params<Wanted>,
) -> Result<Json<FoundPageView>, Problem> {
    parameters::snapshot(&snapshot)?;
    if asked.pattern.is_empty() || asked.pattern.len() > PATTERN_MAX {
        return Err(invalid_pattern());
    }
    let most = limit(asked.limit.unwrap_or(FOUND), FOUND_MAX)?;
    let repository = asked.repository.as_deref();
    let place = Place::find(&state, &principal, &host, [&mut snapshot], repository).await?;
    let limit = NonZeroU32::new(most);
    let wish = Find { snapshot_id: snapshot, pattern: asked.pattern, limit };
    let found: Matches =
        place.ask(&state.hub, (browse::FIND, Operation::Ls), wish, WAIT_MAX).await?;
    Ok(Json(found.into()))
}

/// Tells what changed from one snapshot to another. The host's agent is asked.
#[utoipa::path(get, path = "/hosts/{host}/diff", tag = "snapshots",
    operation_id = "compare_snapshots",
    params(("host" = String, Path, description = "Name or id"), Pair),
    responses((status = 200, body = DifferenceView),
        (status = 400, body = ProblemBody,
            description = "`invalid_parameters`, `invalid_limit` or `repository_required`"),
        (status = 403, body = ProblemBody, description = "`refused_by_policy`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found` or `snapshot_not_found`"),
        (status = 409, body = ProblemBody,
            description = "`host_offline`, `operation_unsupported` or `repository_unknown`"),
        (status = 429, body = ProblemBody, description = "`host_busy`"),
        (status = 502, body = ProblemBody, description = "`host_failed`"),
        (status = 504, body = ProblemBody, description = "`host_silent`")))]
async fn diff(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
    Params(asked): Params<Pair>,
) -> Result<Json<DifferenceView>, Problem> {
    let (mut from, mut to) = (asked.from, asked.to);
    parameters::snapshot(&from)?;
    parameters::snapshot(&to)?;
    let most = limit(asked.limit.unwrap_or(ENTRIES), CHANGES_MAX)?;
    let repository = asked.repository.as_deref();
    let place = Place::find(&state, &principal, &host, [&mut from, &mut to], repository).await?;
    let wish = Diff {
        from_snapshot_id: from,
        to_snapshot_id: to,
        metadata: asked.metadata,
        limit: NonZeroU32::new(most),
    };
    let changed: Difference =
        place.ask(&state.hub, (browse::DIFF, Operation::Diff), wish, WAIT_MAX).await?;
    Ok(Json(changed.into()))
}

fn invalid_pattern() -> Problem {
    Problem::invalid(
        "invalid_pattern",
        format!("What is looked for is empty or has more than {PATTERN_MAX} bytes."),
        "Give a part of the name, or a pattern such as *.pdf.",
    )
}
