//! Repositories.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::{RepositoryId, message::config::Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Body,
    location,
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::NewRepository,
    view::RepositoryView,
};

/// All repositories.
#[derive(Serialize, ToSchema)]
struct Repositories {
    /// By name.
    repositories: Vec<RepositoryView>,
}

/// A repository to add. Its secrets are sealed at once and never shown again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddRepository {
    /// What people will call it.
    name: String,
    /// restic's repository location: an absolute path, or one that starts with sftp:,
    /// rest:http(s)://, s3:, b2:, azure:, gs:, swift: or rclone:.
    #[schema(value_type = String)]
    url: Secret,
    /// The repository's password.
    #[schema(value_type = String)]
    password: Secret,
    /// Backend credentials by variable name, such as AWS_ACCESS_KEY_ID.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    environment: BTreeMap<String, Secret>,
}

/// The repository that was added.
#[derive(Serialize, ToSchema)]
struct RepositoryAdded {
    /// Its id.
    #[schema(value_type = Uuid)]
    repository_id: RepositoryId,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
        .routes(openapi::routes(Access::Role(Role::Admin), routes!(add)))
}

/// Lists the repositories by name.
#[utoipa::path(get, path = "/repositories", tag = "repositories",
    operation_id = "list_repositories",
    responses((status = 200, body = Repositories)))]
async fn list(State(state): State<AppState>) -> Result<Json<Repositories>, Problem> {
    Ok(Json(Repositories { repositories: state.store.repositories().await? }))
}

/// Adds a repository. restic creates it at the first backup when it does not exist.
#[utoipa::path(post, path = "/repositories", tag = "repositories",
    operation_id = "add_repository",
    request_body = AddRepository,
    responses((status = 201, body = RepositoryAdded),
        (status = 400, body = ProblemBody, description = "`invalid_name`, \
            `invalid_repository_url`, `invalid_password` or `invalid_environment`"),
        (status = 409, body = ProblemBody, description = "`repository_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Body(repository): Body<AddRepository>,
) -> Result<(StatusCode, Json<RepositoryAdded>), Problem> {
    validate::name("repository", &repository.name)?;
    let location = location::read(repository.url.expose())?;
    validate::password(&repository.password)?;
    validate::environment(&repository.environment)?;
    let repository = NewRepository {
        name: repository.name,
        kind: location.kind.to_owned(),
        location: location.shown,
        url: repository.url,
        password: repository.password,
        environment: repository.environment,
    };
    let repository_id = state.store.add_repository(&principal.name, &repository).await?;
    Ok((StatusCode::CREATED, Json(RepositoryAdded { repository_id })))
}
