//! Signing in by an identity provider, and setting which.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{AppendHeaders, IntoResponse},
};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Body,
    problem::{Problem, ProblemBody, sentence},
    sign_in::{Me, OwnPage, enter, note_refused, too_many},
    validate,
};
use crate::{
    auth::{Access, Client, Principal, Role, cookie},
    oidc::{self, FLOW_LIFE, Flow, OidcError, Returned, Stranger, Visitor, is_safe_address},
    openapi,
    store::TurnedAway,
    view::{OidcRole, OidcSettings, OidcView},
};

/// How somebody may sign in besides with a name and a password.
#[derive(Serialize, ToSchema)]
struct Ways {
    /// By an identity provider, where one is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc: Option<Way>,
}

/// A way to sign in.
#[derive(Serialize, ToSchema)]
struct Way {
    /// What it is called.
    label: String,
}

/// Where a browser has to go.
#[derive(Serialize, ToSchema)]
struct Departure {
    /// The identity provider's page.
    url: String,
}

/// What a browser brings back from the identity provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Arrival {
    /// The code.
    #[schema(value_type = String)]
    code: Secret,
    /// The state, as it was sent along.
    state: String,
    /// Which provider says to have sent the code, where it says so.
    iss: Option<String>,
}

/// How people sign in by an identity provider from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetOidc {
    /// The provider, as it spells itself, such as `https://id.example/realms/main`.
    issuer: String,
    /// What the provider calls this server.
    client_id: String,
    /// What the server shows to the provider; empty for a client without a secret. When left out,
    /// the one that is stored stays, as long as the issuer does.
    #[schema(value_type = Option<String>)]
    client_secret: Option<Secret>,
    /// The dashboard's address as browsers spell it, such as `https://backup.example`.
    page_url: String,
    /// What the button on the page says.
    #[serde(default = "label")]
    label: String,
    /// What is asked for besides `openid`.
    #[serde(default = "scopes")]
    scopes: Vec<String>,
    /// The claim that names the user.
    #[serde(default = "name_claim")]
    name_claim: String,
    /// The claim that decides the role: a text or a list of texts. Dots lead into objects.
    #[serde(default = "role_claim")]
    role_claim: String,
    /// Which role a value of that claim gives. The first that fits counts; without one that fits
    /// nobody comes in.
    roles: Vec<OidcRole>,
}

/// As long as a setting may be.
const TEXT_MAX: usize = 300;
const ROLES_MAX: usize = 100;
const SCOPES_MAX: usize = 20;
const SECRET_MAX: usize = 4096;

fn label() -> String {
    "Single sign-on".to_owned()
}

fn scopes() -> Vec<String> {
    vec!["profile".to_owned()]
}

fn name_claim() -> String {
    "preferred_username".to_owned()
}

fn role_claim() -> String {
    "groups".to_owned()
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Public, routes!(ways)))
        .routes(openapi::routes(Access::Public, routes!(depart)))
        .routes(openapi::routes(Access::Public, routes!(arrive)))
        .routes(openapi::routes(admin, routes!(show)))
        .routes(openapi::routes(admin, routes!(set)))
        .routes(openapi::routes(admin, routes!(clear)))
}

/// Tells how somebody may sign in besides with a name and a password.
#[utoipa::path(get, path = "/sign-in", tag = "sign-in", operation_id = "list_ways_in",
    responses((status = 200, body = Ways)))]
async fn ways(State(state): State<AppState>) -> Result<Json<Ways>, Problem> {
    let settings = state.store.oidc().await?;
    let oidc = settings.map(|(settings, _)| Way { label: settings.label });
    Ok(Json(Ways { oidc }))
}

/// Begins to sign a browser in by the identity provider: tells where it has to go. What it must
/// bring back is sealed into a cookie for ten minutes.
#[utoipa::path(post, path = "/sign-in/oidc/begin", tag = "sign-in", operation_id = "begin_oidc",
    responses((status = 200, body = Departure),
        (status = 404, body = ProblemBody, description = "`oidc_off`"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`"),
        (status = 502, body = ProblemBody, description = "`oidc_unreachable` or `oidc_unfit`")))]
async fn depart(
    State(state): State<AppState>,
    client: Client,
    _page: OwnPage,
) -> Result<impl IntoResponse, Problem> {
    let attempt = state.identity.attempts().begin(client.address, None).map_err(too_many)?;
    let (settings, _) = state.store.oidc().await?.ok_or_else(off)?;
    let known = state.identity.provider().known(&settings.issuer).await.map_err(told)?;
    let flow = Flow::begin(&settings.issuer, state.store.now());
    let url = flow.address(&known.entrance().map_err(told)?, &settings).into();
    let cookie = cookie::set_flow(&state.store.seal_flow(&flow), FLOW_LIFE.as_secs(), client.https);
    attempt.succeed();
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(Departure { url })))
}

/// Signs a browser in that comes back from the identity provider. Whoever comes for the first time
/// becomes a user; the role is each time what the provider's word gives.
#[utoipa::path(post, path = "/sign-in/oidc", tag = "sign-in", operation_id = "finish_oidc",
    request_body = Arrival,
    responses((status = 200, body = Me),
        (status = 400, body = ProblemBody, description = "`oidc_expired`"),
        (status = 401, body = ProblemBody, description = "`oidc_refused`"),
        (status = 403, body = ProblemBody,
            description = "`oidc_unmapped`, `oidc_unnamed` or `user_disabled`"),
        (status = 404, body = ProblemBody, description = "`oidc_off`"),
        (status = 409, body = ProblemBody, description = "`oidc_name_taken`"),
        (status = 429, body = ProblemBody, description = "`too_many_attempts`"),
        (status = 502, body = ProblemBody, description = "`oidc_unreachable` or `oidc_unfit`")))]
async fn arrive(
    State(state): State<AppState>,
    client: Client,
    page: OwnPage,
    headers: HeaderMap,
    Body(arrival): Body<Arrival>,
) -> Result<impl IntoResponse, Problem> {
    let attempt = state.identity.attempts().begin(client.address, None).map_err(too_many)?;
    let (settings, secret) = state.store.oidc().await?.ok_or_else(off)?;
    if arrival.iss.as_ref().is_some_and(|issuer| *issuer != settings.issuer) {
        return Err(refused("the code is of another issuer"));
    }
    let sealed = cookie::flow(&headers, client.https).unwrap_or_default();
    let flow = state.store.open_flow(&sealed, &arrival.state, &settings.issuer);
    let flow = flow.ok_or_else(expired)?;
    let returned = Returned { code: arrival.code.expose(), flow: &flow };
    let provider = state.identity.provider();
    let now = state.store.now();
    let claims = oidc::redeem(provider, &settings, secret.as_ref(), returned, now).await;
    let visitor = meet(&state, &settings, &claims.map_err(told)?).await?;
    let principal = match state.store.admit_visitor(&visitor).await? {
        Ok(principal) => principal,
        Err(turned_away) => {
            note_refused(&state, &visitor.name).await?;
            return Err(turn_away(turned_away, &visitor.name));
        }
    };
    attempt.succeed();
    let entered = enter(&state, &client, &page, principal, "oidc").await?;
    let used = cookie::set_flow("", 0, client.https);
    Ok((AppendHeaders([(header::SET_COOKIE, used)]), entered))
}

/// Who the claims are about, if they give a role here.
async fn meet(
    state: &AppState,
    settings: &OidcSettings,
    claims: &Value,
) -> Result<Visitor, Problem> {
    let stranger = match oidc::visitor(claims, settings) {
        Ok(visitor) => return Ok(visitor),
        Err(stranger) => stranger,
    };
    let name = claims[&settings.name_claim].as_str().or(claims["sub"].as_str());
    let name = validate::shown(name.unwrap_or_default());
    note_refused(state, &name).await?;
    Err(match stranger {
        Stranger::NoRole => Problem::forbidden(
            "oidc_unmapped",
            format!(
                "The identity provider knows {name}, but none of their groups has a role here."
            ),
            "Ask an admin for a role for one of your groups, or for another group.",
        ),
        Stranger::NoName => Problem::forbidden(
            "oidc_unnamed",
            "The identity provider gives no name that can be one here.",
            "Ask an admin to name another claim for names.",
        ),
    })
}

/// Shows how people sign in by an identity provider, without the secret.
#[utoipa::path(get, path = "/oidc", tag = "users", operation_id = "show_oidc",
    responses((status = 200, body = OidcView),
        (status = 404, body = ProblemBody, description = "`oidc_off`")))]
async fn show(State(state): State<AppState>) -> Result<Json<OidcView>, Problem> {
    let (settings, secret) = state.store.oidc().await?.ok_or_else(off)?;
    Ok(Json(OidcView::of(settings, secret.as_ref())))
}

/// Sets how people sign in by an identity provider, after asking it who it is. Whoever came in by
/// one must come again. Users with passwords stay as they are.
#[utoipa::path(put, path = "/oidc", tag = "users", operation_id = "set_oidc",
    request_body = SetOidc,
    responses((status = 200, body = OidcView),
        (status = 400, body = ProblemBody,
            description = "`invalid_oidc` or `invalid_host_groups`"),
        (status = 502, body = ProblemBody, description = "`oidc_unreachable` or `oidc_unfit`")))]
async fn set(
    State(state): State<AppState>,
    principal: Principal,
    Body(wish): Body<SetOidc>,
) -> Result<Json<OidcView>, Problem> {
    let (settings, given) = read(wish)?;
    let stored = state.store.oidc().await?;
    let secret = match given {
        Some(given) => Some(given).filter(|given| !given.expose().is_empty()),
        None => keep(&settings, stored)?,
    };
    let known: Arc<_> =
        state.identity.provider().known_anew(&settings.issuer).await.map_err(told)?;
    known.entrance().map_err(told)?;
    state.store.set_oidc(&principal.name, &settings, secret.as_ref()).await?;
    Ok(Json(OidcView::of(settings, secret.as_ref())))
}

/// Ends signing in by the identity provider, and signs out who came in by it. Their users stay.
#[utoipa::path(delete, path = "/oidc", tag = "users", operation_id = "clear_oidc",
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`oidc_off`")))]
async fn clear(State(state): State<AppState>, principal: Principal) -> Result<StatusCode, Problem> {
    let cleared = state.store.clear_oidc(&principal.name).await?;
    if cleared { Ok(StatusCode::NO_CONTENT) } else { Err(off()) }
}

/// The settings, and the secret where one was given.
fn read(wish: SetOidc) -> Result<(OidcSettings, Option<Secret>), Problem> {
    let secret = wish.client_secret;
    if secret.as_ref().is_some_and(|secret| secret.expose().len() > SECRET_MAX) {
        return Err(invalid("The secret is too long.", "Copy it from the provider again."));
    }
    let settings = OidcSettings {
        issuer: wish.issuer,
        client_id: wish.client_id,
        page_url: wish.page_url.trim_end_matches('/').to_owned(),
        label: wish.label,
        scopes: wish.scopes,
        name_claim: wish.name_claim,
        role_claim: wish.role_claim,
        roles: wish.roles,
    };
    check(&settings)?;
    Ok((settings, secret))
}

fn check(settings: &OidcSettings) -> Result<(), Problem> {
    let texts = [
        &settings.client_id,
        &settings.label,
        &settings.name_claim,
        &settings.role_claim,
        &settings.issuer,
        &settings.page_url,
    ];
    let bounded = |text: &str| {
        let clean = !text.chars().any(char::is_control);
        clean && !text.trim().is_empty() && text.len() <= TEXT_MAX
    };
    let of_roles = settings.roles.iter().map(|rule| &rule.value);
    if !texts.into_iter().chain(of_roles).all(|text| bounded(text)) {
        return Err(invalid(
            "A setting is empty or too long.",
            format!("Give 1 to {TEXT_MAX} bytes for each."),
        ));
    }
    if settings.roles.is_empty() || settings.roles.len() > ROLES_MAX {
        return Err(invalid(
            "No value of a claim gives a role, or too many do.",
            format!("Give 1 to {ROLES_MAX} roles: without one nobody could come in."),
        ));
    }
    settings.roles.iter().try_for_each(|rule| validate::host_groups(&rule.host_groups))?;
    let word = |scope: &String| scope.chars().all(|letter| letter.is_ascii_graphic());
    if settings.scopes.len() > SCOPES_MAX || !settings.scopes.iter().all(word) {
        return Err(invalid(
            "A scope cannot be one.",
            format!("Give up to {SCOPES_MAX} words such as `profile` and `groups`."),
        ));
    }
    check_places(settings)
}

/// Both addresses are `https`, or this machine's, and name nothing but a place.
fn check_places(settings: &OidcSettings) -> Result<(), Problem> {
    let plain = |text: &str| {
        let url = Url::parse(text).ok().filter(is_safe_address)?;
        let bare = url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        (bare && nobody && !text.contains(' ')).then_some(url)
    };
    if plain(&settings.issuer).is_none() {
        return Err(invalid(
            "The issuer is no address that can be trusted.",
            "Give it as the provider spells it, such as https://id.example/realms/main.",
        ));
    }
    match plain(&settings.page_url) {
        Some(url) if url.path() == "/" => Ok(()),
        _ => Err(invalid(
            "The dashboard's address is none that a browser could be sent back to.",
            "Give it as browsers spell it, such as https://backup.example.",
        )),
    }
}

/// The stored secret, which only ever goes to the issuer that it was given for.
fn keep(
    settings: &OidcSettings,
    stored: Option<(OidcSettings, Option<Secret>)>,
) -> Result<Option<Secret>, Problem> {
    match stored {
        Some((known, Some(_))) if known.issuer != settings.issuer => Err(invalid(
            "The stored secret is another issuer's.",
            "Give the new issuer's secret too, or an empty one.",
        )),
        Some((_, secret)) => Ok(secret),
        None => Ok(None),
    }
}

fn invalid(title: &str, action: impl Into<String>) -> Problem {
    Problem::invalid("invalid_oidc", title, action)
}

fn off() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "oidc_off",
        "Nobody signs in by an identity provider here.",
        "Sign in with a name and a password; an admin sets a provider with `holdfast oidc set`.",
    )
}

fn expired() -> Problem {
    Problem::invalid(
        "oidc_expired",
        "The way to the identity provider took too long, or began in another browser.",
        "Begin again.",
    )
}

fn refused(why: &str) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "oidc_refused",
        sentence(why),
        "Begin again; if it happens twice, an admin should compare the settings of both sides.",
    )
}

fn told(error: OidcError) -> Problem {
    tracing::warn!(%error, "somebody could not be signed in by the identity provider");
    let code = match error {
        OidcError::Refused | OidcError::Token(_) => return refused(&error.to_string()),
        OidcError::Unreachable(_) => "oidc_unreachable",
        OidcError::Unfit(_) => "oidc_unfit",
    };
    Problem::new(
        StatusCode::BAD_GATEWAY,
        code,
        sentence(&error.to_string()),
        "Check the provider and the issuer's address; who has a password can sign in with it.",
    )
}

fn turn_away(why: TurnedAway, name: &str) -> Problem {
    match why {
        TurnedAway::Disabled => Problem::forbidden(
            "user_disabled",
            format!("The user {name} is kept out."),
            "Ask an admin to let the user in again.",
        ),
        TurnedAway::NameTaken => Problem::new(
            StatusCode::CONFLICT,
            "oidc_name_taken",
            format!("There is another user named {name} here already."),
            "Ask an admin to remove that user, or to name another claim for names.",
        ),
    }
}
