//! Lets a request through to its route, or not.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use holdfast_protocol::HostId;
use utoipa::openapi::OpenApi;

use super::{
    Access, Client, Identity, Principal, Reach, Role, Scope, asking::Asking, client::is_by_proxy,
    cookie, origin,
};
use crate::{
    api::problem::Problem,
    openapi,
    store::{self, Store},
};

/// What the guard needs to decide.
#[derive(Clone)]
pub(crate) struct Guard {
    store: Store,
    identity: Identity,
    table: Arc<Table>,
}

/// What each route needs, by method and path pattern.
#[derive(Debug, Default)]
pub(crate) struct Table {
    routes: HashMap<(Method, String), Need>,
}

/// What one route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    access: Access,
    reach: Reach,
}

/// The host whose agent asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentOf(pub(crate) HostId);

impl Guard {
    /// Guards the routes of `table`.
    pub(crate) fn new(store: Store, identity: Identity, table: Table) -> Self {
        Self { store, identity, table: Arc::new(table) }
    }
}

impl Table {
    /// Reads the table out of the API document, where every operation tells its `x-role`.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let mut table = Self::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in openapi::operations(item) {
                if let Some(access) = openapi::access(operation) {
                    let reach = openapi::reach(operation).unwrap_or(Reach::Fleet);
                    table.insert(method, path, access, reach);
                }
            }
        }
        table
    }

    /// Adds a route that is not in the API document.
    pub(crate) fn insert(&mut self, method: Method, path: &str, access: Access, reach: Reach) {
        self.routes.insert((method, path.to_owned()), Need { access, reach });
    }

    /// All routes.
    pub(crate) fn into_routes(self) -> impl Iterator<Item = (Method, String)> {
        self.routes.into_keys()
    }

    fn need(&self, method: &Method, path: &str) -> Option<Need> {
        // axum answers HEAD with the GET route; CONNECT is how HTTP/2 opens a WebSocket.
        let method = match *method {
            Method::HEAD | Method::CONNECT => &Method::GET,
            _ => method,
        };
        self.routes.get(&(method.clone(), path.to_owned())).copied()
    }

    fn knows(&self, path: &str) -> bool {
        self.routes.keys().any(|(_, known)| known == path)
    }
}

/// The middleware. It runs after the route is known; what matches no route passes, to be answered
/// with 404.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    if let Err(problem) = guard.admit(&mut head).await {
        return problem.into_response();
    }
    let asking = asking(&head);
    let change = change(&head);
    let response = asking.run(next.run(Request::from_parts(head, body))).await;
    if let Some((actor, request)) = change
        && response.status().is_success()
        && !asking.is_noted()
    {
        // What a route itself does not note is noted here: nobody changes anything unseen.
        let noted = asking.run(guard.store.note_request(&actor, &request)).await;
        if let Err(error) = noted {
            tracing::error!(%error, request, "a request was not noted in the audit");
        }
    }
    response
}

/// Who asks, for the audit.
fn asking(head: &Parts) -> Asking {
    let kind = match (head.extensions.get::<Principal>(), head.extensions.get::<AgentOf>()) {
        (Some(principal), _) => principal.kind.as_str(),
        (None, Some(_)) => "agent",
        (None, None) => "public",
    };
    let client = head.extensions.get::<Client>();
    Asking::new(kind, client.map(|client| client.address.to_string()).unwrap_or_default())
}

/// Who wants to change what, if it is a change by somebody who was let in.
fn change(head: &Parts) -> Option<(String, String)> {
    if matches!(head.method, Method::GET | Method::HEAD | Method::CONNECT) {
        return None;
    }
    let principal = head.extensions.get::<Principal>()?;
    let path: String = head.uri.path().chars().take(300).collect();
    Some((principal.name.clone(), format!("{} {path}", head.method)))
}

impl Guard {
    async fn admit(&self, head: &mut Parts) -> Result<(), Problem> {
        let client = Client::of(head, self.identity.trusted());
        head.extensions.insert(client.clone());
        let path = head.extensions.get::<MatchedPath>();
        let need = path.and_then(|path| self.table.need(&head.method, path.as_str()));
        self.admit_name(head, need)?;
        let Some(path) = head.extensions.get::<MatchedPath>() else { return Ok(()) };
        let Some(need) = self.table.need(&head.method, path.as_str()) else {
            // A known path with another method goes on to its 405.
            return if self.table.knows(path.as_str()) { Ok(()) } else { Err(closed()) };
        };
        match need.access {
            Access::Public => Ok(()),
            Access::Enrolment => no_browser(&head.headers),
            Access::Agent => self.admit_agent(head).await,
            // The smallest role: whoever is somebody.
            Access::Own => self.admit_person(Role::Viewer, &client, head).await.map(drop),
            Access::Role(role) => {
                let scope = self.admit_person(role, &client, head).await?;
                self.admit_scope(&scope, need.reach, head).await
            }
        }
    }

    /// What asks by a name that is not ours was led here by another page. Agents dial by whatever
    /// name they were told, and are no browsers. A proxy of ours has looked at the name.
    fn admit_name(&self, head: &Parts, need: Option<Need>) -> Result<(), Problem> {
        let agent = |need: Need| matches!(need.access, Access::Agent | Access::Enrolment);
        let ours = need.is_some_and(agent)
            || is_by_proxy(head, self.identity.trusted())
            || self.identity.names().admit(&head.headers, &head.uri);
        if ours { Ok(()) } else { Err(unknown_name()) }
    }

    async fn admit_agent(&self, head: &mut Parts) -> Result<(), Problem> {
        no_browser(&head.headers)?;
        let token = bearer(&head.headers).unwrap_or_default();
        let host = self.store.agent_token(token).await?.ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "invalid_agent_token",
                "The agent token is not known to this server.",
                "Enrol the agent again: make a token with `holdfast host renew HOST`.",
            )
        })?;
        head.extensions.insert(AgentOf(host));
        Ok(())
    }

    async fn admit_person(
        &self,
        needed: Role,
        client: &Client,
        head: &mut Parts,
    ) -> Result<Scope, Problem> {
        let principal = match bearer(&head.headers) {
            Some(token) => self.script(token).await?,
            None => self.admit_browser(client, head).await?,
        };
        // A page elsewhere must not read along, whatever it has for a token.
        if is_upgrade(head) && origin::is_other_page(&head.headers, &head.uri) {
            return Err(other_page());
        }
        if principal.role < needed {
            return Err(too_small(principal.role, needed));
        }
        let scope = principal.scope.clone();
        head.extensions.insert(principal);
        Ok(scope)
    }

    /// What is outside of somebody's host groups is for them as if it did not exist.
    async fn admit_scope(
        &self,
        scope: &Scope,
        reach: Reach,
        head: &mut Parts,
    ) -> Result<(), Problem> {
        match (scope, reach) {
            (Scope::All, _) | (_, Reach::Narrowed) => return Ok(()),
            (_, Reach::Fleet) => return Err(outside_scope()),
            (_, Reach::Host) => {}
        }
        let named = RawPathParams::from_request_parts(head, &()).await;
        let named = named.map_err(|_| closed())?;
        let mut checked = false;
        for (name, value) in &named {
            let theirs = match name {
                "host" => self.store.is_host_in(value, scope).await?,
                "job" => self.store.is_job_in(value, scope).await?,
                "alert" => self.store.is_alert_in(value, scope).await?,
                _ => continue,
            };
            if !theirs {
                return Err(missing(name, value));
            }
            checked = true;
        }
        if checked { Ok(()) } else { Err(closed()) }
    }

    async fn admit_browser(&self, client: &Client, head: &Parts) -> Result<Principal, Problem> {
        let Some(token) = cookie::token(&head.headers, client.https) else {
            return Err(Problem::unauthorized("Nobody is signed in."));
        };
        let asks = !matches!(head.method, Method::GET | Method::HEAD) || is_upgrade(head);
        // Over plain HTTP a page of our name is whoever's stands between; a browser with the cookie
        // of HTTPS has a page of ours that came otherwise.
        let https = client.https || cookie::is_of_https(&head.headers);
        let in_between = https && origin::is_plain(&head.headers);
        if asks && (in_between || !origin::is_own_page(&head.headers, &head.uri)) {
            return Err(other_page());
        }
        let found = self.store.sign_in(&token, self.store.now()).await?;
        found.ok_or_else(|| Problem::unauthorized("The sign-in has ended."))
    }

    async fn script(&self, token: &str) -> Result<Principal, Problem> {
        let found = self.store.bearer(token, self.store.now()).await?;
        found.ok_or_else(|| Problem::unauthorized("The API token is not known to this server."))
    }
}

/// The token after `Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Agents are no browsers. A request that looks like one was made by a page that somebody was lured
/// to.
fn no_browser(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key(header::COOKIE) {
        return Err(Problem::forbidden(
            "not_for_browsers",
            "This address is for agents, not for browsers.",
            "Send the request without the headers Origin and Cookie.",
        ));
    }
    Ok(())
}

fn is_upgrade(head: &Parts) -> bool {
    head.method == Method::CONNECT || head.headers.contains_key(header::UPGRADE)
}

fn closed() -> Problem {
    Problem::forbidden(
        "closed",
        "This address is closed to everybody.",
        "Report this: the route does not say who may use it.",
    )
}

fn unknown_name() -> Problem {
    Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host_name",
        "This server does not answer to the name it was asked by.",
        "Start it with --host-name and that name, or name the proxy before it with --trusted-proxy.",
    )
}

fn other_page() -> Problem {
    Problem::forbidden(
        "other_origin",
        "The request comes from another site's page.",
        "Use the dashboard at its own address; a proxy before it must keep the Host header.",
    )
}

/// The answer for something that does not exist.
fn missing(noun: &str, value: &str) -> Problem {
    let value = value.chars().take(100).collect();
    match noun {
        "job" => store::Error::JobNotFound { job: value },
        "alert" => store::Error::AlertNotFound { alert: value },
        _ => store::Error::HostNotFound { host: value },
    }
    .into()
}

pub(crate) fn outside_scope() -> Problem {
    Problem::forbidden(
        "outside_scope",
        "The role counts for some host groups only, and this is about all.",
        "Ask an admin to do it, or for a role in all host groups.",
    )
}

fn too_small(role: Role, needed: Role) -> Problem {
    Problem::forbidden(
        "role_too_small",
        format!("The role {} may not do this.", role.as_str()),
        format!("Sign in as somebody with the role {}, or use such a token.", needed.as_str()),
    )
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_route_that_says_nothing_is_closed_to_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let admin = store.create_api_token("admin", "admin").await.unwrap();
        let mut table = Table::default();
        table.insert(Method::GET, "/open", Access::Public, Reach::Fleet);
        let router: Router = Router::new()
            .route("/forgotten", get(async || "canary"))
            .route("/open", get(async || "open"))
            .layer(middleware::from_fn_with_state(
                Guard::new(store, Identity::new(Vec::new(), false), table),
                guard,
            ));
        let ask = async |path: &str| {
            let request = Request::get(path)
                .header("authorization", format!("Bearer {}", admin.token.expose()))
                .body(Body::empty());
            router.clone().oneshot(request.unwrap()).await.unwrap().status()
        };
        assert_eq!(ask("/forgotten").await, StatusCode::FORBIDDEN);
        assert_eq!(ask("/open").await, StatusCode::OK);
        assert_eq!(ask("/nowhere").await, StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "bearer  x".parse().unwrap());
        assert_eq!(bearer(&headers), Some("x"));
        headers.insert(header::AUTHORIZATION, "Basic x".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }

    #[test]
    fn head_needs_what_get_needs() {
        let mut table = Table::default();
        let need = Need { access: Access::Role(Role::Admin), reach: Reach::Fleet };
        table.insert(Method::GET, "/x", need.access, need.reach);
        assert_eq!(table.need(&Method::HEAD, "/x"), Some(need));
        assert_eq!(table.need(&Method::POST, "/x"), None);
    }
}
