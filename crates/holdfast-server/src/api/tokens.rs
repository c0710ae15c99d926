//! API tokens: listing, making and removing them.

use axum::{Json, extract::State, http::StatusCode};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    problem::{Problem, ProblemBody},
    users::everywhere,
    validate,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::NewToken,
    view::TokenView,
};

/// All API tokens.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// By name.
    tokens: Vec<TokenView>,
}

/// An API token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddToken {
    /// 1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit.
    name: String,
    /// What its bearer may do.
    role: Role,
    /// How long it works, in seconds, up to ten years; without an end when left out.
    expires_in_seconds: Option<u32>,
    /// On hosts of which groups; all when left out.
    #[serde(default = "everywhere")]
    host_groups: Vec<String>,
}

/// A new API token.
#[derive(Serialize, ToSchema)]
struct Made {
    /// Its id.
    id: String,
    /// The token. It cannot be shown again.
    token: String,
}

const LIFE_SECONDS_MAX: u32 = 10 * 366 * 86_400;

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(admin, routes!(list)))
        .routes(openapi::routes(admin, routes!(add)))
        .routes(openapi::routes(admin, routes!(remove)))
}

/// Lists the API tokens by name.
#[utoipa::path(get, path = "/tokens", tag = "users", operation_id = "list_tokens",
    responses((status = 200, body = Tokens)))]
async fn list(State(state): State<AppState>) -> Result<Json<Tokens>, Problem> {
    Ok(Json(Tokens { tokens: state.store.tokens().await? }))
}

/// Makes an API token. It is shown this once.
#[utoipa::path(post, path = "/tokens", tag = "users", operation_id = "add_token",
    request_body = AddToken,
    responses((status = 201, body = Made),
        (status = 400, body = ProblemBody,
            description = "`invalid_name`, `invalid_host_groups` or `invalid_expiry`"),
        (status = 409, body = ProblemBody, description = "`token_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Body(request): Body<AddToken>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    validate::name("token", &request.name)?;
    validate::host_groups(&request.host_groups)?;
    if request.expires_in_seconds.is_some_and(|life| life == 0 || life > LIFE_SECONDS_MAX) {
        return Err(Problem::invalid(
            "invalid_expiry",
            "The token would end at once, or in more than ten years.",
            "Give 1 second to ten years, or leave it away for a token without an end.",
        ));
    }
    let now = state.store.now();
    let life = request.expires_in_seconds.map(|life| SignedDuration::from_secs(life.into()));
    let new = NewToken {
        name: request.name,
        role: request.role.as_str().to_owned(),
        host_groups: request.host_groups,
        expires_at: life.and_then(|life| now.checked_add(life).ok()),
    };
    let made = state.store.add_token(&principal.name, &new).await?;
    let token = made.token.expose().to_owned();
    Ok((StatusCode::CREATED, Json(Made { id: made.id, token })))
}

/// Removes an API token, and signs out who signed in with it.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "users", operation_id = "remove_token",
    params(("token" = String, Path, description = "Id or name")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`token_not_found`")))]
async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Segments(token): Segments<String>,
) -> Result<StatusCode, Problem> {
    state.store.remove_token(&principal.name, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
