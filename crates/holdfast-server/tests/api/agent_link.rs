//! The link's two roads, through the whole API.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use holdfast_link::{
    Client, ClientConfig, Credentials, CredentialsError, Host, Identity, LinkStatus,
    store::memory::MemoryStore, transport::TransportKind,
};
use holdfast_protocol::{
    Incarnation, Payload,
    message::{config::Secret, link::Facts},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::Server;

struct Machine(Secret);

impl Credentials for Machine {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(self.0.clone())
    }
}

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&json!({
            "sent_at": jiff::Timestamp::now(), "active_job_ids": [], "queue_depth": 0,
            "config_version": 0,
        }))
    }
}

/// Enrols a host and gives its token and incarnation.
async fn enrol(server: &Server) -> (Secret, Uuid) {
    let host = server.post("/hosts", &json!({"name": "web-1"})).await.expect(201);
    let incarnation = Uuid::now_v7();
    let enrol = json!({"token": host["enrolment_token"], "incarnation": incarnation});
    let agent = server.ask(Method::POST, "/agent/enrol", None, Some(&enrol)).await.expect(201);
    (Secret::new(agent["agent_token"].as_str().unwrap()), incarnation)
}

#[tokio::test]
async fn an_agent_that_no_websocket_reaches_is_online_over_long_polls() {
    let server = Server::start().await;
    let (token, incarnation) = enrol(&server).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // This address has no connect endpoint, as behind a proxy that refuses upgrades.
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let blocked = axum::Router::new()
        .route("/blocked", axum::routing::any(async || axum::http::StatusCode::UPGRADE_REQUIRED))
        .fallback_service(server.router.clone());
    tokio::spawn(axum::serve(listener, blocked).into_future());
    let config = ClientConfig { path: "/blocked".to_owned(), ..ClientConfig::new(url) };
    let identity = Identity { incarnation: Incarnation::from_uuid(incarnation), boot: 1 };
    let store = Arc::new(MemoryStore::default());
    let machine = Machine(token.clone());
    let client = Client::new(config, identity, store, Machine(token), machine).unwrap();
    let stop = CancellationToken::new();
    let (runner, token) = (client.clone(), stop.clone());
    let task = tokio::spawn(async move { runner.run(token).await });
    let mut status = client.status();
    let live = status.wait_for(LinkStatus::is_connected);
    let live = tokio::time::timeout(Duration::from_secs(60), live).await.unwrap().unwrap().clone();
    assert_eq!((live.transport, live.last_error), (Some(TransportKind::LongPoll), None));
    assert_eq!(server.get("/hosts/web-1").await.expect(200)["state"], "online");
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_without_its_upgrade_is_told_to_take_the_other_road() {
    let server = Server::start().await;
    let (token, _) = enrol(&server).await;
    let answer = server.ask(Method::GET, "/agent/connect", Some(token.expose()), None).await;
    answer.expect_problem(426, "no_websocket");
    assert_eq!(answer.header("upgrade"), "websocket");
}

#[tokio::test]
async fn exchanges_need_an_agents_token_and_a_link_that_is_known() {
    let server = Server::start().await;
    let (token, _) = enrol(&server).await;
    let exchange = json!({"link": Uuid::nil(), "number": 1, "received": 0, "first": 0});
    for stranger in [None, Some(server.admin.as_str())] {
        let answer = server.ask(Method::POST, "/agent/exchange", stranger, Some(&exchange)).await;
        answer.expect_problem(401, "invalid_agent_token");
    }
    let agent = Some(token.expose());
    let answer = server.ask(Method::POST, "/agent/exchange", agent, Some(&exchange)).await;
    answer.expect_problem(410, "link_gone");
    let answer = server.ask(Method::POST, "/agent/exchange", agent, Some(&json!([]))).await;
    answer.expect_problem(400, "invalid_exchange");
}
