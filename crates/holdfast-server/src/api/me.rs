//! What people change about themselves: the password and the authenticator app.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Body,
    problem::{Problem, ProblemBody},
    sign_in::{check_code, too_many},
    validate,
};
use crate::{
    auth::{Access, Client, Principal, PrincipalKind, totp},
    openapi,
    store::{UserChange, UserRow},
};

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// The one so far.
    #[schema(value_type = String)]
    old: Secret,
    /// 10 to 1024 bytes.
    #[schema(value_type = String)]
    new: Secret,
}

/// Proof that it is still the same person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Proof {
    /// The password.
    #[schema(value_type = String)]
    password: Secret,
}

/// What an authenticator app is set up with.
#[derive(Serialize, ToSchema)]
struct TotpOffer {
    /// To be typed in, where no picture can be read. It cannot be shown again.
    secret: String,
    /// The same for a picture.
    uri: String,
}

/// A code of the app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TotpCode {
    /// The six digits.
    #[schema(value_type = String)]
    code: Secret,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Own, routes!(change_password)))
        .routes(openapi::routes(Access::Own, routes!(offer_totp)))
        .routes(openapi::routes(Access::Own, routes!(confirm_totp)))
        .routes(openapi::routes(Access::Own, routes!(forget_totp)))
}

/// Changes one's own password. All other browsers are signed out.
#[utoipa::path(put, path = "/me/password", tag = "sign-in", operation_id = "change_own_password",
    request_body = NewPassword,
    responses((status = 204),
        (status = 400, body = ProblemBody, description = "`weak_password` or `not_a_user`"),
        (status = 403, body = ProblemBody, description = "`wrong_password`"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`")))]
async fn change_password(
    State(state): State<AppState>,
    client: Client,
    principal: Principal,
    Body(request): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let user = prove(&state, &client, &principal, request.old).await?;
    validate::new_password(&user.name, &request.new)?;
    let password = Some(state.identity.passwords().hash(request.new).await?);
    let change = UserChange { password, ..UserChange::default() };
    let keep = principal.sign_in.as_deref();
    state.store.change_user(&principal.name, &user.name, &change, keep).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins to set up an authenticator app. It counts once a first code has confirmed it.
#[utoipa::path(post, path = "/me/totp", tag = "sign-in", operation_id = "offer_totp",
    responses((status = 200, body = TotpOffer),
        (status = 400, body = ProblemBody, description = "`not_a_user`"),
        (status = 409, body = ProblemBody, description = "`totp_enabled`")))]
async fn offer_totp(
    State(state): State<AppState>,
    principal: Principal,
) -> Result<Json<TotpOffer>, Problem> {
    let user = own_user(&state, &principal).await?;
    if user.totp_confirmed {
        return Err(already_on());
    }
    let secret = totp::new_secret();
    state.store.offer_totp(&user, &secret).await?;
    Ok(Json(TotpOffer { uri: totp::uri(&user.name, &secret), secret }))
}

/// Confirms the authenticator app with a first code. From then on signing in takes one.
#[utoipa::path(post, path = "/me/totp/confirm", tag = "sign-in", operation_id = "confirm_totp",
    request_body = TotpCode,
    responses((status = 204),
        (status = 400, body = ProblemBody, description = "`not_a_user` or `totp_not_offered`"),
        (status = 401, body = ProblemBody, description = "`invalid_credentials`"),
        (status = 409, body = ProblemBody, description = "`totp_enabled`"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`")))]
async fn confirm_totp(
    State(state): State<AppState>,
    client: Client,
    principal: Principal,
    Body(request): Body<TotpCode>,
) -> Result<StatusCode, Problem> {
    let user = own_user(&state, &principal).await?;
    if user.totp_confirmed {
        return Err(already_on());
    }
    if user.totp_secret.is_none() {
        return Err(Problem::invalid(
            "totp_not_offered",
            "No authenticator app is being set up.",
            "Ask for a secret first, with `POST /me/totp`.",
        ));
    }
    let attempts = state.identity.attempts();
    let attempt = attempts.begin(client.address, Some(&user.name)).map_err(too_many)?;
    check_code(&state, &user, request.code.expose()).await?;
    attempt.succeed();
    state.store.confirm_totp(&principal.name, &user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets the authenticator app: from now on the password is enough.
#[utoipa::path(delete, path = "/me/totp", tag = "sign-in", operation_id = "forget_totp",
    request_body = Proof,
    responses((status = 204),
        (status = 400, body = ProblemBody, description = "`not_a_user`"),
        (status = 403, body = ProblemBody, description = "`wrong_password`"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`")))]
async fn forget_totp(
    State(state): State<AppState>,
    client: Client,
    principal: Principal,
    Body(proof): Body<Proof>,
) -> Result<StatusCode, Problem> {
    let user = prove(&state, &client, &principal, proof.password).await?;
    let change = UserChange { forget_totp: true, ..UserChange::default() };
    let keep = principal.sign_in.as_deref();
    state.store.change_user(&principal.name, &user.name, &change, keep).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The user, once the password has shown that it is still the same person. A wrong one is no 401:
/// the browser stays signed in.
async fn prove(
    state: &AppState,
    client: &Client,
    principal: &Principal,
    password: Secret,
) -> Result<UserRow, Problem> {
    let user = own_user(state, principal).await?;
    let attempts = state.identity.attempts();
    let attempt = attempts.begin(client.address, Some(&user.name)).map_err(too_many)?;
    if !state.identity.passwords().fits(password, user.password.clone()).await? {
        return Err(Problem::forbidden(
            "wrong_password",
            "The password is wrong.",
            "Give the password that you sign in with.",
        ));
    }
    attempt.succeed();
    Ok(user)
}

async fn own_user(state: &AppState, principal: &Principal) -> Result<UserRow, Problem> {
    let user = match principal.kind {
        PrincipalKind::User => state.store.user_secrets(&principal.name).await?,
        PrincipalKind::Token => None,
    };
    user.filter(|user| !user.by_provider).ok_or_else(|| {
        Problem::invalid(
            "not_a_user",
            "Only who signs in with a name and a password has a password and an app here.",
            "Sign in with a name and a password; the identity provider has settings of its own.",
        )
    })
}

fn already_on() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "totp_enabled",
        "An authenticator app is set up already.",
        "Remove that one first.",
    )
}
