//! Channels: where people are told.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    AppState,
    extract::{Body, Params, Segments},
    problem::{Problem, ProblemBody, sentence},
    validate,
};
use crate::{
    alert::{
        Note, Severity,
        channel::{Settings, Unfit},
    },
    auth::{Access, Principal, Role},
    openapi,
    store::NewChannel,
    view::{ChannelView, DeliveryView},
};

/// All channels.
#[derive(Serialize, ToSchema)]
struct Channels {
    /// By name.
    channels: Vec<ChannelView>,
}

/// A channel to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddChannel {
    /// Its name.
    name: String,
    /// How it is set; this or `address`.
    settings: Option<Settings>,
    /// The same in one line, as Apprise writes it: `ntfys://host/topic`, `mailtos://…`.
    #[schema(value_type = Option<String>)]
    address: Option<Secret>,
    /// Only alerts at least this grave.
    #[serde(default = "warning")]
    severity_min: Severity,
    /// Name or id of a host: only of this.
    host: Option<String>,
    /// Only of this source group of that host.
    group: Option<String>,
}

fn warning() -> Severity {
    Severity::Warning
}

/// What became of a channel's messages.
#[derive(Serialize, ToSchema)]
struct Deliveries {
    /// The newest first.
    deliveries: Vec<DeliveryView>,
}

/// What became of a test.
#[derive(Serialize, ToSchema)]
struct Tested {
    /// Whether the receiver took it.
    delivered: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Which messages to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// At most this many, 1 to 500.
    #[param(default = 50)]
    limit: Option<u32>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    let viewer = Access::Role(Role::Viewer);
    let admin = Access::Role(Role::Admin);
    OpenApiRouter::new()
        .routes(openapi::routes(viewer, routes!(list)))
        .routes(openapi::routes(admin, routes!(add)))
        .routes(openapi::routes(admin, routes!(remove)))
        .routes(openapi::routes(Access::Role(Role::Operator), routes!(test)))
        .routes(openapi::routes(viewer, routes!(deliveries)))
}

/// Lists the channels by name, without their secrets.
#[utoipa::path(get, path = "/channels", tag = "channels", operation_id = "list_channels",
    responses((status = 200, body = Channels)))]
async fn list(State(state): State<AppState>) -> Result<Json<Channels>, Problem> {
    Ok(Json(Channels { channels: state.store.channels().await? }))
}

/// Adds a channel. It tells of what happens from now on.
#[utoipa::path(post, path = "/channels", tag = "channels", operation_id = "add_channel",
    request_body = AddChannel,
    responses((status = 201, body = ChannelView),
        (status = 400, body = ProblemBody, description = "`invalid_name` or `invalid_channel`"),
        (status = 404, body = ProblemBody, description = "`host_not_found`"),
        (status = 409, body = ProblemBody, description = "`channel_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Body(channel): Body<AddChannel>,
) -> Result<(StatusCode, Json<ChannelView>), Problem> {
    validate::name("channel", &channel.name)?;
    let unfit = |title: String| {
        Problem::invalid("invalid_channel", title, "See the kinds in the API document.")
    };
    let refused = |error: Unfit| unfit(sentence(&error.to_string()));
    let settings = match (channel.settings, &channel.address) {
        (Some(settings), None) => settings.check().map(|()| settings).map_err(refused)?,
        (None, Some(address)) => Settings::from_address(address.expose()).map_err(refused)?,
        _ => return Err(unfit("Either settings or an address must be given.".to_owned())),
    };
    if channel.group.is_some() && channel.host.is_none() {
        return Err(unfit("A source group is named without its host.".to_owned()));
    }
    let host = match &channel.host {
        Some(host) => Some(state.store.find_host(host).await?),
        None => None,
    };
    let new = NewChannel {
        name: channel.name,
        settings,
        severity_min: channel.severity_min,
        host,
        group: channel.group,
    };
    Ok((StatusCode::CREATED, Json(state.store.add_channel(&principal.name, &new).await?)))
}

/// Removes a channel and its log.
#[utoipa::path(delete, path = "/channels/{channel}", tag = "channels",
    operation_id = "remove_channel",
    params(("channel" = String, Path, description = "Name or id")),
    responses((status = 204),
        (status = 404, body = ProblemBody, description = "`channel_not_found`")))]
async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Segments(channel): Segments<String>,
) -> Result<StatusCode, Problem> {
    state.store.remove_channel(&principal.name, &channel).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test message by a channel, once, and tells whether it arrived.
#[utoipa::path(post, path = "/channels/{channel}/test", tag = "channels",
    operation_id = "test_channel",
    params(("channel" = String, Path, description = "Name or id")),
    responses((status = 200, body = Tested),
        (status = 404, body = ProblemBody, description = "`channel_not_found`")))]
async fn test(
    State(state): State<AppState>,
    Segments(channel): Segments<String>,
) -> Result<Json<Tested>, Problem> {
    let view = state.store.channel(&channel).await?;
    let found = state.store.channel_settings(view.id).await?;
    let (name, settings) = found.ok_or(crate::store::Error::ChannelNotFound { channel })?;
    let note = Note::test(Uuid::now_v7(), &name, state.store.now());
    let sent = settings.send(&state.wire, &note).await;
    let error = sent.err().map(|error| sentence(&error.to_string()));
    state.store.log_test(note.id, view.id, error.as_deref(), state.store.now()).await?;
    Ok(Json(Tested { delivered: error.is_none(), error }))
}

/// Lists what was sent by a channel and what became of it, the newest first. It is kept for 30
/// days.
#[utoipa::path(get, path = "/channels/{channel}/deliveries", tag = "channels",
    operation_id = "list_deliveries",
    params(("channel" = String, Path, description = "Name or id"), Filter),
    responses((status = 200, body = Deliveries),
        (status = 400, body = ProblemBody, description = "`invalid_limit`"),
        (status = 404, body = ProblemBody, description = "`channel_not_found`")))]
async fn deliveries(
    State(state): State<AppState>,
    Segments(channel): Segments<String>,
    Params(filter): Params<Filter>,
) -> Result<Json<Deliveries>, Problem> {
    let channel = state.store.channel(&channel).await?;
    let limit = super::jobs::limit(filter.limit.unwrap_or(50), 500)?;
    Ok(Json(Deliveries { deliveries: state.store.deliveries(channel.id, limit).await? }))
}
