//! NerdBackup's HTTP side channel. Its agents fetch their configuration here, and poll and report
//! here while their socket is down.

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use holdfast_protocol::{
    HostId,
    dialect::{
        Dialect,
        gojson::{self, Go},
        nerdbackup::{AgentMessage, Heartbeat, JobReport, Progress, http},
    },
};
use uuid::Uuid;

use super::super::{AppState, problem::Problem, validate};
use crate::{
    auth::{
        Access, Principal, Reach, Role,
        guard::{AgentOf, Table},
    },
    dialect::{Answer, Ask},
    store::{self, NewForeignHost},
};

const AGENTS: &str = "/api/v1/agents";
const INSTALL: &str = "/api/v1/agents/register-with-token";
const AGENT: &str = "/api/v1/agents/{id}";
const DOWNLOAD: &str = "/api/v1/downloads/agent/latest";

/// What an agent fetches.
const FETCHED: [&str; 4] = ["repos", "pending-backups", "pending-restores", "pending-file-dumps"];

/// What an agent tells.
const TOLD: [&str; 6] =
    ["heartbeat", "report", "progress", "logs", "docker/volumes", "file-dump-result"];

/// A report lists up to 500 files with their paths.
const BODY_SIZE_MAX: usize = 4 << 20;

fn of_agent(what: &str) -> String {
    format!("{AGENT}/{what}")
}

pub(super) fn router() -> Router<AppState> {
    let router = Router::new()
        .route(AGENTS, post(register))
        .route(INSTALL, post(install))
        .route(AGENT, delete(leave))
        .route(DOWNLOAD, get(download))
        .route(&of_agent("repos"), get(repos))
        .route(&of_agent("pending-backups"), get(pending_backups))
        .route(&of_agent("pending-restores"), get(nothing_pending))
        .route(&of_agent("pending-file-dumps"), get(nothing_pending))
        .route(&of_agent("heartbeat"), post(heartbeat))
        .route(&of_agent("report"), post(report))
        .route(&of_agent("progress"), post(progress))
        .route(&of_agent("logs"), post(logs))
        .route(&of_agent("docker/volumes"), post(taken))
        .route(&of_agent("file-dump-result"), post(taken));
    router.layer(DefaultBodyLimit::max(BODY_SIZE_MAX))
}

pub(super) fn admit(table: &mut Table) {
    table.insert(Method::POST, AGENTS, Access::Role(Role::Admin), Reach::Fleet);
    table.insert(Method::POST, INSTALL, Access::Enrolment, Reach::Host);
    table.insert(Method::DELETE, AGENT, Access::Agent, Reach::Host);
    table.insert(Method::GET, DOWNLOAD, Access::Public, Reach::Fleet);
    for what in FETCHED {
        table.insert(Method::GET, &of_agent(what), Access::Agent, Reach::Host);
    }
    for what in TOLD {
        table.insert(Method::POST, &of_agent(what), Access::Agent, Reach::Host);
    }
}

/// Adds a host by an administrator's API token, as their installer does.
async fn register(
    State(state): State<AppState>,
    principal: Principal,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: http::Register = read(&body)?;
    let name = if asked.name.is_empty() { asked.hostname } else { asked.name };
    validate::name("host", &name)?;
    let host = NewForeignHost {
        name,
        dialect: Dialect::Nerdbackup,
        address: String::new(),
        address_token: Default::default(),
    };
    let added = state.store.add_foreign_host(&principal.name, &host).await?;
    let answer = http::Registered {
        id: added.host_id.to_string(),
        token: added.agent_token.unwrap_or_default(),
    };
    Ok(answered(StatusCode::CREATED, &answer))
}

/// Trades an install token for an agent token.
async fn install(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: http::Enrol = read(&body)?;
    let (host, agent_token) =
        state.store.install(Dialect::Nerdbackup, &asked.install_token).await?;
    let answer = http::Enrolled {
        agent_id: host.to_string(),
        agent_token,
        api_base_url: base_url(&headers),
    };
    Ok(answered(StatusCode::CREATED, &answer))
}

/// The server's address as the agent spelled it. Only loopback is served without a proxy that adds
/// TLS, so every other address has it.
fn base_url(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let here = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
    format!("{}://{host}", if here { "http" } else { "https" })
}

/// Takes the agent's token back. What it has reported stays.
async fn leave(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    state.hub.revoke_agent(host).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn download() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_download",
        "This server does not hand out agents of other systems.",
        "Update the agent from where it came from, or install holdfast-agent.",
    )
}

/// The host's source groups as their repositories.
async fn repos(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    let Answer::Config(config) = ask(&state, host, Ask::Config).await? else {
        return Err(busy());
    };
    let (update, schedules) = *config;
    let tag = format!("\"{}\"", update.version);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let tagged = |mut response: Response| {
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    };
    if known == Some(tag.as_str()) {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response()));
    }
    Ok(tagged(answered(StatusCode::OK, &http::repos_of(&update, Some(&schedules)))))
}

async fn pending_backups(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    match ask(&state, host, Ask::PendingBackups).await? {
        Answer::Backups(backups) => Ok(answered(StatusCode::OK, &backups)),
        _ => Err(busy()),
    }
}

/// Restores and single files are not ordered from agents of this system.
async fn nothing_pending(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    own(&state, &agent, &id).await?;
    Ok(answered(StatusCode::OK, &Vec::<http::PendingRestore>::new()))
}

async fn heartbeat(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    let beat: Heartbeat = read(&body)?;
    let beat = Ask::Say(Box::new(AgentMessage::Heartbeat(beat)));
    let Answer::Taken(told) = ask(&state, host, beat).await? else { return Err(busy()) };
    let (update, _) = state.store.config(host).await?;
    let answer = http::HeartbeatAnswer {
        config_changed: told < update.version,
        config_hash: update.version.to_string(),
    };
    Ok(answered(StatusCode::OK, &answer))
}

async fn report(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    let report: JobReport = read(&body)?;
    say(&state, host, AgentMessage::JobReport(Box::new(report))).await
}

async fn progress(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    let progress: Progress = read(&body)?;
    say(&state, host, AgentMessage::Progress(progress)).await
}

async fn logs(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let host = own(&state, &agent, &id).await?;
    let batch: http::LogBatch = read(&body)?;
    ask(&state, host, Ask::Lines(batch.lines)).await?;
    Ok(accepted())
}

/// What is taken without being of use here.
async fn taken(
    State(state): State<AppState>,
    agent: Extension<AgentOf>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    own(&state, &agent, &id).await?;
    tracing::debug!(bytes = body.len(), "a report of a foreign agent has no place here");
    Ok(accepted())
}

async fn say(state: &AppState, host: HostId, message: AgentMessage) -> Result<Response, Problem> {
    ask(state, host, Ask::Say(Box::new(message))).await?;
    Ok(accepted())
}

async fn ask(state: &AppState, host: HostId, ask: Ask) -> Result<Answer, Problem> {
    state.dialects.ask(host, ask).await.map_err(|_| busy())
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        "The server cannot take this right now.",
        "Try again a little later; agents do so by themselves.",
    )
}

/// The host of the token, which must be the one in the path.
async fn own(
    state: &AppState,
    Extension(AgentOf(host)): &Extension<AgentOf>,
    id: &str,
) -> Result<HostId, Problem> {
    super::speaks(state, *host, Dialect::Nerdbackup).await?;
    if id.parse() == Ok(*host) {
        return Ok(*host);
    }
    Err(store::Error::HostNotFound { host: validate::shown(id) }.into())
}

fn read<T: Go>(body: &[u8]) -> Result<T, Problem> {
    gojson::from_slice(body).map_err(|error| {
        Problem::invalid(
            "invalid_body",
            format!("The body is not what belongs here: {error}."),
            "Send what an agent of this system sends.",
        )
    })
}

fn accepted() -> Response {
    answered(StatusCode::OK, &gojson::Raw::of(&http::HeartbeatAnswer::default()))
}

fn answered<T: Go>(status: StatusCode, data: &T) -> Response {
    let id = Uuid::now_v7().to_string();
    let body = http::answer(data, &id);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
