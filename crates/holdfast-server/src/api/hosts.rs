//! Hosts: listing, adding, removing, and their enrolment tokens.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::HostId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Principal, Role, guard::outside_scope},
    openapi,
    store::{HostChange, NewHost},
    view::HostView,
};

/// All hosts.
#[derive(Serialize, ToSchema)]
struct Hosts {
    /// By name.
    hosts: Vec<HostView>,
}

/// A host to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddHost {
    /// 1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit.
    name: String,
}

/// What to change about a host; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeHost {
    /// The host group it is in; empty for none.
    #[serde(alias = "group")]
    host_group: Option<String>,
    /// What people note about it: at most 50, names like those of hosts, values up to 200 bytes.
    labels: Option<BTreeMap<String, String>>,
}

/// What an agent is enrolled with.
#[derive(Serialize, ToSchema)]
struct EnrolmentToken {
    /// The host.
    #[schema(value_type = Uuid)]
    host_id: HostId,
    /// Its name.
    name: String,
    /// Works once. It cannot be shown again.
    enrolment_token: String,
    /// When it stops working.
    expires_at: Timestamp,
}

impl From<NewHost> for EnrolmentToken {
    fn from(host: NewHost) -> Self {
        Self {
            host_id: host.host_id,
            name: host.name,
            enrolment_token: host.enrolment_token.expose().to_owned(),
            expires_at: host.expires_at,
        }
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::narrowed(viewer, routes!(list)))
        .routes(openapi::routes(admin, routes!(add)))
        .routes(openapi::routes(viewer, routes!(show)))
        .routes(openapi::routes(admin, routes!(change)))
        .routes(openapi::routes(admin, routes!(remove)))
        .routes(openapi::routes(admin, routes!(renew)))
}

/// Lists the hosts by name.
#[utoipa::path(get, path = "/hosts", tag = "hosts", operation_id = "list_hosts",
    responses((status = 200, body = Hosts)))]
async fn list(State(state): State<AppState>, principal: Principal) -> Result<Json<Hosts>, Problem> {
    let mut hosts = state.live.hosts().await?;
    hosts.retain(|host| principal.scope.holds(&host.host_group));
    Ok(Json(Hosts { hosts }))
}

/// Adds a host. Its agent enrols with the token in the answer.
#[utoipa::path(post, path = "/hosts", tag = "hosts", operation_id = "add_host",
    request_body = AddHost,
    responses((status = 201, body = EnrolmentToken),
        (status = 400, body = ProblemBody, description = "`invalid_name`"),
        (status = 409, body = ProblemBody, description = "`host_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Body(host): Body<AddHost>,
) -> Result<(StatusCode, Json<EnrolmentToken>), Problem> {
    validate::name("host", &host.name)?;
    let host = state.hub.add_host(&principal.name, &host.name).await?;
    Ok((StatusCode::CREATED, Json(host.into())))
}

/// Shows a host, by name or id.
#[utoipa::path(get, path = "/hosts/{host}", tag = "hosts", operation_id = "show_host",
    params(("host" = String, Path, description = "Name or id")),
    responses((status = 200, body = HostView),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn show(
    State(state): State<AppState>,
    Segments(host): Segments<String>,
) -> Result<Json<HostView>, Problem> {
    let host = state.store.find_host(&host).await?;
    Ok(Json(state.live.host(host).await?))
}

/// Changes which host group a host is in, and what people note about it.
#[utoipa::path(patch, path = "/hosts/{host}", tag = "hosts", operation_id = "change_host",
    params(("host" = String, Path, description = "Name or id")),
    request_body = ChangeHost,
    responses((status = 200, body = HostView),
        (status = 400, body = ProblemBody, description = "`invalid_name` or `invalid_labels`"),
        (status = 403, body = ProblemBody, description = "`outside_scope`"),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
    Body(change): Body<ChangeHost>,
) -> Result<Json<HostView>, Problem> {
    let host = state.store.find_host(&host).await?;
    if let Some(group) = change.host_group.as_deref() {
        if !group.is_empty() {
            validate::name("host group", group)?;
        }
        // Nobody gives a host away to, or takes one from, people they know nothing of.
        if !principal.scope.holds(group) {
            return Err(outside_scope());
        }
    }
    change.labels.as_ref().map_or(Ok(()), validate::labels)?;
    let change = HostChange { host_group: change.host_group, labels: change.labels };
    state.store.change_host(&principal.name, host, &change).await?;
    Ok(Json(state.live.host(host).await?))
}

/// Removes a host: its agent is turned away from now on. Its ended jobs and its snapshots stay.
#[utoipa::path(delete, path = "/hosts/{host}", tag = "hosts", operation_id = "remove_host",
    params(("host" = String, Path, description = "Name or id")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
) -> Result<StatusCode, Problem> {
    let host = state.store.find_host(&host).await?;
    state.hub.remove_host(&principal.name, host).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a new enrolment token for a host. The present agent stays valid until it is redeemed.
#[utoipa::path(post, path = "/hosts/{host}/enrolment-token", tag = "hosts",
    operation_id = "renew_enrolment_token",
    params(("host" = String, Path, description = "Name or id")),
    responses((status = 201, body = EnrolmentToken),
        (status = 404, body = ProblemBody, description = "`host_not_found`")))]
async fn renew(
    State(state): State<AppState>,
    principal: Principal,
    Segments(host): Segments<String>,
) -> Result<(StatusCode, Json<EnrolmentToken>), Problem> {
    let host = state.store.find_host(&host).await?;
    let host = state.hub.renew_enrolment(&principal.name, host).await?;
    Ok((StatusCode::CREATED, Json(host.into())))
}
