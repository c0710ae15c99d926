//! How a machine joins.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use crate::support::{Answer, Server};

async fn add_host(server: &Server) -> String {
    let host = server.post("/hosts", &json!({"name": "web-1"})).await.expect(201);
    host["enrolment_token"].as_str().unwrap().to_owned()
}

async fn enrol(server: &Server, token: &str) -> Answer {
    let body = json!({
        "token": token, "incarnation": Uuid::now_v7(), "hostname": "web-1.example", "os": "linux",
        "arch": "amd64", "agent_version": "0.1.0",
    });
    server.ask(Method::POST, "/agent/enrol", None, Some(&body)).await
}

#[tokio::test]
async fn a_token_enrols_one_agent_once() {
    let server = Server::start().await;
    let token = add_host(&server).await;
    assert!(token.starts_with("hf_enr_"), "{token}");
    let agent = enrol(&server, &token).await.expect(201);
    assert!(agent["agent_token"].as_str().unwrap().starts_with("hf_agt_"));
    assert_eq!(agent["host_name"], "web-1");
    assert_eq!(agent["connect_path"], "/api/v1/agent/connect");
    let host = server.get("/hosts/web-1").await.expect(200);
    assert_eq!((&host["id"], &host["hostname"]), (&agent["host_id"], &json!("web-1.example")));
    assert_eq!(host["state"], "offline");

    let title = enrol(&server, &token).await.expect_problem(401, "enrolment_token_used");
    assert!(title.contains("already been used"), "{title}");
}

#[tokio::test]
async fn wrong_and_expired_tokens_are_told_apart() {
    let server = Server::start().await;
    let token = add_host(&server).await;
    enrol(&server, "hf_enr_wrong").await.expect_problem(401, "enrolment_token_invalid");
    let file = server.dir.path().join("holdfast.db");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("UPDATE enrolment_tokens SET expires_at = 1").execute(&mut database).await.unwrap();
    enrol(&server, &token).await.expect_problem(401, "enrolment_token_expired");
}

#[tokio::test]
async fn a_renewed_token_replaces_the_unused_one() {
    let server = Server::start().await;
    let old = add_host(&server).await;
    let renewed = server.post("/hosts/web-1/enrolment-token", &json!({})).await.expect(201);
    enrol(&server, &old).await.expect_problem(401, "enrolment_token_invalid");
    enrol(&server, renewed["enrolment_token"].as_str().unwrap()).await.expect(201);
}

#[tokio::test]
async fn a_removed_host_cannot_enrol() {
    let server = Server::start().await;
    let token = add_host(&server).await;
    assert_eq!(server.delete("/hosts/web-1").await.expect(204), Value::Null);
    enrol(&server, &token).await.expect_problem(401, "enrolment_token_invalid");
    server.get("/hosts/web-1").await.expect_problem(404, "host_not_found");
}
