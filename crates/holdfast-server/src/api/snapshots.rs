//! Snapshots: which there are, as agents last reported them, and what is in them, as agents tell.

mod browse;
mod download;
mod place;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Segments,
    problem::{Problem, ProblemBody},
};
use crate::{
    auth::{Access, Role},
    openapi,
    view::SnapshotView,
};

/// A host's snapshots.
#[derive(Serialize, ToSchema)]
struct Snapshots {
    /// The newest first.
    snapshots: Vec<SnapshotView>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
        .merge(browse::router())
        .merge(download::router())
}

/// Lists a host's snapshots, the newest first.
#[utoipa::path(get, path = "/hosts/{host}/snapshots", tag = "snapshots",
    operation_id = "list_snapshots",
    params(("host" = String, Path, description = "Name or id")),
    responses((status = 200, body = Snapshots),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn list(
    State(state): State<AppState>,
    Segments(host): Segments<String>,
) -> Result<Json<Snapshots>, Problem> {
    let host = state.store.find_host(&host).await?;
    Ok(Json(Snapshots { snapshots: state.store.snapshots(host).await? }))
}
