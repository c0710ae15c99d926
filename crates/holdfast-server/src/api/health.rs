//! For load balancers and monitoring, outside the API proper.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;

use super::{AppState, problem::Problem};
use crate::metrics;

/// Whether requests should come here.
#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /healthz`.
pub(super) async fn healthz(State(state): State<AppState>) -> impl IntoResponse {
    let (code, status) = if state.stop.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if state.store.is_healthy().await {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "database_failed")
    };
    (code, Json(Health { status }))
}

/// `GET /metrics`.
pub(super) async fn prometheus(
    State(state): State<AppState>,
) -> Result<impl IntoResponse, Problem> {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let numbers = metrics::render() + &state.live.numbers().await?;
    Ok(([(header::CONTENT_TYPE, kind)], numbers))
}
