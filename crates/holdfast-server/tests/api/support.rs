//! A server without a socket, and a client without one.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use holdfast_protocol::{
    Incarnation, PROTOCOL_VERSION,
    message::link::{Facts, Hello},
};
use holdfast_server::{
    alert::{guard::Guard, wire::Wire},
    api::{self, AppState},
    auth::Identity,
    dialect::Dialects,
    hub::Hub,
    live::Live,
    store::{Enrolment, HostStore, Store},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A server with a token for each role.
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) stop: CancellationToken,
    pub(crate) dir: TempDir,
    pub(crate) admin: String,
    pub(crate) operator: String,
    pub(crate) viewer: String,
    /// The code for the first user, while there is nobody.
    pub(crate) setup_code: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::open(true).await
    }

    /// A server that nobody may use yet.
    pub(crate) async fn empty() -> Self {
        Self::open(false).await
    }

    async fn open(with_tokens: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let live = Live::load(store.clone()).await.unwrap();
        let hub = Hub::new(store.clone(), live.clone());
        let stop = CancellationToken::new();
        tokio::spawn(live.clone().run(stop.clone()));
        let inside = ["127.0.0.1".parse().unwrap()];
        let wire = Wire::new(Guard::new(inside.into()));
        let dialects = Dialects::new(hub.clone());
        let identity = Identity::new(Vec::new(), false);
        let (signing_in, stopping) = (identity.clone(), stop.clone());
        let state =
            AppState { store: store.clone(), hub, dialects, live, wire, identity, stop: stopping };
        let token = async |role: &str| {
            if !with_tokens {
                return String::new();
            }
            let made = store.create_api_token(&format!("{role}-token"), role).await.unwrap();
            made.token.expose().to_owned()
        };
        Self {
            router: api::router(state),
            admin: token("admin").await,
            operator: token("operator").await,
            viewer: token("viewer").await,
            setup_code: {
                let code = signing_in.setup_code(&store).await.unwrap();
                code.map(|code| code.expose().to_owned())
            },
            store,
            stop,
            dir,
        }
    }

    /// A server with host `web-1`, repository `main` and source group `etc`.
    pub(crate) async fn with_group() -> Self {
        let server = Self::start().await;
        server.post("/hosts", &json!({"name": "web-1"})).await.expect(201);
        let repository = json!({"name": "main", "url": "/srv/backup", "password": "canary"});
        server.post("/repositories", &repository).await.expect(201);
        let group = json!({"name": "etc", "repository": "main", "includes": ["/etc"]});
        server.post("/hosts/web-1/groups", &group).await.expect(201);
        server
    }

    /// Signs a browser in at `http://backup.example` and gives the cookie it keeps.
    pub(crate) async fn sign_in(&self, body: &Value) -> String {
        let answer = self.ask(Method::POST, "/sign-in", None, Some(body)).await;
        answer.expect(200);
        answer.cookie()
    }

    /// `GET` under `/api/v1`, as an admin.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Some(&self.admin), None).await
    }

    /// `POST` under `/api/v1`, as an admin.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, Some(&self.admin), Some(body)).await
    }

    /// `PUT` under `/api/v1`, as an admin.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, Some(&self.admin), Some(body)).await
    }

    /// `DELETE` under `/api/v1`, as an admin.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, Some(&self.admin), Some(body)).await
    }

    /// `DELETE` under `/api/v1`, as an admin.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, Some(&self.admin), None).await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 22).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Checks the status and gives the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that it is a problem document of this status and code, which says what is wrong and
    /// what to do; gives the sentence.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        let title = body["title"].as_str().unwrap();
        assert!(title.ends_with('.') && !body["action"].as_str().unwrap().is_empty(), "{body}");
        title.to_owned()
    }

    /// The cookie that the answer sets, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What an agent of ours can do, as far as this matters here.
const CAPABILITIES: [&str; 8] =
    ["backup", "restore", "diff", "stats", "tag", "forget", "ls", "dump"];

/// The store as the link of the host's agent has it.
pub(crate) async fn session(server: &Server, host: &str) -> HostStore {
    let renewed = server.post(&format!("/hosts/{host}/enrolment-token"), &json!({})).await;
    let token = renewed.expect(201)["enrolment_token"].as_str().unwrap().to_owned();
    let incarnation = Incarnation::from_uuid(uuid::Uuid::new_v4());
    let enrolment = Enrolment {
        token: holdfast_protocol::message::config::Secret::new(token),
        incarnation,
        hostname: host.to_owned(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        agent_version: "0.1.0".to_owned(),
    };
    let enrolled = server.store.enrol(&enrolment).await.unwrap();
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        incarnation,
        boot: 1,
        instance: None,
        epoch: 0,
        received: 0,
        oldest: 1,
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        facts: Facts::default(),
    };
    let opened = server.store.open_session(enrolled.host_id, &hello).await.unwrap().unwrap();
    HostStore::new(server.store.clone(), enrolled.host_id, opened.epoch)
}
