//! The fleet in numbers, and how its days went.

use axum::{Json, extract::State};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Params,
    problem::{Problem, ProblemBody},
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    view::{Days, Overview},
};

/// Which days to tell.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Range {
    /// How many, today included: 1 to 40, as long as due runs are remembered.
    #[param(default = 30)]
    days: Option<u16>,
    /// IANA name of the zone whose days are meant.
    #[param(default = "UTC")]
    time_zone: Option<String>,
}

const DAYS: u16 = 30;
const DAYS_MAX: u16 = 40;

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    OpenApiRouter::new()
        .routes(openapi::narrowed(viewer, routes!(show)))
        .routes(openapi::narrowed(viewer, routes!(list_days)))
}

/// Counts hosts by their verdicts, and jobs. A host that is silent about its backups is not counted
/// as protected.
#[utoipa::path(get, path = "/overview", tag = "overview", operation_id = "show_overview",
    responses((status = 200, body = Overview)))]
async fn show(
    State(state): State<AppState>,
    principal: Principal,
) -> Result<Json<Overview>, Problem> {
    Ok(Json(state.live.overview_of(&principal.scope).await?))
}

/// Tells how the backups of each host went, day by day.
#[utoipa::path(get, path = "/overview/days", tag = "overview", operation_id = "show_days",
    params(Range),
    responses((status = 200, body = Days),
        (status = 400, body = ProblemBody, description = "`invalid_days` or `invalid_time_zone`")))]
async fn list_days(
    State(state): State<AppState>,
    principal: Principal,
    Params(range): Params<Range>,
) -> Result<Json<Days>, Problem> {
    let days = range.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Problem::invalid(
            "invalid_days",
            format!("{days} days cannot be told."),
            format!("Ask for 1 to {DAYS_MAX} days."),
        ));
    }
    let zone = zone(range.time_zone.as_deref().unwrap_or("UTC"))?;
    Ok(Json(state.live.days_of(&principal.scope, days, &zone).await?))
}

fn zone(name: &str) -> Result<TimeZone, Problem> {
    TimeZone::get(name).map_err(|_| {
        Problem::invalid(
            "invalid_time_zone",
            format!("`{}` is not a known time zone.", super::validate::shown(name)),
            "Give an IANA name, such as UTC or Europe/Berlin.",
        )
    })
}
