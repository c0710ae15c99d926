//! Silences.

use axum::{Json, extract::State, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState, alerts,
    extract::{Body, Segments},
    problem::{Problem, ProblemBody},
    validate::shown,
};
use crate::{
    alert::Rule,
    auth::{Access, Principal, Role},
    openapi,
    store::{self, NewSilence},
    view::SilenceView,
};

/// The silences that have not ended.
#[derive(Serialize, ToSchema)]
struct Silences {
    /// The one that ends first first.
    silences: Vec<SilenceView>,
}

/// Peace to be had for a while. It covers the alerts that fit everything it names.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MakeSilence {
    /// When it ends: at most 90 days from now.
    until: Timestamp,
    /// Why, for those who wonder.
    reason: String,
    /// Name or id of a host: only its alerts.
    host: Option<String>,
    /// Only of this source group of that host.
    group: Option<String>,
    /// Only of this rule.
    rule: Option<Rule>,
    /// Only this alert.
    alert_id: Option<String>,
}

const LENGTH_MAX: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The longest reason, in characters.
const REASON_MAX: usize = 500;

pub(super) fn router() -> OpenApiRouter<AppState> {
    let operator = Access::Role(Role::Operator);
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
        .routes(openapi::routes(operator, routes!(add)))
        .routes(openapi::routes(operator, routes!(end)))
}

/// Lists the silences that have not ended.
#[utoipa::path(get, path = "/silences", tag = "alerts", operation_id = "list_silences",
    responses((status = 200, body = Silences)))]
async fn list(State(state): State<AppState>) -> Result<Json<Silences>, Problem> {
    Ok(Json(Silences { silences: state.store.silences(state.store.now()).await? }))
}

/// Silences alerts for a while: they are still found and shown, but nobody is told.
#[utoipa::path(post, path = "/silences", tag = "alerts", operation_id = "add_silence",
    request_body = MakeSilence,
    responses((status = 201, body = SilenceView),
        (status = 400, body = ProblemBody, description = "`invalid_silence`"),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `alert_not_found`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Body(silence): Body<MakeSilence>,
) -> Result<(StatusCode, Json<SilenceView>), Problem> {
    let now = state.store.now();
    check(&silence, now)?;
    let alert = match silence.alert_id.as_deref().map(alerts::id).transpose()? {
        Some(id) => Some(state.store.alert(id, now).await?.id),
        None => None,
    };
    let host = match &silence.host {
        Some(host) => Some(state.store.find_host(host).await?),
        None => None,
    };
    let new = NewSilence {
        until: silence.until,
        reason: silence.reason,
        host,
        group: silence.group,
        rule: silence.rule,
        alert,
    };
    let view = state.store.add_silence(&principal.name, &new).await?;
    state.live.refresh_alerts(now).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Ends a silence.
#[utoipa::path(delete, path = "/silences/{silence}", tag = "alerts", operation_id = "end_silence",
    params(("silence" = Uuid, Path, description = "The silence's id")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`silence_not_found`")))]
async fn end(
    State(state): State<AppState>,
    principal: Principal,
    Segments(silence): Segments<String>,
) -> Result<StatusCode, Problem> {
    let id =
        silence.parse().map_err(|_| store::Error::SilenceNotFound { silence: shown(&silence) })?;
    state.store.end_silence(&principal.name, id).await?;
    state.live.refresh_alerts(state.store.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(silence: &MakeSilence, now: Timestamp) -> Result<(), Problem> {
    let length = silence.until.duration_since(now);
    let refuse =
        |title: &str, action: &str| Err(Problem::invalid("invalid_silence", title, action));
    if length <= SignedDuration::ZERO || length > LENGTH_MAX {
        return refuse(
            "The silence would have ended already, or would last for more than 90 days.",
            "Give an end in the future, within 90 days.",
        );
    }
    let reason = silence.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return refuse(
            "The silence has no reason, or a very long one.",
            "Say in a sentence why nobody needs to be told.",
        );
    }
    if silence.group.is_some() && silence.host.is_none() {
        return refuse(
            "A source group is named without its host.",
            "Name the host too, or silence the rule for all.",
        );
    }
    Ok(())
}
