//! When source groups are backed up on their own.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::message::schedule::{Timing, Window};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    groups,
    problem::{Problem, ProblemBody, sentence},
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    store::NewSchedule,
    view::{Calendar, CalendarError, GroupView, WindowView},
};

/// When to back a source group up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetSchedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    cron: String,
    /// IANA name of the zone the expression is read in.
    time_zone: String,
    /// A disabled schedule is kept and does not fire.
    #[serde(default = "yes")]
    enabled: bool,
    /// A slot starts up to this much after its time, each host at a moment of its own; at most
    /// 86400.
    #[serde(default)]
    jitter_seconds: u32,
    /// The only time of the day in which a slot may start; outside it a slot waits.
    window: Option<WindowView>,
    /// Whether the latest of the slots that went by while the machine was off is made up for.
    #[serde(default = "yes")]
    catch_up: bool,
}

/// A day of jitter: more would let a daily slot meet the next one.
const JITTER_SECONDS_MAX: u32 = 86_400;

fn yes() -> bool {
    true
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(admin, routes!(set)))
        .routes(openapi::routes(admin, routes!(remove)))
}

/// Sets when a source group is backed up.
#[utoipa::path(put, path = "/hosts/{host}/groups/{name}/schedule", tag = "schedules",
    operation_id = "set_schedule",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    request_body = SetSchedule,
    responses((status = 200, body = GroupView),
        (status = 400, body = ProblemBody, description = "`invalid_schedule`"),
        (status = 404, body = ProblemBody, description = "`host_not_found` or `group_not_found`")))]
async fn set(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
    Body(schedule): Body<SetSchedule>,
) -> Result<Json<GroupView>, Problem> {
    let host = state.store.find_host(&host).await?;
    Calendar::parse(&schedule.cron, &schedule.time_zone, state.store.now())
        .map_err(|error| refused(&error))?;
    let timing = timing(&schedule)?;
    let schedule = NewSchedule {
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        enabled: schedule.enabled,
        timing,
    };
    state.hub.set_schedule(&principal.name, host, &name, &schedule).await?;
    Ok(Json(groups::view(&state, host, &name).await?))
}

/// Removes a schedule: the source group is backed up only when somebody asks.
#[utoipa::path(delete, path = "/hosts/{host}/groups/{name}/schedule", tag = "schedules",
    operation_id = "remove_schedule",
    params(("host" = String, Path, description = "Name or id"),
        ("name" = String, Path, description = "The source group")),
    responses((status = 204),
        (status = 404, body = ProblemBody,
            description = "`host_not_found`, `group_not_found` or `schedule_not_found`")))]
async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let host = state.store.find_host(&host).await?;
    state.hub.remove_schedule(&principal.name, host, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn timing(schedule: &SetSchedule) -> Result<Timing, Problem> {
    let invalid = |title: &str, action: &str| Problem::invalid("invalid_schedule", title, action);
    if schedule.jitter_seconds > JITTER_SECONDS_MAX {
        return Err(invalid("The jitter is longer than a day.", "Give at most 86400 seconds."));
    }
    let window = window(schedule.window.as_ref())?;
    let (jitter_seconds, catch_up) = (schedule.jitter_seconds, schedule.catch_up);
    Ok(Timing { jitter_seconds, window, catch_up })
}

/// A window that somebody asks for, in minutes of the day.
pub(super) fn window(asked: Option<&WindowView>) -> Result<Option<Window>, Problem> {
    let Some(asked) = asked else { return Ok(None) };
    asked.minutes().map(Some).ok_or_else(|| {
        Problem::invalid(
            "invalid_schedule",
            "The window is no part of a day.",
            "Give two times, such as 22:00 and 06:00.",
        )
    })
}

pub(super) fn refused(error: &CalendarError) -> Problem {
    let action = match error {
        CalendarError::Expression { .. } => {
            "Give minute, hour, day of month, month and day of week, such as `30 2 * * *`."
        }
        CalendarError::Zone { .. } => "Give an IANA name, such as UTC or Europe/Berlin.",
        CalendarError::Never { .. } => "Choose a day that every year has.",
    };
    Problem::invalid("invalid_schedule", sentence(&error.to_string()), action)
}
