//! Who did what.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Params,
    problem::{Problem, ProblemBody, sentence},
};
use crate::{
    auth::{Access, Role},
    openapi,
    store::AuditFilter,
    view::{AuditHead, AuditPage, AuditVerdict},
};

/// Which entries to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// The `next` of the page before.
    before: Option<u64>,
    /// At most this many, 1 to 500.
    #[param(default = 50)]
    limit: Option<u32>,
    /// Only of this user, API token or host, by name.
    actor: Option<String>,
    /// Only this action, such as `host.add`, or all of a noun, such as `host`.
    action: Option<String>,
}

/// What to compare the chain with.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Anchor {
    /// An earlier `head`, as `SEQ:HASH`.
    anchor: Option<String>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(admin, routes!(list)))
        .routes(openapi::routes(admin, routes!(verify)))
}

/// Lists who did what, the newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "list_audit",
    params(Filter),
    responses((status = 200, body = AuditPage),
        (status = 400, body = ProblemBody, description = "`invalid_limit`")))]
async fn list(
    State(state): State<AppState>,
    Params(filter): Params<Filter>,
) -> Result<Json<AuditPage>, Problem> {
    let filter = AuditFilter {
        before: filter.before,
        limit: super::jobs::limit(filter.limit.unwrap_or(50), 500)?,
        actor: filter.actor,
        action: filter.action,
    };
    Ok(Json(state.store.audit(&filter).await?))
}

/// Tells whether an entry was changed, taken out, moved or is missing at the end.
#[utoipa::path(get, path = "/audit/verify", tag = "audit", operation_id = "verify_audit",
    params(Anchor),
    responses((status = 200, body = AuditVerdict),
        (status = 400, body = ProblemBody, description = "`invalid_anchor`")))]
async fn verify(
    State(state): State<AppState>,
    Params(anchor): Params<Anchor>,
) -> Result<Json<AuditVerdict>, Problem> {
    let anchor = anchor.anchor.as_deref().map(str::parse::<AuditHead>).transpose();
    let anchor = anchor.map_err(|error| {
        let action = "Give the head of an earlier answer as SEQ:HASH.";
        Problem::invalid("invalid_anchor", sentence(&error.to_string()), action)
    })?;
    Ok(Json(state.store.verify_audit(anchor.as_ref()).await?))
}
