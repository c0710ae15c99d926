//! Hosts whose agents speak another system's words: adding them, and where their agents connect.

mod nerdbackup;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use holdfast_link::{NotAnUpgrade, Upgrade};
use holdfast_protocol::{
    HostId,
    dialect::{Ability, Dialect, backupy, local, nerdbackup as nerd},
    message::config::Secret,
};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState,
    extract::{Body, Segments},
    problem::{Problem, ProblemBody},
    validate,
};
use crate::{
    auth::{
        Access, Principal, Reach, Role,
        guard::{AgentOf, Table},
    },
    openapi,
    store::{ForeignHost, NewForeignHost},
};

/// The words of another system.
#[derive(Serialize, ToSchema)]
#[schema(as = Dialect)]
struct DialectView {
    /// Its name, as `POST /dialects/{dialect}/hosts` takes it.
    name: &'static str,
    /// Where its agents connect below the server's address; absent when the server dials them.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_path: Option<&'static str>,
    /// What can be asked of hosts whose agents speak it.
    capabilities: Vec<&'static str>,
}

/// All dialects.
#[derive(Serialize, ToSchema)]
struct Dialects {
    /// By name.
    dialects: Vec<DialectView>,
}

/// A host of another system to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddForeignHost {
    /// 1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit.
    name: String,
    /// Where the server dials the agent, such as `ws://host:8080/ws`. Only for `local`, whose
    /// agents listen.
    #[serde(default)]
    address: String,
    /// What the server shows at that address, as a bearer token; empty for nothing.
    #[serde(default)]
    #[schema(value_type = String)]
    token: Secret,
}

/// What an agent of another system needs to join.
#[derive(Serialize, ToSchema)]
struct AddedForeignHost {
    /// The host; also the agent's id where that system has one.
    #[schema(value_type = Uuid)]
    host_id: HostId,
    /// Its name.
    name: String,
    /// How its agent speaks.
    dialect: &'static str,
    /// What the agent shows. It cannot be shown again. Absent when the server dials.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_token: Option<String>,
    /// What the system's installer may trade for an agent token, once. Only for `nerdbackup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    install_token: Option<String>,
    /// Where the agent connects below the server's address; absent when the server dials.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_path: Option<&'static str>,
}

/// The dialects that hosts may be added with.
const OFFERED: [Dialect; 4] =
    [Dialect::Backupy, Dialect::Envelope, Dialect::Local, Dialect::Nerdbackup];

pub(super) fn documented() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(openapi::routes(Access::Role(Role::Viewer), routes!(list)))
        .routes(openapi::routes(Access::Role(Role::Admin), routes!(add)))
}

/// The addresses that other systems decided on.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route(nerd::PATH, any(connect_nerdbackup))
        .route(backupy::PATH, any(connect_backupy))
        .merge(nerdbackup::router())
}

/// What each of them needs.
pub(super) fn admit(table: &mut Table) {
    for path in [nerd::PATH, backupy::PATH] {
        table.insert(Method::GET, path, Access::Agent, Reach::Host);
    }
    nerdbackup::admit(table);
}

/// Lists the dialects that agents of hosts may speak.
#[utoipa::path(get, path = "/dialects", tag = "hosts", operation_id = "list_dialects",
    responses((status = 200, body = Dialects)))]
async fn list() -> Json<Dialects> {
    let view = |dialect: Dialect| DialectView {
        name: dialect.as_str(),
        connect_path: connect_path(dialect),
        capabilities: words(Some(dialect)),
    };
    Json(Dialects { dialects: OFFERED.into_iter().map(view).collect() })
}

/// Adds a host whose agent speaks another system's words. Its agent connects with the token in the
/// answer.
#[utoipa::path(post, path = "/dialects/{dialect}/hosts", tag = "hosts",
    operation_id = "add_foreign_host",
    params(("dialect" = String, Path, description = "`backupy`, `envelope`, `local` or \
        `nerdbackup`")),
    request_body = AddForeignHost,
    responses((status = 201, body = AddedForeignHost),
        (status = 400, body = ProblemBody,
            description = "`invalid_name`, `unknown_dialect` or `invalid_address`"),
        (status = 409, body = ProblemBody, description = "`host_exists`")))]
async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Segments(word): Segments<String>,
    Body(host): Body<AddForeignHost>,
) -> Result<(StatusCode, Json<AddedForeignHost>), Problem> {
    let dialect = Dialect::from_word(&word).filter(|dialect| OFFERED.contains(dialect));
    let dialect = dialect.ok_or_else(|| unknown(&word))?;
    validate::name("host", &host.name)?;
    let address = address(dialect, &host.address)?;
    let host = NewForeignHost { name: host.name, dialect, address, address_token: host.token };
    let added = state.store.add_foreign_host(&principal.name, &host).await?;
    Ok((StatusCode::CREATED, Json(shown(dialect, added))))
}

fn shown(dialect: Dialect, host: ForeignHost) -> AddedForeignHost {
    let text = |token: Secret| token.expose().to_owned();
    AddedForeignHost {
        host_id: host.host_id,
        name: host.name,
        dialect: dialect.as_str(),
        agent_token: host.agent_token.map(text),
        install_token: host.install_token.filter(|_| dialect == Dialect::Nerdbackup).map(text),
        connect_path: connect_path(dialect),
    }
}

fn connect_path(dialect: Dialect) -> Option<&'static str> {
    (dialect != Dialect::Local).then(|| dialect.path())
}

/// What can be asked of a host, by the names of [`Ability`]; `None` for Holdfast's own agent.
pub(crate) fn words(dialect: Option<Dialect>) -> Vec<&'static str> {
    let can = |ability: &Ability| match dialect {
        Some(dialect) => dialect.can(*ability),
        None => *ability != Ability::Browse,
    };
    Ability::ALL.into_iter().filter(can).map(Ability::as_str).collect()
}

/// Only an agent that listens has an address, and it must be one that can be dialled.
fn address(dialect: Dialect, text: &str) -> Result<String, Problem> {
    if dialect != Dialect::Local {
        return if text.is_empty() { Ok(String::new()) } else { Err(no_address(dialect)) };
    }
    let url = Url::parse(text).ok().filter(Url::has_host);
    let url = url.filter(|url| matches!(url.scheme(), "ws" | "wss"));
    let bare = |url: &Url| url.username().is_empty() && url.password().is_none();
    match url.filter(bare) {
        Some(url) => Ok(url.into()),
        None => Err(Problem::invalid(
            "invalid_address",
            "The agent's address cannot be dialled.",
            format!("Give it as ws://HOST:8080{}, without a user.", local::PATH),
        )),
    }
}

fn no_address(dialect: Dialect) -> Problem {
    Problem::invalid(
        "invalid_address",
        format!("Agents of {} dial the server; they are not dialled.", dialect.as_str()),
        "Leave the address out, and point the agent at this server.",
    )
}

fn unknown(word: &str) -> Problem {
    Problem::invalid(
        "unknown_dialect",
        format!("`{}` is not a dialect.", validate::shown(word)),
        "Use backupy, envelope, local or nerdbackup.",
    )
}

async fn connect_nerdbackup(
    state: State<AppState>,
    host: Extension<AgentOf>,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    connect(Dialect::Nerdbackup, state, host, upgrade).await
}

async fn connect_backupy(
    state: State<AppState>,
    host: Extension<AgentOf>,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    connect(Dialect::Backupy, state, host, upgrade).await
}

/// Opens the socket of a foreign agent whose token the guard has checked.
pub(super) async fn connect(
    dialect: Dialect,
    State(state): State<AppState>,
    Extension(AgentOf(host)): Extension<AgentOf>,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    if let Err(problem) = speaks(&state, host, dialect).await {
        return problem.into_response();
    }
    match upgrade {
        Ok(upgrade) => {
            upgrade.open(async move |socket| state.dialects.serve(host, dialect, socket).await)
        }
        Err(rejection) => rejection.into_response(),
    }
}

/// Refuses an agent that knocks at the door of another dialect.
pub(super) async fn speaks(
    state: &AppState,
    host: HostId,
    dialect: Dialect,
) -> Result<(), Problem> {
    if state.store.dialect_of(host).await? == Some(dialect) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "other_dialect",
        format!("This host's agent does not speak {}.", dialect.as_str()),
        "Add the host with `holdfast host add NAME --dialect …`, and use that token.",
    ))
}
