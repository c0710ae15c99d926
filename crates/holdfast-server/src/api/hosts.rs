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
    extract::{Body, Params, Segments},
    jobs::limit,
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{Access, Principal, Role, guard::outside_scope},
    live::{HostQuery, HostSort},
    openapi,
    store::{HostChange, NewHost},
    verdict::Standing,
    view::{HostPage, HostState, HostView},
};

/// Which hosts to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Words; each must be found in the name, the machine's own name, the host group, the labels,
    /// the system, or the names of the source groups and their repositories.
    search: Option<String>,
    /// Only hosts in this state.
    #[param(value_type = Option<HostState>)]
    state: Option<String>,
    /// Only hosts whose verdict is this.
    #[param(value_type = Option<Standing>)]
    standing: Option<String>,
    /// Only hosts of this host group; of none when empty.
    host_group: Option<String>,
    /// `name` (the default), `standing` (the worst first), `last_backup` (the oldest first) or
    /// `next_backup` (the soonest first).
    sort: Option<String>,
    /// At most this many, 1 to 500.
    #[param(default = 100)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// How many hosts a page has when nobody says.
const PAGE_SIZE: u32 = 100;
/// How many hosts a page may have.
const PAGE_SIZE_MAX: u32 = 500;

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

/// Lists hosts. In another order than by name, a host that changes while pages are read may be
/// missed or come twice.
#[utoipa::path(get, path = "/hosts", tag = "hosts", operation_id = "list_hosts", params(Filter),
    responses((status = 200, body = HostPage),
        (status = 400, body = ProblemBody,
            description = "`invalid_state`, `invalid_standing`, `invalid_sort` or \
                `invalid_limit`")))]
async fn list(
    State(state): State<AppState>,
    principal: Principal,
    Params(filter): Params<Filter>,
) -> Result<Json<HostPage>, Problem> {
    let search = filter.search.unwrap_or_default().to_lowercase();
    let query = HostQuery {
        scope: principal.scope,
        words: search.split_whitespace().map(str::to_owned).collect(),
        state: filter.state.as_deref().map(host_state).transpose()?,
        standing: filter.standing.as_deref().map(standing).transpose()?,
        host_group: filter.host_group,
        sort: filter.sort.as_deref().map(sort).transpose()?.unwrap_or_default(),
        after: filter.after,
        limit: limit(filter.limit.unwrap_or(PAGE_SIZE), PAGE_SIZE_MAX)? as usize,
    };
    Ok(Json(state.live.list_hosts(&query).await))
}

fn host_state(word: &str) -> Result<HostState, Problem> {
    match word {
        "pending" => Ok(HostState::Pending),
        "online" => Ok(HostState::Online),
        "offline" => Ok(HostState::Offline),
        _ => Err(unknown("invalid_state", word, "Use pending, online or offline.")),
    }
}

fn standing(word: &str) -> Result<Standing, Problem> {
    Standing::from_word(word).ok_or_else(|| {
        let action = "Use protected, paused, at_risk, stale or never.";
        unknown("invalid_standing", word, action)
    })
}

fn sort(word: &str) -> Result<HostSort, Problem> {
    HostSort::from_word(word).ok_or_else(|| {
        let action = "Use name, standing, last_backup or next_backup.";
        unknown("invalid_sort", word, action)
    })
}

fn unknown(code: &'static str, word: &str, action: &str) -> Problem {
    Problem::invalid(code, format!("`{}` is not known here.", validate::shown(word)), action)
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
