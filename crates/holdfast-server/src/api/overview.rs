//! The fleet in numbers.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{AppState, problem::Problem};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
    view::Overview,
};

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(openapi::narrowed(Access::Role(Role::Viewer), routes!(show)))
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
