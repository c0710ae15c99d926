//! The public face: the REST API, the live socket and the dashboard's files.
//!
//! ```text
//! layers (request id, log, headers, panic, deadline, body limit)
//!   └─ guard (who asks, and may they?)
//!        ├─ /api/v1/…   documented routes, one module per noun
//!        ├─ /api/v1/{live, agent/connect}, /connect   WebSockets
//!        ├─ /api/v1/agent/exchange   the link where no WebSocket passes
//!        ├─ /ws/agent, /v1/agents/connect, /api/v1/agents/…   agents of other systems
//!        ├─ /healthz, /metrics
//!        └─ everything else: the dashboard
//! ```

mod agent_link;
mod alerts;
mod audit;
mod calendar;
mod channels;
mod digest;
mod enrol;
mod etag;
mod evaluations;
mod extract;
pub(crate) mod foreign;
mod group_options;
mod groups;
mod health;
mod hosts;
mod jobs;
mod layers;
mod live;
mod location;
mod maintenance;
mod me;
#[cfg(feature = "oidc")]
mod oidc;
mod overview;
mod parameters;
pub(crate) mod problem;
mod repositories;
mod schedules;
mod setup;
mod sign_in;
mod silences;
mod snapshots;
mod tokens;
mod users;
mod validate;

use axum::{
    Router,
    http::{HeaderValue, Method, header},
    middleware,
    response::IntoResponse,
    routing::{any, get},
};
use holdfast_protocol::{CONNECT_PATH, EXCHANGE_PATH};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    alert::wire::Wire,
    auth::{
        Access, Identity, Reach, Role,
        guard::{Guard, Table, guard},
    },
    dialect::Dialects,
    embed,
    hub::Hub,
    live::Live,
    openapi,
    store::Store,
};

/// Where the API begins.
const BASE: &str = "/api/v1";

/// The live socket of browsers.
const LIVE_PATH: &str = "/api/v1/live";

/// The numbers for Prometheus.
const METRICS_PATH: &str = "/metrics";

const VIEWER: Access = Access::Role(Role::Viewer);

/// The API document.
const DOCUMENT_PATH: &str = "/api/v1/openapi.json";

/// What the routes work with. A clone is another handle to the same.
#[derive(Clone)]
pub struct AppState {
    /// What the server knows, on disk.
    pub store: Store,
    /// The links to all agents.
    pub hub: Hub,
    /// The connections of agents of other systems.
    pub dialects: Dialects,
    /// The fleet as it is right now.
    pub live: Live,
    /// Sends what people try out.
    pub wire: Wire,
    /// What signing in works with.
    pub identity: Identity,
    /// Cancelled when the server begins to stop.
    pub stop: CancellationToken,
}

/// All that is served on the server's address.
pub fn router(state: AppState) -> Router {
    let (router, document) = documented().split_for_parts();
    let text = document.to_json().expect("the API document has a JSON form");
    let guard_state =
        Guard::new(state.store.clone(), state.identity.clone(), table(&document, &state.identity));
    let router = router
        .layer(middleware::from_fn(etag::tag))
        .route(DOCUMENT_PATH, get(async move || json(text)))
        .route(LIVE_PATH, any(live::open))
        .merge(agent_link::router())
        .merge(foreign::router())
        .route("/healthz", get(health::healthz))
        .route(METRICS_PATH, get(health::prometheus))
        .method_not_allowed_fallback(async || embed::wrong_method())
        .fallback(embed::serve)
        .layer(middleware::from_fn_with_state(guard_state, guard))
        .with_state(state);
    layers::wrap(router)
}

/// The routes of the API document.
fn documented() -> OpenApiRouter<AppState> {
    let api = OpenApiRouter::new()
        .merge(alerts::router())
        .merge(audit::router())
        .merge(calendar::router())
        .merge(channels::router())
        .merge(digest::router())
        .merge(enrol::router())
        .merge(evaluations::router())
        .merge(foreign::documented())
        .merge(groups::router())
        .merge(hosts::router())
        .merge(jobs::router())
        .merge(maintenance::router())
        .merge(me::router())
        .merge(overview::router())
        .merge(repositories::router())
        .merge(schedules::router())
        .merge(setup::router())
        .merge(sign_in::router())
        .merge(silences::router())
        .merge(snapshots::router())
        .merge(tokens::router())
        .merge(users::router());
    #[cfg(feature = "oidc")]
    let api = api.merge(oidc::router());
    // Nested before it is split, so that the document has the whole paths too.
    OpenApiRouter::with_openapi(openapi::document()).nest(BASE, api)
}

/// What every route needs: the documented ones say it there, the rest here.
fn table(document: &OpenApi, identity: &Identity) -> Table {
    let mut table = Table::of(document);
    for path in [DOCUMENT_PATH, "/healthz"] {
        table.insert(Method::GET, path, Access::Public, Reach::Fleet);
    }
    // The numbers name hosts and tell who is unprotected.
    let numbers = if identity.metrics_public() { Access::Public } else { VIEWER };
    table.insert(Method::GET, METRICS_PATH, numbers, Reach::Fleet);
    for path in [CONNECT_PATH, agent_link::CONNECT_PATH_SHORT] {
        table.insert(Method::GET, path, Access::Agent, Reach::Host);
    }
    foreign::admit(&mut table);
    table.insert(Method::POST, EXCHANGE_PATH, Access::Agent, Reach::Host);
    table.insert(Method::GET, LIVE_PATH, VIEWER, Reach::Narrowed);
    table
}

/// Every route that can change something, by method and path: what the audit has to tell of.
#[must_use]
pub fn changing_routes() -> Vec<(Method, String)> {
    let (_, document) = documented().split_for_parts();
    let identity = Identity::new(Vec::new(), false);
    let routes = table(&document, &identity).into_routes();
    routes.filter(|(method, _)| !matches!(*method, Method::GET | Method::HEAD)).collect()
}

fn json(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text)
}
