//! The first user of a new server.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Body,
    problem::{Problem, ProblemBody},
    sign_in::{Me, OwnPage, enter, too_many},
    validate,
};
use crate::{
    auth::{Access, Client, Role, scope},
    openapi,
    store::NewUser,
};

/// Whether the server waits for its first user.
#[derive(Serialize, ToSchema)]
struct Setup {
    /// Whether it does.
    needed: bool,
}

/// The first user, an admin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FirstUser {
    /// The code that the server printed when it was started.
    #[schema(value_type = String)]
    code: Secret,
    /// 1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit.
    name: String,
    /// 10 to 1024 bytes.
    #[schema(value_type = String)]
    password: Secret,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Public, routes!(show)))
        .routes(openapi::routes(Access::Public, routes!(make)))
}

/// Tells whether the server waits for its first user.
#[utoipa::path(get, path = "/setup", tag = "sign-in", operation_id = "show_setup",
    responses((status = 200, body = Setup)))]
async fn show(State(state): State<AppState>) -> Result<Json<Setup>, Problem> {
    Ok(Json(Setup { needed: state.store.needs_setup().await? }))
}

/// Makes the first user, an admin, and signs the browser in. Works once in a server's life.
#[utoipa::path(post, path = "/setup", tag = "sign-in", operation_id = "set_up",
    request_body = FirstUser,
    responses((status = 200, body = Me),
        (status = 400, body = ProblemBody, description = "`invalid_name` or `weak_password`"),
        (status = 401, body = ProblemBody, description = "`setup_code_wrong`"),
        (status = 409, body = ProblemBody, description = "`setup_done`"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`")))]
async fn make(
    State(state): State<AppState>,
    client: Client,
    page: OwnPage,
    Body(first): Body<FirstUser>,
) -> Result<impl IntoResponse, Problem> {
    if !state.store.needs_setup().await? {
        return Err(done());
    }
    let attempt = state.identity.attempts().begin(client.address, None);
    let attempt = attempt.map_err(too_many)?;
    if !state.identity.is_setup_code(first.code.expose()) {
        return Err(wrong_code());
    }
    attempt.succeed();
    let name = validate::user_name(&first.name)?;
    validate::new_password(&name, &first.password)?;
    let password = Some(state.identity.passwords().hash(first.password).await?);
    let host_groups = vec![scope::ALL.to_owned()];
    let new = NewUser { name: name.clone(), role: Role::Admin, host_groups, password };
    state.store.add_first_user(&new).await?.ok_or_else(done)?;
    let user = state.store.user_secrets(&name).await?.ok_or_else(done)?;
    enter(&state, &client, &page, user.principal(), "setup").await
}

fn done() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "setup_done",
        "This server has its first user or API token already.",
        "Sign in; an admin can make more users.",
    )
}

fn wrong_code() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "setup_code_wrong",
        "The setup code is not the one that the server printed.",
        "Look where the server was started (`journalctl -u holdfast`); each start prints a new one.",
    )
}
