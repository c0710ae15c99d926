//! Alerts and the rules that find them.

use axum::{Json, extract::State};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    AppState,
    extract::{Body, Params, Segments},
    problem::{Problem, ProblemBody},
    validate::shown,
};
use crate::{
    alert::{self, Rule, RuleSetting},
    auth::{Access, Principal, Role},
    openapi,
    store::{self, AlertFilter},
    view::{AlertPage, AlertView, RuleView},
};

/// Which alerts to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `active` (the default: not resolved), `open`, `acknowledged`, `resolved` or `all`.
    state: Option<String>,
    /// At most this many, 1 to 500.
    #[param(default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before.
    before: Option<String>,
}

/// How all rules are set.
#[derive(Serialize, ToSchema)]
struct Rules {
    /// By name.
    rules: Vec<RuleView>,
}

/// How to set a rule.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetRule {
    /// Whether it is watched at all.
    enabled: bool,
    /// How long a trouble must last before there is an alert, in seconds; at most 30 days.
    grace_seconds: u64,
}

const PAGE_SIZE: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;
const GRACE_SECONDS_MAX: u64 = 30 * 86_400;

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    OpenApiRouter::new()
        .routes(openapi::narrowed(viewer, routes!(list)))
        .routes(openapi::routes(viewer, routes!(show)))
        .routes(openapi::routes(Access::Role(Role::Operator), routes!(acknowledge)))
        .routes(openapi::routes(viewer, routes!(rules)))
        .routes(openapi::routes(Access::Role(Role::Admin), routes!(set_rule)))
}

/// Lists alerts, the newest first. For who sees some host groups only, a page may hold fewer than
/// its limit though there is a next one.
#[utoipa::path(get, path = "/alerts", tag = "alerts", operation_id = "list_alerts",
    params(Filter),
    responses((status = 200, body = AlertPage),
        (status = 400, body = ProblemBody,
            description = "`invalid_state`, `invalid_limit` or `invalid_cursor`")))]
async fn list(
    State(state): State<AppState>,
    principal: Principal,
    Params(filter): Params<Filter>,
) -> Result<Json<AlertPage>, Problem> {
    let filter = AlertFilter {
        states: states(filter.state.as_deref().unwrap_or("active"))?,
        limit: super::jobs::limit(filter.limit.unwrap_or(PAGE_SIZE), PAGE_SIZE_MAX)?,
        before: filter.before,
    };
    let mut page = state.store.alerts(&filter, state.store.now()).await?;
    let theirs = state.store.hosts_in(&principal.scope).await?;
    page.alerts.retain(|alert| theirs.hold_all(&alert.subjects));
    Ok(Json(page))
}

/// Shows an alert.
#[utoipa::path(get, path = "/alerts/{alert}", tag = "alerts", operation_id = "show_alert",
    params(("alert" = Uuid, Path, description = "The alert's id")),
    responses((status = 200, body = AlertView),
        (status = 404, body = ProblemBody, description = "`alert_not_found`")))]
async fn show(
    State(state): State<AppState>,
    Segments(alert): Segments<String>,
) -> Result<Json<AlertView>, Problem> {
    Ok(Json(state.store.alert(id(&alert)?, state.store.now()).await?))
}

/// Takes an alert on, so that others know that somebody does.
#[utoipa::path(post, path = "/alerts/{alert}/acknowledge", tag = "alerts",
    operation_id = "acknowledge_alert",
    params(("alert" = Uuid, Path, description = "The alert's id")),
    responses((status = 200, body = AlertView),
        (status = 404, body = ProblemBody, description = "`alert_not_found`"),
        (status = 409, body = ProblemBody, description = "`alert_resolved`")))]
async fn acknowledge(
    State(state): State<AppState>,
    principal: Principal,
    Segments(alert): Segments<String>,
) -> Result<Json<AlertView>, Problem> {
    let id = id(&alert)?;
    state.store.acknowledge_alert(&principal.name, id).await?;
    let now = state.store.now();
    state.live.refresh_alerts(now).await?;
    Ok(Json(state.store.alert(id, now).await?))
}

/// Tells how all rules are set.
#[utoipa::path(get, path = "/alert-rules", tag = "alerts", operation_id = "list_alert_rules",
    responses((status = 200, body = Rules)))]
async fn rules(State(state): State<AppState>) -> Result<Json<Rules>, Problem> {
    let rules = state.store.alert_rules().await?;
    Ok(Json(Rules { rules: rules.into_iter().map(RuleView::from).collect() }))
}

/// Sets a rule.
#[utoipa::path(put, path = "/alert-rules/{rule}", tag = "alerts", operation_id = "set_alert_rule",
    params(("rule" = String, Path, description = "The rule's name")),
    request_body = SetRule,
    responses((status = 200, body = RuleView),
        (status = 400, body = ProblemBody, description = "`invalid_grace`"),
        (status = 404, body = ProblemBody, description = "`rule_not_found`")))]
async fn set_rule(
    State(state): State<AppState>,
    principal: Principal,
    Segments(name): Segments<String>,
    Body(set): Body<SetRule>,
) -> Result<Json<RuleView>, Problem> {
    let rule = rule(&name)?;
    let seconds = i64::try_from(set.grace_seconds.min(GRACE_SECONDS_MAX)).unwrap_or(i64::MAX);
    if set.grace_seconds > GRACE_SECONDS_MAX {
        return Err(Problem::invalid(
            "invalid_grace",
            format!("{} seconds are too long a grace.", set.grace_seconds),
            "Give at most 30 days (2592000), or switch the rule off.",
        ));
    }
    let grace = SignedDuration::from_secs(seconds);
    let setting = RuleSetting { rule, enabled: set.enabled, grace };
    state.store.set_alert_rule(&principal.name, setting).await?;
    Ok(Json(setting.into()))
}

/// A text that is no id names no alert.
pub(super) fn id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| store::Error::AlertNotFound { alert: shown(text) }.into())
}

pub(super) fn rule(word: &str) -> Result<Rule, Problem> {
    Rule::from_word(word).ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::NOT_FOUND,
            "rule_not_found",
            format!("There is no alert rule `{}`.", shown(word)),
            "List the alert rules and use one of their names.",
        )
    })
}

fn states(word: &str) -> Result<Vec<alert::State>, Problem> {
    match word {
        "active" => Ok(vec![alert::State::Open, alert::State::Acknowledged]),
        "all" => Ok(Vec::new()),
        word => alert::State::from_word(word).map(|state| vec![state]).ok_or_else(|| {
            Problem::invalid(
                "invalid_state",
                format!("`{}` is not a state of alerts.", shown(word)),
                "Use active, open, acknowledged, resolved or all.",
            )
        }),
    }
}
