//! Where agents open the link, on either road. The guard has found out whose agent it is.

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use holdfast_link::{ExchangeError, NotAnUpgrade, Upgrade, server::EXCHANGE_SIZE_MAX};
use holdfast_protocol::{CONNECT_PATH, EXCHANGE_PATH, dialect::Dialect};

use super::{AppState, foreign, problem::Problem};
use crate::auth::guard::AgentOf;

/// A short form of [`CONNECT_PATH`], for agents of other systems.
pub(super) const CONNECT_PATH_SHORT: &str = "/connect";

pub(super) fn router() -> Router<AppState> {
    let large = DefaultBodyLimit::max(EXCHANGE_SIZE_MAX);
    Router::new()
        .route(CONNECT_PATH, any(connect))
        .route(CONNECT_PATH_SHORT, any(connect_either))
        .route(EXCHANGE_PATH, post(exchange).layer(large))
}

/// Opens the link over a WebSocket. A wish for one that was lost on the way is answered with 426,
/// so that the agent takes the other road.
async fn connect(
    State(state): State<AppState>,
    Extension(AgentOf(host)): Extension<AgentOf>,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade.open(async move |socket| state.hub.serve(host, socket).await),
        Err(rejection) => {
            tracing::debug!(%host, reason = %rejection, "no WebSocket came through");
            let problem = Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                "no_websocket",
                "The request is not one for a WebSocket, or a proxy has changed it.",
                "Let upgrades pass in the proxy; agents use long polls meanwhile.",
            );
            ([(header::UPGRADE, "websocket")], problem).into_response()
        }
    }
}

/// Opens the link, or the connection of a client of the plain envelope: which one, is decided by
/// whose token it is.
async fn connect_either(
    State(state): State<AppState>,
    Extension(agent): Extension<AgentOf>,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    match state.store.dialect_of(agent.0).await {
        Ok(Some(_)) => {
            foreign::connect(Dialect::Envelope, State(state), Extension(agent), upgrade).await
        }
        Ok(None) => connect(State(state), Extension(agent), upgrade).await,
        Err(error) => Problem::from(error).into_response(),
    }
}

/// One exchange of a link over long polls.
async fn exchange(
    State(state): State<AppState>,
    Extension(AgentOf(host)): Extension<AgentOf>,
    body: Bytes,
) -> Result<Response, Problem> {
    let answer = state.hub.exchange(host, &body).await.map_err(refused)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

fn refused(error: ExchangeError) -> Problem {
    match error {
        ExchangeError::Gone => Problem::new(
            StatusCode::GONE,
            "link_gone",
            "This link is not known here, or no longer.",
            "Dial again; agents do so by themselves.",
        ),
        _ => Problem::invalid(
            "invalid_exchange",
            "The body is not an exchange.",
            "Bring agent and server to the same release.",
        ),
    }
}
