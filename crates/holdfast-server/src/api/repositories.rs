//! Repositories.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::{
    RepositoryId,
    message::config::{Secret, Slot},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    location,
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::{NewCredentials, NewLocation, NewRepository},
    view::{RepositoryDetailView, RepositoryView},
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
    /// Certificates in PEM that the backend's own must be signed by; absent for those that the
    /// hosts trust.
    ca_certificate: Option<String>,
}

/// New credentials for a slot. They are sealed at once and never shown again. What is absent or
/// empty stays as it is; to clear a slot, delete it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetCredentials {
    /// restic's repository location.
    #[schema(value_type = Option<String>)]
    url: Option<Secret>,
    /// The repository's password.
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    /// Backend credentials by variable name, all of them.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    environment: BTreeMap<String, Secret>,
    /// Certificates in PEM that the backend's own must be signed by; of the slot `repo` only.
    #[serde(default)]
    ca_certificate: String,
}

/// Which host keeps a repository in order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetRunner {
    /// Name or id of the host; `null` for the one that has used the repository longest.
    host: Option<String>,
}

/// The repository that was added.
#[derive(Serialize, ToSchema)]
struct RepositoryAdded {
    /// Its id.
    #[schema(value_type = Uuid)]
    repository_id: RepositoryId,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(show)))
        .routes(openapi::routes(admin, routes!(add)))
        .routes(openapi::routes(admin, routes!(set_credentials, clear_credentials)))
        .routes(openapi::routes(admin, routes!(set_runner)))
}

/// Lists the repositories by name.
#[utoipa::path(get, path = "/repositories", tag = "repositories",
    operation_id = "list_repositories",
    responses((status = 200, body = Repositories)))]
async fn list(State(state): State<AppState>) -> Result<Json<Repositories>, Problem> {
    Ok(Json(Repositories { repositories: state.store.repositories().await? }))
}

/// One repository with its maintenance, its sizes over time and who works on it.
#[utoipa::path(get, path = "/repositories/{repository}", tag = "repositories",
    operation_id = "show_repository",
    params(("repository" = String, Path, description = "Name or id")),
    responses((status = 200, body = RepositoryDetailView),
        (status = 404, body = ProblemBody, description = "`repository_not_found`")))]
async fn show(
    State(state): State<AppState>,
    Segments(repository): Segments<String>,
) -> Result<Json<RepositoryDetailView>, Problem> {
    let repository = state.store.find_repository(&repository).await?;
    Ok(Json(state.store.repository(repository).await?))
}

/// Adds a repository. restic creates it at the first backup when it does not exist.
#[utoipa::path(post, path = "/repositories", tag = "repositories",
    operation_id = "add_repository",
    request_body = AddRepository,
    responses((status = 201, body = RepositoryAdded),
        (status = 400, body = ProblemBody, description = "`invalid_name`, \
            `invalid_repository_url`, `invalid_password`, `invalid_environment` or \
            `invalid_certificate`"),
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
    validate::environment_of(location.kind, &repository.environment)?;
    repository.ca_certificate.as_deref().map_or(Ok(()), validate::certificates)?;
    let repository = NewRepository {
        name: repository.name,
        kind: location.kind.to_owned(),
        location: location.shown,
        url: repository.url,
        password: repository.password,
        environment: repository.environment,
        ca_certificate: repository.ca_certificate,
    };
    let repository_id = state.store.add_repository(&principal.name, &repository).await?;
    Ok((StatusCode::CREATED, Json(RepositoryAdded { repository_id })))
}

/// Changes the credentials of a slot: `repo` is for everyday work, and `admin` holds what differs
/// for the operations that delete (forget, prune, tag, unlock). Only the host that keeps the
/// repository in order ever gets the slot `admin`.
#[utoipa::path(put, path = "/repositories/{repository}/credentials/{slot}", tag = "repositories",
    operation_id = "set_credentials",
    params(("repository" = String, Path, description = "Name or id"),
        ("slot" = String, Path, description = "`repo` or `admin`")),
    request_body = SetCredentials,
    responses((status = 204),
        (status = 400, body = ProblemBody, description = "`unknown_slot`, \
            `invalid_repository_url`, `invalid_password`, `invalid_environment` or \
            `invalid_certificate`"),
        (status = 404, body = ProblemBody, description = "`repository_not_found`")))]
async fn set_credentials(
    State(state): State<AppState>,
    principal: Principal,
    Segments((repository, slot)): Segments<(String, String)>,
    Body(wish): Body<SetCredentials>,
) -> Result<StatusCode, Problem> {
    let slot = read_slot(&slot)?;
    let repository = state.store.find_repository(&repository).await?;
    let new = read_credentials(slot, wish)?;
    state.hub.set_credentials(&principal.name, repository, slot, &new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Clears a slot: all of `admin`; of `repo` the backend credentials and the certificates, because
/// no repository goes without a location and a password.
#[utoipa::path(delete, path = "/repositories/{repository}/credentials/{slot}",
    tag = "repositories", operation_id = "clear_credentials",
    params(("repository" = String, Path, description = "Name or id"),
        ("slot" = String, Path, description = "`repo` or `admin`")),
    responses((status = 204),
        (status = 400, body = ProblemBody, description = "`unknown_slot`"),
        (status = 404, body = ProblemBody, description = "`repository_not_found`")))]
async fn clear_credentials(
    State(state): State<AppState>,
    principal: Principal,
    Segments((repository, slot)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let slot = read_slot(&slot)?;
    let repository = state.store.find_repository(&repository).await?;
    state.hub.clear_credentials(&principal.name, repository, slot).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names the host that keeps the repository in order: it runs forget, prune and check, and it alone
/// gets the slot `admin`.
#[utoipa::path(put, path = "/repositories/{repository}/runner", tag = "repositories",
    operation_id = "set_runner",
    params(("repository" = String, Path, description = "Name or id")),
    request_body = SetRunner,
    responses((status = 204),
        (status = 404, body = ProblemBody,
            description = "`repository_not_found` or `host_not_found`")))]
async fn set_runner(
    State(state): State<AppState>,
    principal: Principal,
    Segments(repository): Segments<String>,
    Body(wish): Body<SetRunner>,
) -> Result<StatusCode, Problem> {
    let repository = state.store.find_repository(&repository).await?;
    let runner = match &wish.host {
        Some(host) => Some(state.store.find_host(host).await?),
        None => None,
    };
    state.hub.set_runner(&principal.name, repository, runner).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A slot that is not known is refused: taken for the everyday one, it would hand delete authority
/// to every host.
fn read_slot(word: &str) -> Result<Slot, Problem> {
    Slot::from_word(word).ok_or_else(|| {
        Problem::invalid(
            "unknown_slot",
            format!("There is no slot `{}`.", validate::shown(word)),
            "Use `repo` for everyday credentials or `admin` for those that may delete.",
        )
    })
}

fn read_credentials(slot: Slot, wish: SetCredentials) -> Result<NewCredentials, Problem> {
    let said = |secret: &Secret| !secret.expose().is_empty();
    let url = match wish.url.filter(said) {
        None => None,
        Some(url) => {
            let location = location::read(url.expose())?;
            Some(NewLocation { kind: location.kind.to_owned(), location: location.shown, url })
        }
    };
    let password = wish.password.filter(said);
    password.as_ref().map_or(Ok(()), validate::password)?;
    validate::environment(&wish.environment)?;
    let environment = Some(wish.environment).filter(|all| !all.is_empty());
    let ca_certificate = Some(wish.ca_certificate).filter(|text| !text.is_empty());
    if slot == Slot::Admin && ca_certificate.is_some() {
        return Err(validate::certificate_refused(
            "The slot `admin` has no certificates of its own.",
        ));
    }
    ca_certificate.as_deref().map_or(Ok(()), validate::certificates)?;
    Ok(NewCredentials { url, password, environment, ca_certificate })
}
