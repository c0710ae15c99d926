//! Signing in and out with a browser, and who is signed in.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{AppendHeaders, IntoResponse},
};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Params, Segments},
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Client, Principal, PrincipalKind, Role, cookie, origin, totp},
    openapi,
    store::{NewSignIn, SIGN_IN_LIFE_MAX, UserRow},
    view::SignInView,
};

/// What to sign in with: a name and a password, or an API token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// The user's name.
    name: Option<String>,
    /// The user's password.
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    /// The code that the user's authenticator app shows, where one is set up.
    #[schema(value_type = Option<String>)]
    totp_code: Option<Secret>,
    /// An API token, instead of a name and a password.
    #[schema(value_type = Option<String>)]
    token: Option<Secret>,
}

/// Who one is.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The name of the user or API token.
    name: String,
    /// Which of the two it is.
    kind: PrincipalKind,
    /// What one may do.
    role: Role,
    /// On hosts of which groups; `*` stands for all.
    host_groups: Vec<String>,
    /// For a user with a password: whether signing in takes a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp_enabled: Option<bool>,
}

/// Browsers that are signed in.
#[derive(Serialize, ToSchema)]
struct SignIns {
    /// The one that asked last comes first.
    sign_ins: Vec<SignInView>,
}

/// Whose sign-ins to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Those of everybody. For admins of all host groups.
    #[param(default = false)]
    #[serde(default)]
    all: bool,
}

/// Proof that no other site's page signs a person in as somebody else, or out.
pub(super) struct OwnPage;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Public, routes!(sign_in)))
        .routes(openapi::routes(Access::Public, routes!(sign_out)))
        .routes(openapi::routes(Access::Own, routes!(me)))
        .routes(openapi::routes(Access::Own, routes!(list)))
        .routes(openapi::routes(Access::Own, routes!(end)))
}

/// Signs a browser in: keeps a random word in a cookie that scripts cannot read. It ends after 12
/// hours without a request, and after 7 days in any case.
#[utoipa::path(post, path = "/sign-in", tag = "sign-in", operation_id = "sign_in",
    request_body = SignIn,
    responses((status = 200, body = Me),
        (status = 400, body = ProblemBody, description = "`invalid_body`"),
        (status = 401, body = ProblemBody,
            description = "`invalid_credentials`, or `totp_required` when only the code is missing"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`")))]
async fn sign_in(
    State(state): State<AppState>,
    client: Client,
    page: OwnPage,
    Body(request): Body<SignIn>,
) -> Result<impl IntoResponse, Problem> {
    let (principal, by) = match request {
        SignIn { name: None, password: None, totp_code: None, token: Some(token) } => {
            (by_token(&state, &client, token.expose().trim()).await?, "token")
        }
        SignIn { name: Some(name), password: Some(password), totp_code, token: None } => {
            (by_password(&state, &client, &name, password, totp_code).await?, "password")
        }
        _ => return Err(neither()),
    };
    enter(&state, &client, &page, principal, by).await
}

/// Signs a browser out: its cookie is worth nothing from now on.
#[utoipa::path(post, path = "/sign-out", tag = "sign-in", operation_id = "sign_out",
    responses((status = 204)))]
async fn sign_out(
    State(state): State<AppState>,
    client: Client,
    _page: OwnPage,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    if let Some(word) = cookie::token(&headers, client.https) {
        state.store.sign_out(&word).await?;
    }
    let cookie = cookie::sign_out(client.https);
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie)])))
}

/// Tells who one is.
#[utoipa::path(get, path = "/me", tag = "sign-in", operation_id = "show_me",
    responses((status = 200, body = Me),
        (status = 401, body = ProblemBody, description = "`invalid_token`")))]
async fn me(State(state): State<AppState>, principal: Principal) -> Result<Json<Me>, Problem> {
    describe(&state, &principal).await.map(Json)
}

/// Lists the browsers that are signed in.
#[utoipa::path(get, path = "/sign-ins", tag = "sign-in", operation_id = "list_sign_ins",
    params(Whose), responses((status = 200, body = SignIns),
        (status = 403, body = ProblemBody, description = "`role_too_small`")))]
async fn list(
    State(state): State<AppState>,
    principal: Principal,
    Params(whose): Params<Whose>,
) -> Result<Json<SignIns>, Problem> {
    if whose.all && !principal.is_full_admin() {
        return Err(Problem::forbidden(
            "role_too_small",
            "Only an admin sees the sign-ins of others.",
            "Leave `all` away to see your own.",
        ));
    }
    let of = (!whose.all).then_some(&principal);
    Ok(Json(SignIns { sign_ins: state.store.sign_ins(of, &principal, state.store.now()).await? }))
}

/// Ends a sign-in: one's own, or as an admin anybody's.
#[utoipa::path(delete, path = "/sign-ins/{sign_in}", tag = "sign-in", operation_id = "end_sign_in",
    params(("sign_in" = String, Path, description = "Id")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`sign_in_not_found`")))]
async fn end(
    State(state): State<AppState>,
    principal: Principal,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Problem> {
    let of = (!principal.is_full_admin()).then_some(principal.id.as_str());
    state.store.end_sign_in(&principal.name, &id, of).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Signs the browser in as somebody who was proved.
pub(super) async fn enter(
    state: &AppState,
    client: &Client,
    _proof: &OwnPage,
    principal: Principal,
    by: &'static str,
) -> Result<impl IntoResponse + use<>, Problem> {
    let new = NewSignIn {
        kind: principal.kind,
        id: &principal.id,
        name: &principal.name,
        address: client.address.to_string(),
        user_agent: client.user_agent.clone(),
        by,
    };
    let word = state.store.add_sign_in(&new, state.store.now()).await?;
    let cookie = cookie::sign_in(word.expose(), SIGN_IN_LIFE_MAX.as_secs(), client.https);
    let me = describe(state, &principal).await?;
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(me)))
}

async fn describe(state: &AppState, principal: &Principal) -> Result<Me, Problem> {
    let totp_enabled = match principal.kind {
        PrincipalKind::User => {
            let user = state.store.user(&principal.name).await?;
            (!user.single_sign_on).then_some(user.totp_enabled)
        }
        PrincipalKind::Token => None,
    };
    Ok(Me {
        name: principal.name.clone(),
        kind: principal.kind,
        role: principal.role,
        host_groups: principal.scope.to_list(),
        totp_enabled,
    })
}

async fn by_token(state: &AppState, client: &Client, token: &str) -> Result<Principal, Problem> {
    let attempt = state.identity.attempts().begin(client.address, None).map_err(too_many)?;
    let found = state.store.bearer(token, state.store.now()).await?;
    let principal = found.ok_or_else(|| {
        wrong("The API token is not known to this server.", "Copy the whole token again.")
    })?;
    attempt.succeed();
    Ok(principal)
}

async fn by_password(
    state: &AppState,
    client: &Client,
    name: &str,
    password: Secret,
    code: Option<Secret>,
) -> Result<Principal, Problem> {
    let name = validate::shown(name).to_lowercase();
    let attempts = state.identity.attempts();
    let attempt = attempts.begin(client.address, Some(&name)).map_err(too_many)?;
    let user = state.store.user_secrets(&name).await?.filter(|user| !user.disabled);
    let stored = user.as_ref().and_then(|user| user.password.clone());
    // Somebody who does not exist takes as long, and gets the same answer.
    let fits = state.identity.passwords().fits(password, stored).await?;
    let Some(user) = user.filter(|_| fits) else {
        note_refused(state, &name).await?;
        return Err(wrong(
            "The name or the password is wrong.",
            "Check both, and that Caps Lock is off.",
        ));
    };
    if user.totp_confirmed {
        let Some(code) = code else {
            attempt.succeed();
            return Err(code_required());
        };
        if let Err(problem) = check_code(state, &user, code.expose()).await {
            note_refused(state, &name).await?;
            return Err(problem);
        }
    }
    attempt.succeed();
    Ok(user.principal())
}

/// Tells the audit that somebody was not let in.
pub(super) async fn note_refused(state: &AppState, name: &str) -> Result<(), Problem> {
    if state.identity.attempts().may_note() {
        state.store.note_refused_sign_in(name).await?;
    }
    Ok(())
}

/// Takes a code of the user's authenticator app, once.
pub(super) async fn check_code(
    state: &AppState,
    user: &UserRow,
    code: &str,
) -> Result<(), Problem> {
    let secret = user.totp_secret.as_ref().map(Secret::expose).unwrap_or_default();
    let step = totp::step(secret, code, state.store.now(), user.totp_step);
    if let Some(step) = step
        && state.store.take_totp_step(&user.id, step).await?
    {
        return Ok(());
    }
    Err(wrong(
        "The code is wrong, or was used before.",
        "Wait for the app's next code; if none works, set the clock of the phone.",
    ))
}

pub(super) fn wrong(title: &str, action: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials", title, action)
}

fn code_required() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "totp_required",
        "Signing in as this user takes a code.",
        "Give the code that the authenticator app shows.",
    )
}

fn neither() -> Problem {
    Problem::invalid(
        "invalid_body",
        "The body is neither a name with a password nor a token.",
        "Give `name` and `password`, or only `token`.",
    )
}

/// There were too many attempts; the next is counted after `wait`.
pub(super) fn too_many(wait: Duration) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_attempts",
        "There were too many attempts that failed.",
        format!("Wait {} seconds, then try again.", wait.as_secs() + 1),
    )
}

impl<S: Send + Sync> FromRequestParts<S> for OwnPage {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !origin::is_other_page(&head.headers, &head.uri) {
            return Ok(Self);
        }
        Err(Problem::forbidden(
            "other_origin",
            "The request comes from another site's page.",
            "Sign in at the dashboard's own address; a proxy before it must keep the Host header.",
        ))
    }
}
