//! Source groups and their schedules.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::{HostId, dialect::Dialect, message::parameters::Retention};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    group_options,
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::{self, GroupChange, NewGroup},
    view::{GroupOptionsDoc, GroupView, RetentionDoc},
};

/// A host's source groups.
#[derive(Serialize, ToSchema)]
struct Groups {
    /// By name.
    groups: Vec<GroupView>,
}

/// A source group to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddGroup {
    /// Its name, which is also the tag of its snapshots.
    name: String,
    /// Name or id of the repository its snapshots go to.
    repository: String,
    /// Absolute paths to back up. None for a source group that backs up a command's output.
    #[serde(default)]
    includes: Vec<String>,
    /// restic exclude patterns.
    #[serde(default)]
    excludes: Vec<String>,
    /// How old the newest snapshot may be, in seconds; absent lets the schedule decide.
    objective_seconds: Option<u64>,
    /// How it is backed up.
    #[serde(default = "nothing")]
    #[schema(value_type = Option<GroupOptionsDoc>)]
    options: Value,
    /// Which snapshots are kept; absent for all.
    #[schema(value_type = Option<RetentionDoc>)]
    retention: Option<Retention>,
}

fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}

/// What to change about a source group; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeGroup {
    /// Name or id of the repository its snapshots go to from now on. Older ones stay where they
    /// are.
    repository: Option<String>,
    /// Absolute paths to back up.
    includes: Option<Vec<String>>,
    /// restic exclude patterns.
    excludes: Option<Vec<String>>,
    /// How it is backed up, as a whole: an option that is absent here is switched off.
    #[schema(value_type = Option<GroupOptionsDoc>)]
    options: Option<Value>,
    /// How old the newest snapshot may be, in seconds.
    objective_seconds: Option<u64>,
}

/// Which snapshots of a source group are kept.
#[derive(Serialize, ToSchema)]
struct Kept {
    /// The rules; absent when all snapshots are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RetentionDoc>)]
    retention: Option<Retention>,
}

/// How old the newest snapshot of a source group may be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetObjective {
    /// In seconds; 900 (15 minutes) to 31622400 (366 days).
    objective_seconds: u64,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
        .routes(openapi::routes(admin, routes!(add)))
        .routes(openapi::routes(admin, routes!(change, remove)))
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(retention)))
        .routes(openapi::routes(admin, routes!(set_retention)))
        .routes(openapi::routes(admin, routes!(set_objective, drop_objective)))
}

/// Lists a host's source groups by name.
#[utoipa::path(get, path = "/hosts/{host}/groups", tag = "source groups",
    operation_id = "list_groups",
    params(("host" = String, Path, description = "Name or id")),
    responses((status = 200, body = Groups),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn list(
    State(state): State<AppState>,
    Segments(host): Segments<String>,
) -> Result<Json<Groups>, Problem> {
    let host = state.store.find_host(&host).await?;
    Ok(Json(Groups { groups: state.live.host(host).await?.groups }))
}

/// Adds a source group to a host.
#[utoipa::path(post, path = "/hosts/{host}/groups", tag = "source groups",
    operation_id = "add_group",
    params(("host" = String, Path, description = "Name or id")),
    request_body = AddGroup,
    responses((status = 201, body = GroupView),
        (status = 400, body = ProblemBody,
            description = "`invalid_name`, `invalid_includes`, `invalid_excludes`, \
                `invalid_objective`, `invalid_options` or `invalid_retention`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found` or `repository_not_found`"),
        (status = 409, body = ProblemBody, description = "`group_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
    Body(group): Body<AddGroup>,
) -> Result<(StatusCode, Json<GroupView>), Problem> {
    let host = state.store.find_host(&host).await?;
    validate::name("source group", &group.name)?;
    let options = group_options::options(&group.options)?;
    match state.store.dialect_of(host).await? {
        Some(Dialect::Backupy) => validate::databases(&group.includes)?,
        _ => group_options::sources(&group.includes, &options)?,
    }
    group.retention.as_ref().map_or(Ok(()), group_options::retention)?;
    validate::excludes(&group.excludes)?;
    group.objective_seconds.map_or(Ok(()), validate::objective)?;
    let group = NewGroup {
        repository_id: state.store.find_repository(&group.repository).await?,
        name: group.name,
        includes: group.includes,
        excludes: group.excludes,
        objective_seconds: group.objective_seconds,
        options,
        retention: group.retention,
    };
    state.hub.add_group(&principal.name, host, &group).await?;
    Ok((StatusCode::CREATED, Json(view(&state, host, &group.name).await?)))
}

/// Changes a source group. Jobs that are under way go on as they began.
#[utoipa::path(put, path = "/hosts/{host}/groups/{name}", tag = "source groups",
    operation_id = "change_group",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    request_body = ChangeGroup,
    responses((status = 200, body = GroupView),
        (status = 400, body = ProblemBody,
            description = "`invalid_includes`, `invalid_excludes`, `invalid_objective` or \
                `invalid_options`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found`, `group_not_found` or `repository_not_found`")))]
async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
    Body(wish): Body<ChangeGroup>,
) -> Result<Json<GroupView>, Problem> {
    let host = state.store.find_host(&host).await?;
    let now = view(&state, host, &name).await?;
    let repository_id = match &wish.repository {
        Some(repository) => Some(state.store.find_repository(repository).await?),
        None => None,
    };
    let options = wish.options.as_ref().map(group_options::options).transpose()?;
    let includes = wish.includes.as_ref().unwrap_or(&now.includes);
    group_options::sources(includes, options.as_ref().unwrap_or(&now.options))?;
    wish.excludes.as_deref().map_or(Ok(()), validate::excludes)?;
    wish.objective_seconds.map_or(Ok(()), validate::objective)?;
    let change =
        GroupChange { repository_id, includes: wish.includes, excludes: wish.excludes, options };
    state.hub.change_group(&principal.name, host, &name, &change).await?;
    if let Some(seconds) = wish.objective_seconds {
        state.store.set_objective(&principal.name, host, &name, Some(seconds)).await?;
    }
    Ok(Json(view(&state, host, &name).await?))
}

/// Shows which snapshots of a source group are kept.
#[utoipa::path(get, path = "/hosts/{host}/groups/{name}/retention", tag = "source groups",
    operation_id = "show_retention",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    responses((status = 200, body = Kept),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`")))]
async fn retention(
    State(state): State<AppState>,
    Segments((host, name)): Segments<(String, String)>,
) -> Result<Json<Kept>, Problem> {
    let host = state.store.find_host(&host).await?;
    Ok(Json(Kept { retention: view(&state, host, &name).await?.retention }))
}

/// Sets which snapshots of a source group are kept; `null` keeps all. Snapshots go when the
/// repository's `forget` is due, and their data with its `prune`.
#[utoipa::path(put, path = "/hosts/{host}/groups/{name}/retention", tag = "source groups",
    operation_id = "set_retention",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    request_body = Option<RetentionDoc>,
    responses((status = 200, body = GroupView),
        (status = 400, body = ProblemBody, description = "`invalid_retention`"),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`")))]
async fn set_retention(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
    Body(retention): Body<Option<Retention>>,
) -> Result<Json<GroupView>, Problem> {
    let host = state.store.find_host(&host).await?;
    retention.as_ref().map_or(Ok(()), group_options::retention)?;
    state.store.set_retention(&principal.name, host, &name, retention.as_ref()).await?;
    Ok(Json(view(&state, host, &name).await?))
}

/// Removes a source group and its schedule. Its snapshots stay.
#[utoipa::path(delete, path = "/hosts/{host}/groups/{name}", tag = "source groups",
    operation_id = "remove_group",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`")))]
async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let host = state.store.find_host(&host).await?;
    state.hub.remove_group(&principal.name, host, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets how old the newest snapshot of a source group may be before the group counts as stale.
#[utoipa::path(put, path = "/hosts/{host}/groups/{name}/objective", tag = "source groups",
    operation_id = "set_objective",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    request_body = SetObjective,
    responses((status = 200, body = GroupView),
        (status = 400, body = ProblemBody, description = "`invalid_objective`"),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`")))]
async fn set_objective(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
    Body(objective): Body<SetObjective>,
) -> Result<Json<GroupView>, Problem> {
    let host = state.store.find_host(&host).await?;
    let seconds = objective.objective_seconds;
    validate::objective(seconds)?;
    state.store.set_objective(&principal.name, host, &name, Some(seconds)).await?;
    Ok(Json(view(&state, host, &name).await?))
}

/// Lets the schedule decide again how old the newest snapshot of a source group may be.
#[utoipa::path(delete, path = "/hosts/{host}/groups/{name}/objective", tag = "source groups",
    operation_id = "remove_objective",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    responses((status = 200, body = GroupView),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`")))]
async fn drop_objective(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
) -> Result<Json<GroupView>, Problem> {
    let host = state.store.find_host(&host).await?;
    state.store.set_objective(&principal.name, host, &name, None).await?;
    Ok(Json(view(&state, host, &name).await?))
}

/// One source group as it now is.
pub(super) async fn view(state: &AppState, host: HostId, name: &str) -> Result<GroupView, Problem> {
    let groups = state.live.host(host).await?.groups;
    let group = groups.into_iter().find(|group| group.name == name);
    group.ok_or_else(|| store::Error::GroupNotFound { group: validate::shown(name) }.into())
}
