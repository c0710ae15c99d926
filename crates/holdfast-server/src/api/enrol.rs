//! What agents ask over HTTP before there is a link: to be enrolled.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_protocol::{CONNECT_PATH, HostId, Incarnation, message::config::Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::Body,
    problem::{Problem, ProblemBody},
};
use crate::{auth::Access, openapi, store::Enrolment};

/// The longest fact an agent may tell about its machine, in bytes.
const FACT_LENGTH_MAX: usize = 255;

/// An agent that wants to be enrolled. A newer agent may tell more; it is not turned away for that.
#[derive(Deserialize, ToSchema)]
struct Enrol {
    /// The enrolment token.
    #[schema(value_type = String)]
    token: Secret,
    /// Which life of the agent's outbox this is.
    #[schema(value_type = Uuid)]
    incarnation: Incarnation,
    /// The machine's own name.
    #[serde(default)]
    hostname: String,
    /// `linux`, `windows`, `darwin`, …
    #[serde(default)]
    os: String,
    /// `amd64`, `arm64`, …
    #[serde(default)]
    arch: String,
    /// The agent's version.
    #[serde(default)]
    agent_version: String,
}

/// What an enrolled agent needs.
#[derive(Serialize, ToSchema)]
struct Enrolled {
    /// The host it now is.
    #[schema(value_type = Uuid)]
    host_id: HostId,
    /// That host's name.
    host_name: String,
    /// Opens the link. It cannot be shown again.
    agent_token: String,
    /// Where the link is opened.
    connect_path: &'static str,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(openapi::routes(Access::Enrolment, routes!(enrol)))
}

/// Trades an enrolment token for an agent token. For agents only: a request with the headers Origin
/// or Cookie is refused.
#[utoipa::path(post, path = "/agent/enrol", tag = "agents", operation_id = "enrol_agent",
    request_body = Enrol,
    responses((status = 201, body = Enrolled),
        (status = 401, body = ProblemBody, description = "`enrolment_token_invalid`, \
            `enrolment_token_used` or `enrolment_token_expired`")))]
async fn enrol(
    State(state): State<AppState>,
    Body(request): Body<Enrol>,
) -> Result<(StatusCode, Json<Enrolled>), Problem> {
    let enrolment = Enrolment {
        token: request.token,
        incarnation: request.incarnation,
        hostname: fact(&request.hostname),
        os: fact(&request.os),
        arch: fact(&request.arch),
        agent_version: fact(&request.agent_version),
    };
    let enrolled = state.hub.enrol(&enrolment).await?;
    let answer = Enrolled {
        host_id: enrolled.host_id,
        host_name: enrolled.host_name,
        agent_token: enrolled.agent_token.expose().to_owned(),
        connect_path: CONNECT_PATH,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// A machine's word about itself: bounded and without control characters.
fn fact(text: &str) -> String {
    let mut clean = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if clean.len() + letter.len_utf8() > FACT_LENGTH_MAX {
            break;
        }
        clean.push(letter);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_bounded_and_printable() {
        assert_eq!(fact("web\x1b[2J-1\n"), "web[2J-1");
        assert!(fact(&"ü".repeat(500)).len() <= FACT_LENGTH_MAX);
    }
}
