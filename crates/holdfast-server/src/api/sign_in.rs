//! Signing in and out with a browser, and asking who one is.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::{AppendHeaders, IntoResponse},
};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Body,
    problem::{Problem, ProblemBody},
};
use crate::{
    auth::{Access, Principal, Role, cookie, origin},
    openapi,
};

/// An API token to sign in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// The token.
    #[schema(value_type = String)]
    token: Secret,
}

/// Who one is.
#[derive(Serialize, ToSchema)]
struct Me {
    /// The name of the token.
    name: String,
    /// What it may do.
    role: Role,
}

/// Proof that no other site's page signs a person in as somebody else, or out.
struct OwnPage {
    /// Whether the browser speaks HTTPS.
    https: bool,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Public, routes!(sign_in)))
        .routes(openapi::routes(Access::Public, routes!(sign_out)))
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(me)))
}

/// Signs a browser in: keeps the token in a cookie that scripts cannot read.
#[utoipa::path(post, path = "/sign-in", tag = "sign-in", operation_id = "sign_in",
    request_body = SignIn,
    responses((status = 200, body = Me),
        (status = 401, body = ProblemBody, description = "`invalid_token`")))]
async fn sign_in(
    State(state): State<AppState>,
    page: OwnPage,
    Body(request): Body<SignIn>,
) -> Result<impl IntoResponse, Problem> {
    let token = request.token.expose().trim();
    let found = state.store.api_token(token).await?;
    let me =
        found.and_then(|found| Some(Me { role: Role::from_word(&found.role)?, name: found.name }));
    let me =
        me.ok_or_else(|| Problem::unauthorized("The API token is not known to this server."))?;
    let cookie = cookie::sign_in(token, page.https);
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(me)))
}

/// Signs a browser out. The token stays valid.
#[utoipa::path(post, path = "/sign-out", tag = "sign-in", operation_id = "sign_out",
    responses((status = 204)))]
async fn sign_out(page: OwnPage) -> impl IntoResponse {
    let cookie = cookie::sign_out(page.https);
    (StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie)]))
}

/// Tells who one is.
#[utoipa::path(get, path = "/me", tag = "sign-in", operation_id = "show_me",
    responses((status = 200, body = Me),
        (status = 401, body = ProblemBody, description = "`invalid_token`")))]
async fn me(principal: Principal) -> Json<Me> {
    Json(Me { name: principal.name, role: principal.role })
}

impl<S: Send + Sync> FromRequestParts<S> for OwnPage {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !origin::is_other_page(&head.headers, &head.uri) {
            return Ok(Self { https: cookie::is_https(&head.headers) });
        }
        Err(Problem::forbidden(
            "other_origin",
            "The request comes from another site's page.",
            "Sign in at the dashboard's own address; a proxy before it must keep the Host header.",
        ))
    }
}
