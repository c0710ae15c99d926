//! Digests: when a channel gets its summary, and what would be in it.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    problem::{Problem, ProblemBody, sentence},
};
use crate::{
    alert::{digest::DigestSetting, digest_for},
    auth::{Access, Principal, Role},
    openapi,
    view::Calendar,
};

/// When a channel gets its digest.
#[derive(Serialize, ToSchema)]
struct DigestPlan {
    /// Whether it gets one.
    enabled: bool,
    /// Due times, a cron expression of five fields.
    cron: String,
    /// The zone in which it is read, an IANA name.
    time_zone: String,
    /// When the next one comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
}

/// What to change about a channel's digest; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeDigest {
    /// Whether it gets one.
    enabled: Option<bool>,
    /// Due times, a cron expression of five fields.
    cron: Option<String>,
    /// The zone in which it is read, an IANA name.
    time_zone: Option<String>,
}

/// A digest in words.
#[derive(Serialize, ToSchema)]
struct DigestText {
    /// One line.
    title: String,
    /// What is below it.
    text: String,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    OpenApiRouter::new()
        .routes(openapi::routes(viewer, routes!(show)))
        .routes(openapi::routes(Access::Role(Role::Admin), routes!(set)))
        .routes(openapi::routes(viewer, routes!(preview)))
}

/// Tells when a channel gets its digest: a summary of the time since the last one.
#[utoipa::path(get, path = "/channels/{channel}/digest", tag = "channels",
    operation_id = "show_digest",
    params(("channel" = String, Path, description = "Name or id")),
    responses((status = 200, body = DigestPlan),
        (status = 404, body = ProblemBody, description = "`channel_not_found`")))]
async fn show(
    State(state): State<AppState>,
    Segments(channel): Segments<String>,
) -> Result<Json<DigestPlan>, Problem> {
    let channel = state.store.channel(&channel).await?;
    let setting = state.store.digest(&channel).await?;
    Ok(Json(plan(setting, state.store.now())))
}

/// Sets when a channel gets its digest.
#[utoipa::path(patch, path = "/channels/{channel}/digest", tag = "channels",
    operation_id = "set_digest",
    params(("channel" = String, Path, description = "Name or id")),
    request_body = ChangeDigest,
    responses((status = 200, body = DigestPlan),
        (status = 400, body = ProblemBody,
            description = "`invalid_schedule` or `digest_not_possible`"),
        (status = 404, body = ProblemBody, description = "`channel_not_found`")))]
async fn set(
    State(state): State<AppState>,
    principal: Principal,
    Segments(channel): Segments<String>,
    Body(change): Body<ChangeDigest>,
) -> Result<Json<DigestPlan>, Problem> {
    let channel = state.store.channel(&channel).await?;
    let known = state.store.digest(&channel).await?;
    let setting = DigestSetting {
        enabled: change.enabled.unwrap_or(known.enabled),
        cron: change.cron.unwrap_or(known.cron),
        time_zone: change.time_zone.unwrap_or(known.time_zone),
    };
    if setting.enabled && channel.kind == "ping" {
        return Err(Problem::invalid(
            "digest_not_possible",
            "A ping tells of jobs and takes no text.",
            "Have the digest sent by a channel that people read.",
        ));
    }
    let now = state.store.now();
    Calendar::parse(&setting.cron, &setting.time_zone, now).map_err(|error| {
        let action = "Use five fields such as `0 8 * * 1`, and a zone such as Europe/Berlin.";
        Problem::invalid("invalid_schedule", sentence(&error.to_string()), action)
    })?;
    state.store.set_digest(&principal.name, &channel, &setting).await?;
    Ok(Json(plan(setting, now)))
}

/// Shows the digest that a channel would get now.
#[utoipa::path(get, path = "/channels/{channel}/digest/preview", tag = "channels",
    operation_id = "preview_digest",
    params(("channel" = String, Path, description = "Name or id")),
    responses((status = 200, body = DigestText),
        (status = 404, body = ProblemBody, description = "`channel_not_found`")))]
async fn preview(
    State(state): State<AppState>,
    Segments(channel): Segments<String>,
) -> Result<Json<DigestText>, Problem> {
    let channel = state.store.channel(&channel).await?;
    let digest = digest_for(&state.store, &state.live, &channel, state.store.now()).await?;
    Ok(Json(DigestText { title: digest.title, text: digest.text }))
}

fn plan(setting: DigestSetting, now: Timestamp) -> DigestPlan {
    let DigestSetting { enabled, cron, time_zone } = setting;
    let calendar = Calendar::parse(&cron, &time_zone, now).ok().filter(|_| enabled);
    let next_at = calendar.and_then(|calendar| calendar.next_after(now));
    DigestPlan { enabled, cron, time_zone, next_at }
}
