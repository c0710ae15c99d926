//! What runs when: the schedules of the whole fleet, and how a new one would read.

use axum::{Json, extract::State};
use holdfast_protocol::HostId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Params,
    problem::{Problem, ProblemBody},
    schedules::refused,
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    view::{Calendar, ScheduleView},
};

/// A schedule that is not set yet.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Draft {
    /// Five fields: minute, hour, day of month, month, day of week.
    cron: String,
    /// IANA name of the zone the expression is read in.
    time_zone: String,
}

/// How a schedule reads, and when it would fire.
#[derive(Serialize, ToSchema)]
struct Preview {
    /// The cron expression as a sentence.
    in_words: String,
    /// The next five times.
    next: Vec<Timestamp>,
}

/// How far to look ahead.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Ahead {
    /// Hours from now, 1 to 192.
    #[param(default = 168)]
    hours: Option<u16>,
}

/// What runs when.
#[derive(Serialize, ToSchema)]
struct Upcoming {
    /// Every schedule, by host and source group.
    schedules: Vec<Planned>,
    /// Whether some times were left out because there are too many.
    more: bool,
}

/// One schedule, and when it fires within the hours asked for.
#[derive(Serialize, ToSchema)]
struct Planned {
    /// The host.
    #[schema(value_type = Uuid)]
    host_id: HostId,
    /// Its name.
    host_name: String,
    /// The source group.
    group: String,
    /// The repository its snapshots go to.
    repository_name: String,
    /// The schedule.
    schedule: ScheduleView,
    /// When it fires; none while it is switched off.
    runs: Vec<Timestamp>,
}

const PREVIEWED: usize = 5;
const HOURS: u16 = 168;
const HOURS_MAX: u16 = 192;
/// Of one schedule: every half hour for the longest time that can be asked for.
const RUNS_MAX: usize = 384;
/// Of all.
const ALL_RUNS_MAX: usize = 20_000;

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    OpenApiRouter::new()
        .routes(openapi::narrowed(viewer, routes!(preview)))
        .routes(openapi::narrowed(viewer, routes!(list)))
}

/// Says how a schedule reads and when it would fire, without setting it.
#[utoipa::path(get, path = "/schedules/preview", tag = "schedules",
    operation_id = "preview_schedule", params(Draft),
    responses((status = 200, body = Preview),
        (status = 400, body = ProblemBody, description = "`invalid_schedule`")))]
async fn preview(
    State(state): State<AppState>,
    Params(draft): Params<Draft>,
) -> Result<Json<Preview>, Problem> {
    let now = state.store.now();
    let calendar =
        Calendar::parse(&draft.cron, &draft.time_zone, now).map_err(|error| refused(&error))?;
    let next = times(&calendar, now).take(PREVIEWED).collect();
    Ok(Json(Preview { in_words: calendar.in_words(), next }))
}

/// Lists the schedules of the fleet, and when each fires.
#[utoipa::path(get, path = "/schedules", tag = "schedules", operation_id = "list_schedules",
    params(Ahead),
    responses((status = 200, body = Upcoming),
        (status = 400, body = ProblemBody, description = "`invalid_hours`")))]
async fn list(
    State(state): State<AppState>,
    principal: Principal,
    Params(ahead): Params<Ahead>,
) -> Result<Json<Upcoming>, Problem> {
    let hours = ahead.hours.unwrap_or(HOURS);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Problem::invalid(
            "invalid_hours",
            format!("{hours} hours cannot be told."),
            format!("Ask for 1 to {HOURS_MAX} hours."),
        ));
    }
    let now = state.store.now();
    let mut upcoming = Upcoming { schedules: Vec::new(), more: false };
    let mut left = ALL_RUNS_MAX;
    for host in state.live.hosts_in(&principal.scope).await {
        for group in host.groups {
            let Some(schedule) = group.schedule else { continue };
            let (runs, more) = runs(&schedule, now, hours, left.min(RUNS_MAX));
            left -= runs.len();
            upcoming.more |= more;
            upcoming.schedules.push(Planned {
                host_id: host.id,
                host_name: host.name.clone(),
                group: group.name,
                repository_name: group.repository_name,
                schedule,
                runs,
            });
        }
    }
    Ok(Json(upcoming))
}

/// At most `max` times within so many hours, and whether there are more.
fn runs(schedule: &ScheduleView, now: Timestamp, hours: u16, max: usize) -> (Vec<Timestamp>, bool) {
    let calendar = Calendar::parse(&schedule.cron, &schedule.time_zone, now);
    let Some(calendar) = calendar.ok().filter(|_| schedule.enabled) else {
        return (Vec::new(), false);
    };
    let until = now + SignedDuration::from_hours(i64::from(hours));
    let mut runs: Vec<_> =
        times(&calendar, now).take_while(|at| *at <= until).take(max + 1).collect();
    let more = runs.len() > max;
    runs.truncate(max);
    (runs, more)
}

fn times(calendar: &Calendar, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    std::iter::successors(calendar.next_after(now), |slot| calendar.next_after(*slot))
}
