//! Users: listing, making, changing and removing them.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Principal, Role, scope},
    openapi,
    store::{NewUser, UserChange},
    view::UserView,
};

/// All users.
#[derive(Serialize, ToSchema)]
struct Users {
    /// By name.
    users: Vec<UserView>,
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddUser {
    /// 1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit. Kept in lower case.
    name: String,
    /// What the user may do.
    role: Role,
    /// 10 to 1024 bytes.
    #[schema(value_type = String)]
    password: Secret,
    /// On hosts of which groups; all when left out.
    #[serde(default = "everywhere")]
    host_groups: Vec<String>,
}

/// What to change about a user; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeUser {
    /// What the user may do.
    role: Option<Role>,
    /// On hosts of which groups.
    host_groups: Option<Vec<String>>,
    /// Whether the user is kept out.
    disabled: Option<bool>,
    /// A new password, 10 to 1024 bytes.
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    /// `false` forgets the user's authenticator app, for who lost the phone.
    totp_enabled: Option<bool>,
}

pub(super) fn everywhere() -> Vec<String> {
    vec![scope::ALL.to_owned()]
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(admin, routes!(list)))
        .routes(openapi::routes(admin, routes!(add)))
        .routes(openapi::routes(admin, routes!(change)))
        .routes(openapi::routes(admin, routes!(remove)))
}

/// Lists the users by name.
#[utoipa::path(get, path = "/users", tag = "users", operation_id = "list_users",
    responses((status = 200, body = Users)))]
async fn list(State(state): State<AppState>) -> Result<Json<Users>, Problem> {
    Ok(Json(Users { users: state.store.users().await? }))
}

/// Makes a user.
#[utoipa::path(post, path = "/users", tag = "users", operation_id = "add_user",
    request_body = AddUser,
    responses((status = 201, body = UserView),
        (status = 400, body = ProblemBody,
            description = "`invalid_name`, `weak_password` or `invalid_host_groups`"),
        (status = 409, body = ProblemBody, description = "`user_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Body(user): Body<AddUser>,
) -> Result<(StatusCode, Json<UserView>), Problem> {
    let name = validate::user_name(&user.name)?;
    validate::new_password(&name, &user.password)?;
    validate::host_groups(&user.host_groups)?;
    let password = Some(state.identity.passwords().hash(user.password).await?);
    let new = NewUser { name, role: user.role, host_groups: user.host_groups, password };
    Ok((StatusCode::CREATED, Json(state.store.add_user(&principal.name, &new).await?)))
}

/// Changes a user. Whoever is signed in as the user is signed out.
#[utoipa::path(patch, path = "/users/{name}", tag = "users", operation_id = "change_user",
    params(("name" = String, Path, description = "Name")),
    request_body = ChangeUser,
    responses((status = 200, body = UserView),
        (status = 400, body = ProblemBody,
            description = "`weak_password`, `invalid_host_groups` or `totp_is_the_users`"),
        (status = 404, body = ProblemBody, description = "`user_not_found`"),
        (status = 409, body = ProblemBody, description = "`last_admin`")))]
async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Segments(name): Segments<String>,
    Body(request): Body<ChangeUser>,
) -> Result<Json<UserView>, Problem> {
    let name = name.to_lowercase();
    if request.totp_enabled == Some(true) {
        return Err(Problem::invalid(
            "totp_is_the_users",
            "Nobody can set up the authenticator app of somebody else.",
            "Only `false` can be set here; the user sets up a new app after signing in.",
        ));
    }
    request.host_groups.as_deref().map_or(Ok(()), validate::host_groups)?;
    let password = match request.password {
        Some(password) => {
            validate::new_password(&name, &password)?;
            Some(state.identity.passwords().hash(password).await?)
        }
        None => None,
    };
    let change = UserChange {
        role: request.role,
        host_groups: request.host_groups,
        disabled: request.disabled,
        password,
        forget_totp: request.totp_enabled.is_some(),
    };
    Ok(Json(state.store.change_user(&principal.name, &name, &change, None).await?))
}

/// Removes a user and signs out whoever is signed in as the user.
#[utoipa::path(delete, path = "/users/{name}", tag = "users", operation_id = "remove_user",
    params(("name" = String, Path, description = "Name")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`user_not_found`"),
        (status = 409, body = ProblemBody, description = "`last_admin`")))]
async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Segments(name): Segments<String>,
) -> Result<StatusCode, Problem> {
    state.store.remove_user(&principal.name, &name.to_lowercase()).await?;
    Ok(StatusCode::NO_CONTENT)
}
